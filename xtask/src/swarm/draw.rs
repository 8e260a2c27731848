//! Draws a plan from a seed.
//!
//! The sizes lean to what fails most: few nodes, small rings, many moves. Most runs have a fault that waits
//! for a transfer to be somewhere; faults at any moment come on top.

use std::time::Duration;

use tanodb_actors::runtime::node::NodeSettings;
use tanodb_actors::runtime::rng::Rng;

use super::plan::{
    Ask, Asked, Broken, Change, Changed, Fault, Plan, Quality, Records, Stage, When, Who, Whom,
};

/// Keys of a run.
pub const KEYS: u16 = 48;

/// Counters of a run.
pub const COUNTERS: u16 = 6;

/// How long hints are left alone in most runs.
const HINTED_IDLE: Duration = Duration::from_secs(5);

/// The same in the others: longer than clients are waited for, so that nodes are asked how they are meanwhile.
const LONG_IDLE: Duration = Duration::from_secs(40);

/// How far a clock may be off.
pub const SKEW_MILLIS_MAX: u64 = 3_000;

/// Draws from one stream.
struct Dice(Rng);

impl Dice {
    fn below(&self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    fn happens(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn millis(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// One of several, each as likely as its weight says.
    fn weighted<T: Copy>(&self, choices: &[(u64, T)], otherwise: T) -> T {
        let mut drawn = self.below(choices.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in choices {
            if drawn < *weight {
                return *choice;
            }
            drawn -= weight;
        }
        otherwise
    }

    fn small(&self, bound: u64) -> u8 {
        u8::try_from(self.below(bound)).unwrap_or(0)
    }
}

/// The plan of a seed.
pub fn plan(seed: u64) -> Plan {
    unusual(&Dice(Rng::seeded(seed).fork("unusual")), usual(seed))
}

/// The same without what only some runs have.
pub fn usual(seed: u64) -> Plan {
    let dice = Dice(Rng::seeded(seed).fork("plan"));
    let nodes = dice.weighted(&[(1, 1), (3, 2), (8, 3), (6, 4), (4, 5), (1, 6), (1, 7), (1, 9)], 3);
    // Somebody joins in most runs: what does not move is not tried.
    let may_join =
        if dice.happens(90) { u64::from(nodes).saturating_sub(1) } else { u64::from(nodes) };
    let founders = 1 + dice.small(may_join.clamp(1, 4));
    let active = dice.millis(10_000, 40_000);
    let plan = Plan {
        seed,
        founders,
        ring_size: dice.weighted(&[(4, 8), (4, 16), (2, 32), (1, 64)], 8),
        quality: dice
            .weighted(&[(3, Quality::Good), (5, Quality::Busy), (2, Quality::Poor)], Quality::Busy),
        page_items: dice.weighted(&[(2, 1), (3, 2), (3, 5), (2, 1_024)], 5),
        transfer_limit: dice.weighted(&[(2, 1), (4, 2), (2, 4)], 2),
        permits: NodeSettings::default().permits,
        hinted_idle: HINTED_IDLE,
        active,
        asks: asks(&dice, nodes, active),
        changes: changes(&dice, founders, nodes, active),
        faults: Vec::new(),
    };
    let faults = faults(&dice, nodes, active);
    Plan { faults, ..plan }
}

/// Some runs have narrow limits, clocks that disagree, operators who think before they commit, or a join that
/// nobody commits.
fn unusual(dice: &Dice, plan: Plan) -> Plan {
    let mut plan = plan;
    let joins = plan.changes.iter().filter(|change| matches!(change.what, Changed::Join { .. }));
    let nodes = plan.founders + u8::try_from(joins.count()).unwrap_or(0);
    if dice.happens(30) {
        plan.permits = usize::try_from(dice.between(2, 4)).unwrap_or(2);
        // What comes to a process that stands still expires there.
        let (whom, lasts) = (Whom::Node(dice.small(u64::from(nodes))), dice.millis(7_000, 12_000));
        let when = When::At(dice.millis(1_000, 12_000));
        plan.faults.push(Fault { when, what: Broken::Pause { whom, lasts } });
    }
    if dice.happens(40) {
        plan.hinted_idle = LONG_IDLE;
    }
    one_more_join(dice, nodes, &mut plan);
    if dice.happens(30) {
        plan.faults.extend((0..nodes).map(|who| {
            let when = When::At(dice.millis(0, 2_000));
            Fault { when, what: skew(dice, Whom::Node(who)) }
        }));
    }
    plan
}

/// One more node asks to join behind the last commit, or while its operator thinks about the plan.
fn one_more_join(dice: &Dice, nodes: u8, plan: &mut Plan) {
    let (thinks_for, later) = (dice.millis(1_500, 4_000), dice.millis(50, 1_200));
    let (in_thought, behind) = (dice.happens(30), dice.happens(40));
    let through = dice.small(u64::from(plan.founders));
    let Some(last) = plan.changes.last_mut() else { return };
    let wait = match &mut last.what {
        Changed::Commit { thinks, .. } if in_thought => {
            *thinks = thinks_for;
            thinks_for / 3
        }
        Changed::Join { .. }
        | Changed::Commit { .. }
        | Changed::CommitTwice { .. }
        | Changed::Watch => {
            if !behind {
                return;
            }
            later
        }
    };
    let at = last.at + wait;
    plan.changes.push(Change { at, what: Changed::Join { who: nodes, through } });
}

fn asks(dice: &Dice, nodes: u8, active: Duration) -> Vec<Ask> {
    let per_second = dice.between(2, 40);
    let count = per_second * active.as_secs();
    let micros = u64::try_from(active.as_micros()).unwrap_or(0);
    let strict_percent = dice.weighted(&[(3, 100), (4, 60), (1, 0)], 60);
    let mut asks: Vec<Ask> = (0..count)
        .map(|_| Ask {
            at: Duration::from_micros(dice.below(micros)),
            of: dice.small(u64::from(nodes)),
            what: asked(dice, strict_percent),
        })
        .collect();
    // The first moves shall find something to move.
    asks.extend((0..KEYS).map(|key| Ask {
        at: Duration::from_millis(u64::from(key)),
        of: 0,
        what: Asked::Put { key, strict: true },
    }));
    asks.sort_by_key(|ask| ask.at);
    asks
}

fn asked(dice: &Dice, strict_percent: u64) -> Asked {
    let strict = dice.happens(strict_percent);
    let key = u16::try_from(dice.below(u64::from(KEYS))).unwrap_or(0);
    match dice.below(100) {
        0..40 => Asked::Put { key, strict },
        40..58 => Asked::Delete { key, strict },
        58..80 => Asked::Get { key, strict },
        _ => Asked::Add { counter: u16::try_from(dice.below(u64::from(COUNTERS))).unwrap_or(0) },
    }
}

fn changes(dice: &Dice, founders: u8, nodes: u8, active: Duration) -> Vec<Change> {
    let mut changes = Vec::new();
    let end = u64::try_from(active.as_millis()).unwrap_or(0);
    let mut joiners: Vec<Who> = (founders..nodes).collect();
    let mut at = dice.between(300, 3_000);
    while !joiners.is_empty() {
        let wave = usize::from(1 + dice.small(3)).min(joiners.len());
        for who in joiners.drain(..wave) {
            let through = dice.small(u64::from(founders));
            changes.push(Change {
                at: Duration::from_millis(at + dice.below(200)),
                what: Changed::Join { who, through },
            });
        }
        let through = dice.small(u64::from(founders));
        let what = if dice.happens(25) && founders > 1 {
            let other = (through + 1) % founders;
            Changed::CommitTwice { one: through, other }
        } else {
            Changed::Commit { through, thinks: Duration::ZERO }
        };
        changes.push(Change { at: Duration::from_millis(at + dice.between(300, 1_500)), what });
        at += dice.between(500, (end / 2).max(501));
    }
    if dice.happens(15) {
        changes.push(Change { at: dice.millis(0, end), what: Changed::Watch });
    }
    changes.sort_by_key(|change| change.at);
    changes
}

/// How much memory a run may lose.
#[derive(Clone, Copy)]
enum Losses {
    None,
    One,
    Many,
}

fn faults(dice: &Dice, nodes: u8, active: Duration) -> Vec<Fault> {
    let mut losses =
        dice.weighted(&[(5, Losses::None), (5, Losses::One), (2, Losses::Many)], Losses::None);
    let mut faults = Vec::new();
    if dice.happens(5) {
        return faults;
    }
    for _ in 0..dice.weighted(&[(1, 0), (3, 1), (4, 2), (4, 3), (3, 4)], 1_u8) {
        let stage = stage(dice);
        let nth = u32::try_from(dice.between(1, 5)).unwrap_or(1);
        let what = of_transfer(dice, nodes, &mut losses);
        faults.push(Fault { when: When::Entered { stage, nth }, what });
    }
    for _ in 0..dice.between(1, 4) {
        let nth = u32::try_from(dice.between(1, 12)).unwrap_or(1);
        let (puts, deletes) = (1 + dice.small(5), dice.small(3));
        let when = When::Entered { stage: Stage::Fenced, nth };
        faults.push(Fault { when, what: Broken::Burst { puts, deletes } });
    }
    let end = u64::try_from(active.as_millis()).unwrap_or(0);
    for _ in 0..dice.weighted(&[(3, 0), (4, 1), (3, 2), (2, 5)], 1_u8) {
        let what = of_any_time(dice, nodes, &mut losses);
        faults.push(Fault { when: When::At(dice.millis(0, end)), what });
    }
    faults
}

fn stage(dice: &Dice) -> Stage {
    let weights = [
        (5, Stage::Sending),
        (4, Stage::Fenced),
        (4, Stage::Granting),
        (4, Stage::Retired),
        (1, Stage::Purging),
        (1, Stage::Staging),
        (2, Stage::Holding),
        (2, Stage::Accepting),
    ];
    dice.weighted(&weights, Stage::Sending)
}

/// What breaks when a transfer is somewhere.
fn of_transfer(dice: &Dice, nodes: u8, losses: &mut Losses) -> Broken {
    let (one, other) = (Whom::Source, Whom::Target);
    let lasts = dice.millis(50, 15_000);
    match dice.below(100) {
        0..24 => Broken::Cut { one, other, both: true, lasts },
        24..35 => Broken::Cut { one, other, both: false, lasts },
        35..44 => Broken::Cut { one: other, other: one, both: false, lasts },
        44..58 => Broken::Reset { one, other },
        58..66 => {
            let (one, other) = if dice.happens(50) { (one, other) } else { (other, one) };
            Broken::HalfOpen { one, other }
        }
        66..75 => {
            let whom = if dice.happens(50) { one } else { other };
            Broken::Isolate { whom, lasts }
        }
        75..80 => {
            let whom = if dice.happens(50) { one } else { other };
            Broken::Pause { whom, lasts }
        }
        80..83 => disk(dice, one),
        83..86 => disk(dice, other),
        _ => {
            let whom = if dice.happens(50) { one } else { other };
            end_of(dice, nodes, whom, losses)
        }
    }
}

fn of_any_time(dice: &Dice, nodes: u8, losses: &mut Losses) -> Broken {
    let who = dice.small(u64::from(nodes));
    let whom = Whom::Node(who);
    let other = Whom::Node((who + 1 + dice.small(u64::from(nodes).saturating_sub(1))) % nodes);
    let lasts = dice.millis(50, 20_000);
    match dice.below(100) {
        0..18 => Broken::Cut { one: whom, other, both: dice.happens(60), lasts },
        18..32 => Broken::Isolate { whom, lasts },
        32..42 => Broken::Pause { whom, lasts: dice.millis(50, 12_000) },
        42..54 => skew(dice, whom),
        54..62 => Broken::Slow { one: whom, other, rate: dice.between(500, 50_000), lasts },
        62..70 => Broken::Reset { one: whom, other },
        70..82 => disk(dice, whom),
        _ => end_of(dice, nodes, whom, losses),
    }
}

fn skew(dice: &Dice, whom: Whom) -> Broken {
    let most = i64::try_from(SKEW_MILLIS_MAX).unwrap_or(0);
    let millis = i64::try_from(dice.below(2 * SKEW_MILLIS_MAX)).unwrap_or(0) - most;
    Broken::Skew { whom, millis }
}

fn disk(dice: &Dice, whom: Whom) -> Broken {
    let lasts = dice.millis(100, 8_000);
    match dice.below(3) {
        0 => Broken::SlowDisk { whom, by: dice.millis(5, 400), lasts },
        1 => Broken::FullDisk { whom, lasts },
        _ => {
            let all = [
                (3, Records::Vnodes),
                (1, Records::Ring),
                (1, Records::Agreement),
                (1, Records::All),
            ];
            let records = dice.weighted(&all, Records::All);
            let count = 1 + u32::from(dice.small(4));
            Broken::FailingDisk { whom, records, count }
        }
    }
}

/// The end of a process, if this run may lose what it holds; else a pause.
fn end_of(dice: &Dice, nodes: u8, whom: Whom, losses: &mut Losses) -> Broken {
    let back = dice.happens(70).then(|| dice.millis(20, 10_000));
    let may_end = match *losses {
        Losses::None => false,
        Losses::One => {
            *losses = Losses::None;
            true
        }
        Losses::Many => true,
    };
    if !may_end || nodes == 1 {
        return Broken::Pause { whom, lasts: dice.millis(50, 12_000) };
    }
    if dice.happens(50) { Broken::Kill { whom, back } } else { Broken::PowerOff { whom, back } }
}
