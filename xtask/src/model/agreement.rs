//! The shipped agreement on a ring over all its orders: two proposers, three acceptors.
//!
//! Each acceptor has a memory and a disk and may crash at any point; a proposer's node may be restarted, which
//! forgets its proposal and makes another. What was ever said may arrive at any time, any number of times, or
//! never. The pause before a retry has no length, since every other order of events is tried as well.
//!
//! What nobody else could tell apart is one state here: answers that make no majority change nothing outside of
//! their proposer, so a majority is heard at once; a `Nack` only makes a proposer stop sooner, as silence does;
//! without a crash to come it makes no difference when a disk is written; and the acceptors are numbered by what
//! they know, since a proposer keeps no names between two majorities.
//!
//! A decision stays reachable: from every state, with all acceptors crashed once more and all messages arriving,
//! a proposal made anew is decided, or learns what was.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use stateright::{Model, Property};
use tanodb_actors::protocol::agreement::proposer::{
    Proposal, ProposerEffect, ProposerEvent, ProposerStep,
};
use tanodb_actors::protocol::agreement::{
    Acceptor, Answer, Answered, Ask, Ballot, Persist, ProposalId, Proposer,
};
use tanodb_actors::protocol::id::{Epoch, NodeName, VoterId};
use tanodb_actors::protocol::rules::Rules;

/// The epoch that is decided.
const EPOCH: Epoch = Epoch(2);

/// Of all acceptors, reachable or not.
const ACCEPTORS: usize = 3;

/// What a restarted proposer wants, and what is proposed to see whether a decision is reachable.
const AFTER_RESTART: u8 = 8;
const AFTERWARDS: u8 = 9;

/// A rule that the model breaks, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Answers leave before the acceptor is durable.
    AnswersBeforeDurable,
    /// An acceptor does not say what it accepted before.
    HidesWhatWasAccepted,
    /// A proposer that restarts counts its proposals from 1 again.
    UsesBallotsTwice,
}

/// How much may happen in one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Attempts of each proposer.
    pub(crate) attempts: [u32; 2],
    /// Crashes of acceptors.
    pub(crate) crashes: u8,
    /// Restarts of proposers.
    pub(crate) restarts: u8,
}

/// An answer, and to which proposer it goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reply {
    to: usize,
    ballot: Ballot,
    answer: Answer<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Voter {
    memory: Acceptor<u8>,
    disk: Acceptor<u8>,
    /// Answers that wait for the disk.
    waiting: BTreeSet<Reply>,
    /// Answers that left.
    said: BTreeSet<Reply>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Seat {
    proposer: Proposer<u8>,
    /// The attempt under way.
    timer: Option<Ballot>,
    is_accepting: bool,
    attempts_left: u32,
}

impl Seat {
    /// Whether the proposer would count this answer.
    fn awaits(&self, reply: &Reply) -> bool {
        let is_of_this_round = match reply.answer {
            Answer::Promise { .. } => !self.is_accepting,
            Answer::Accepted => self.is_accepting,
            Answer::Nack { .. } | Answer::EpochOver { .. } | Answer::EpochAhead { .. } => false,
        };
        is_of_this_round && self.timer == Some(reply.ballot)
    }
}

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    seats: Vec<Arc<Seat>>,
    voters: Vec<Arc<Voter>>,
    /// Questions that were ever asked, each of everybody: by whom, what.
    asked: Arc<BTreeSet<(usize, Ask<u8>)>>,
    crashes_left: u8,
    restarts_left: u8,
    decided: BTreeSet<u8>,
    /// Whether somebody had to decide what another had proposed.
    has_given_way: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Ask {
        by: usize,
        voter: usize,
        question: Ask<u8>,
    },
    /// A proposer hears these acceptors, each of them twice.
    Hear {
        seat: usize,
        voters: Vec<usize>,
    },
    TimeOut(usize),
    Write(usize),
    Crash(usize),
    Restart(usize),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask { by, voter, question: Ask::Prepare { ballot, .. } } => {
                let round = ballot.round;
                write!(f, "proposer {by}'s prepare of round {round} reaches acceptor {voter}")
            }
            Self::Ask { by, voter, question: Ask::Accept { ballot, value, .. } } => {
                let round = ballot.round;
                write!(f, "proposer {by} asks acceptor {voter} for ring {value} in round {round}")
            }
            Self::Hear { seat, voters } => {
                write!(f, "proposer {seat} hears a majority: acceptors {voters:?}")
            }
            Self::TimeOut(seat) => write!(f, "the attempt of proposer {seat} takes too long"),
            Self::Write(voter) => write!(f, "acceptor {voter} is durable"),
            Self::Crash(voter) => write!(f, "acceptor {voter} crashes and is started again"),
            Self::Restart(seat) => write!(f, "proposer {seat} is restarted and proposes anew"),
        }
    }
}

