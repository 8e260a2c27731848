//! Small histories with their verdicts; all histories of a few operations against a register that keeps
//! its promises, and against registers that do not.

use super::*;

const MARGIN: Duration = Duration::from_micros(1);
const CLIENT: ClientId = ClientId(1);
const STRICT: WriteOutcome = WriteOutcome::Acknowledged { strict: true };
const SLOPPY: WriteOutcome = WriteOutcome::Acknowledged { strict: false };

fn value(number: u64) -> Deed {
    Deed::Put(ValueId(number))
}

/// A history of one key, written down as a story.
struct Story(History);

fn story() -> Story {
    Story(History::new(MARGIN))
}

impl Story {
    fn write(mut self, deed: Deed, outcome: WriteOutcome, began: u64, ended: u64) -> Self {
        let id = self.0.begin_write(CLIENT, "k", deed, Moment(began));
        self.0.end_write(&id, outcome, Moment(ended));
        self
    }

    fn put(self, number: u64, began: u64, ended: u64) -> Self {
        self.write(value(number), STRICT, began, ended)
    }

    fn delete(self, began: u64, ended: u64) -> Self {
        self.write(Deed::Delete, STRICT, began, ended)
    }

    fn read(mut self, seen: Option<u64>, strict: bool, began: u64, ended: u64) -> Self {
        let id = self.0.begin_read(CLIENT, "k", Moment(began));
        let outcome = ReadOutcome::Answered { seen: seen.map(ValueId), strict };
        self.0.end_read(&id, outcome, Moment(ended));
        self
    }

    fn get(self, number: u64, began: u64, ended: u64) -> Self {
        self.read(Some(number), true, began, ended)
    }

    fn nothing(self, began: u64, ended: u64) -> Self {
        self.read(None, true, began, ended)
    }

    fn settled(mut self, at: u64) -> Self {
        self.0.settled(Moment(at));
        self
    }

    fn lost(mut self, at: u64) -> Self {
        self.0.data_lost("k", Moment(at));
        self
    }

    /// What is wrong, in one letter each.
    fn wrong(&self) -> String {
        let letter = |violation: &Violation| match violation {
            Violation::Lost { .. } => 'L',
            Violation::Resurrected { .. } => 'R',
            Violation::Phantom { .. } => 'P',
        };
        self.0.check().violations.iter().map(letter).collect()
    }
}

#[test]
fn a_read_sees_the_last_write_or_one_that_runs_beside_it() {
    for right in [
        story().nothing(1, 2).put(1, 10, 20).get(1, 30, 40),
        story().put(1, 10, 20).put(2, 30, 60).get(1, 40, 50).get(2, 40, 50),
        story().put(1, 10, 60).put(2, 30, 50).get(1, 70, 80).get(2, 90, 95),
        story().nothing(1, 2).delete(3, 4).nothing(5, 6),
        story().put(1, 10, 20).delete(30, 60).get(1, 40, 50).nothing(40, 50).nothing(70, 80),
        story().put(1, 10, 20).delete(15, 25).get(1, 30, 40).nothing(50, 60),
        story().put(1, 10, 20).nothing(20, 40),
    ] {
        assert_eq!(right.wrong(), "", "{:?}", right.0.check());
    }
}

#[test]
fn an_acknowledged_write_that_is_missed_is_lost() {
    for lost in [
        story().put(1, 10, 20).nothing(30, 40),
        story().put(1, 10, 20).nothing(21, 40),
        story().put(1, 10, 20).put(2, 30, 40).get(1, 50, 60),
        story().put(1, 10, 20).put(2, 22, 40).get(1, 50, 60),
        story().put(1, 10, 20).delete(30, 40).put(2, 50, 60).nothing(70, 80),
        story().delete(1, 5).put(1, 10, 20).nothing(30, 40),
        story().put(1, 10, 20).put(2, 30, 40).put(3, 30, 90).get(1, 50, 60),
    ] {
        assert_eq!(lost.wrong(), "L", "{:?}", lost.0.check());
    }
}

