//! Every order of events of a small cluster: never are two values decided for one epoch.
//!
//! Messages that were sent stay deliverable for ever, so each may arrive never, late, or many times, in
//! any order. Acceptors write to a disk and may crash before or after; proposers may time out at any
//! time, and restart. The check is only worth something because it fails for each [`Fault`].
//!
//! Left out, because nobody else could tell the difference: `Nack`s and the last attempt's timer only make
//! a proposer stop sooner, as never hearing anything again does; and answers that make no majority change
//! nothing outside the proposer, so they are heard together with those that do.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::rc::Rc;

use super::proposer::{Proposal, ProposerEffect, ProposerEvent, ProposerStep};
use super::*;
use crate::protocol::id::NodeName;

const EPOCH: Epoch = Epoch(2);

/// A way to break the protocol, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Answers leave before the acceptor is durable.
    AnswersBeforeDurable,
    /// An acceptor does not say what it accepted before.
    PromisesHideWhatWasAccepted,
    /// A proposer that restarts counts its proposals from 1 again.
    BallotsUsedTwice,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Reply {
    proposer: usize,
    ballot: Ballot,
    answer: Answer<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Voter {
    memory: Acceptor<u8>,
    disk: Acceptor<u8>,
    /// Answers that wait for the disk.
    waiting: BTreeSet<Reply>,
    /// Answers that left.
    sent: BTreeSet<Reply>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Seat {
    proposer: Proposer<u8>,
    attempts_left: u32,
    /// The attempt under way.
    timer: Option<Ballot>,
    accepting: bool,
}

impl Seat {
    /// Whether the proposer would count this answer.
    fn awaits(&self, reply: &Reply) -> bool {
        let this_round = match reply.answer {
            Answer::Promise { .. } => !self.accepting,
            Answer::Accepted => self.accepting,
            Answer::Nack { .. } | Answer::EpochOver { .. } | Answer::EpochAhead { .. } => false,
        };
        this_round && self.timer == Some(reply.ballot)
    }
}

/// Voters are kept in the order of what they know: who is called what makes no difference, since a
/// proposer holds no names between two majorities.
#[derive(Debug, Clone, Hash)]
struct World {
    seats: Vec<Rc<Seat>>,
    voters: Vec<Rc<Voter>>,
    /// Questions ever sent, each to everybody: by whom, what.
    asked: Rc<BTreeSet<(usize, Ask<u8>)>>,
    crashes_left: u32,
    restarts_left: u32,
    decided: BTreeSet<u8>,
}

impl World {
    fn with_voter(&self, number: usize, voter: Voter) -> Self {
        let mut next = self.clone();
        next.voters[number] = Rc::new(voter);
        next
    }

    /// Drops what makes no difference any more, and sorts.
    fn tidied(mut self) -> Self {
        for voter in &mut self.voters {
            // An answer to a round that is over; a restart could make it count again.
            let over = |reply: &Reply| !self.seats[reply.proposer].awaits(reply);
            if self.restarts_left == 0 && voter.sent.iter().any(over) {
                Rc::make_mut(voter).sent.retain(|reply| !over(reply));
            }
        }
        self.voters.sort();
        self
    }
}

/// What was found on the way through all worlds.
#[derive(Debug, Default)]
struct Found {
    worlds: usize,
    two_decided: Option<World>,
    decided_own: bool,
    decided_other: bool,
}

/// How large the explored cluster is.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    attempts: [u32; 2],
    acceptors: usize,
    crashes: u32,
    restarts: u32,
}

fn node(number: usize) -> NodeName {
    NodeName::new(&format!("n{number}@host")).unwrap()
}

struct Explorer {
    fault: Fault,
    bounds: Bounds,
    rules: Rules,
    names: Vec<NodeName>,
    found: Found,
}

impl Explorer {
    /// Walks through every reachable world once.
    fn explore(fault: Fault, bounds: Bounds) -> Found {
        let rules = Rules::default();
        let names = (0..bounds.acceptors).map(node).collect();
        let mut explorer = Self { fault, bounds, rules, names, found: Found::default() };
        let mut open = vec![explorer.first_world()];
        let mut known = BTreeSet::new();
        while let Some(world) = open.pop() {
            let world = world.tidied();
            let mut hasher = DefaultHasher::new();
            world.hash(&mut hasher);
            if !known.insert(hasher.finish()) {
                continue;
            }
            if world.decided.len() > 1 {
                explorer.found.two_decided = Some(world);
                break;
            }
            explorer.successors(&world, &mut open);
        }
        explorer.found.worlds = known.len();
        explorer.found
    }

    fn first_world(&mut self) -> World {
        let Bounds { attempts, acceptors, crashes, restarts } = self.bounds;
        let fresh = Acceptor::after(Epoch(EPOCH.0 - 1)).under(self.rules);
        let (waiting, sent) = (BTreeSet::new(), BTreeSet::new());
        let voter = Rc::new(Voter { memory: fresh.clone(), disk: fresh, waiting, sent });
        let mut world = World {
            seats: Vec::new(),
            voters: vec![voter; acceptors],
            asked: Rc::default(),
            crashes_left: crashes,
            restarts_left: restarts,
            decided: BTreeSet::new(),
        };
        for number in 0..attempts.iter().filter(|attempts| **attempts > 0).count() {
            let value = u8::try_from(number).unwrap();
            world.seats.push(Rc::new(self.seat(number, 1, value)));
            world = self.tell(&world, number, ProposerEvent::Started);
        }
        world
    }

    fn seat(&self, number: usize, boot: u64, value: u8) -> Seat {
        let voters = self.names.iter().cloned().zip((0..).map(VoterId));
        let attempts_left = self.bounds.attempts[number];
        let proposer = Proposer::new(Proposal {
            id: ProposalId { boot, number: 1 },
            proposer: VoterId(number as u64),
            epoch: EPOCH,
            value,
            acceptors: voters.collect(),
            attempts_max: NonZeroU32::new(attempts_left).unwrap(),
            rules: self.rules,
        });
        Seat { proposer, attempts_left, timer: None, accepting: false }
    }

    fn successors(&mut self, world: &World, open: &mut Vec<World>) {
        for (from, question) in world.asked.iter() {
            for voter in 0..world.voters.len() {
                open.extend(self.ask(world, *from, voter, question));
            }
        }
        for (number, seat) in world.seats.iter().enumerate() {
            self.hear_majorities(world, number, open);
            if let Some(ballot) = seat.timer.filter(|_| seat.attempts_left > 0) {
                open.push(self.tell(world, number, ProposerEvent::TimedOut(ballot)));
            }
            if world.restarts_left > 0 {
                open.push(self.restart(world, number));
            }
        }
        for (number, voter) in world.voters.iter().enumerate() {
            if voter.waiting.is_empty() && voter.disk == voter.memory {
                continue;
            }
            let Voter { memory, disk, waiting, sent } = voter.as_ref().clone();
            let all_sent = sent.iter().chain(&waiting).cloned().collect();
            let written =
                Voter { disk: memory.clone(), memory, waiting: BTreeSet::new(), sent: all_sent };
            open.push(world.with_voter(number, written));
            if world.crashes_left > 0 {
                let crashed = Voter { memory: disk.clone(), disk, waiting: BTreeSet::new(), sent };
                let mut next = world.with_voter(number, crashed);
                next.crashes_left -= 1;
                open.push(next);
            }
        }
    }

    /// The world after a question arrived; none if it made no difference.
    fn ask(&self, world: &World, from: usize, to: usize, question: &Ask<u8>) -> Option<World> {
        let voter = &world.voters[to];
        let Answered { acceptor, persist, mut answer } =
            voter.memory.clone().answer(question.clone());
        assert_eq!(persist == Persist::Unchanged, acceptor == voter.memory, "{answer:?}");
        match &mut answer {
            Answer::Nack { .. } => return None,
            Answer::Promise { accepted } if self.fault == Fault::PromisesHideWhatWasAccepted => {
                *accepted = None;
            }
            Answer::Promise { .. }
            | Answer::Accepted
            | Answer::EpochOver { .. }
            | Answer::EpochAhead { .. } => {}
        }
        let reply = Reply { proposer: from, ballot: question.ballot(), answer };
        let said = voter.waiting.contains(&reply) || voter.sent.contains(&reply);
        let heard = world.restarts_left > 0 || world.seats[from].awaits(&reply);
        if persist == Persist::Unchanged && (said || !heard) {
            return None;
        }
        let mut voter = Voter { memory: acceptor, ..voter.as_ref().clone() };
        if self.fault == Fault::AnswersBeforeDurable {
            voter.sent.insert(reply);
        } else if world.crashes_left == 0 {
            // Without crashes to come it makes no difference when the disk is written.
            voter.disk = voter.memory.clone();
            voter.sent.append(&mut voter.waiting);
            voter.sent.insert(reply);
        } else {
            voter.waiting.insert(reply);
        }
        Some(world.with_voter(to, voter))
    }

    /// The worlds after a proposer heard just enough answers, each of them twice.
    fn hear_majorities(&mut self, world: &World, number: usize, open: &mut Vec<World>) {
        let mut awaited = Vec::new();
        for (acceptor, voter) in world.voters.iter().enumerate() {
            let counted = voter.sent.iter().filter(|reply| reply.proposer == number);
            let counted = counted.filter(|reply| world.seats[number].awaits(reply));
            awaited.extend(counted.map(|reply| (acceptor, reply)));
        }
        for chosen in 0_u32..1 << awaited.len() {
            let bits = awaited.iter().enumerate().filter(|(bit, _)| chosen & (1 << bit) != 0);
            let chosen: BTreeMap<usize, &Reply> = bits.map(|(_, awaited)| *awaited).collect();
            if chosen.len() == self.bounds.acceptors / 2 + 1 {
                open.push(self.hear_twice(world, number, chosen));
            }
        }
    }

    fn hear_twice(
        &mut self,
        world: &World,
        number: usize,
        replies: BTreeMap<usize, &Reply>,
    ) -> World {
        let mut next = world.clone();
        for (acceptor, reply) in replies {
            for _ in 0..2 {
                let from = self.names[acceptor].clone();
                let voter = VoterId(acceptor as u64);
                let (ballot, answer) = (reply.ballot, reply.answer.clone());
                let heard = ProposerEvent::Answered { from, voter, ballot, answer };
                next = self.tell(&next, number, heard);
            }
        }
        next
    }

    /// The world after an event at a proposer.
    fn tell(&mut self, world: &World, number: usize, event: ProposerEvent<u8>) -> World {
        let mut next = world.clone();
        let mut seat = world.seats[number].as_ref().clone();
        let effects = match seat.proposer.step(event) {
            ProposerStep::Moved(proposer, effects) => {
                seat.proposer = proposer;
                effects
            }
            ProposerStep::Stayed(..) => return next,
        };
        let mut pause_before = None;
        for effect in effects {
            match effect {
                ProposerEffect::Ask(_, question) => {
                    seat.accepting = matches!(question, Ask::Accept { .. });
                    Rc::make_mut(&mut next.asked).insert((number, question));
                }
                ProposerEffect::Decided { value, own } => {
                    next.decided.insert(value);
                    self.found.decided_own |= own;
                    self.found.decided_other |= !own;
                    seat.timer = None;
                }
                ProposerEffect::Retry { ballot, .. } => pause_before = Some(ballot),
                ProposerEffect::StartTimer(ballot) => {
                    seat.timer = Some(ballot);
                    seat.attempts_left -= 1;
                }
                ProposerEffect::GaveUp { .. } => seat.timer = None,
                ProposerEffect::BringUpToDate(_) => {}
            }
        }
        next.seats[number] = Rc::new(seat);
        // The length of the pause does not matter: every other order of events is tried as well.
        match pause_before {
            Some(ballot) => self.tell(&next, number, ProposerEvent::RetryDue(ballot)),
            None => next,
        }
    }

    /// The node starts anew, with another value on its mind. Old messages are still under way.
    fn restart(&mut self, world: &World, number: usize) -> World {
        let boot = if self.fault == Fault::BallotsUsedTwice { 1 } else { 2 };
        let mut next = world.clone();
        next.restarts_left -= 1;
        next.seats[number] = Rc::new(self.seat(number, boot, 9));
        self.tell(&next, number, ProposerEvent::Started)
    }
}

fn assert_one_value(bounds: Bounds, worlds_at_least: usize) {
    let found = Explorer::explore(Fault::None, bounds);
    assert!(found.two_decided.is_none(), "two values: {:#?}", found.two_decided);
    assert!(found.worlds >= worlds_at_least, "only {} worlds for {bounds:?}", found.worlds);
    assert!(found.decided_own && found.decided_other, "{bounds:?} shows too little");
}

fn assert_noticed(fault: Fault, bounds: Bounds) {
    let found = Explorer::explore(fault, bounds);
    assert!(found.two_decided.is_some(), "{fault:?} was not noticed in {} worlds", found.worlds);
}

const RIVALS: Bounds = Bounds { attempts: [1, 1], acceptors: 3, crashes: 0, restarts: 0 };
const CRASH: Bounds = Bounds { crashes: 1, ..RIVALS };
const RESTART: Bounds = Bounds { attempts: [1, 0], restarts: 1, ..RIVALS };

#[test]
fn two_rivals_who_try_again_never_get_two_values_decided() {
    assert_one_value(Bounds { attempts: [2, 2], ..RIVALS }, 10_000);
}

#[test]
fn half_of_four_acceptors_is_no_majority() {
    assert_one_value(Bounds { acceptors: 4, ..RIVALS }, 300);
}

#[test]
fn an_acceptor_that_crashes_keeps_what_it_promised() {
    assert_one_value(CRASH, 3_500);
    assert_one_value(Bounds { attempts: [2, 1], acceptors: 2, ..CRASH }, 1_000);
}

#[test]
fn a_proposer_that_restarts_does_not_decide_a_second_value() {
    assert_one_value(Bounds { restarts: 1, ..RIVALS }, 10_000);
}

#[test]
fn an_answer_before_the_promise_is_durable_lets_two_values_be_decided() {
    assert_noticed(Fault::AnswersBeforeDurable, CRASH);
}

#[test]
fn a_promise_that_hides_what_was_accepted_lets_two_values_be_decided() {
    assert_noticed(Fault::PromisesHideWhatWasAccepted, RIVALS);
}

#[test]
fn a_ballot_used_twice_lets_two_values_be_decided() {
    assert_noticed(Fault::BallotsUsedTwice, RESTART);
}
