//! Every order of events for three replicas, against the definition of a quorum; then case by case.

use super::*;

const PARTITIONS: [Partition; 3] = [Partition(5), Partition(6), Partition(7)];

fn node(text: &str) -> NodeName {
    NodeName::new(&format!("{text}@host")).unwrap()
}

fn owner(replica: usize) -> NodeName {
    node(["ada", "bob", "cyd"][replica])
}

fn tally(needed: u8, primaries_needed: u8) -> Tally {
    let asked = PARTITIONS.into_iter().zip((0..3).map(owner)).collect();
    Tally::new(Quorum::new(3, needed, primaries_needed).unwrap(), asked).unwrap()
}

fn ok(replica: usize, kind: AnswerKind) -> TallyEvent {
    let from = if kind == AnswerKind::Strict { owner(replica) } else { node("eve") };
    let outcome = ReplicaOutcome::Ok(Bytes::from(vec![u8::try_from(replica).unwrap()]));
    TallyEvent::Answered { partition: PARTITIONS[replica], from, kind, outcome }
}

fn failed(replica: usize, reason: FailureReason) -> TallyEvent {
    let (partition, from) = (PARTITIONS[replica], owner(replica));
    let outcome = ReplicaOutcome::Failed(reason);
    TallyEvent::Answered { partition, from, kind: AnswerKind::Strict, outcome }
}

fn unreachable(replica: usize, may_have_run: bool) -> TallyEvent {
    let (partition, node) = (PARTITIONS[replica], owner(replica));
    TallyEvent::Unreachable { partition, node, may_have_run }
}

fn asked_instead(replica: usize) -> TallyEvent {
    let (partition, failed) = (PARTITIONS[replica], owner(replica));
    let reason = FailureReason::Unreachable { may_have_run: false };
    TallyEvent::AskedInstead { partition, failed, reason, instead: node("eve") }
}

fn postponed(replica: usize) -> TallyEvent {
    let (partition, node) = (PARTITIONS[replica], owner(replica));
    TallyEvent::Postponed { partition, node, reason: FailureReason::Busy }
}

fn asked_again(replica: usize) -> TallyEvent {
    TallyEvent::AskedAgain { partition: PARTITIONS[replica], node: owner(replica) }
}

/// What one replica may do in the course of a request.
fn scripts(replica: usize) -> [Vec<TallyEvent>; 8] {
    [
        vec![postponed(replica), asked_again(replica)],
        vec![ok(replica, AnswerKind::Strict)],
        vec![ok(replica, AnswerKind::Strict), ok(replica, AnswerKind::Strict)],
        vec![ok(replica, AnswerKind::Sloppy), ok(replica, AnswerKind::Strict)],
        vec![asked_instead(replica), ok(replica, AnswerKind::Sloppy)],
        vec![failed(replica, FailureReason::Stopped("a bug".to_owned()))],
        vec![unreachable(replica, false)],
        vec![],
    ]
}

/// The definition: what the events so far come to, counted from scratch.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Open,
    Met { strict: bool, answers: usize },
    Failed { ok: usize, may_have_been_stored: bool },
}

fn expected(events: &[TallyEvent], quorum: Quorum) -> Expected {
    let (mut done, mut strict, mut open, mut maybe) = (0, 0, 0, false);
    for partition in PARTITIONS {
        let mut answers = Vec::new();
        let (mut out, mut asked) = (false, true);
        for event in events {
            match event {
                TallyEvent::Answered { partition: of, kind, outcome, .. } if *of == partition => {
                    match outcome {
                        ReplicaOutcome::Ok(_) => answers.push(*kind),
                        ReplicaOutcome::Failed(reason) => {
                            out = true;
                            maybe |= reason.may_have_run();
                        }
                    }
                }
                TallyEvent::Unreachable { partition: of, .. } if *of == partition => out = true,
                TallyEvent::Postponed { partition: of, .. } if *of == partition => asked = false,
                TallyEvent::AskedAgain { partition: of, .. } if *of == partition => asked = true,
                TallyEvent::Answered { .. }
                | TallyEvent::Unreachable { .. }
                | TallyEvent::AskedInstead { .. }
                | TallyEvent::Postponed { .. }
                | TallyEvent::AskedAgain { .. }
                | TallyEvent::Told { .. }
                | TallyEvent::OwnersHeard
                | TallyEvent::Overtaken { .. }
                | TallyEvent::DeadlinePassed => {}
            }
        }
        done += usize::from(!answers.is_empty());
        strict += usize::from(answers.contains(&AnswerKind::Strict));
        open += usize::from(answers.is_empty() && !out);
        maybe |= answers.is_empty() && !out && asked;
    }
    let (needed, owners) = (usize::from(quorum.needed()), usize::from(quorum.primaries_needed()));
    if done >= needed && strict >= owners {
        return Expected::Met { strict: strict >= needed, answers: done };
    }
    let over = events.contains(&TallyEvent::DeadlinePassed);
    if over || done + open < needed || strict + open < owners {
        return Expected::Failed { ok: done, may_have_been_stored: maybe || done > 0 };
    }
    Expected::Open
}

