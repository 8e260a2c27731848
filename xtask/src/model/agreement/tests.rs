//! The properties of the agreement model can fail: each broken rule lets two rings be decided.

use tanodb_actors::protocol::rules::Rules;

use super::super::explore;
use super::{AgreementModel, Bounds, Broken};

const RIVALS: Bounds = Bounds { attempts: [1, 1], crashes: 0, restarts: 0 };

/// Whether two rings were decided, or one more proposal would decide a second one.
fn decides_two(broken: Broken, bounds: Bounds) -> bool {
    let violated = violated(bounds, Some(broken));
    ["RingCas", "DecisionReachable"].iter().any(|property| violated.contains(property))
}

fn violated(bounds: Bounds, broken: Option<Broken>) -> Vec<&'static str> {
    let make = |_| AgreementModel::new(bounds, Rules::default(), broken);
    explore("a test", make, false).failed.iter().map(|failed| failed.property).collect()
}

#[test]
fn two_proposers_never_decide_two_rings_and_a_third_always_can() {
    assert!(violated(Bounds { crashes: 1, ..RIVALS }, None).is_empty());
}

#[test]
fn an_answer_before_the_promise_is_durable_lets_two_rings_be_decided() {
    let bounds = Bounds { crashes: 1, ..RIVALS };
    assert!(decides_two(Broken::AnswersBeforeDurable, bounds));
}

#[test]
fn a_promise_that_hides_what_was_accepted_lets_two_rings_be_decided() {
    assert!(violated(RIVALS, Some(Broken::HidesWhatWasAccepted)).contains(&"RingCas"));
}

#[test]
fn a_ballot_used_twice_lets_two_rings_be_decided() {
    let bounds = Bounds { restarts: 1, ..RIVALS };
    assert!(decides_two(Broken::UsesBallotsTwice, bounds));
}
