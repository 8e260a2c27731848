//! Small histories of one counter with their verdicts.

use super::*;
use crate::runtime::rng::Rng;

const CLIENT: ClientId = ClientId(1);

#[derive(Default)]
struct Story(Counters);

impl Story {
    fn end(mut self, amount: u64, outcome: AddOutcome, began: u64, ended: u64) -> Self {
        let id = self.0.begin(CLIENT, "k", amount, Moment(began));
        self.0.end(&id, outcome, Moment(ended));
        self
    }

    fn add(self, amount: u64, total: u64, began: u64, ended: u64) -> Self {
        self.end(amount, AddOutcome::Acknowledged { total }, began, ended)
    }

    fn doubt(self, amount: u64, began: u64, ended: u64) -> Self {
        self.end(amount, AddOutcome::Unknown, began, ended)
    }

    fn read(self, total: u64, began: u64, ended: u64) -> Self {
        self.add(0, total, began, ended)
    }

    fn lost(mut self, at: u64) -> Self {
        self.0.data_lost("k", Moment(at));
        self
    }

    fn wrong(&self) -> Vec<&'static str> {
        let name = |wrong: &CountedWrong| match wrong {
            CountedWrong::TooLittle { .. } => "too little",
            CountedWrong::TooMuch { .. } => "too much",
            CountedWrong::NoSuchTotal { .. } => "no such total",
            CountedWrong::Forked { .. } => "forked",
        };
        self.0.check().violations.iter().map(name).collect()
    }
}

fn story() -> Story {
    Story::default()
}

#[test]
fn totals_that_contain_each_addition_once_are_right() {
    for right in [
        story().read(0, 1, 2).add(5, 5, 10, 20).add(3, 8, 30, 40).read(8, 50, 60),
        // Side by side: whichever came first.
        story().add(5, 8, 10, 40).add(3, 3, 20, 50).read(8, 60, 70),
        story().add(5, 5, 10, 40).add(3, 8, 20, 50).read(5, 30, 45).read(0, 11, 45),
        // In doubt: not, at once, or late.
        story().doubt(7, 10, 20).read(0, 30, 40).read(0, 50, 60),
        story().doubt(7, 10, 20).read(7, 30, 40).add(1, 8, 50, 60),
        story().doubt(7, 10, 20).read(0, 30, 40).add(1, 1, 50, 60).read(8, 70, 80),
        story().end(4, AddOutcome::NotDone, 10, 20).read(0, 30, 40),
    ] {
        assert_eq!(right.wrong(), [""; 0], "{:?}", right.0);
    }
}

#[test]
fn an_acknowledged_addition_that_is_missing_is_too_little() {
    assert_eq!(story().add(5, 5, 10, 20).read(0, 30, 40).wrong()[0], "too little");
    assert_eq!(story().add(5, 4, 10, 20).wrong(), ["too little"], "not even itself");
}

#[test]
fn an_addition_that_was_executed_twice_is_too_much_or_fits_no_total() {
    assert_eq!(story().add(5, 10, 10, 20).wrong()[0], "too much");
    assert_eq!(story().add(5, 5, 10, 20).read(10, 30, 40).wrong()[0], "too much");
    assert_eq!(story().doubt(7, 10, 20).add(5, 10, 30, 40).wrong(), ["no such total"]);
    assert_eq!(story().doubt(7, 50, 60).read(7, 30, 40).wrong()[0], "too much", "it had not begun");
    let refused = story().end(4, AddOutcome::NotDone, 10, 20).read(4, 30, 40);
    assert_eq!(refused.wrong()[0], "too much");
}

#[test]
fn two_copies_are_found_by_what_they_answer() {
    // Each answer alone could be right: the other ran beside it.
    assert_eq!(story().add(5, 5, 10, 40).add(3, 3, 20, 50).wrong(), ["forked"]);
    assert_eq!(story().add(5, 5, 10, 40).add(5, 5, 20, 50).wrong(), ["forked"]);
    // A read of the other copy sees what is in doubt come and go.
    let gone = story().doubt(7, 10, 20).read(7, 30, 40).read(0, 50, 60);
    assert_eq!(gone.wrong(), ["forked"]);
    let told = gone.0.check().violations.remove(0).to_string();
    assert_eq!(
        told,
        "counter 'k': the addition of 0 by c1 from 0.000030s, told 7 at 0.000040s, is not contained \
         in the addition of 0 by c1 from 0.000050s, told 0 at 0.000060s"
    );
}

#[test]
fn a_lost_copy_owes_nothing_that_began_before() {
    let lost = || story().add(5, 5, 10, 20).lost(25);
    assert_eq!(lost().read(0, 30, 40).wrong(), [""; 0]);
    assert_eq!(lost().read(5, 30, 40).wrong(), [""; 0], "or it came back");
    assert_eq!(lost().read(0, 21, 30).wrong(), [""; 0], "beside the loss");
    assert_eq!(lost().read(0, 21, 24).wrong()[0], "too little");
    assert_eq!(lost().add(3, 3, 30, 40).read(0, 50, 60).wrong()[0], "too little");
    assert_eq!(lost().read(9, 30, 40).wrong()[0], "too much");
}

#[test]
fn what_is_not_answered_is_in_doubt_and_all_is_counted() {
    let mut story = story().doubt(1, 1, 2).end(1, AddOutcome::NotDone, 1, 2).add(2, 2, 3, 4);
    let open = story.0.begin(CLIENT, "k", 9, Moment(5));
    let expected = CountersChecked { answers: 1, bounds_only: 0, in_doubt: 2, refused: 1 };
    assert_eq!(story.0.check().checked, expected);
    story.0.end(&open, AddOutcome::Acknowledged { total: 12 }, Moment(9));
    assert_eq!(
        story.0.check(),
        CountersVerdict {
            checked: CountersChecked { answers: 2, in_doubt: 1, ..expected },
            violations: Vec::new(),
        }
    );
    assert_eq!(expected.and(expected).answers, 2);
}

#[test]
fn too_many_possible_sums_are_held_against_their_bounds() {
    let mut story = story();
    for bit in 0..20 {
        story = story.doubt(3 << bit, 10, 20);
    }
    let low = story.read(4, 30, 40);
    assert_eq!(low.wrong(), ["no such total"], "few sums are as low as that");
    let high = low.read(3 << 19, 50, 60);
    assert_eq!((high.wrong().len(), high.0.check().checked.bounds_only), (1, 1));
}

/// One copy is run from a seed with additions of random amounts that overlap, some without an answer.
#[test]
fn a_counter_with_one_copy_is_never_blamed_while_one_that_counts_twice_is() {
    let mut caught = 0;
    for seed in 0..200 {
        for twice in [false, true] {
            let rng = Rng::seeded(seed);
            let (mut story, mut total) = (story(), 0);
            for step in 1..=60_u64 {
                let amount = rng.below(1_000);
                let at = step * 10;
                let (began, ended) = (at - rng.below(9), at + rng.below(35));
                let executes = rng.below(10) > 0;
                total += if executes { amount } else { 0 };
                if twice && step == 30 {
                    total += amount;
                }
                let is_answered = executes && rng.below(5) > 0;
                let outcome = AddOutcome::Acknowledged { total };
                let outcome = if is_answered { outcome } else { AddOutcome::Unknown };
                story = story.end(amount, outcome, began, ended);
            }
            let wrong = story.read(total, 10_000, 10_001).wrong();
            assert!(twice || wrong.is_empty(), "seed {seed}: {wrong:?}");
            caught += usize::from(!wrong.is_empty());
        }
    }
    assert!(caught > 150, "{caught} of 200");
}