#[test]
fn a_value_from_before_an_acknowledged_delete_is_resurrected() {
    for resurrected in [
        story().put(1, 10, 20).delete(30, 40).get(1, 50, 60),
        story().put(1, 10, 20).put(2, 12, 25).delete(30, 40).get(2, 50, 60),
        story().put(1, 10, 20).delete(30, 40).delete(50, 60).nothing(61, 62).get(1, 70, 80),
    ] {
        assert_eq!(resurrected.wrong(), "R", "{:?}", resurrected.0.check());
    }
    let verdict = story().put(1, 10, 20).delete(30, 40).get(1, 50, 60).0.check();
    assert_eq!(
        verdict.violations[0].to_string(),
        "'k': the delete by c1 from 0.000030s, acknowledged at 0.000040s is undone in \
         the get by c1 from 0.000050s, which saw v1 at 0.000060s"
    );
}

#[test]
fn a_value_that_nobody_can_have_stored_is_a_phantom_also_to_a_sloppy_read() {
    for strict in [true, false] {
        for phantom in [
            story().read(Some(9), strict, 10, 20),
            story().read(Some(1), strict, 10, 20).put(1, 30, 40),
            story().write(value(1), WriteOutcome::NotDone, 10, 20).read(Some(1), strict, 15, 18),
        ] {
            assert_eq!(phantom.wrong(), "P", "{:?}", phantom.0.check());
        }
    }
}

#[test]
fn a_write_in_doubt_may_take_effect_at_any_time_or_never() {
    let doubt = WriteOutcome::Unknown;
    for right in [
        story().write(value(1), doubt, 10, 20).nothing(30, 40).get(1, 90, 99),
        story().write(value(1), doubt, 10, 20).put(2, 30, 40).get(2, 50, 60).get(1, 70, 80),
        story().put(1, 10, 20).write(Deed::Delete, doubt, 5, 8).nothing(30, 40),
        story().put(1, 10, 20).write(Deed::Delete, doubt, 35, 70).nothing(30, 40).get(1, 90, 99),
    ] {
        assert_eq!(right.wrong(), "", "{:?}", right.0.check());
    }
    let too_early = story().put(1, 10, 20).write(Deed::Delete, doubt, 45, 70).nothing(30, 40);
    assert_eq!(too_early.wrong(), "L", "the delete had not begun");
}

#[test]
fn a_write_that_was_seen_has_taken_effect_and_does_not_take_it_again() {
    let doubt = WriteOutcome::Unknown;
    let seen = || story().write(value(1), doubt, 10, 20).get(1, 30, 40);
    assert_eq!(seen().delete(50, 60).get(1, 70, 80).wrong(), "R");
    assert_eq!(seen().put(2, 50, 60).get(1, 70, 80).wrong(), "L");
    assert_eq!(seen().put(2, 35, 60).get(1, 70, 80).wrong(), "", "beside the read");
}

#[test]
fn what_was_not_answered_is_in_doubt() {
    let mut history = History::new(MARGIN);
    let put = history.begin_write(CLIENT, "k", value(1), Moment(10));
    let get = history.begin_read(CLIENT, "k", Moment(10));
    let Checked { in_doubt, strict_reads, .. } = history.check().checked;
    assert_eq!((in_doubt, strict_reads), (1, 0));
    history.end_write(&put, STRICT, Moment(20));
    history.end_write(&put, WriteOutcome::Unknown, Moment(25));
    history.end_read(&get, ReadOutcome::Failed, Moment(20));
    let Checked { in_doubt, unread, strict_reads, .. } = history.check().checked;
    assert_eq!((in_doubt, unread, strict_reads), (0, 1, 0));
}

