//! Whether a state of the handoff model is an end: nothing is under way, and nothing waits for more.

use tanodb_actors::protocol::handoff::Handoff;

use super::world::{Ground, Place, SECOND_RING, World};

/// Whether every transfer has completed or was cancelled, as far as that is possible: a life that is gone
/// ends nothing, and what waits for one waits for a takeover.
pub(crate) fn is_settled(ground: &Ground, world: &World) -> bool {
    let all = Place::ALL.map(|place| world.node(place));
    let has_seen_all = !world.is_decided || all.iter().all(|node| node.epoch == SECOND_RING);
    let is_quiet = world.links.is_empty() && all.iter().all(|node| node.writing.is_none());
    has_seen_all
        && is_quiet
        && Place::ALL.into_iter().all(|place| is_node_settled(ground, world, place))
}

fn is_node_settled(ground: &Ground, world: &World, at: Place) -> bool {
    let node = world.node(at);
    let has_ended = |node_id| world.node(ground.place(node_id)).me != *node_id;
    match &node.handoff {
        Handoff::Absent { .. } => node.owned.is_none() && node.staging.is_none(),
        Handoff::Owner(ownership) => {
            let wanted = Place::desired(node.epoch);
            let is_home = wanted == at || !world.is_listed(wanted);
            is_home && ownership.predecessor.is_none() && node.staging.is_none()
        }
        Handoff::Lost { .. } => true,
        Handoff::Granting { outgoing, .. } => has_ended(&outgoing.target),
        Handoff::Holding { incoming, .. } => has_ended(&incoming.source),
        Handoff::Sending(..)
        | Handoff::Fenced { .. }
        | Handoff::Resuming(_)
        | Handoff::Retired { .. }
        | Handoff::Purging { .. }
        | Handoff::Staging(_)
        | Handoff::CaughtUp(_)
        | Handoff::Accepting { .. } => false,
    }
}
