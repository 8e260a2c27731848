//! One rule at a time. What holds over all sequences is in [`super::exploration`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::*;
use crate::protocol::hash::RingHash;
use crate::protocol::id::{Epoch, Incarnation, NodeId, Stamp};
use crate::protocol::quorum::Quorum;
use crate::protocol::rules::Rules;

/// A ring of 8 partitions and five nodes, a to e.
#[derive(Debug, Clone, Hash)]
pub(super) struct World {
    pub(super) holders: BTreeMap<Partition, Held>,
    pub(super) up: BTreeSet<NodeName>,
    /// Up, in a life that the ring does not list.
    pub(super) forgot: BTreeSet<NodeName>,
}

pub(super) fn node(letter: char) -> NodeName {
    NodeName::new(&format!("{letter}@host")).unwrap()
}

pub(super) fn held(letter: char, hop: u32) -> Held {
    let holder = NodeId { name: node(letter), incarnation: Incarnation { boot: 1, nonce: 1 } };
    Held { token: Token { epoch: Epoch(1), hop }, holder }
}

pub(super) fn quorum(n: u8, needed: u8, owners_needed: u8) -> Quorum {
    Quorum::new(n, needed, owners_needed).unwrap()
}

impl World {
    /// Partitions 1, 2, ... have these holders; the first hash of the ring belongs to partition 1.
    pub(super) fn of(holders: &str) -> Self {
        let partitions = (1..=8).map(|number| Partition(number % 8));
        let holders = partitions.zip(holders.chars().map(|letter| held(letter, 0))).collect();
        Self { holders, up: ('a'..='e').map(node).collect(), forgot: BTreeSet::new() }
    }

    fn without(mut self, down: &str) -> Self {
        self.up.retain(|name| !down.chars().any(|letter| node(letter) == *name));
        self
    }

    fn begin(&self, quorum: Quorum, stand_ins: bool) -> (Request, Vec<Effect>) {
        let start = Start {
            hash: RingHash([0; 20]),
            quorum,
            stand_ins,
            jitter: 0,
            rules: Rules::default(),
        };
        Request::start(start, self).unwrap()
    }
}

impl Directory for World {
    fn size(&self) -> RingSize {
        RingSize::new(8).unwrap()
    }

    fn held(&self, partition: Partition) -> Held {
        self.holders[&partition].clone()
    }

    fn is_up(&self, node: &NodeName) -> bool {
        self.up.contains(node)
    }

    fn may_stand_in(&self, node: &NodeName) -> bool {
        self.up.contains(node) && !self.forgot.contains(node)
    }
}

/// Effects as text: `a1` asks node a as owner of partition 1, `d*1` as a stand-in, `a1.2` under hop 2.
fn shown(effects: &[Effect]) -> String {
    let one = |effect: &Effect| match effect {
        Effect::Send { partition, to, token, role, .. } => {
            let letter = to.as_str().chars().next().unwrap();
            let star = if *role == Role::Owner { "" } else { "*" };
            let hop = if token.hop == 0 { String::new() } else { format!(".{}", token.hop) };
            format!("{letter}{star}{}{hop}", partition.0)
        }
        Effect::Restamp { above } => format!("restamp {}", above.millis),
        Effect::After { .. } => "pause".to_owned(),
        Effect::Learned { held, .. } => format!("learned {}", held.token),
        Effect::Answer(Verdict::Met { strict, .. }) => {
            if *strict {
                "strict".to_owned()
            } else {
                "sloppy".to_owned()
            }
        }
        Effect::Answer(Verdict::Failed { ok, deadline_passed, may_have_been_stored, .. }) => {
            let why = if *deadline_passed { "late" } else { "unmet" };
            format!("{why} {ok}{}", if *may_have_been_stored { "?" } else { "" })
        }
    };
    effects.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn said(attempt: u32, said: Said) -> Event {
    Event::Replied { attempt: AttemptId(attempt), said }
}

fn failed(reason: FailureReason) -> Said {
    Said::Failed(reason)
}

fn done(attempt: u32) -> Event {
    said(attempt, Said::Done { reply: Bytes::from(format!("reply {attempt}")) })
}

fn not_sent(attempt: u32) -> Event {
    Event::NotSent { attempt: AttemptId(attempt) }
}

#[test]
fn all_replicas_are_asked_at_once_and_enough_of_them_are_the_answer() {
    let world = World::of("abcdeabc");
    let (mut request, effects) = world.begin(quorum(3, 2, 0), true);
    assert_eq!(shown(&effects), "a1 b2 c3");
    assert_eq!(shown(&request.step(done(2), &world)), "");
    let effects = request.step(done(0), &world);
    assert_eq!(shown(&effects), "strict");
    let [Effect::Answer(Verdict::Met { answers, .. })] = &effects[..] else {
        panic!("{effects:?}")
    };
    let replies: Vec<&Bytes> = answers.iter().map(|answer| &answer.reply).collect();
    assert_eq!(replies, ["reply 0", "reply 2"], "in the order of the preference list");
    assert!(!request.is_over(), "one replica was not heard");
    assert_eq!(shown(&request.step(done(1), &world)), "");
    assert!(request.is_over());
}

#[test]
fn the_tail_is_asked_on_until_the_deadline() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(3, 2, 0), true);
    let _ = request.step(done(0), &world);
    assert_eq!(shown(&request.step(done(1), &world)), "strict");
    assert_eq!(shown(&request.step(said(2, failed(FailureReason::Busy)), &world)), "pause");
    assert_eq!(shown(&request.step(Event::TimerFired(PauseId(0)), &world)), "c3");
    assert_eq!(shown(&request.step(Event::DeadlinePassed, &world)), "");
    assert!(request.is_over());
}

