//! A client of the store: pooled, pipelined connections to any of several nodes.
//!
//! A [`Client`] is cheap to clone and may be used by any number of tasks of any tokio runtime; its
//! connections belong to the runtime in which they were first needed. Every call ends by its deadline, with
//! an answer or a [`ClientError`] that says whether something may have been stored.
//!
//! A call goes to the nodes in turn. When one cannot be reached, or does not take commands at the moment, the
//! next is asked. Once a command was sent, it is asked of another node only if executing it twice changes
//! nothing; else the caller decides, and may repeat it under the same operation id ([`Options::op`]).

mod error;
mod link;
mod pool;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tanodb_actors::protocol::id::OpId;
use tanodb_actors::wire::admin::{AdminAnswer, AdminRequest, Pong};
use tanodb_actors::wire::message::{
    ClientMessage, Command, CommandAnswer, CommandError, Introduction,
};
use tokio::time::Instant;

pub use self::error::{ClientError, Unreachable, UnreachableReason};
use self::link::CallError;
use self::pool::Pool;
use crate::kv::{Content, KvCommand, KvReply, Record, vnode_type};

/// How a client connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// Connections to each node. Default 2: one large value does not hold up everybody else.
    pub connections_per_node: usize,
    /// Calls under way on one connection. Default 1,024; further ones wait, within their deadlines.
    pub calls_per_connection: usize,
    /// How long one attempt to connect may take. Default 2 s.
    pub connect_timeout: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            connections_per_node: 2,
            calls_per_connection: 1_024,
            connect_timeout: Duration::from_secs(2),
        }
    }
}

/// How one call is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Replicas of the key. Default 3.
    pub n: u8,
    /// Replicas that must answer a read. Default 2.
    pub r: u8,
    /// Replicas that must store a write. Default 2.
    pub w: u8,
    /// How many of them must be owners rather than stand-ins. Default 0.
    pub owners: u8,
    /// The call ends by then. Default 5 s.
    pub deadline: Duration,
    /// The operation's id, from [`Client::next_op`], for calls that may be repeated. Default: a new one.
    pub op: Option<OpId>,
}

impl Default for Options {
    fn default() -> Self {
        Self { n: 3, r: 2, w: 2, owners: 0, deadline: Duration::from_secs(5), op: None }
    }
}

/// What a quorum replied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The replies, combined by the vnode type, in its own encoding.
    pub reply: Bytes,
    /// Whether owners alone met the quorum.
    pub strict: bool,
}

/// Whether a command may be asked of another node although it may have run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// No: it changes something.
    Never,
    /// Yes: it reads only.
    Harmless,
}

/// A client of one cluster.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Arc<Pool>,
    minter: u64,
    minted: Arc<AtomicU64>,
}

impl Client {
    /// A client of the nodes that listen at these addresses, each HOST:PORT. Connects when it is used.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoAddress`] without one, [`ClientError::NoEntropy`] when the system gives no random
    /// number.
    pub fn new<A: Into<String>>(
        addresses: impl IntoIterator<Item = A>,
    ) -> Result<Self, ClientError> {
        Self::with_settings(addresses, ClientSettings::default())
    }

    /// The same with other settings. Counts of 0 are taken for 1.
    ///
    /// # Errors
    ///
    /// As [`Client::new`].
    pub fn with_settings<A: Into<String>>(
        addresses: impl IntoIterator<Item = A>,
        settings: ClientSettings,
    ) -> Result<Self, ClientError> {
        let addresses: Vec<String> = addresses.into_iter().map(Into::into).collect();
        if addresses.is_empty() {
            return Err(ClientError::NoAddress);
        }
        let minter = getrandom::u64().map_err(|why| ClientError::NoEntropy(why.to_string()))?;
        let pool = Arc::new(Pool::of(addresses, settings));
        Ok(Self { pool, minter, minted: Arc::default() })
    }

    /// A new operation id of this client.
    #[must_use]
    pub fn next_op(&self) -> OpId {
        let counter = self.minted.fetch_add(1, Ordering::Relaxed) + 1;
        OpId { minter: self.minter, counter }
    }

    /// Connects to one of the nodes, and says who it is.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotConnected`] or [`ClientError::DeadlinePassed`]; nothing was changed.
    pub async fn connect(&self, deadline: Duration) -> Result<Introduction, ClientError> {
        let until = Instant::now() + deadline;
        let mut tried = Vec::new();
        for node in self.pool.turn() {
            match tokio::time::timeout_at(until, node.link()).await {
                Ok(Ok(link)) => return Ok(link.peer().clone()),
                Ok(Err(unreachable)) => tried.push(unreachable),
                Err(_) => return Err(ClientError::timed_out(node.address(), deadline, false)),
            }
        }
        Err(ClientError::NotConnected { tried })
    }

