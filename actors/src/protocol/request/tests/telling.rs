//! What stand-ins tell.

use super::*;

fn read(attempt: u32) -> Event {
    said(attempt, Said::Read { reply: Bytes::from(format!("reply {attempt}")) })
}

#[test]
fn what_stand_ins_tell_waits_for_an_owner_that_is_up() {
    let world = World::of("abcdeabc").without("ab");
    let (mut request, effects) = world.begin(quorum(3, 2, 0), true);
    assert_eq!(shown(&effects), "d*1 e*2 c3");
    assert_eq!(shown(&request.step(read(0), &world)), "");
    assert_eq!(shown(&request.step(read(1), &world)), "", "c may know more");
    let effects = request.step(read(2), &world);
    assert_eq!(shown(&effects), "sloppy");
    let [Effect::Answer(Verdict::Met { answers, .. })] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(answers.len(), 3, "all that was told is weighed");
}

#[test]
fn what_stand_ins_tell_waits_for_an_owner_that_is_busy_and_not_for_one_without_data() {
    let world = World::of("abcdeabc").without("ab");
    for (reason, at_once) in [(FailureReason::Busy, false), (FailureReason::Lost, true)] {
        let (mut request, _) = world.begin(quorum(3, 2, 0), true);
        let _ = request.step(read(0), &world);
        let _ = request.step(read(1), &world);
        let effects = request.step(said(2, failed(reason)), &world);
        assert_eq!(shown(&effects), if at_once { "pause sloppy" } else { "pause" });
        if !at_once {
            let effects = request.step(Event::DeadlinePassed, &world);
            assert_eq!(shown(&effects), "late 0");
            assert_eq!(
                failures(&effects)[1..],
                [
                    "d@host: stands in, and an owner that is up did not answer",
                    "e@host: stands in, and an owner that is up did not answer",
                ]
            );
        }
    }
}

#[test]
fn what_stand_ins_tell_counts_when_the_last_owner_goes_down_or_is_given_up() {
    let world = World::of("abcdeabc").without("ab");
    let (mut request, _) = world.begin(quorum(3, 2, 0), true);
    let _ = request.step(read(0), &world);
    let _ = request.step(read(1), &world);
    let nobody_else = world.clone().without("c");
    let effects = request.step(Event::PeerDown(node('c')), &nobody_else);
    assert_eq!(shown(&effects), "d*3 sloppy");

    let (mut request, _) = world.begin(quorum(3, 2, 0), true);
    let _ = request.step(read(0), &world);
    let _ = request.step(read(1), &world);
    let refused = failed(FailureReason::Refused("clock".to_owned()));
    assert_eq!(shown(&request.step(said(2, refused), &world)), "sloppy");
}

#[test]
fn owners_alone_are_enough_whatever_stand_ins_do() {
    let world = World::of("abcdeabc").without("a");
    let (mut request, _) = world.begin(quorum(3, 2, 0), true);
    assert_eq!(shown(&request.step(read(0), &world)), "");
    assert_eq!(shown(&request.step(read(1), &world)), "", "c is up");
    assert_eq!(shown(&request.step(read(2), &world)), "strict");
}
