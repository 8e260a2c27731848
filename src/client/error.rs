//! Why a call failed, and what became of it.

use std::fmt;
use std::time::Duration;

use tanodb_actors::wire::message::{ClientMessage, CommandError, Refusal};

use crate::kv::{KvReply, LimitError};

/// Why a call failed. Split by what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The client was given no address.
    #[error("no address was given")]
    NoAddress,
    /// The system gave no random number, so operations could not be told apart from another client's.
    #[error("the system gives no random numbers: {0}")]
    NoEntropy(String),
    /// No node could be reached. Nothing was sent.
    #[error("no node could be reached ({})", list(tried))]
    NotConnected {
        /// Who was tried, in order.
        tried: Vec<Unreachable>,
    },
    /// The connection ended after the request was sent, and before the answer came.
    #[error("the connection to {address} ended before the answer came")]
    ConnectionLost {
        /// Who was asked.
        address: String,
        /// Whether it may have been carried out.
        may_have_been_stored: bool,
    },
    /// No answer came in time.
    #[error("{address} did not answer within {after:?}")]
    DeadlinePassed {
        /// Who was asked last.
        address: String,
        /// The time it was given.
        after: Duration,
        /// Whether it may have been carried out.
        may_have_been_stored: bool,
    },
    /// The node answered that the command failed, and what became of it.
    #[error(transparent)]
    Command(CommandError),
    /// The request is not legal. Nothing was stored.
    #[error("{reason}")]
    Illegal {
        /// What was wrong and what would be legal.
        reason: String,
    },
    /// A replica cannot read its copy. Nothing was changed.
    #[error("a replica cannot read its copy: {reason}")]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// The node did not understand the request. Nothing was stored.
    #[error("the node did not understand the request: {detail}")]
    NotUnderstood {
        /// In its words.
        detail: String,
    },
    /// The answer is none to what was asked. It may have been carried out.
    #[error("the node answered something else than it was asked: {detail}")]
    UnexpectedAnswer {
        /// What came instead.
        detail: String,
    },
}

/// A node that could not be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// Its address, as it was given.
    pub address: String,
    /// Why.
    pub reason: UnreachableReason,
}

/// Why a node could not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnreachableReason {
    /// The connection could not be made, or ended.
    #[error("{0}")]
    Network(String),
    /// The node refused the connection.
    #[error(transparent)]
    Refused(Refusal),
    /// Whoever listens there does not speak this protocol.
    #[error("{0}")]
    Stranger(String),
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.reason)
    }
}

fn list(tried: &[Unreachable]) -> String {
    tried.iter().map(Unreachable::to_string).collect::<Vec<_>>().join("; ")
}

impl ClientError {
    /// Whether the request may have been carried out. If not, nothing was stored and it can be repeated.
    #[must_use]
    pub fn may_have_been_stored(&self) -> bool {
        match self {
            Self::ConnectionLost { may_have_been_stored, .. }
            | Self::DeadlinePassed { may_have_been_stored, .. } => *may_have_been_stored,
            Self::Command(error) => match error {
                CommandError::QuorumNotMet { may_have_been_stored, .. }
                | CommandError::DeadlinePassed { may_have_been_stored, .. } => {
                    *may_have_been_stored
                }
                CommandError::Overloaded { .. }
                | CommandError::Illegal { .. }
                | CommandError::NotServing { .. } => false,
                // A newer node says what this client does not know.
                _ => true,
            },
            Self::UnexpectedAnswer { .. } => true,
            Self::NoAddress
            | Self::NoEntropy(_)
            | Self::NotConnected { .. }
            | Self::Illegal { .. }
            | Self::Unreadable { .. }
            | Self::NotUnderstood { .. } => false,
        }
    }

