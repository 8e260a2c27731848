//! One write after another of one item, through coordinators whose clocks disagree, over replicas that keep the
//! higher (stamp, dot): every order in which messages arrive, with one that is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3Default;

use super::tests::{World, quorum};
use super::*;
use crate::protocol::hash::RingHash;
use crate::protocol::id::Stamp;
use crate::protocol::rules::Rules;
use crate::protocol::stamp::Hlc;

/// What decides which of two copies is kept.
type Version = (Stamp, u8);

/// How far ahead of its own clock a coordinator lets a stamp move it.
const AHEAD_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Hash)]
enum Message {
    Asks(Partition, Stamp),
    Says(Said),
}

/// A coordinator with one write.
#[derive(Clone, Hash)]
struct Writer {
    request: Request,
    clock: Hlc,
    wall_millis: u64,
    stamp: Stamp,
    dot: u8,
    under_way: BTreeMap<AttemptId, Message>,
    pauses: BTreeSet<PauseId>,
    acknowledged: Option<bool>,
}

#[derive(Clone, Hash)]
struct Run {
    replicas: BTreeMap<Partition, Version>,
    /// Each begins when the one before is acknowledged.
    writers: Vec<Writer>,
    /// The clocks of the writers to come.
    clocks: Vec<u64>,
    losses_left: u8,
}

enum Happens {
    Arrives(usize, AttemptId),
    GetsLost(usize, AttemptId),
    PauseEnds(usize, PauseId),
}

impl Writer {
    fn begin(wall_millis: u64, dot: u8, world: &World) -> Self {
        let start = Start {
            hash: RingHash([0; 20]),
            quorum: quorum(3, 2, 2),
            stand_ins: true,
            jitter: 7,
            rules: Rules::default(),
        };
        let (request, effects) = Request::start(start, world).unwrap();
        let mut clock = Hlc::default();
        let stamp = clock.tick(wall_millis);
        let mut writer = Self {
            request,
            clock,
            wall_millis,
            stamp,
            dot,
            under_way: BTreeMap::new(),
            pauses: BTreeSet::new(),
            acknowledged: None,
        };
        writer.perform(effects);
        writer
    }

    fn hears(&mut self, event: Event, world: &World) {
        let effects = self.request.step(event, world);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { attempt, partition, .. } => {
                    self.under_way.insert(attempt, Message::Asks(partition, self.stamp));
                }
                Effect::Restamp { above } => {
                    self.stamp = self.clock.tick_above(above, self.wall_millis, AHEAD_MAX);
                }
                Effect::After { pause, .. } => drop(self.pauses.insert(pause)),
                Effect::Learned { .. } => panic!("nothing moves"),
                Effect::Answer(verdict) => {
                    self.acknowledged = Some(matches!(verdict, Verdict::Met { .. }));
                }
            }
        }
    }
}

impl Run {
    fn begin(left_behind: &[(u32, u64)], clocks: &[u64], losses_left: u8, world: &World) -> Self {
        let stored = |&(partition, millis): &(u32, u64)| {
            (Partition(partition), (Stamp { millis, logical: 0 }, u8::MAX))
        };
        let mut run = Self {
            replicas: left_behind.iter().map(stored).collect(),
            writers: Vec::new(),
            clocks: clocks.iter().rev().copied().collect(),
            losses_left,
        };
        run.go_on(world);
        run
    }

    /// The next one begins when the one before it is acknowledged.
    fn go_on(&mut self, world: &World) {
        if self.writers.last().is_none_or(|last| last.acknowledged == Some(true))
            && let Some(wall_millis) = self.clocks.pop()
        {
            // The later one loses where the stamps are equal.
            let dot = u8::try_from(self.clocks.len()).unwrap();
            self.writers.push(Writer::begin(wall_millis, dot, world));
        }
    }

