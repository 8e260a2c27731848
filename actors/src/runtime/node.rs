//! One node: reads what it kept, starts its actors in order, and gives out handles to them.
//!
//! The same function starts a node in a process of its own, beside others in one process, and in a
//! simulator: nothing here is global, everything comes from [`Env`] and [`NodeSettings`]. It must be called
//! inside a `LocalSet` (an actix `System` is one); the node lives there until the set ends.

mod admin;
mod start;
mod wiring;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;

use crate::protocol::hash::{RingHash, RingSize};
use crate::protocol::id::{NodeId, NodeName, OpId, VnodeType};
use crate::protocol::liveness::Patience;
use crate::protocol::rules::Rules;
use crate::runtime::coordinator::{Coordinator, CoordinatorReport, ObserveCoordinator};
use crate::runtime::disk::DiskError;
use crate::runtime::encoding::encoded;
use crate::runtime::env::Env;
use crate::runtime::items::PageLimits;
use crate::runtime::message::RunCommand;
use crate::runtime::network::listener::ListenError;
use crate::runtime::records::{LoadError, SaveError};
use crate::runtime::reply::reply;
use crate::runtime::ring_manager::{
    AdminAsked, OwnershipChanged, RingManager, Subscribe, TransferSettings,
};
use crate::runtime::vnode::Vnode;
use crate::runtime::vnode::kind::VnodeKind;
use crate::runtime::vnode_host::{CountRestarts, ObserveVnodes, PERMITS, VnodeHost};
use crate::runtime::workers::Workers;
use crate::wire::admin::{AdminAnswer, AdminRefusal, AdminRequest, Effect, PartitionRow};
use crate::wire::message::{Command, CommandAnswer, CommandError};

/// What an empty reply is read as.
const NIL: &[u8] = &[0xc0];

/// Limits and periods of a node.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// Where to listen, HOST:PORT. Port 0 takes a free one. Default 127.0.0.1:0.
    pub listen: String,
    /// What to tell others instead of the listening address.
    pub advertise: Option<String>,
    /// Partitions of a ring this node founds. A node that joins must have the cluster's. Default 64.
    pub ring_size: RingSize,
    /// Replicas of a key, for the warning of a plan. Default 3.
    pub n_val: u32,
    /// Slots and patience of transfers.
    pub transfers: TransferSettings,
    /// How long hints must have been left alone before they go home. Default 60 s.
    pub hinted_idle: Duration,
    /// How much one turn of a fold takes. Default 1,024 items or 256 KiB.
    pub page: PageLimits,
    /// When a member counts as down.
    pub patience: Patience,
    /// Commands that may be parked or queued at one vnode during a handoff. Default 1,000.
    pub parked_max: usize,
    /// Commands that may be under way at one vnode; more are refused at once. Default 1,024.
    pub permits: usize,
    /// Where the work of `Async` answers runs. Default [`Workers::Here`], on the node's own thread: for work
    /// that takes longer than a page, give it threads.
    pub workers: Workers,
    /// Writes whose stamp is further ahead of this node's clock are refused. Default 10 s.
    pub max_clock_ahead: Duration,
    /// The protocol as shipped. Only a build for mutation tests can say anything else.
    pub rules: Rules,
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            ring_size: RingSize::default(),
            n_val: 3,
            transfers: TransferSettings::default(),
            hinted_idle: Duration::from_secs(60),
            page: PageLimits { items: 1_024, bytes: 256 * 1024 },
            patience: Patience::default(),
            parked_max: 1_000,
            permits: PERMITS,
            max_clock_ahead: Duration::from_secs(10),
            workers: Workers::Here,
            rules: Rules::default(),
        }
    }
}

/// Why a node did not start. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its address cannot be listened at.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A record cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A record cannot be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The records cannot be listed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The records belong to another node.
    #[error(
        "the records here belong to '{kept}', not to '{asked}'; give each node a directory of its own"
    )]
    OtherNode {
        /// Whose records they are.
        kept: NodeName,
        /// Who was to be started.
        asked: NodeName,
    },
}

/// Why a program has no reply to its command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The command did not meet its quorum; the error says whether it may have taken effect.
    #[error(transparent)]
    Failed(#[from] CommandError),
    /// The command was executed. Its reply is not of the type that this program expects: another version of
    /// the vnode runs elsewhere.
    #[error("the command was executed, but its reply cannot be read: {reason}")]
    ReplyNotUnderstood {
        /// What is wrong with it.
        reason: String,
    },
}

/// A running node: handles to its actors. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    env: Env,
    me: NodeId,
    address: String,
    manager: Addr<RingManager>,
    host: Addr<VnodeHost>,
    coordinator: Addr<Coordinator>,
}

/// How a command is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Replicas asked.
    pub n: u8,
    /// Answers needed.
    pub needed: u8,
    /// How many of them must come from owners rather than fallbacks.
    pub owners_needed: u8,
    /// When the answer must be there at the latest.
    pub deadline: Duration,
    /// Kept over retries of the same operation; `None` has one minted.
    pub op: Option<OpId>,
}

