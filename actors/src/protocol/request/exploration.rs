//! Every sequence of events over small alphabets, each step checked against what a client may rely on.
//!
//! Sequences that lead to the same state are followed once. What was told to the request is kept beside it,
//! and the answer is compared with that.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3Default;

use super::tests::{World, held, node, quorum};
use super::*;
use crate::protocol::hash::RingHash;
use crate::protocol::id::Stamp;
use crate::protocol::quorum::Quorum;
use crate::protocol::rules::Rules;

/// How attempts may end in one exploration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Done,
    Read,
    Busy,
    Moved,
    MovedBack,
    Stalled,
    Overtaken,
    Stopped,
    Refused,
    NotSent,
    Lost,
}

/// What one exploration tries.
struct Alphabet {
    endings: &'static [Ending],
    /// Nodes that may go down.
    down: &'static str,
    /// A token may be learned from elsewhere.
    learns: bool,
}

/// A request, the world around it, and what it was told.
#[derive(Clone, Hash)]
struct Run {
    request: Request,
    world: Rc<World>,
    sent: BTreeMap<AttemptId, Sent>,
    pauses: BTreeSet<PauseId>,
    by_owner: BTreeSet<Partition>,
    by_anyone: BTreeSet<Partition>,
    /// Replicas for which a stand-in told what it keeps.
    told: BTreeSet<Partition>,
    restamps: u16,
    may_have_run: bool,
    stalled: BTreeSet<(NodeName, Token)>,
    answer: Option<bool>,
}

#[derive(Debug, Clone, Hash)]
struct Sent {
    partition: Partition,
    to: NodeName,
    token: Token,
    role: Role,
    restamps: u16,
}

impl Run {
    fn begin(quorum: Quorum, stand_ins: bool, world: World) -> Self {
        let rules = Rules::default();
        let start = Start { hash: RingHash([0; 20]), quorum, stand_ins, jitter: 7, rules };
        let (request, effects) = Request::start(start, &world).unwrap();
        let mut run = Self {
            request,
            world: Rc::new(world),
            sent: BTreeMap::new(),
            pauses: BTreeSet::new(),
            by_owner: BTreeSet::new(),
            by_anyone: BTreeSet::new(),
            told: BTreeSet::new(),
            restamps: 0,
            may_have_run: false,
            stalled: BTreeSet::new(),
            answer: None,
        };
        run.perform(effects);
        run
    }

    /// What could happen next.
    fn events(&self, alphabet: &Alphabet) -> Vec<Event> {
        let mut events = vec![Event::DeadlinePassed];
        for (&attempt, sent) in &self.sent {
            let ends = |&ending| self.ended(attempt, sent, ending);
            events.extend(alphabet.endings.iter().map(ends));
        }
        events.extend(self.pauses.iter().map(|&pause| Event::TimerFired(pause)));
        let goes_down = alphabet.down.chars().map(node).filter(|name| self.world.up.contains(name));
        events.extend(goes_down.map(Event::PeerDown));
        if alphabet.learns {
            let news = held('e', self.world.held(Partition(1)).token.hop + 1);
            events.push(Event::TokenLearned { partition: Partition(1), held: news });
        }
        events
    }

    fn ended(&self, attempt: AttemptId, sent: &Sent, ending: Ending) -> Event {
        let said = match ending {
            Ending::Done => Said::Done { reply: Bytes::new() },
            Ending::Read => Said::Read { reply: Bytes::new() },
            Ending::Busy => Said::Failed(FailureReason::Busy),
            Ending::Moved => Said::Moved(held('d', sent.token.hop + 1)),
            Ending::MovedBack => Said::Moved(held('d', sent.token.hop)),
            Ending::Stalled => Said::Failed(FailureReason::Stalled),
            Ending::Overtaken => Said::Overtaken(Stamp { millis: 7, logical: 0 }),
            Ending::Stopped => Said::Failed(FailureReason::Stopped(String::new())),
            Ending::Refused => Said::Failed(FailureReason::Refused(String::new())),
            Ending::NotSent => return Event::NotSent { attempt },
            Ending::Lost => return Event::Lost { attempt },
        };
        Event::Replied { attempt, said }
    }

    fn after(&self, event: &Event) -> Self {
        let mut next = self.clone();
        next.witness(event);
        let effects = next.request.step(event.clone(), &*next.world);
        next.perform(effects);
        next
    }