fn as_expected(verdict: &Verdict) -> Expected {
    match verdict {
        Verdict::Met { strict, answers } => {
            Expected::Met { strict: *strict, answers: answers.len() }
        }
        Verdict::Failed { ok, may_have_been_stored, .. } => {
            Expected::Failed { ok: usize::from(*ok), may_have_been_stored: *may_have_been_stored }
        }
    }
}

/// Plays every interleaving of the scripts that are left; the tally has no verdict yet.
fn interleave(tally: &Tally, left: &[&[TallyEvent]], told: &mut Vec<TallyEvent>, ends: &mut u64) {
    for (chosen, script) in left.iter().enumerate() {
        let Some((event, rest)) = script.split_first() else { continue };
        told.push(event.clone());
        let expected = expected(told, tally.quorum());
        let mut left = left.to_vec();
        left[chosen] = rest;
        match tally.clone().step(event.clone()) {
            TallyStep::Reached(next, verdict) => {
                assert_eq!(as_expected(&verdict), expected, "{told:#?}");
                let rest: Vec<_> = left.concat();
                assert_only_late(next, &rest);
                *ends += 1;
            }
            TallyStep::Counted(next) | TallyStep::Ignored(next, _) => {
                assert_eq!(Expected::Open, expected, "{told:#?}");
                interleave(&next, &left, told, ends);
            }
        }
        told.pop();
    }
}

fn assert_only_late(mut tally: Tally, rest: &[TallyEvent]) {
    for (count, event) in (1..).zip(rest) {
        match tally.step(event.clone()) {
            TallyStep::Ignored(next, TallyIgnored::Late) => tally = next,
            other @ (TallyStep::Counted(_) | TallyStep::Reached(..) | TallyStep::Ignored(..)) => {
                panic!("it should be late: {other:#?}")
            }
        }
        assert_eq!(tally.late(), count);
    }
}

#[test]
fn every_order_of_events_ends_in_one_verdict_at_the_first_possible_moment() {
    let mut ends = 0;
    for (needed, owners) in (1..=3).flat_map(|needed| (0..=3).map(move |owners| (needed, owners))) {
        for first in scripts(0) {
            for second in scripts(1) {
                for third in scripts(2) {
                    let deadline = [TallyEvent::DeadlinePassed];
                    let all: [&[TallyEvent]; 4] = [&first, &second, &third, &deadline];
                    interleave(&tally(needed, owners), &all, &mut Vec::new(), &mut ends);
                }
            }
        }
    }
    assert!(ends >= 90_000, "only {ends} orders");
}

