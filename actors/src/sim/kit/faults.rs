//! What goes wrong in a simulated cluster while clients work: which faults are drawn, how long they last, and
//! how all of them end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Draw;
use crate::sim::cluster::Cluster;
use crate::sim::disk::WriteFailure;
use crate::sim::network::NetworkSettings;

/// Which faults are drawn, and how often. All of them leave every acknowledged effect in place by the runtime's
/// promises, so that an author's check needs no excuses.
///
/// Nodes keep their items in memory. A node that is killed or loses power has lost what it held, so that
/// befalls only nodes that hold nothing: joiners before they are members, and in class `Single` the target of the
/// very first transfer to it. (In class `Merged` it would hold hints by then.) Nodes that hold something are cut
/// off, paused, slowed, and confused about the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Links are cut, one way or both, for up to 5 s.
    pub cuts: bool,
    /// Connections are reset, or forgotten at one end.
    pub resets: bool,
    /// Links take only so many bytes in a second, and the network loses segments, for up to 5 s.
    pub slow_links: bool,
    /// Nodes are paused for up to 3 s.
    pub pauses: bool,
    /// Disks are slow, full, or fail to write for up to 3 s.
    pub disks: bool,
    /// Clocks are wrong by up to 2 s.
    pub skew: bool,
    /// Nodes that hold nothing are killed, or lose power: see above.
    pub kills: bool,
    /// The mean time between two faults. Default 1 s.
    pub every: Duration,
}

impl Default for Faults {
    /// All of them.
    fn default() -> Self {
        Self {
            cuts: true,
            resets: true,
            slow_links: true,
            pauses: true,
            disks: true,
            skew: true,
            kills: true,
            every: Duration::from_secs(1),
        }
    }
}

impl Faults {
    /// A world in which nothing goes wrong but delays.
    #[must_use]
    pub fn none() -> Self {
        Self {
            cuts: false,
            resets: false,
            slow_links: false,
            pauses: false,
            disks: false,
            skew: false,
            kills: false,
            every: Duration::from_secs(1),
        }
    }
}

/// Milliseconds a fault may last.
const LASTS_MILLIS: u64 = 5_000;
const PAUSE_MILLIS: u64 = 3_000;
const SKEW_MILLIS: u64 = 2_000;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Cut,
    CutOneWay,
    Reset,
    HalfOpen,
    SlowLink,
    Lossy,
    Pause,
    SlowDisk,
    FullDisk,
    FailedWrites,
    Skew,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Cut => "links cut",
            Self::CutOneWay => "links cut one way",
            Self::Reset => "connections reset",
            Self::HalfOpen => "connections half open",
            Self::SlowLink => "links slow",
            Self::Lossy => "network lossy",
            Self::Pause => "nodes paused",
            Self::SlowDisk => "disks slow",
            Self::FullDisk => "disks full",
            Self::FailedWrites => "writes failed",
            Self::Skew => "clocks wrong",
        }
    }
}

/// What ends a fault.
enum End {
    Heal(String, String),
    Quicken(String, String),
    Resume(String),
    Mend(String),
    Clear,
}

/// Draws faults, and ends them in time.
pub(super) struct Nemesis {
    faults: Faults,
    draw: Draw,
    ends: BTreeMap<(Duration, u64), End>,
    /// Faults so far, by kind.
    pub(super) counts: BTreeMap<&'static str, u64>,
    drawn: u64,
    /// When the next fault comes.
    next: Duration,
}