    /// Keeps what the event says about the replicas, independent of what the request makes of it.
    fn witness(&mut self, event: &Event) {
        match event {
            Event::Replied { attempt, said } => {
                let sent = self.sent.remove(attempt).unwrap();
                match said {
                    Said::Done { .. } | Said::Read { .. } if sent.restamps < self.restamps => {
                        self.may_have_run = true;
                    }
                    Said::Read { .. } if sent.role != Role::Owner => {
                        self.told.insert(sent.partition);
                    }
                    Said::Done { .. } | Said::Read { .. } => {
                        self.by_anyone.insert(sent.partition);
                        if sent.role == Role::Owner {
                            self.by_owner.insert(sent.partition);
                        }
                    }
                    Said::Failed(reason) => {
                        self.may_have_run |= reason.may_have_run();
                        if *reason == FailureReason::Stalled {
                            self.stalled.insert((sent.to, sent.token));
                        }
                    }
                    Said::Moved(_) | Said::Overtaken(_) => {}
                }
            }
            Event::NotSent { attempt } => drop(self.sent.remove(attempt)),
            Event::Lost { attempt } => {
                self.sent.remove(attempt);
                self.may_have_run = true;
            }
            Event::PeerDown(name) => {
                Rc::make_mut(&mut self.world).up.remove(name);
                self.may_have_run |= self.sent.values().any(|sent| sent.to == *name);
            }
            Event::TokenLearned { partition, held } => {
                Rc::make_mut(&mut self.world).holders.insert(*partition, held.clone());
            }
            Event::TimerFired(pause) => drop(self.pauses.remove(pause)),
            Event::DeadlinePassed => {}
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { attempt, partition, to, token, role } => {
                    let sent = Sent { partition, to, token, role, restamps: self.restamps };
                    self.check_send(&sent);
                    assert!(
                        self.sent.insert(attempt, sent).is_none(),
                        "an attempt's id came twice"
                    );
                }
                Effect::Restamp { .. } => {
                    assert_eq!(self.answer, None, "a stamp was changed after it was acknowledged");
                    self.restamps += 1;
                    self.may_have_run |= !self.by_anyone.is_empty();
                    self.by_anyone.clear();
                    self.by_owner.clear();
                }
                Effect::After { pause, wait } => {
                    assert_ne!(self.answer, Some(false), "a pause after the failure was told");
                    assert!(wait >= PAUSE_MIN / 2 && wait <= PAUSE_MAX);
                    assert!(self.pauses.insert(pause), "a pause's id came twice");
                }
                Effect::Learned { partition, held } => {
                    assert!(held.token > self.world.held(partition).token, "that is no news");
                    Rc::make_mut(&mut self.world).holders.insert(partition, held);
                }
                Effect::Answer(verdict) => self.check_answer(&verdict),
            }
        }
        if !self.request.is_answered() {
            assert!(!self.sent.is_empty() || !self.pauses.is_empty(), "nothing would ever happen");
        }
        assert_eq!(self.request.is_answered(), self.answer.is_some());
    }

    fn check_send(&self, sent: &Sent) {
        assert_ne!(self.answer, Some(false), "sent after the failure was told");
        assert!(!self.by_anyone.contains(&sent.partition), "asked although it executed");
        assert!(!self.told.contains(&sent.partition), "asked although it told");
        match &sent.role {
            Role::Owner => {}
            Role::StandIn { instead_of } => {
                assert!(self.request.start.stand_ins, "nobody may stand in");
                let stalled = self.stalled.contains(&(instead_of.clone(), sent.token));
                assert!(stalled || !self.world.up.contains(instead_of), "slow is not down");
                assert_ne!(sent.to, *instead_of);
                assert!(self.world.up.contains(&sent.to), "a stand-in that is down");
            }
        }
    }

    fn check_answer(&mut self, verdict: &Verdict) {
        assert_eq!(self.answer, None, "answered twice");
        let quorum = self.request.start.quorum;
        let is_owner = |sent: &Sent| sent.role == Role::Owner && self.world.up.contains(&sent.to);
        let waits_for_an_owner = self.sent.values().any(is_owner);
        let (done, owners) = (self.by_anyone.len(), self.by_owner.len());
        let needed = usize::from(quorum.needed());
        let is_met = |all| all >= needed && owners >= usize::from(quorum.primaries_needed());
        let with_told: BTreeSet<_> = self.by_anyone.union(&self.told).copied().collect();
        match verdict {
            Verdict::Met { strict, answers } => {
                let all = if waits_for_an_owner { done } else { with_told.len() };
                assert!(is_met(all), "met with {all} replicas, {owners} of them owners");
                assert_eq!(*strict, owners >= needed);
                let partitions: BTreeSet<_> = answers.iter().map(|one| one.partition).collect();
                assert_eq!(partitions, with_told);
                self.answer = Some(true);
            }
            Verdict::Failed { ok, may_have_been_stored, failures, .. } => {
                let ok = usize::from(*ok);
                assert!(!is_met(ok), "failed with {ok} replicas, {owners} of them owners");
                assert!(ok == done || ok == with_told.len());
                let may_have_run = self.may_have_run || ok > 0 || !self.sent.is_empty();
                assert_eq!(*may_have_been_stored, may_have_run);
                assert!(!failures.is_empty(), "nobody is named");
                self.answer = Some(false);
            }
        }
    }
}