/// The model of the agreement.
pub(crate) struct AgreementModel {
    bounds: Bounds,
    broken: Option<Broken>,
    rules: Rules,
    names: Vec<NodeName>,
}

impl AgreementModel {
    pub(crate) fn new(bounds: Bounds, rules: Rules, broken: Option<Broken>) -> Self {
        let name = |number| {
            #[expect(
                clippy::expect_used,
                reason = "a letter and a number at a host is a node name"
            )]
            NodeName::new(&format!("n{number}@model")).expect("a node name")
        };
        Self { bounds, broken, rules, names: (0..ACCEPTORS).map(name).collect() }
    }

    fn is_broken(&self, how: Broken) -> bool {
        self.broken == Some(how)
    }

    fn seat(&self, number: usize, boot: u64, value: u8, attempts: u32) -> Seat {
        let voters = self.names.iter().cloned().zip((0..).map(VoterId));
        let proposer = Proposer::new(Proposal {
            id: ProposalId { boot, number: 1 },
            proposer: VoterId(number as u64),
            epoch: EPOCH,
            value,
            acceptors: voters.collect(),
            attempts_max: NonZeroU32::new(attempts).unwrap_or(NonZeroU32::MIN),
            rules: self.rules,
        });
        Seat { proposer, timer: None, is_accepting: false, attempts_left: attempts }
    }

    /// The world after an event at a proposer.
    fn tell(&self, world: &mut World, number: usize, event: ProposerEvent<u8>) {
        let Some(slot) = world.seats.get_mut(number) else { return };
        let mut seat = slot.as_ref().clone();
        let effects = match seat.proposer.step(event) {
            ProposerStep::Moved(proposer, effects) => {
                seat.proposer = proposer;
                effects
            }
            ProposerStep::Stayed(..) => return,
        };
        let mut pause_before = None;
        for effect in effects {
            match effect {
                ProposerEffect::Ask(_, question) => {
                    seat.is_accepting = matches!(question, Ask::Accept { .. });
                    Arc::make_mut(&mut world.asked).insert((number, question));
                }
                ProposerEffect::Decided { value, own } => {
                    world.decided.insert(value);
                    world.has_given_way |= !own;
                    seat.timer = None;
                }
                ProposerEffect::Retry { ballot, .. } => pause_before = Some(ballot),
                ProposerEffect::StartTimer(ballot) => {
                    seat.timer = Some(ballot);
                    seat.attempts_left = seat.attempts_left.saturating_sub(1);
                }
                ProposerEffect::GaveUp { .. } => seat.timer = None,
                ProposerEffect::BringUpToDate(_) => {}
            }
        }
        *slot = Arc::new(seat);
        if let Some(ballot) = pause_before {
            self.tell(world, number, ProposerEvent::RetryDue(ballot));
        }
    }

    /// The world after a question arrived; none if that makes no difference.
    fn ask(&self, world: &World, by: usize, to: usize, question: Ask<u8>) -> Option<World> {
        let (voter, seat) = (world.voters.get(to)?, world.seats.get(by)?);
        let ballot = question.ballot();
        let Answered { acceptor, persist, mut answer } = voter.memory.clone().answer(question);
        match &mut answer {
            Answer::Nack { .. } => return None,
            Answer::Promise { accepted } if self.is_broken(Broken::HidesWhatWasAccepted) => {
                *accepted = None;
            }
            Answer::Promise { .. }
            | Answer::Accepted
            | Answer::EpochOver { .. }
            | Answer::EpochAhead { .. } => {}
        }
        let reply = Reply { to: by, ballot, answer };
        let is_said = voter.waiting.contains(&reply) || voter.said.contains(&reply);
        let is_awaited = world.restarts_left > 0 || seat.awaits(&reply);
        if persist == Persist::Unchanged && (is_said || !is_awaited) {
            return None;
        }
        let mut voter = Voter { memory: acceptor, ..voter.as_ref().clone() };
        // Nothing is being written, and nothing has changed: the answer leaves at once.
        let leaves = persist == Persist::Unchanged && voter.waiting.is_empty();
        if leaves || self.is_broken(Broken::AnswersBeforeDurable) {
            voter.said.insert(reply);
        } else if world.crashes_left == 0 {
            voter.disk = voter.memory.clone();
            voter.said.append(&mut voter.waiting);
            voter.said.insert(reply);
        } else {
            voter.waiting.insert(reply);
        }
        let mut next = world.clone();
        *next.voters.get_mut(to)? = Arc::new(voter);
        Some(next)
    }

    /// The majorities whose answers a proposer could hear now.
    fn majorities(&self, world: &World, number: usize) -> Vec<Vec<usize>> {
        let Some(seat) = world.seats.get(number) else { return Vec::new() };
        let awaited =
            |voter: &Voter| voter.said.iter().any(|it| it.to == number && seat.awaits(it));
        let voters = world.voters.iter().enumerate().filter(|(_, voter)| awaited(voter));
        let voters: Vec<usize> = voters.map(|(place, _)| place).collect();
        let subsets = (0_u32..1 << voters.len()).map(|bits| {
            let chosen = voters.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
            chosen.map(|(_, voter)| *voter).collect::<Vec<_>>()
        });
        subsets.filter(|chosen| chosen.len() == ACCEPTORS / 2 + 1).collect()
    }

    fn hear(&self, world: &mut World, number: usize, voters: &[usize]) -> Option<()> {
        let seat = Arc::clone(world.seats.get(number)?);
        let mut events = Vec::new();
        for voter in voters {
            let mut said = world.voters.get(*voter)?.said.iter();
            let reply = said.find(|reply| reply.to == number && seat.awaits(reply))?;
            let heard = self.heard(*voter, reply)?;
            events.extend([heard.clone(), heard]);
        }
        for event in events {
            self.tell(world, number, event);
        }
        Some(())
    }

    fn heard(&self, voter: usize, reply: &Reply) -> Option<ProposerEvent<u8>> {
        Some(ProposerEvent::Answered {
            from: self.names.get(voter)?.clone(),
            voter: VoterId(voter as u64),
            ballot: reply.ballot,
            answer: reply.answer.clone(),
        })
    }

    /// Forgets answers to a round that is over, which only a restart could make count again.
    fn tidy(world: &mut World) {
        let seats = &world.seats;
        let is_over = |reply: &Reply| seats.get(reply.to).is_none_or(|seat| !seat.awaits(reply));
        for voter in &mut world.voters {
            if world.restarts_left == 0 && voter.said.iter().any(is_over) {
                Arc::make_mut(voter).said.retain(|reply| !is_over(reply));
            }
        }
        world.voters.sort();
    }

    /// What is decided if nothing goes wrong any more and somebody proposes anew.
    fn decided_afterwards(&self, world: &World) -> Option<u8> {
        let mut voters: Vec<Acceptor<u8>> =
            world.voters.iter().map(|voter| voter.disk.clone()).collect();
        let seat = self.seat(0, u64::MAX, AFTERWARDS, 8);
        let mut proposer = seat.proposer;
        let mut events = vec![ProposerEvent::Started];
        while let Some(event) = events.pop() {
            let effects = match proposer.clone().step(event) {
                ProposerStep::Moved(next, effects) => {
                    proposer = next;
                    effects
                }
                ProposerStep::Stayed(..) => continue,
            };
            for effect in effects {
                match effect {
                    ProposerEffect::Decided { value, .. } => return Some(value),
                    ProposerEffect::GaveUp { .. } => return None,
                    ProposerEffect::Retry { ballot, .. } => {
                        events = vec![ProposerEvent::RetryDue(ballot)];
                    }
                    ProposerEffect::Ask(who, question) => {
                        let number = self.names.iter().position(|name| *name == who)?;
                        let ballot = question.ballot();
                        let voter = voters.get_mut(number)?;
                        let Answered { acceptor, answer, .. } = voter.clone().answer(question);
                        *voter = acceptor;
                        let reply = Reply { to: 0, ballot, answer };
                        events.extend(self.heard(number, &reply));
                    }
                    ProposerEffect::StartTimer(_) | ProposerEffect::BringUpToDate(_) => {}
                }
            }
        }
        None
    }
}

