//! The two kinds of requests a session serves, and what is said when nobody answers one.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::admin::{AdminAnswer, AdminRefusal, Effect};
use crate::wire::message::{
    ClientMessage, CommandAnswer, CommandError, Outcome, PeerMessage, kind,
};

/// Messages that are asked and answered under one frame id.
pub(super) trait Request: Serialize + DeserializeOwned + Send + 'static {
    /// The kind of frames that ask.
    const ASKS: u16;
    /// The kind of frames that answer.
    const ANSWERS: u16;

    /// Says that something was not carried out because it is not legal or not readable.
    fn not_understood(detail: String) -> Self;

    /// The answer if whoever should have answered is gone: it may have been carried out.
    fn if_dropped(&self) -> Self;
}

const DROPPED: &str = "whoever should have answered has ended; it may have been carried out";

impl Request for PeerMessage {
    const ASKS: u16 = kind::PEER;
    const ANSWERS: u16 = kind::PEER_ANSWER;

    fn not_understood(detail: String) -> Self {
        Self::NotUnderstood { detail }
    }

    fn if_dropped(&self) -> Self {
        let reason = DROPPED.to_owned();
        if matches!(self, Self::Execute(_) | Self::Hint(_)) {
            Self::Outcome(Outcome::Stopped { reason })
        } else {
            Self::NotUnderstood { detail: reason }
        }
    }
}

impl Request for ClientMessage {
    const ASKS: u16 = kind::CLIENT;
    const ANSWERS: u16 = kind::CLIENT_ANSWER;

    fn not_understood(detail: String) -> Self {
        Self::NotUnderstood { detail }
    }

    fn if_dropped(&self) -> Self {
        match self {
            Self::Command(command) => {
                let needed = command.needed;
                let (ok, may_have_been_stored, failures) = (0, true, Vec::new());
                let error =
                    CommandError::QuorumNotMet { ok, needed, may_have_been_stored, failures };
                Self::CommandAnswer(Box::new(CommandAnswer::Failed(error)))
            }
            Self::Admin(_) => {
                let hint = "look at the state before you try again".to_owned();
                let (reason, effect) = (DROPPED.to_owned(), Effect::Unknown);
                let refusal = AdminRefusal { reason, hint, effect };
                Self::AdminAnswer(Box::new(AdminAnswer::Refused(refusal)))
            }
            Self::CommandAnswer(_) | Self::AdminAnswer(_) | Self::NotUnderstood { .. } => {
                Self::not_understood("an answer was sent where a request belongs".to_owned())
            }
        }
    }
}