/// Stands for a state: comparing whole states would take most of the time.
fn digest(run: &Run) -> u64 {
    let mut hasher = Xxh3Default::new();
    run.hash(&mut hasher);
    hasher.finish()
}

/// Follows all sequences of up to `events_max` events. Returns how many different states there are.
fn explore(first: Run, alphabet: &Alphabet, events_max: usize) -> usize {
    let mut seen = BTreeSet::from([digest(&first)]);
    let mut latest = vec![first];
    for _ in 0..events_max {
        let mut found = Vec::new();
        for run in latest.iter().filter(|run| !run.request.is_over()) {
            for event in run.events(alphabet) {
                let next = run.after(&event);
                if event == Event::DeadlinePassed {
                    assert!(next.answer.is_some() && next.request.is_over());
                } else if seen.insert(digest(&next)) {
                    found.push(next);
                }
            }
        }
        latest = found;
    }
    for run in latest.iter().filter(|run| !run.request.is_over()) {
        assert!(run.after(&Event::DeadlinePassed).answer.is_some(), "never answered");
    }
    seen.len()
}

const ALL: &[Ending] = &[
    Ending::Done,
    Ending::Read,
    Ending::Busy,
    Ending::Moved,
    Ending::MovedBack,
    Ending::Stalled,
    Ending::Overtaken,
    Ending::Stopped,
    Ending::Refused,
    Ending::NotSent,
    Ending::Lost,
];

#[test]
fn one_replica_without_stand_ins_keeps_its_promises() {
    let alphabet = Alphabet { endings: ALL, down: "ad", learns: true };
    let run = Run::begin(quorum(1, 1, 1), false, World::of("abcdeabc"));
    let states = explore(run, &alphabet, 6);
    assert!(states > 1_000, "{states} states are too few to mean anything");
}

#[test]
fn two_replicas_keep_their_promises() {
    let endings = &[Ending::Done, Ending::Moved, Ending::Stalled, Ending::Stopped, Ending::Lost];
    let alphabet = Alphabet { endings, down: "a", learns: false };
    for (needed, owners_needed) in [(1, 0), (2, 1)] {
        let run = Run::begin(quorum(2, needed, owners_needed), true, World::of("abcdeabc"));
        let states = explore(run, &alphabet, 6);
        assert!(states > 1_000, "{states} states are too few to mean anything");
    }
}

#[test]
fn replicas_that_are_read_keep_their_promises() {
    let endings = &[Ending::Read, Ending::Refused, Ending::Lost];
    let alphabet = Alphabet { endings, down: "ab", learns: false };
    let run = Run::begin(quorum(3, 2, 0), true, World::of("abcdeabc"));
    let states = explore(run, &alphabet, 6);
    assert!(states > 1_000, "{states} states are too few to mean anything");
}

#[test]
fn replicas_that_are_overtaken_keep_their_promises() {
    let alphabet =
        Alphabet { endings: &[Ending::Done, Ending::Overtaken], down: "", learns: false };
    let run = Run::begin(quorum(3, 2, 2), true, World::of("abcdeabc"));
    let states = explore(run, &alphabet, 5);
    assert!(states > 1_000, "{states} states are too few to mean anything");

    let endings = &[Ending::Done, Ending::Overtaken, Ending::Refused, Ending::Lost];
    let alphabet = Alphabet { endings, down: "a", learns: false };
    let run = Run::begin(quorum(2, 2, 0), true, World::of("abcdeabc"));
    let states = explore(run, &alphabet, 5);
    assert!(states > 1_000, "{states} states are too few to mean anything");
}

#[test]
fn three_replicas_keep_their_promises() {
    let endings = &[Ending::Done, Ending::NotSent, Ending::Lost];
    for (needed, owners_needed, down) in [(2, 0, "a"), (2, 2, "ab")] {
        let alphabet = Alphabet { endings, down, learns: false };
        let run = Run::begin(quorum(3, needed, owners_needed), true, World::of("abcdeabc"));
        let states = explore(run, &alphabet, 6);
        assert!(states > 1_000, "{states} states are too few to mean anything");
    }
}