#[test]
fn a_quorum_is_possible_or_it_is_not_made() {
    assert!(Quorum::new(1, 1, 0).is_ok());
    assert!(Quorum::new(16, 16, 16).is_ok());
    assert_eq!(Quorum::new(0, 1, 0), Err(QuorumError::BadReplicas { n: 0 }));
    assert_eq!(Quorum::new(17, 1, 0), Err(QuorumError::BadReplicas { n: 17 }));
    assert_eq!(Quorum::new(3, 0, 0), Err(QuorumError::BadNeeded { n: 3, needed: 0 }));
    let refused = Quorum::new(3, 4, 0).unwrap_err();
    assert_eq!(refused.to_string(), "1 to 3 of 3 replicas can be needed, not 4");
    assert!(Quorum::new(3, 2, 4).is_err());

    let bytes = rmp_serde::to_vec(&(3, 4, 0)).unwrap();
    assert!(rmp_serde::from_slice::<Quorum>(&bytes).is_err(), "also when it comes as bytes");
    let bytes = rmp_serde::to_vec_named(&Quorum::new(3, 2, 1).unwrap()).unwrap();
    assert_eq!(Quorum::new(3, 2, 1), Ok(rmp_serde::from_slice(&bytes).unwrap()));
}

#[test]
fn a_tally_wants_n_different_partitions() {
    let quorum = Quorum::new(3, 2, 0).unwrap();
    let twice =
        vec![(PARTITIONS[0], owner(0)), (PARTITIONS[1], owner(1)), (PARTITIONS[0], owner(2))];
    let refused = Tally::new(quorum, twice).unwrap_err();
    assert_eq!(refused, QuorumError::BadAsked { n: 3, asked: 2 });
}

fn verdict(mut tally: Tally, events: &[TallyEvent]) -> Verdict {
    for event in events {
        match tally.step(event.clone()) {
            TallyStep::Counted(next) | TallyStep::Ignored(next, _) => tally = next,
            TallyStep::Reached(_, verdict) => return verdict,
        }
    }
    panic!("no verdict after {events:#?}");
}

#[test]
fn a_failed_request_names_everybody_who_failed_and_how() {
    let events = [asked_instead(0), failed(1, FailureReason::Busy), TallyEvent::DeadlinePassed];
    let fault = |replica, name: &str, reason| ReplicaFault {
        partition: PARTITIONS[replica],
        node: node(name),
        reason,
    };
    let failures = vec![
        fault(0, "ada", FailureReason::Unreachable { may_have_run: false }),
        fault(1, "bob", FailureReason::Busy),
        fault(0, "eve", FailureReason::Silent),
        fault(2, "cyd", FailureReason::Silent),
    ];
    let failed = Verdict::Failed {
        ok: 0,
        needed: 2,
        primaries_ok: 0,
        primaries_needed: 0,
        deadline_passed: true,
        may_have_been_stored: true,
        failures,
    };
    assert_eq!(verdict(tally(2, 0), &events), failed);
}

#[test]
fn a_request_that_ran_nowhere_says_that_nothing_was_stored() {
    let events =
        [unreachable(0, false), failed(1, FailureReason::Busy), failed(2, FailureReason::Moved)];
    match verdict(tally(1, 0), &events) {
        Verdict::Failed { may_have_been_stored, deadline_passed, .. } => {
            assert!(!may_have_been_stored && !deadline_passed);
        }
        met @ Verdict::Met { .. } => panic!("{met:?}"),
    }
}

#[test]
fn a_doubt_is_kept_when_the_same_node_later_says_no() {
    let doubt = FailureReason::Unreachable { may_have_run: true };
    let again = TallyEvent::AskedInstead {
        partition: PARTITIONS[0],
        failed: owner(0),
        reason: doubt,
        instead: owner(0),
    };
    let events =
        [again, failed(0, FailureReason::Busy), unreachable(1, false), unreachable(2, false)];
    match verdict(tally(1, 0), &events) {
        Verdict::Failed { may_have_been_stored, failures, .. } => {
            assert!(may_have_been_stored);
            assert_eq!(failures.len(), 3, "one for each node and partition");
        }
        met @ Verdict::Met { .. } => panic!("{met:?}"),
    }
}

#[test]
fn a_late_no_of_the_first_node_does_not_end_the_wait_for_the_second() {
    let events = [
        asked_instead(0),
        failed(0, FailureReason::Busy),
        ok(0, AnswerKind::Sloppy),
        ok(1, AnswerKind::Strict),
        ok(2, AnswerKind::Strict),
    ];
    match verdict(tally(3, 0), &events) {
        Verdict::Met { strict, answers } => {
            assert!(!strict);
            let from: Vec<&str> = answers.iter().map(|answer| answer.from.as_str()).collect();
            assert_eq!(from, ["eve@host", "bob@host", "cyd@host"]);
        }
        failed @ Verdict::Failed { .. } => panic!("{failed:?}"),
    }
}

