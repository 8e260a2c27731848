//! The joiner's conversation with a member: stage the join, fetch the ring; and later, whether it is staged still.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::protocol::gossip::Part;
use crate::protocol::id::{NodeName, VnodeType, VoterId};
use crate::protocol::ring::Ring;
use crate::runtime::env::Env;
use crate::runtime::network::connection::{Connection, ConnectionLimits, frame, parse};
use crate::runtime::network::dial::{DialError, dial};
use crate::wire::message::{Hello, Introduction, Joiner, PeerMessage, kind};

/// How long the member may take for each answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long after the first try a join may be tried again whose answer was lost. With the last answer's wait this is
/// within the patience of whoever asked for the join.
const AGAIN_WITHIN: Duration = Duration::from_secs(8);

/// Pause before such a try.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What a joiner comes back with.
pub(super) struct Joined {
    /// All that the member knows.
    pub(super) part: Part,
    /// Its ring.
    pub(super) ring: Arc<Ring>,
    /// Who the member is.
    pub(super) contact: NodeName,
}

/// Why a node could not join. It stays as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum JoinFailed {
    /// Nobody could be reached there, or whoever is there refuses.
    #[error("Node {address} is not reachable! ({why})")]
    NotReachable { address: String, why: String },
    /// Whoever is there refused the connection.
    #[error("Failed: {0}")]
    Refused(String),
    /// The member did not give its ring.
    #[error("Failed: Unable to get ring from '{contact}' ({why})")]
    NoRing { contact: NodeName, why: String },
    /// The member's ring has another size.
    #[error(
        "Failed: '{contact}' has a different ring_creation_size ({theirs}, this node has {mine})"
    )]
    OtherRingSize { contact: NodeName, theirs: u32, mine: u32 },
    /// The member refused to stage it.
    #[error("{0}")]
    NotStaged(String),
    /// The member was asked to stage it, and the answer was lost.
    #[error("Failed: '{contact}' may have staged the join, but its answer did not arrive ({why})")]
    Unknown { contact: NodeName, why: String },
    /// This node holds items that the cluster does not know.
    #[error("Failed: This node holds {objects} items, and joining would discard them")]
    HoldsItems { objects: u64 },
    /// The cluster's ring could not be stored here.
    #[error("Failed: the cluster's ring cannot be stored: {0}")]
    NotDurable(String),
}

impl JoinFailed {
    /// What to do next.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::NotReachable { .. } => "check the address and that the node runs, then try again",
            Self::Refused(_) | Self::NoRing { .. } | Self::NotStaged(_) => {
                "nothing was changed; see 'tanodb member-status' on both nodes"
            }
            Self::Unknown { .. } => {
                "join again: it goes on where it stopped; or clear it with 'tanodb cluster clear'"
            }
            Self::OtherRingSize { .. } => {
                "start this node with an empty data directory and the cluster's --ring-size"
            }
            Self::HoldsItems { .. } => {
                "read what you need from it, then start it with an empty data directory and join again"
            }
            Self::NotDurable(_) => "free or repair the disk of this node, then try again",
        }
    }
}

/// Asks a member what it knows, as a joiner may that is in no cluster, or in one that does not know it any more.
pub(super) async fn fetch(env: &Env, address: &str, hello: &Hello) -> Result<Part, String> {
    let dialled = dial(env, address, hello, ConnectionLimits::default()).await;
    let (mut connection, _) = dialled.map_err(|error| error.to_string())?;
    let given = ask(env, &mut connection, 1, &PeerMessage::FetchRing).await?;
    let PeerMessage::Gossip(part) = given else {
        return Err("an answer that does not fit".to_owned());
    };
    Ok(*part)
}