#[test]
fn a_moved_replica_is_asked_at_once_at_its_new_holder() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(1, 1, 1), false);
    assert_eq!(
        shown(&request.step(said(0, Said::Moved(held('d', 3))), &world)),
        "learned 1.3 d1.3"
    );
    assert_eq!(shown(&request.step(done(1), &world)), "strict");
}

#[test]
fn a_move_that_names_no_higher_token_is_not_followed() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(1, 1, 1), false);
    assert_eq!(shown(&request.step(said(0, Said::Moved(held('d', 0))), &world)), "pause");
    assert_eq!(shown(&request.step(Event::TimerFired(PauseId(0)), &world)), "a1");
}

#[test]
fn a_refusal_of_a_former_holder_needs_no_pause() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(1, 1, 1), false);
    let learned = Event::TokenLearned { partition: Partition(1), held: held('d', 1) };
    assert_eq!(shown(&request.step(learned, &world)), "");
    let retry = said(0, failed(FailureReason::Retry));
    assert_eq!(shown(&request.step(retry, &world)), "d1.1");
}

#[test]
fn pauses_double_from_5_to_200_milliseconds_and_end() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(1, 1, 1), false);
    let busy = |attempt| said(attempt, failed(FailureReason::Busy));
    let mut waits = Vec::new();
    for attempt in 0..u32::from(ATTEMPTS_MAX) - 1 {
        let effects = request.step(busy(attempt), &world);
        let [Effect::After { pause, wait }] = effects[..] else { panic!("{effects:?}") };
        waits.push(wait);
        assert_eq!(shown(&request.step(Event::TimerFired(pause), &world)), "a1");
    }
    let last = request.step(busy(u32::from(ATTEMPTS_MAX) - 1), &world);
    assert_eq!(shown(&last), "unmet 0");
    for (round, &wait) in waits.iter().enumerate() {
        let full = PAUSE_MAX.min(PAUSE_MIN * (1 << round.min(10)));
        assert!(wait >= full / 2 && wait <= full, "pause {round} was {wait:?}");
    }
    assert!(waits[10..].iter().collect::<BTreeSet<_>>().len() > 100, "pauses are spread");
}

#[test]
fn a_stand_in_keeps_a_hint_for_an_owner_that_is_down() {
    let world = World::of("abcdeabc").without("a");
    let (mut request, effects) = world.begin(quorum(3, 3, 0), true);
    assert_eq!(shown(&effects), "d*1 b2 c3");
    for attempt in 0..2 {
        assert_eq!(shown(&request.step(done(attempt), &world)), "");
    }
    assert_eq!(shown(&request.step(done(2), &world)), "sloppy");
}