#[test]
fn a_write_helped_by_stand_ins_is_owed_when_its_hints_are_home() {
    let missed = |settled| story().write(value(1), SLOPPY, 10, 20).settled(settled).nothing(40, 50);
    assert_eq!(missed(30).wrong(), "L");
    assert_eq!(missed(19).wrong(), "", "it came after that");
    assert_eq!(missed(45).wrong(), "", "they were not home yet");
    let deleted = story().put(1, 1, 2).write(Deed::Delete, SLOPPY, 10, 20).settled(30);
    assert_eq!(deleted.get(1, 25, 29).get(1, 40, 50).wrong(), "R");
    let over = story().write(value(1), SLOPPY, 10, 20).put(2, 30, 40).get(1, 50, 60);
    assert_eq!(over.wrong(), "L", "the later one is owed at once");
}

#[test]
fn writes_that_stand_ins_helped_are_ordered_by_clocks_that_differ_by_the_margin() {
    let near = story().write(value(1), SLOPPY, 10, 20).put(2, 21, 30).settled(35);
    assert_eq!(near.get(1, 40, 50).wrong(), "", "the first may have the higher stamp");
    let far = story().write(value(1), SLOPPY, 10, 20).put(2, 22, 30).settled(35);
    assert_eq!(far.get(1, 40, 50).wrong(), "L");
    let owners = story().put(1, 10, 20).put(2, 21, 30);
    assert_eq!(owners.get(1, 40, 50).wrong(), "L", "an owner saw both");
}

#[test]
fn a_write_with_a_second_stamp_may_come_back_until_its_answer() {
    let run = |is_restamped: bool, answered: u64| {
        let mut story = story();
        let put = story.0.begin_write(CLIENT, "k", value(1), Moment(10));
        story.0.end_write(&put, STRICT, Moment(answered));
        if is_restamped {
            story.0.restamped(&put);
        }
        let told = story.get(1, 20, 21).delete(30, 40).nothing(41, 42).get(1, 70, 80);
        told.wrong()
    };
    assert_eq!(run(true, 60), "");
    assert_eq!(run(false, 60), "R");
    assert_eq!(run(true, 25), "R");
}

#[test]
fn a_read_with_stand_ins_may_miss_anything() {
    let sloppy = story().put(1, 10, 20).delete(30, 40).read(Some(1), false, 50, 60);
    assert_eq!(sloppy.read(None, false, 25, 28).wrong(), "");
}

#[test]
fn what_began_before_a_loss_is_owed_to_no_read_that_ends_after_it() {
    let lost = || story().put(1, 10, 20).put(2, 30, 40).lost(55);
    assert_eq!(lost().nothing(60, 70).get(1, 60, 70).wrong(), "");
    assert_eq!(lost().nothing(50, 56).wrong(), "", "beside the loss");
    assert_eq!(lost().nothing(50, 54).wrong(), "L", "before it");
    assert_eq!(lost().put(3, 60, 70).nothing(80, 90).wrong(), "L", "what came later is kept");
    assert_eq!(lost().get(9, 60, 70).wrong(), "P", "a loss makes no values");
    let Checked { puts, unread, .. } = lost().nothing(60, 70).0.check().checked;
    assert_eq!((puts, unread), (0, 2));
}

#[test]
fn the_verdict_counts_what_it_rests_on() {
    let counted = story()
        .put(1, 10, 20)
        .write(value(2), WriteOutcome::NotDone, 10, 20)
        .write(value(3), WriteOutcome::Unknown, 10, 20)
        .delete(30, 40)
        .nothing(41, 50)
        .read(None, false, 45, 50)
        .put(4, 45, 60)
        .0
        .check();
    assert_eq!(counted.violations, []);
    let expected = Checked {
        strict_reads: 1,
        sloppy_reads: 1,
        puts: 1,
        deletes: 1,
        unread: 1,
        in_doubt: 1,
        refused: 1,
    };
    assert_eq!(counted.checked, expected);
    assert_eq!(counted.checked.and(expected).deletes, 2);
}