/// Asks a member for its ring and to stage this node's join. If the answer is lost, it asks again: a member stages
/// the same life of a node once.
pub(super) async fn fetch_and_stage(
    env: &Env,
    address: &str,
    hello: Hello,
    voter: VoterId,
    types: BTreeSet<VnodeType>,
) -> Result<Joined, JoinFailed> {
    let ends = env.clock.now().plus(AGAIN_WITHIN);
    let mut lost = None;
    loop {
        let failed = match try_once(env, address, hello.clone(), voter, types.clone()).await {
            Ok(joined) => return Ok(joined),
            Err(failed) => failed,
        };
        match failed {
            JoinFailed::Unknown { .. } => lost = Some(failed),
            JoinFailed::NotReachable { .. } | JoinFailed::NoRing { .. } if lost.is_some() => {}
            JoinFailed::NotReachable { .. }
            | JoinFailed::NoRing { .. }
            | JoinFailed::Refused(_)
            | JoinFailed::OtherRingSize { .. }
            | JoinFailed::NotStaged(_)
            | JoinFailed::HoldsItems { .. }
            | JoinFailed::NotDurable(_) => return Err(failed),
        }
        if let Some(lost) = lost.take_if(|_| env.clock.now() >= ends) {
            return Err(lost);
        }
        env.clock.sleep(AGAIN_AFTER).await;
    }
}

async fn try_once(
    env: &Env,
    address: &str,
    hello: Hello,
    voter: VoterId,
    types: BTreeSet<VnodeType>,
) -> Result<Joined, JoinFailed> {
    let not_reachable = |why: String| JoinFailed::NotReachable { address: address.to_owned(), why };
    let (mut connection, welcome) =
        dial(env, address, &hello, ConnectionLimits::default()).await.map_err(|error| {
            if let DialError::Refused(refusal) = &error {
                JoinFailed::Refused(refusal.to_string())
            } else {
                not_reachable(error.to_string())
            }
        })?;
    let contact = welcome.from.node.name;
    let Some(me) = hello.from else { return Err(not_reachable("no introduction".to_owned())) };
    if contact == me.node.name {
        return Err(JoinFailed::Refused("This node cannot join itself in a cluster".to_owned()));
    }
    let (theirs, mine) = (welcome.from.ring_size.count(), me.ring_size.count());
    if theirs != mine {
        return Err(JoinFailed::OtherRingSize { contact, theirs, mine });
    }
    let no_ring = |why: String| JoinFailed::NoRing { contact: contact.clone(), why };
    let Introduction { node, address, ring_size, .. } = me;
    let joiner = Joiner { node, voter, address, ring_size, types };
    let stage = PeerMessage::StageJoin(Box::new(joiner));
    let does_not_fit = || no_ring("an answer that does not fit".to_owned());
    let is_lost = |why: String| JoinFailed::Unknown { contact: contact.clone(), why };
    let staged = ask(env, &mut connection, 1, &stage).await.map_err(is_lost)?;
    let PeerMessage::JoinStaged { refused } = staged else { return Err(does_not_fit()) };
    if let Some(why) = refused {
        return Err(JoinFailed::NotStaged(why));
    }
    let given = ask(env, &mut connection, 2, &PeerMessage::FetchRing).await.map_err(is_lost)?;
    let PeerMessage::Gossip(part) = given else { return Err(does_not_fit()) };
    match part.ring.clone() {
        Some(ring) => Ok(Joined { part: *part, ring, contact: contact.clone() }),
        None => Err(no_ring("it sent none".to_owned())),
    }
}

async fn ask(
    env: &Env,
    connection: &mut Connection,
    id: u64,
    message: &PeerMessage,
) -> Result<PeerMessage, String> {
    let sending = connection.writer.send(frame(kind::PEER, id, message));
    sending.await.map_err(|error| error.to_string())?;
    let answered = async {
        loop {
            match connection.reader.next().await {
                Ok(Some(frame)) if frame.kind == kind::PEER_ANSWER && frame.id == id => {
                    return parse::<PeerMessage>(&frame).map_err(|error| error.to_string());
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err("it closed the connection".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    env.clock.timeout(ANSWER_MAX, answered).await.unwrap_or(Err("no answer in time".to_owned()))
}
