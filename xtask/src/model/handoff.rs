//! The shipped handoff protocol over all its orders: one partition that moves from A to B and on to C.
//!
//! Each node holds a real [`Handoff`]; the source's [`Stream`], [`Sender`] and the target's [`Receiver`] are the
//! shipped ones too. What the actors around them do with each effect is [`runtime`]'s part. The connection of
//! an attempt keeps its order and may be cut; every other message may arrive never, late, or often, in any
//! order. A ring that wants the partition at C may be decided at any time, and each node learns of it by itself.
//!
//! What is smaller than in the runtime:
//! - steps of one node between its own actors are one step, but for what a sender asks its vnode;
//! - acknowledgements of parts come back at once: they only open the window, which is never full here;
//! - an attempt starts only when its target is in the life the ring lists and all nodes know the same ring
//!   (the ring-ready gate): else it would be refused, and be made again without end;
//! - slots, time, gossip of tokens, hints, parked commands and repairs of a difference are left out;
//! - a takeover (force-remove) does not exist in the code yet, so it is not here: what waits for one, a grant to
//!   a life that is gone and a held copy whose source's life is gone, counts as settled.
//!
//! [`Handoff`]: tanodb_actors::protocol::handoff::Handoff
//! [`Stream`]: tanodb_actors::protocol::stream::Stream
//! [`Sender`]: tanodb_actors::protocol::sender::Sender
//! [`Receiver`]: tanodb_actors::protocol::receiver::Receiver

mod action;
mod connection;
mod fault;
mod runtime;
mod settled;
#[cfg(test)]
mod tests;
mod world;

use stateright::{Model, Property};
use tanodb_actors::protocol::handoff::{Handoff, Route};
use tanodb_actors::protocol::rules::Rules;

use super::graph::Graph;
use action::Action;
use runtime::Turn;
use world::{Ground, Left, OPERATIONS, Place, World, Wrong};

/// A rule that the model's runtime breaks, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The grant is sent before the record of it is durable.
    GrantsBeforeDurable,
    /// A source executes commands though it has fenced.
    ServesFenced,
    /// A node that lost its items goes on from its record, under its old name.
    WipedServesOn,
    /// The old copy is deleted when the grant is sent.
    DeletesOnGrant,
    /// Deletes behind the cursor are not sent, and nothing is compared at the fence.
    ShipsNoDeletes,
    /// A grant that is not answered is given up.
    GivesUpGranting,
    /// A source that has retired does not say so.
    SaysNeverRetired,
}

/// Whether and how a ring comes that wants the partition at C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecondRing {
    Never,
    /// All nodes learn of it at once.
    AtOnce,
    /// Each node learns of it by itself.
    Apart,
}

/// What becomes of messages outside of the transfers' connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Messages {
    /// What was ever said may arrive at any time, any number of times, or never. Which of it was lost for good
    /// is not told, so that nothing can be said about what must happen in the end.
    Anyhow,
    /// Each is heard once, in any order, or lost for good.
    OnceOrNever,
    /// Each is heard once, in any order, or lost; either way it may be heard later and again.
    Told,
}

/// How much may happen in one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) operations: usize,
    /// Attempts that are given up for no reason.
    pub(crate) cancels: u8,
    /// Connections that are cut.
    pub(crate) cuts: u8,
    /// Vnode actors that fall and are started again with what they held.
    pub(crate) falls: u8,
    /// Nodes that lose their items and come back in a later life.
    pub(crate) wipes: u8,
    /// Nodes with durable items that are restarted.
    pub(crate) restarts: u8,
    pub(crate) second_ring: SecondRing,
    pub(crate) messages: Messages,
}

impl Bounds {
    fn left(&self) -> Left {
        let Self { cancels, cuts, falls, wipes, restarts, .. } = *self;
        let operations = self.operations.min(OPERATIONS.len());
        Left { operations, cancels, cuts, falls, wipes, restarts }
    }
}