#[test]
fn an_owner_that_is_up_is_asked_again_and_not_replaced() {
    let world = World::of("abcdeabc");
    for slow in [
        failed(FailureReason::Retry),
        failed(FailureReason::Busy),
        failed(FailureReason::Dropped),
        failed(FailureReason::Lost),
    ] {
        let (mut request, _) = world.begin(quorum(3, 2, 0), true);
        assert_eq!(shown(&request.step(said(0, slow), &world)), "pause");
        assert_eq!(shown(&request.step(Event::TimerFired(PauseId(0)), &world)), "a1");
        assert_eq!(shown(&request.step(not_sent(3), &world)), "pause");
    }
}

#[test]
fn an_owner_whose_time_was_up_is_not_asked_again() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(3, 2, 0), true);
    let expired = failed(FailureReason::Expired);
    assert_eq!(shown(&request.step(said(0, expired.clone()), &world)), "");
    assert_eq!(shown(&request.step(said(1, expired), &world)), "unmet 0?", "the third may run it");
}

#[test]
fn an_owner_that_goes_down_is_replaced_at_once() {
    let up = World::of("abcdeabc");
    let down = up.clone().without("a");
    for event in [not_sent(0), Event::Lost { attempt: AttemptId(0) }, Event::PeerDown(node('a'))] {
        let (mut request, _) = up.begin(quorum(3, 2, 0), true);
        assert_eq!(shown(&request.step(event, &down)), "d*1");
    }
}

#[test]
fn two_stand_ins_are_two_nodes() {
    let up = World::of("abcdeabc");
    let (mut request, _) = up.begin(quorum(3, 2, 0), true);
    let without_b = up.clone().without("b");
    assert_eq!(shown(&request.step(Event::PeerDown(node('b')), &without_b)), "d*2");
    let without_both = up.without("ab");
    assert_eq!(shown(&request.step(Event::PeerDown(node('a')), &without_both)), "e*1");
}

#[test]
fn nobody_stands_in_whose_hints_no_owner_would_take() {
    let up = World::of("abcdeabc");
    let (mut request, _) = up.begin(quorum(3, 2, 0), true);
    let mut without_a = up.without("a");
    without_a.forgot.insert(node('d'));
    assert_eq!(shown(&request.step(Event::PeerDown(node('a')), &without_a)), "e*1");
}

#[test]
fn a_stand_in_that_lost_its_data_meanwhile_is_asked_no_more() {
    let up = World::of("abcdeabc");
    let (mut request, _) = up.begin(quorum(3, 2, 0), true);
    let mut without_a = up.without("a");
    assert_eq!(shown(&request.step(Event::PeerDown(node('a')), &without_a)), "d*1");
    without_a.forgot.insert(node('d'));
    assert_eq!(shown(&request.step(said(3, failed(FailureReason::Lost)), &without_a)), "pause");
    assert_eq!(shown(&request.step(Event::TimerFired(PauseId(0)), &without_a)), "e*1");
}

#[test]
fn a_stalled_owner_has_a_stand_in_until_a_higher_token_is_known() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(3, 3, 0), true);
    assert_eq!(shown(&request.step(said(0, failed(FailureReason::Stalled)), &world)), "d*1");
    let learned = Event::TokenLearned { partition: Partition(1), held: held('e', 1) };
    assert_eq!(shown(&request.step(said(3, failed(FailureReason::Busy)), &world)), "pause");
    assert_eq!(shown(&request.step(learned, &world)), "e1.1");
}

#[test]
fn nobody_stands_in_for_a_stalled_single_owner() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(1, 1, 1), false);
    assert_eq!(shown(&request.step(said(0, failed(FailureReason::Stalled)), &world)), "pause");
    assert_eq!(shown(&request.step(Event::TimerFired(PauseId(0)), &world)), "a1");
}

#[test]
fn too_few_owners_up_fail_before_anything_is_sent() {
    let world = World::of("abcdeabc");
    let single = world.clone().without("a");
    assert_eq!(shown(&single.begin(quorum(1, 1, 1), false).1), "unmet 0");
    let strict = world.clone().without("ab");
    assert_eq!(shown(&strict.begin(quorum(3, 2, 2), true).1), "unmet 0");
    let nobody = world.without("abcde");
    let (request, effects) = nobody.begin(quorum(3, 1, 0), true);
    assert_eq!(shown(&effects), "unmet 0");
    assert!(request.is_over());
}