impl Nemesis {
    pub(super) fn new(faults: Faults, draw: Draw) -> Self {
        let (ends, counts) = (BTreeMap::new(), BTreeMap::new());
        let mut nemesis = Self { faults, draw, ends, counts, drawn: 0, next: Duration::ZERO };
        nemesis.plan_next();
        nemesis
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn plan_next(&mut self) {
        let mean = u64::try_from(self.faults.every.as_millis()).unwrap_or(u64::MAX);
        self.next += Duration::from_millis(1 + self.draw.below(mean.saturating_mul(2)));
    }

    /// When a fault comes or ends next.
    pub(super) fn next(&self) -> Duration {
        let ends = self.ends.first_key_value().map(|((ends, _), _)| *ends);
        ends.map_or(self.next, |ends| ends.min(self.next))
    }

    /// Ends what is due, and begins what is due.
    pub(super) fn act(&mut self, town: &mut Cluster) {
        self.end_until(town, town.elapsed());
        if town.elapsed() < self.next {
            return;
        }
        // Time may have passed without faults.
        self.next = town.elapsed();
        self.plan_next();
        let kinds = self.kinds();
        let Some(kind) = self.draw.pick(&kinds).copied() else { return };
        let running: Vec<String> = town.running().iter().map(ToString::to_string).collect();
        let Some(one) = self.draw.pick(&running).cloned() else { return };
        let others: Vec<String> = running.into_iter().filter(|other| *other != one).collect();
        let other = self.draw.pick(&others).cloned();
        if self.begin(town, kind, one, other) {
            self.count(kind.name());
        }
    }

    fn kinds(&self) -> Vec<Kind> {
        let Faults { cuts, resets, slow_links, pauses, disks, skew, .. } = self.faults;
        let families: [(bool, &[Kind]); 6] = [
            (cuts, &[Kind::Cut, Kind::CutOneWay]),
            (resets, &[Kind::Reset, Kind::HalfOpen]),
            (slow_links, &[Kind::SlowLink, Kind::Lossy]),
            (pauses, &[Kind::Pause]),
            (disks, &[Kind::SlowDisk, Kind::FullDisk, Kind::FailedWrites]),
            (skew, &[Kind::Skew]),
        ];
        families
            .iter()
            .filter(|(is_on, _)| *is_on)
            .flat_map(|(_, kinds)| kinds.iter().copied())
            .collect()
    }

    fn ends_after(&mut self, town: &Cluster, millis_max: u64, end: End) {
        self.drawn += 1;
        let lasts = Duration::from_millis(50 + self.draw.below(millis_max));
        self.ends.insert((town.elapsed() + lasts, self.drawn), end);
    }

    /// Begins a fault at a node, or between it and another. False if it needs another and there is none.
    fn begin(
        &mut self,
        town: &mut Cluster,
        kind: Kind,
        one: String,
        other: Option<String>,
    ) -> bool {
        let disk = town.disk(&one);
        let draw = self.draw.clone();
        match (kind, other) {
            (Kind::Cut, Some(other)) => {
                town.cut(&one, &other);
                self.ends_after(town, LASTS_MILLIS, End::Heal(one, other));
            }
            (Kind::CutOneWay, Some(other)) => {
                town.with_network(|network| network.cut_one_way(&one, &other));
                self.ends_after(town, LASTS_MILLIS, End::Heal(one, other));
            }
            (Kind::Reset, Some(other)) => town.with_network(|network| network.reset(&one, &other)),
            (Kind::HalfOpen, Some(other)) => {
                town.with_network(|network| network.half_open(&one, &other));
            }
            (Kind::SlowLink, Some(other)) => {
                let bytes = 2_000 + draw.below(50_000);
                town.with_network(|network| network.limit(&one, &other, Some(bytes)));
                self.ends_after(town, LASTS_MILLIS, End::Quicken(one, other));
            }
            (Kind::Lossy, _) => {
                let lost_per_mille = 20 + u32::try_from(draw.below(180)).unwrap_or(0);
                let quality = NetworkSettings { lost_per_mille, ..NetworkSettings::default() };
                town.with_network(|network| network.set_quality(quality));
                self.ends_after(town, LASTS_MILLIS, End::Clear);
            }
            (Kind::Pause, _) => {
                town.pause(&one);
                self.ends_after(town, PAUSE_MILLIS, End::Resume(one));
            }
            (Kind::SlowDisk, _) => {
                let by = Duration::from_millis(draw.below(500));
                disk.into_iter().for_each(|disk| disk_inside(town, || disk.set_slow(by)));
                self.ends_after(town, PAUSE_MILLIS, End::Mend(one));
            }
            (Kind::FullDisk, _) => {
                disk.into_iter().for_each(|disk| disk_inside(town, || disk.fill()));
                self.ends_after(town, PAUSE_MILLIS, End::Mend(one));
            }
            (Kind::FailedWrites, _) => {
                let count = 1 + u32::try_from(draw.below(5)).unwrap_or(0);
                let failure = WriteFailure::NotWritten;
                disk.into_iter()
                    .for_each(|disk| disk_inside(town, || disk.fail_writes("", count, failure)));
                self.ends_after(town, PAUSE_MILLIS, End::Mend(one));
            }
            (Kind::Skew, _) => {
                let skew = i64::try_from(draw.below(2 * SKEW_MILLIS)).unwrap_or(0);
                town.skew(&one, skew - SKEW_MILLIS as i64);
            }
            (Kind::Cut | Kind::CutOneWay | Kind::Reset | Kind::HalfOpen | Kind::SlowLink, None) => {
                return false;
            }
        }
        true
    }

    fn end_until(&mut self, town: &mut Cluster, now: Duration) {
        while let Some(first) = self.ends.first_entry()
            && first.key().0 <= now
        {
            match first.remove() {
                End::Heal(one, other) => town.heal(&one, &other),
                End::Quicken(one, other) => {
                    town.with_network(|network| network.limit(&one, &other, None));
                }
                End::Resume(name) => town.resume(&name),
                End::Mend(name) => {
                    let disk = town.disk(&name);
                    disk.into_iter().for_each(|disk| disk_inside(town, || disk.mend()));
                }
                End::Clear => {
                    let quality = NetworkSettings::default();
                    town.with_network(|network| network.set_quality(quality));
                }
            }
        }
    }

    /// Ends everything that still goes wrong. Clocks stay as they are.
    pub(super) fn rest(&mut self, town: &mut Cluster) {
        self.end_until(town, Duration::MAX);
        town.with_network(|network| network.heal_all());
    }
}

/// A disk is touched inside the runtime, whose clock it follows.
fn disk_inside(town: &mut Cluster, touch: impl FnOnce()) {
    town.with_network(|_| touch());
}
