//! Writes that are overtaken.

use super::*;

fn overtaken(attempt: u32, millis: u64) -> Event {
    said(attempt, Said::Overtaken(Stamp { millis, logical: 0 }))
}

#[test]
fn a_write_that_was_overtaken_is_asked_for_everywhere_under_a_higher_stamp() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(3, 2, 0), true);
    assert_eq!(shown(&request.step(done(0), &world)), "");
    assert_eq!(shown(&request.step(overtaken(1, 70), &world)), "restamp 70 a1 b2 c3");
    assert_eq!(shown(&request.step(done(2), &world)), "", "this was the old stamp");
    assert_eq!(shown(&request.step(done(3), &world)), "");
    assert_eq!(shown(&request.step(done(5), &world)), "strict");
}

#[test]
fn several_replicas_that_say_so_at_once_are_one_reason() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(3, 2, 0), true);
    assert_eq!(shown(&request.step(overtaken(0, 70), &world)), "restamp 70 a1 b2 c3");
    assert_eq!(shown(&request.step(overtaken(1, 80), &world)), "");
    assert_eq!(shown(&request.step(overtaken(4, 80), &world)), "restamp 80 a1 b2 c3");
}

#[test]
fn a_stamp_that_was_acknowledged_is_not_changed() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(3, 2, 0), true);
    let _ = request.step(done(0), &world);
    assert_eq!(shown(&request.step(done(1), &world)), "strict");
    assert_eq!(shown(&request.step(overtaken(2, 70), &world)), "");
    assert!(request.is_over());
}

#[test]
fn a_replica_that_pauses_is_asked_under_the_higher_stamp_when_its_pause_is_over() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(3, 2, 0), true);
    assert_eq!(shown(&request.step(said(0, failed(FailureReason::Busy)), &world)), "pause");
    assert_eq!(shown(&request.step(overtaken(1, 70), &world)), "restamp 70 b2 c3");
    assert_eq!(shown(&request.step(Event::TimerFired(PauseId(0)), &world)), "a1");
}

#[test]
fn a_write_that_is_overtaken_again_and_again_fails_and_says_so() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(1, 1, 1), false);
    for attempt in 0..u32::from(RESTAMPS_MAX) {
        assert_eq!(shown(&request.step(overtaken(attempt, 70), &world)), "restamp 70 a1");
    }
    let effects = request.step(overtaken(u32::from(RESTAMPS_MAX), 70), &world);
    assert_eq!(shown(&effects), "unmet 0", "nothing was stored");
    assert_eq!(failures(&effects), ["a@host: overtaken by newer writes"]);
}

#[test]
fn what_ran_under_an_earlier_stamp_may_have_been_stored() {
    let world = World::of("abcdeabc");
    let refused = || failed(FailureReason::Refused("clock".to_owned()));
    let (mut request, _) = world.begin(quorum(2, 2, 0), true);
    let _ = request.step(done(0), &world);
    assert_eq!(shown(&request.step(overtaken(1, 70), &world)), "restamp 70 a1 b2");
    assert_eq!(shown(&request.step(said(2, refused()), &world)), "unmet 0?");

    let (mut request, _) = world.begin(quorum(2, 2, 0), true);
    let _ = request.step(overtaken(1, 70), &world);
    assert_eq!(shown(&request.step(done(0), &world)), "", "it comes after the higher stamp");
    assert_eq!(shown(&request.step(said(2, refused()), &world)), "unmet 0?");
}