#[test]
fn a_single_owner_that_went_down_with_the_command_is_waited_for() {
    let up = World::of("abcdeabc");
    let down = up.clone().without("a");
    let (mut request, _) = up.begin(quorum(1, 1, 1), false);
    assert_eq!(shown(&request.step(Event::Lost { attempt: AttemptId(0) }, &down)), "pause");
    let learned = Event::TokenLearned { partition: Partition(1), held: held('d', 1) };
    assert_eq!(shown(&request.step(learned, &down)), "d1.1");
    assert_eq!(shown(&request.step(done(1), &down)), "strict");

    let (mut request, _) = up.begin(quorum(1, 1, 1), false);
    let _ = request.step(Event::PeerDown(node('a')), &down);
    assert_eq!(shown(&request.step(Event::DeadlinePassed, &down)), "late 0?");
}

#[test]
fn a_single_owner_that_went_down_before_the_command_fails_at_once() {
    let up = World::of("abcdeabc");
    let (mut request, _) = up.begin(quorum(1, 1, 1), false);
    assert_eq!(shown(&request.step(not_sent(0), &up.without("a"))), "unmet 0");
}

#[test]
fn an_answer_that_comes_after_its_node_was_given_up_still_counts() {
    let up = World::of("abcdeabc");
    let down = up.clone().without("a");
    let (mut request, _) = up.begin(quorum(3, 3, 3), true);
    let _ = request.step(done(1), &up);
    let _ = request.step(done(2), &up);
    assert_eq!(shown(&request.step(Event::PeerDown(node('a')), &down)), "d*1");
    assert_eq!(shown(&request.step(done(0), &down)), "strict");
    assert_eq!(shown(&request.step(done(3), &down)), "");
}

/// The failures of the one answer among the effects, as text.
fn failures(effects: &[Effect]) -> Vec<String> {
    let [Effect::Answer(Verdict::Failed { failures, .. })] = effects else { panic!("{effects:?}") };
    let text = |fault: &ReplicaFault| format!("{}: {}", fault.node, fault.reason);
    failures.iter().map(text).collect()
}

#[test]
fn a_hint_does_not_stand_for_an_owner() {
    let up = World::of("abcdeabc");
    let down = up.clone().without("a");
    let (mut request, _) = up.begin(quorum(3, 2, 3), true);
    let _ = request.step(done(1), &up);
    let _ = request.step(done(2), &up);
    assert_eq!(shown(&request.step(not_sent(0), &down)), "d*1");
    assert_eq!(shown(&request.step(done(3), &down)), "unmet 3?");
}

#[test]
fn a_failure_says_what_each_replica_said() {
    let world = World::of("abcdeabc");
    let (mut request, _) = world.begin(quorum(3, 2, 0), true);
    assert_eq!(shown(&request.step(done(0), &world)), "");
    let refused = failed(FailureReason::Refused("no such type".to_owned()));
    assert_eq!(shown(&request.step(said(1, refused), &world)), "");
    let stopped = failed(FailureReason::Stopped("out of luck".to_owned()));
    let effects = request.step(said(2, stopped), &world);
    assert_eq!(shown(&effects), "unmet 1?");
    assert_eq!(
        failures(&effects),
        ["b@host: refused: no such type", "c@host: stopped: out of luck"]
    );
}

#[test]
fn at_the_deadline_a_busy_replica_is_busy_and_a_silent_one_silent() {
    let up = World::of("abcdeabc");
    let down = up.clone().without("a");
    let (mut request, _) = up.begin(quorum(3, 2, 2), true);
    assert_eq!(shown(&request.step(not_sent(0), &down)), "d*1");
    assert_eq!(shown(&request.step(done(3), &down)), "", "a hint does not count for two owners");
    assert_eq!(shown(&request.step(said(1, failed(FailureReason::Busy)), &down)), "pause");
    let effects = request.step(Event::DeadlinePassed, &down);
    assert_eq!(shown(&effects), "late 1?");
    assert_eq!(
        failures(&effects),
        ["a@host: unreachable", "b@host: busy", "c@host: no answer in time"]
    );
}

#[test]
fn a_ring_with_fewer_partitions_than_replicas_is_refused() {
    let start = Start {
        hash: RingHash([0; 20]),
        quorum: quorum(9, 1, 0),
        stand_ins: true,
        jitter: 0,
        rules: Rules::default(),
    };
    let refused = Request::start(start, &World::of("abcdeabc")).unwrap_err();
    assert_eq!(refused, QuorumError::BadAsked { n: 9, asked: 8 });
}

mod stamping;
mod telling;