/// The model of the handoff.
pub(crate) struct HandoffModel {
    pub(crate) bounds: Bounds,
    pub(crate) broken: Option<Broken>,
    rules: Rules,
    ground: Ground,
    graph: Graph,
}

impl HandoffModel {
    pub(crate) fn new(bounds: Bounds, rules: Rules, broken: Option<Broken>, graph: Graph) -> Self {
        Self { bounds, broken, rules, ground: Ground::new(), graph }
    }

    fn turn(&self, world: World) -> Turn<'_> {
        Turn {
            ground: &self.ground,
            bounds: &self.bounds,
            broken: self.broken,
            rules: self.rules,
            world,
        }
    }
}

impl Model for HandoffModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::first(&self.ground, &self.bounds)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.ghost.wrong.is_none() {
            action::possible(self, world, actions);
        }
        self.graph.visit(world, || settled::is_settled(&self.ground, world));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let is_progress = action.is_progress();
        let mut turn = self.turn(world.clone());
        turn.take(action);
        turn.tidy();
        let next = turn.world;
        if next == *world {
            return None;
        }
        self.graph.step(&next, is_progress);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("OneOwner", |_, world: &World| {
                world.ghost.wrong != Some(Wrong::TwoOwners)
            }),
            Property::always("AckInherit", |model: &Self, world: &World| {
                serving(model.rules, world).all(|items| items.contain(&world.ghost.truth))
            }),
            Property::always("NoResurrect", |model: &Self, world: &World| {
                serving(model.rules, world).all(|items| items.has_no_key_beyond(&world.ghost.truth))
            }),
            Property::always("DeleteAfterProof", |_, world: &World| {
                world.ghost.wrong != Some(Wrong::Deleted)
            }),
            Property::always("NoSilentSkip", |_, world: &World| {
                world.ghost.wrong != Some(Wrong::Differs)
            }),
            Property::sometimes(ARRIVES, |model: &Self, world: &World| {
                let has_second = model.bounds.second_ring != SecondRing::Never;
                let wanted_at = if has_second { Place::C } else { Place::B };
                let has_left = world.node(Place::A).owned.is_none();
                has_left && is_settled_owner(&world.node(wanted_at).handoff)
            }),
        ]
    }
}

/// What happens in some run, or the bounds are too narrow to show anything.
const ARRIVES: &str = "the partition arrives where the last ring wants it";

fn is_settled_owner(handoff: &Handoff) -> bool {
    matches!(handoff, Handoff::Owner(ownership) if ownership.predecessor.is_none())
}

/// What the nodes that serve the partition hold of it.
fn serving(rules: Rules, world: &World) -> impl Iterator<Item = world::Items> {
    let nodes = Place::ALL.into_iter().map(|place| world.node(place));
    let here = nodes.filter(move |node| matches!(node.handoff.route_under(rules), Route::Here(_)));
    here.map(|node| node.owned.unwrap_or_default())
}

impl Turn<'_> {
    /// Looks who serves after a step, and forgets what makes no difference any more.
    fn tidy(&mut self) {
        for place in Place::ALL {
            let node = self.world.node(place);
            let Route::Here(token) = node.handoff.route_under(self.rules) else { continue };
            let me = node.me.clone();
            let speaks_anew = match &self.world.ghost.highest {
                None => true,
                Some((highest, who)) => {
                    if token < *highest || (token == *highest && who.as_ref() != Some(&me)) {
                        self.wrong(Wrong::TwoOwners);
                        return;
                    }
                    token > *highest
                }
            };
            if speaks_anew {
                self.world.ghost.highest = Some((token, Some(me)));
            }
        }
        let serving = Place::ALL
            .into_iter()
            .map(|place| self.world.node(place).handoff.route_under(self.rules));
        if serving.filter(|route| matches!(route, Route::Here(_))).count() > 1 {
            self.wrong(Wrong::TwoOwners);
        }
        self.world.links.retain(|link| !link.is_over());
    }
}