    fn events(&self) -> Vec<Happens> {
        let mut events = Vec::new();
        for (place, writer) in self.writers.iter().enumerate() {
            for &attempt in writer.under_way.keys() {
                events.push(Happens::Arrives(place, attempt));
                if self.losses_left > 0 {
                    events.push(Happens::GetsLost(place, attempt));
                }
            }
            events.extend(writer.pauses.iter().map(|&pause| Happens::PauseEnds(place, pause)));
        }
        events
    }

    fn after(&self, happens: &Happens, world: &World) -> Self {
        let mut next = self.clone();
        match *happens {
            Happens::Arrives(place, attempt) => {
                let dot = next.writers[place].dot;
                match next.writers[place].under_way.remove(&attempt).unwrap() {
                    Message::Asks(partition, stamp) => {
                        let says = next.executes(partition, (stamp, dot));
                        next.writers[place].under_way.insert(attempt, Message::Says(says));
                    }
                    Message::Says(said) => {
                        next.writers[place].hears(Event::Replied { attempt, said }, world);
                    }
                }
            }
            Happens::GetsLost(place, attempt) => {
                next.losses_left -= 1;
                next.writers[place].under_way.remove(&attempt);
                next.writers[place].hears(Event::Lost { attempt }, world);
            }
            Happens::PauseEnds(place, pause) => {
                next.writers[place].pauses.remove(&pause);
                next.writers[place].hears(Event::TimerFired(pause), world);
            }
        }
        next.go_on(world);
        next
    }

    /// A replica of the key/value store.
    fn executes(&mut self, partition: Partition, (stamp, dot): Version) -> Said {
        let held = self.replicas.entry(partition).or_insert((stamp, dot));
        if held.1 != dot && *held > (stamp, dot) {
            return Said::Overtaken(held.0);
        }
        *held = (*held).max((stamp, dot));
        Said::Done { reply: Bytes::new() }
    }

    fn check(&self) {
        let acknowledged = |writer: &&Writer| writer.acknowledged == Some(true);
        let version = |writer: &Writer| (writer.stamp, writer.dot);
        let writes: Vec<Version> = self.writers.iter().filter(acknowledged).map(version).collect();
        assert!(writes.is_sorted_by(|one, next| one < next), "acknowledged in turn: {writes:?}");
        let Some(last) = writes.last() else { return };
        let holding = self.replicas.values().filter(|held| *held >= last).count();
        assert!(holding >= 2, "a read of two replicas would miss it");
    }
}

/// Follows every order of events to its end. Returns how many states and how many ends there are.
fn explore(first: Run, world: &World) -> (usize, usize) {
    let digest = |run: &Run| {
        let mut hasher = Xxh3Default::new();
        run.hash(&mut hasher);
        hasher.finish()
    };
    let mut seen = BTreeSet::from([digest(&first)]);
    let mut left = vec![first];
    let mut ends = 0;
    while let Some(run) = left.pop() {
        let events = run.events();
        if events.is_empty() {
            let all = run.writers.iter().all(|writer| writer.acknowledged == Some(true));
            assert!(all && run.clocks.is_empty(), "one loss keeps nobody from acknowledging");
            ends += 1;
        }
        for happens in events {
            let next = run.after(&happens, world);
            next.check();
            if seen.insert(digest(&next)) {
                left.push(next);
            }
        }
    }
    (seen.len(), ends)
}

#[test]
fn a_write_is_newer_than_every_write_acknowledged_before_it_began() {
    let world = World::of("abcdeabc");
    // Clocks that agree, and one that is behind by more than a clock is moved.
    for clocks in [[9_000, 9_000], [90_000, 1_000]] {
        let (states, ends) = explore(Run::begin(&[], &clocks, 0, &world), &world);
        assert!(states > 1_000 && ends > 0, "{states} states are too few to mean anything");
    }
}

#[test]
fn a_message_that_is_lost_does_not_change_that() {
    let world = World::of("abcdeabc");
    let left_behind = [(1, 5_000), (2, 3_000)];
    let run = Run::begin(&left_behind, &[4_000], 1, &world);
    let (states, ends) = explore(run, &world);
    assert!(states > 1_000 && ends > 0, "{states} states are too few to mean anything");
}