    /// Reads a value; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; nothing was changed.
    pub async fn get(
        &self,
        bucket: &[u8],
        key: &[u8],
        options: &Options,
    ) -> Result<Option<Bytes>, ClientError> {
        let record = self.get_record(bucket, key, options).await?;
        Ok(record.and_then(|record| match record.content {
            Content::Live(value) => Some(value),
            Content::Tombstone => None,
        }))
    }

    /// Reads the newest write that is known, which may be a delete, with its stamp and dot.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; nothing was changed.
    pub async fn get_record(
        &self,
        bucket: &[u8],
        key: &[u8],
        options: &Options,
    ) -> Result<Option<Record>, ClientError> {
        let (bucket, key) = (Bytes::copy_from_slice(bucket), Bytes::copy_from_slice(key));
        let asked = self.store(&KvCommand::Get { bucket, key }, options, options.r).await;
        match asked.map_err(ClientError::of_a_read)? {
            KvReply::Found(record) => Ok(Some(record)),
            KvReply::Nothing => Ok(None),
            reply @ (KvReply::Stored
            | KvReply::Deleted { .. }
            | KvReply::Illegal { .. }
            | KvReply::Unreadable { .. }) => Err(ClientError::of_reply(reply).of_a_read()),
        }
    }

    /// Stores a value.
    ///
    /// # Errors
    ///
    /// [`ClientError::may_have_been_stored`] says whether it may be there all the same.
    pub async fn put(
        &self,
        bucket: &[u8],
        key: &[u8],
        value: impl Into<Bytes>,
        options: &Options,
    ) -> Result<(), ClientError> {
        let (bucket, key) = (Bytes::copy_from_slice(bucket), Bytes::copy_from_slice(key));
        let command = KvCommand::Put { bucket, key, value: value.into() };
        match self.store(&command, options, options.w).await? {
            KvReply::Stored => Ok(()),
            reply @ (KvReply::Found(_)
            | KvReply::Nothing
            | KvReply::Deleted { .. }
            | KvReply::Illegal { .. }
            | KvReply::Unreadable { .. }) => Err(ClientError::of_reply(reply)),
        }
    }

    /// Deletes a value. True if one was there.
    ///
    /// # Errors
    ///
    /// [`ClientError::may_have_been_stored`] says whether it may be deleted all the same.
    pub async fn delete(
        &self,
        bucket: &[u8],
        key: &[u8],
        options: &Options,
    ) -> Result<bool, ClientError> {
        let (bucket, key) = (Bytes::copy_from_slice(bucket), Bytes::copy_from_slice(key));
        match self.store(&KvCommand::Delete { bucket, key }, options, options.w).await? {
            KvReply::Deleted { existed } => Ok(existed),
            reply @ (KvReply::Found(_)
            | KvReply::Nothing
            | KvReply::Stored
            | KvReply::Illegal { .. }
            | KvReply::Unreadable { .. }) => Err(ClientError::of_reply(reply)),
        }
    }

    async fn store(
        &self,
        command: &KvCommand,
        options: &Options,
        needed: u8,
    ) -> Result<KvReply, ClientError> {
        command.item_key()?;
        let encoded = rmp_serde::to_vec_named(command)
            .map_err(|why| ClientError::Illegal { reason: why.to_string() })?;
        let repeat = match command {
            KvCommand::Get { .. } => Repeat::Harmless,
            KvCommand::Put { .. } | KvCommand::Delete { .. } => Repeat::Never,
        };
        let command = Command {
            vnode_type: vnode_type(),
            hash: command.ring_hash(),
            n: options.n,
            needed,
            owners_needed: options.owners,
            deadline_ms: u32::try_from(options.deadline.as_millis()).unwrap_or(u32::MAX),
            op: options.op,
            command: encoded.into(),
        };
        let Reply { reply, strict: _ } = self.command(command, repeat).await?;
        rmp_serde::from_slice(&reply)
            .map_err(|why| ClientError::UnexpectedAnswer { detail: why.to_string() })
    }