#[test]
fn a_key_is_judged_by_itself() {
    let mut history = History::new(MARGIN);
    let put = history.begin_write(CLIENT, "a", value(1), Moment(1));
    history.end_write(&put, STRICT, Moment(2));
    let get = history.begin_read(CLIENT, "b", Moment(5));
    let seen = ReadOutcome::Answered { seen: Some(ValueId(1)), strict: true };
    history.end_read(&get, seen, Moment(6));
    let phantom =
        |violation: &Violation| matches!(violation, Violation::Phantom { key, .. } if key == "b");
    assert!(history.check().violations.iter().all(phantom));
    assert_eq!((history.check().violations.len(), history.keys().collect()), (1, vec!["a", "b"]));
}

/// Three writes and a read, each with every pair of moments of a few: one in which a register that takes
/// each write at its end, or at its beginning, or not at all if it may, answers the read at some moment.
#[test]
fn no_history_of_a_register_that_keeps_its_promises_is_refused() {
    let deeds = [value(1), Deed::Delete, value(2)];
    let outcomes = [STRICT, WriteOutcome::Unknown, WriteOutcome::NotDone];
    let mut histories = 0;
    for choice in 0..27_usize {
        let outcome = [0, 1, 2].map(|place| outcomes[choice / 3_usize.pow(place) % 3]);
        for spans in spans_of_three() {
            let mut story = story();
            for ((deed, outcome), (began, ended)) in deeds.into_iter().zip(outcome).zip(spans) {
                story = story.write(deed, outcome, began, ended);
            }
            for answers in truths(&deeds, &outcome, &spans) {
                histories += 1;
                let told = Story(story.0.clone()).read(answers.1, true, answers.0, answers.0 + 1);
                assert_eq!(told.wrong(), "", "{:?}", told.0.check());
            }
        }
    }
    assert!(histories > 10_000, "{histories}");
}

/// Begin and end of three writes within a few moments, more than the margin apart.
fn spans_of_three() -> Vec<[(u64, u64); 3]> {
    let spans: Vec<(u64, u64)> =
        [(10, 20), (10, 40), (30, 40), (30, 60), (50, 60), (10, 60)].into();
    let pairs = spans.iter().flat_map(|&a| spans.iter().map(move |&b| (a, b)));
    pairs.flat_map(|(a, b)| spans.iter().map(move |&c| [a, b, c])).collect()
}

/// What a read at a moment may see, by carrying out the writes in every way that is allowed.
fn truths(
    deeds: &[Deed; 3],
    outcomes: &[WriteOutcome; 3],
    spans: &[(u64, u64); 3],
) -> BTreeSet<(u64, Option<u64>)> {
    let mut truths = BTreeSet::new();
    for ways in 0..27_usize {
        let mut effects = Vec::new();
        for place in 0..3 {
            let (began, ended) = spans[place];
            let way = ways / 3_usize.pow(place as u32) % 3;
            effects.extend(match (outcomes[place], way) {
                (WriteOutcome::NotDone, _) => None,
                (_, 0) => Some((began + 1 + place as u64, deeds[place])),
                (WriteOutcome::Acknowledged { .. }, _) => {
                    Some((ended - 4 + place as u64, deeds[place]))
                }
                (WriteOutcome::Unknown, 1) => Some((75 + place as u64, deeds[place])),
                (WriteOutcome::Unknown, _) => None,
            });
        }
        effects.sort_unstable_by_key(|(at, _)| *at);
        for moment in [5, 25, 45, 65, 85] {
            let last = effects.iter().rev().find(|(at, _)| *at < moment);
            truths.insert((
                moment,
                last.and_then(|(_, deed)| match deed {
                    Deed::Put(value) => Some(value.0),
                    Deed::Delete => None,
                }),
            ));
        }
    }
    truths
}

#[test]
fn thousands_of_operations_on_one_key_are_judged() {
    let mut long = story();
    for round in 0..5_000_u64 {
        let at = round * 100;
        long = long.put(round, at, at + 20).get(round, at + 30, at + 40);
    }
    assert_eq!(long.wrong(), "");
    assert_eq!(long.get(4_998, 600_000, 600_001).wrong(), "L");
}