#[test]
fn a_replica_that_is_to_be_asked_again_is_not_taken_for_one_that_is_silent() {
    let busy = [postponed(0), postponed(1), asked_again(1), postponed(1), postponed(2)];
    let events = [&busy[..], &[TallyEvent::DeadlinePassed]].concat();
    match verdict(tally(1, 0), &events) {
        Verdict::Failed { may_have_been_stored, deadline_passed, failures, .. } => {
            assert!(deadline_passed && !may_have_been_stored);
            let reasons: Vec<FailureReason> =
                failures.into_iter().map(|fault| fault.reason).collect();
            assert_eq!(reasons, vec![FailureReason::Busy; 3]);
        }
        met @ Verdict::Met { .. } => panic!("{met:?}"),
    }
}

#[test]
fn a_replica_that_is_lost_is_named_so_although_it_was_asked_again() {
    let lost = TallyEvent::Postponed {
        partition: PARTITIONS[0],
        node: owner(0),
        reason: FailureReason::Lost,
    };
    let events = [lost, asked_again(0), postponed(1), asked_again(1), TallyEvent::DeadlinePassed];
    match verdict(tally(1, 0), &events) {
        Verdict::Failed { may_have_been_stored, failures, .. } => {
            assert!(may_have_been_stored, "an answer is still on its way");
            let reasons: Vec<FailureReason> =
                failures.into_iter().map(|fault| fault.reason).collect();
            let silent = FailureReason::Silent;
            assert_eq!(reasons, [FailureReason::Lost, silent.clone(), silent]);
        }
        met @ Verdict::Met { .. } => panic!("{met:?}"),
    }
}

#[test]
fn a_replica_nobody_could_be_asked_for_may_be_asked_after_all() {
    let events =
        [unreachable(0, false), asked_again(0), unreachable(1, false), ok(0, AnswerKind::Strict)];
    match verdict(tally(1, 0), &events) {
        Verdict::Met { strict, .. } => assert!(strict),
        failed @ Verdict::Failed { .. } => panic!("{failed:?}"),
    }
}

#[test]
fn what_a_stand_in_tells_counts_once_no_owner_is_waited_for() {
    let told = |replica: usize| TallyEvent::Told {
        partition: PARTITIONS[replica],
        from: node("eve"),
        reply: Bytes::from(vec![u8::try_from(replica).unwrap()]),
    };
    let waits = [told(0), told(1), TallyEvent::DeadlinePassed];
    match verdict(tally(2, 0), &waits) {
        Verdict::Failed { ok: 0, deadline_passed: true, failures, .. } => {
            let reasons: Vec<FailureReason> =
                failures.into_iter().map(|fault| fault.reason).collect();
            let unconfirmed = FailureReason::Unconfirmed;
            assert_eq!(reasons, [unconfirmed.clone(), unconfirmed, FailureReason::Silent]);
        }
        other @ (Verdict::Met { .. } | Verdict::Failed { .. }) => panic!("{other:?}"),
    }
    for (last, strict) in [(TallyEvent::OwnersHeard, false), (ok(2, AnswerKind::Strict), true)] {
        match verdict(tally(if strict { 1 } else { 2 }, 0), &[told(0), told(1), last]) {
            Verdict::Met { strict: met, answers } => {
                assert_eq!((met, answers.len()), (strict, if strict { 3 } else { 2 }));
            }
            failed @ Verdict::Failed { .. } => panic!("{failed:?}"),
        }
    }
}

#[test]
fn a_stranger_does_not_count() {
    let (from, kind) = (owner(0), AnswerKind::Strict);
    let outcome = ReplicaOutcome::Ok(Bytes::new());
    let partition = Partition(99);
    let step = tally(1, 0).step(TallyEvent::Answered { partition, from, kind, outcome });
    assert_eq!(step, TallyStep::Ignored(tally(1, 0), TallyIgnored::NotAsked));
}