impl Model for AgreementModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let fresh = Acceptor::after(Epoch(1)).under(self.rules);
        let (waiting, said) = (BTreeSet::new(), BTreeSet::new());
        let voter = Arc::new(Voter { memory: fresh.clone(), disk: fresh, waiting, said });
        let seats = self.bounds.attempts.iter().zip(0_u8..).map(|(attempts, value)| {
            Arc::new(self.seat(usize::from(value), 1, value + 1, *attempts))
        });
        let mut world = World {
            seats: seats.collect(),
            voters: vec![voter; ACCEPTORS],
            asked: Arc::default(),
            crashes_left: self.bounds.crashes,
            restarts_left: self.bounds.restarts,
            decided: BTreeSet::new(),
            has_given_way: false,
        };
        for number in 0..world.seats.len() {
            self.tell(&mut world, number, ProposerEvent::Started);
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (by, question) in world.asked.iter() {
            let to_each = (0..world.voters.len()).map(|voter| Action::Ask {
                by: *by,
                voter,
                question: question.clone(),
            });
            actions.extend(to_each);
        }
        for (number, voter) in world.voters.iter().enumerate() {
            if voter.disk == voter.memory && voter.waiting.is_empty() {
                continue;
            }
            actions.push(Action::Write(number));
            if world.crashes_left > 0 {
                actions.push(Action::Crash(number));
            }
        }
        for (number, seat) in world.seats.iter().enumerate() {
            let majorities = self.majorities(world, number).into_iter();
            actions.extend(majorities.map(|voters| Action::Hear { seat: number, voters }));
            if seat.timer.is_some() && seat.attempts_left > 0 {
                actions.push(Action::TimeOut(number));
            }
            if world.restarts_left > 0 {
                actions.push(Action::Restart(number));
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Ask { by, voter, question } => next = self.ask(world, by, voter, question)?,
            Action::Hear { seat, voters } => self.hear(&mut next, seat, &voters)?,
            Action::TimeOut(number) => {
                let ballot = next.seats.get(number)?.timer?;
                self.tell(&mut next, number, ProposerEvent::TimedOut(ballot));
            }
            Action::Write(number) => {
                let slot = next.voters.get_mut(number)?;
                let Voter { memory, waiting, mut said, .. } = slot.as_ref().clone();
                said.extend(waiting);
                let disk = memory.clone();
                *slot = Arc::new(Voter { memory, disk, waiting: BTreeSet::new(), said });
            }
            Action::Crash(number) => {
                next.crashes_left -= 1;
                let slot = next.voters.get_mut(number)?;
                let Voter { disk, said, .. } = slot.as_ref().clone();
                let memory = disk.clone();
                *slot = Arc::new(Voter { memory, disk, waiting: BTreeSet::new(), said });
            }
            Action::Restart(number) => {
                next.restarts_left -= 1;
                let boot = if self.is_broken(Broken::UsesBallotsTwice) { 1 } else { 2 };
                let attempts = self.bounds.attempts.get(number).copied()?;
                let seat = self.seat(number, boot, AFTER_RESTART, attempts);
                *next.seats.get_mut(number)? = Arc::new(seat);
                self.tell(&mut next, number, ProposerEvent::Started);
            }
        }
        Self::tidy(&mut next);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("RingCas", |_, world: &World| world.decided.len() <= 1),
            Property::always("DecisionReachable", |model: &Self, world: &World| {
                let value = model.decided_afterwards(world);
                value
                    .is_some_and(|value| world.decided.is_empty() || world.decided.contains(&value))
            }),
            Property::sometimes("a proposer gives way", |_, world: &World| world.has_given_way),
        ]
    }
}