    /// Whether the same request may succeed later. If it may have been stored, repeat it under the same
    /// operation id, or know that it may then be carried out twice.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::ConnectionLost { .. } | Self::DeadlinePassed { .. } | Self::NoEntropy(_) => true,
            Self::NotConnected { tried } => tried.iter().any(|one| one.reason.may_pass()),
            Self::Command(error) => match error {
                CommandError::QuorumNotMet { .. }
                | CommandError::DeadlinePassed { .. }
                | CommandError::Overloaded { .. }
                | CommandError::NotServing { .. } => true,
                CommandError::Illegal { .. } | _ => false,
            },
            Self::NoAddress
            | Self::Illegal { .. }
            | Self::Unreadable { .. }
            | Self::NotUnderstood { .. }
            | Self::UnexpectedAnswer { .. } => false,
        }
    }

    /// What to do next, in one sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoAddress => "name a node: HOST:PORT",
            Self::NoEntropy(_) => "try again; if it stays so, look at the system's random device",
            Self::NotConnected { .. } => "check that the node runs and listens at this address",
            Self::ConnectionLost { may_have_been_stored: true, .. }
            | Self::DeadlinePassed { may_have_been_stored: true, .. } => {
                "it may have been carried out: read before you repeat it, or repeat it under the same \
                 operation id"
            }
            Self::ConnectionLost { .. } | Self::DeadlinePassed { .. } => {
                "try again; give it more time if it happens often"
            }
            Self::Command(error) => match error {
                CommandError::QuorumNotMet { .. } | CommandError::DeadlinePassed { .. } => {
                    "see 'tanodb member-status' for nodes that are down, and try again"
                }
                CommandError::Overloaded { .. } => "try again more slowly, or ask another node",
                CommandError::NotServing { .. } => "try again when it serves, or ask another node",
                CommandError::Illegal { .. } | _ => "correct the request",
            },
            Self::Illegal { .. } => "correct the request",
            Self::Unreadable { .. } => {
                "read with r=1 to get the copy of another replica, and repair"
            }
            Self::NotUnderstood { .. } | Self::UnexpectedAnswer { .. } => {
                "run the same version of tanodb here and there"
            }
        }
    }

    /// The same error of a request that only reads: whatever became of it, nothing was stored.
    #[must_use]
    pub(super) fn of_a_read(mut self) -> Self {
        match &mut self {
            Self::ConnectionLost { may_have_been_stored, .. }
            | Self::DeadlinePassed { may_have_been_stored, .. }
            | Self::Command(
                CommandError::QuorumNotMet { may_have_been_stored, .. }
                | CommandError::DeadlinePassed { may_have_been_stored, .. },
            ) => *may_have_been_stored = false,
            Self::UnexpectedAnswer { detail } => {
                return Self::NotUnderstood { detail: std::mem::take(detail) };
            }
            Self::Command(_)
            | Self::NoAddress
            | Self::NoEntropy(_)
            | Self::NotConnected { .. }
            | Self::Illegal { .. }
            | Self::Unreadable { .. }
            | Self::NotUnderstood { .. } => {}
        }
        self
    }

    pub(super) fn lost(address: &str) -> Self {
        Self::ConnectionLost { address: address.to_owned(), may_have_been_stored: true }
    }

    pub(super) fn timed_out(address: &str, after: Duration, was_sent: bool) -> Self {
        let address = address.to_owned();
        Self::DeadlinePassed { address, after, may_have_been_stored: was_sent }
    }

    /// A reply that is not the one to what was asked.
    pub(super) fn of_reply(reply: KvReply) -> Self {
        match reply {
            KvReply::Illegal { reason } => Self::Illegal { reason },
            KvReply::Unreadable { reason } => Self::Unreadable { reason },
            KvReply::Stored | KvReply::Deleted { .. } | KvReply::Found(_) | KvReply::Nothing => {
                Self::UnexpectedAnswer { detail: "the reply of another command".to_owned() }
            }
        }
    }

    /// A message that is not the answer to what was asked.
    pub(super) fn of_message(message: &ClientMessage) -> Self {
        match message {
            ClientMessage::NotUnderstood { detail } => {
                Self::NotUnderstood { detail: detail.clone() }
            }
            ClientMessage::Command(_)
            | ClientMessage::CommandAnswer(_)
            | ClientMessage::Admin(_)
            | ClientMessage::AdminAnswer(_) => {
                Self::UnexpectedAnswer { detail: "an answer of another kind".to_owned() }
            }
        }
    }
}

impl From<LimitError> for ClientError {
    fn from(error: LimitError) -> Self {
        Self::Illegal { reason: error.to_string() }
    }
}

impl UnreachableReason {
    fn may_pass(&self) -> bool {
        match self {
            Self::Network(_) => true,
            Self::Refused(refusal) => matches!(refusal, Refusal::NotReady { .. }),
            Self::Stranger(_) => false,
        }
    }
}