    /// Runs a command of any vnode type, within its `deadline_ms`. Without an operation id it gets one.
    ///
    /// # Errors
    ///
    /// [`ClientError::may_have_been_stored`] says whether it may have run.
    pub async fn command(&self, command: Command, repeat: Repeat) -> Result<Reply, ClientError> {
        let deadline = Duration::from_millis(u64::from(command.deadline_ms));
        let op = Some(command.op.unwrap_or_else(|| self.next_op()));
        let make = |left: Duration| {
            let deadline_ms = told_deadline(left);
            ClientMessage::Command(Box::new(Command { op, deadline_ms, ..command.clone() }))
        };
        let message = self.ask(make, deadline, repeat).await?;
        let ClientMessage::CommandAnswer(answer) = message else {
            return Err(ClientError::of_message(&message));
        };
        match *answer {
            CommandAnswer::Met { reply, strict } => Ok(Reply { reply, strict }),
            CommandAnswer::Failed(error) => Err(ClientError::Command(error)),
        }
    }

    /// Asks a node who it is.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; nothing was changed.
    pub async fn ping(&self, deadline: Duration) -> Result<Pong, ClientError> {
        let make = |_| ClientMessage::Admin(Box::new(AdminRequest::Ping));
        let asked = self.ask(make, deadline, Repeat::Harmless).await;
        let message = asked.map_err(ClientError::of_a_read)?;
        let ClientMessage::AdminAnswer(answer) = message else {
            return Err(ClientError::of_message(&message).of_a_read());
        };
        if let AdminAnswer::Pong(pong) = *answer {
            return Ok(pong);
        }
        Err(ClientError::NotUnderstood { detail: format!("it answered {answer:?} to a ping") })
    }

    /// Asks a node for administration. A refusal is an answer.
    ///
    /// # Errors
    ///
    /// [`ClientError::may_have_been_stored`] says whether the request may have been carried out.
    pub async fn admin(
        &self,
        request: AdminRequest,
        deadline: Duration,
    ) -> Result<AdminAnswer, ClientError> {
        let make = |_| ClientMessage::Admin(Box::new(request.clone()));
        let message = self.ask(make, deadline, Repeat::Never).await?;
        let ClientMessage::AdminAnswer(answer) = message else {
            return Err(ClientError::of_message(&message));
        };
        Ok(*answer)
    }

    /// Asks the nodes in turn until one answers.
    async fn ask(
        &self,
        make: impl Fn(Duration) -> ClientMessage,
        deadline: Duration,
        repeat: Repeat,
    ) -> Result<ClientMessage, ClientError> {
        let until = Instant::now() + deadline;
        let (mut tried, mut not_taken) = (Vec::new(), None);
        for node in self.pool.turn() {
            let link = match tokio::time::timeout_at(until, node.link()).await {
                Ok(Ok(link)) => link,
                Ok(Err(unreachable)) => {
                    tried.push(unreachable);
                    continue;
                }
                Err(_) => return Err(ClientError::timed_out(node.address(), deadline, false)),
            };
            match link.call(&make, until).await {
                Ok(message) => match refusal(&message) {
                    Some(refusal) => not_taken = Some(refusal.clone()),
                    None => return Ok(message),
                },
                Err(CallError::NotSent) => tried.push(node.unreachable("it ended")),
                Err(CallError::Lost) if repeat == Repeat::Harmless => {
                    tried.push(node.unreachable("it ended before the answer came"));
                }
                Err(CallError::Lost) => return Err(ClientError::lost(node.address())),
                Err(CallError::Malformed(detail)) => {
                    return Err(ClientError::UnexpectedAnswer { detail });
                }
                Err(CallError::TimedOut { was_sent }) => {
                    return Err(ClientError::timed_out(node.address(), deadline, was_sent));
                }
            }
        }
        Err(match not_taken {
            Some(error) => ClientError::Command(error),
            None => ClientError::NotConnected { tried },
        })
    }
}

/// Why a node does not take commands at the moment, if that is what it says. Nothing was stored.
fn refusal(message: &ClientMessage) -> Option<&CommandError> {
    let ClientMessage::CommandAnswer(answer) = message else { return None };
    let CommandAnswer::Failed(error) = &**answer else { return None };
    let takes_none =
        matches!(error, CommandError::Overloaded { .. } | CommandError::NotServing { .. });
    takes_none.then_some(error)
}

/// What the node is told of the time left: a little less, so that its own answer still arrives and says
/// more than silence does.
fn told_deadline(left: Duration) -> u32 {
    let on_the_way = (left / 10).min(Duration::from_millis(100));
    u32::try_from((left - on_the_way).as_millis()).unwrap_or(u32::MAX).max(1)
}
