//! What commands need of a node. The network stands behind two traits, so that every command can be
//! tried against nodes that are scripted.

use std::time::Duration;

use tanodb_actors::protocol::id::NodeName;
use tanodb_actors::wire::admin::{AdminAnswer, AdminRequest};

use crate::client::Options;
use crate::config::address::HostPort;
use crate::failure::Failure;

mod network;

pub use network::Network;

/// Where a node listens that was not told otherwise, and whom a command asks that was not either.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:7650";

/// Reaches nodes.
pub trait Connect {
    /// A node that was reached.
    type Node: Talk;

    /// Connects to the node at an address within `deadline`. Nothing is changed by it.
    fn connect(
        &self,
        address: &HostPort,
        deadline: Duration,
    ) -> impl Future<Output = Result<Self::Node, Failure>>;
}

/// Which key, and how many replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The bucket.
    pub bucket: String,
    /// The key in it.
    pub key: String,
    /// Replicas of the key; `None`: the store's default.
    pub n: Option<u8>,
    /// Replicas that must answer; `None`: a majority of n.
    pub needed: Option<u8>,
}

impl Item {
    /// Replicas of the key.
    #[must_use]
    pub fn n(&self) -> u8 {
        self.n.unwrap_or(Options::default().n)
    }

    /// Replicas that must answer.
    #[must_use]
    pub fn needed(&self) -> u8 {
        self.needed.unwrap_or(self.n() / 2 + 1)
    }
}

/// A conversation with one node. Every answer comes by its deadline.
pub trait Talk {
    /// Asks for administration. A refusal is an answer, not a failure.
    fn admin(
        &mut self,
        request: AdminRequest,
        deadline: Duration,
    ) -> impl Future<Output = Result<AdminAnswer, Failure>>;

    /// Stores a value.
    fn put(
        &mut self,
        item: &Item,
        value: &[u8],
        deadline: Duration,
    ) -> impl Future<Output = Result<(), Failure>>;

    /// Reads a value; `None`: there is none.
    fn get(
        &mut self,
        item: &Item,
        deadline: Duration,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, Failure>>;

    /// Deletes a value. True if there was one.
    fn delete(
        &mut self,
        item: &Item,
        deadline: Duration,
    ) -> impl Future<Output = Result<bool, Failure>>;
}

/// Asks for administration and turns a refusal into a failure.
///
/// # Errors
///
/// The refusal, or why there was no answer.
pub async fn ask(
    node: &mut impl Talk,
    request: AdminRequest,
    deadline: Duration,
) -> Result<AdminAnswer, Failure> {
    let only_reads = only_reads(&request);
    let answer = match node.admin(request, deadline).await {
        Ok(answer) => answer,
        Err(failure) if only_reads => return Err(failure.of_a_read()),
        Err(failure) => return Err(failure),
    };
    if let AdminAnswer::Refused(refusal) = answer {
        return Err(refusal.into());
    }
    Ok(answer)
}

/// The failure of a node that answers something else than it was asked.
#[must_use]
pub fn unexpected(asked: &str) -> Failure {
    let reason = format!("the node did not answer what it was asked: {asked}");
    Failure::unknown(reason, "run the same version of tanodb here and there")
}

fn only_reads(request: &AdminRequest) -> bool {
    match request {
        AdminRequest::Join { .. } | AdminRequest::Commit { .. } | AdminRequest::Clear => false,
        AdminRequest::Ping
        | AdminRequest::Plan
        | AdminRequest::MemberStatus
        | AdminRequest::RingStatus
        | AdminRequest::Partitions
        | AdminRequest::Transfers
        | AdminRequest::Resolve { .. } => true,
    }
}

/// Connects to the node of this name at `address`, and to no other that has moved in there.
///
/// # Errors
///
/// Nobody answers, or somebody else does. Nothing was changed.
pub async fn connect_to<C: Connect>(
    network: &C,
    name: &NodeName,
    address: &HostPort,
    deadline: Duration,
) -> Result<C::Node, Failure> {
    let mut node = network.connect(address, deadline).await?;
    let AdminAnswer::Pong(pong) = ask(&mut node, AdminRequest::Ping, deadline).await? else {
        return Err(unexpected("ping").of_a_read());
    };
    if pong.node == *name {
        return Ok(node);
    }
    let reason = format!("{address} belongs to '{}', not to '{name}'", pong.node);
    Err(Failure::failed(reason, format!("find out where '{name}' listens; give its HOST:PORT")))
}

#[cfg(test)]
pub(crate) mod scripted;