impl Ask {
    /// One replica, for vnodes of class `Single`. Deadline 5 s.
    #[must_use]
    pub fn single() -> Self {
        Self { n: 1, needed: 1, owners_needed: 0, deadline: Duration::from_secs(5), op: None }
    }

    /// A quorum of `needed` out of `n`. Deadline 5 s.
    #[must_use]
    pub fn quorum(n: u8, needed: u8) -> Self {
        Self { n, needed, owners_needed: 0, deadline: Duration::from_secs(5), op: None }
    }
}

impl Node {
    /// Starts a node, and returns when it takes commands. A node that must wait for others before it may serve
    /// is returned after 10 s all the same, with a warning in the log: it goes on waiting, and commands are
    /// answered `NotServing` with the reason.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing runs.
    pub async fn start(
        env: Env,
        settings: NodeSettings,
        kinds: Vec<Arc<dyn VnodeKind>>,
    ) -> Result<Self, StartError> {
        start::start(env, settings, kinds).await
    }

    /// Who it is, in this life.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.me
    }

    /// Where others reach it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs a command at the vnodes of type `V` that hold `hash`, and decodes their combined reply. A vnode
    /// that answers `NoReply` has replied with nil: a reply type that is `()` or an `Option` can say that.
    ///
    /// # Errors
    ///
    /// [`AskError`]. A failed command says which replicas answered what, and whether it may have taken effect.
    pub async fn command<V: Vnode>(
        &self,
        vnode_type: &VnodeType,
        hash: RingHash,
        command: &V::Command,
        ask: Ask,
    ) -> Result<V::Reply, AskError> {
        let command = encoded(command)
            .map_err(|error| CommandError::Illegal { reason: error.to_string() })?;
        let answer = self.run(vnode_type, hash, Bytes::from(command), ask).await?;
        let reply = if answer.is_empty() { NIL } else { &answer[..] };
        rmp_serde::from_slice(reply)
            .map_err(|error| AskError::ReplyNotUnderstood { reason: error.to_string() })
    }

    /// Runs an encoded command. The reply of a vnode that answers `NoReply` is empty.
    ///
    /// # Errors
    ///
    /// [`CommandError`] says which replicas answered what, and whether the command may have taken effect.
    pub async fn run(
        &self,
        vnode_type: &VnodeType,
        hash: RingHash,
        command: Bytes,
        ask: Ask,
    ) -> Result<Bytes, CommandError> {
        match self.ask(vnode_type, hash, command, ask).await {
            CommandAnswer::Met { reply, strict: _ } => Ok(reply),
            CommandAnswer::Failed(error) => Err(error),
        }
    }

    /// Runs an encoded command, and tells with the reply whether owners alone gave it.
    pub async fn ask(
        &self,
        vnode_type: &VnodeType,
        hash: RingHash,
        command: Bytes,
        ask: Ask,
    ) -> CommandAnswer {
        let (answer, answered) = reply(CommandAnswer::Failed(CommandError::NotServing {
            node: self.me.name.clone(),
            reason: "its coordinator has ended; the command may have been executed".to_owned(),
        }));
        let deadline_ms = u32::try_from(ask.deadline.as_millis()).unwrap_or(u32::MAX);
        self.coordinator.do_send(RunCommand {
            command: Command {
                vnode_type: vnode_type.clone(),
                hash,
                n: ask.n,
                needed: ask.needed,
                owners_needed: ask.owners_needed,
                deadline_ms,
                op: ask.op,
                command,
            },
            reply: answer,
        });
        answered.await
    }

    /// Asks what an operator would ask.
    pub async fn admin(&self, request: AdminRequest) -> AdminAnswer {
        let (answer, answered) = reply(AdminAnswer::Refused(AdminRefusal {
            reason: "the node has ended".to_owned(),
            hint: "start it again".to_owned(),
            effect: Effect::Unknown,
        }));
        self.manager.do_send(AdminAsked { request, reply: answer });
        answered.await
    }

    /// Sends ownership events to an actor, from now on.
    pub fn subscribe(&self, subscriber: Recipient<OwnershipChanged>) {
        self.manager.do_send(Subscribe(subscriber));
    }

    /// What this node holds, container by container.
    pub async fn partitions(&self) -> Vec<PartitionRow> {
        self.host.send(ObserveVnodes).await.unwrap_or_default()
    }

    /// What its coordinator has done.
    pub async fn requests(&self) -> CoordinatorReport {
        self.coordinator.send(ObserveCoordinator).await.unwrap_or_default()
    }

    /// How often vnodes of this node were started again.
    pub async fn vnode_restarts(&self) -> u64 {
        self.host.send(CountRestarts).await.unwrap_or_default()
    }

    /// The ring manager, for tests of what it answers.
    #[cfg(test)]
    pub(crate) fn manager(&self) -> &Addr<RingManager> {
        &self.manager
    }

    /// The world it runs in.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }
}
