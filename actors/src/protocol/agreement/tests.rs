//! What an acceptor and a proposer say, case by case.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use super::proposer::{
    Absence, GiveUp, Ignored, Proposal, ProposerEffect, ProposerEvent, ProposerStep,
};
use super::*;
use crate::protocol::id::NodeName;

type Effects = Vec<ProposerEffect<char>>;

const EPOCH: Epoch = Epoch(2);

fn node(number: u64) -> NodeName {
    NodeName::new(&format!("n{number}@host")).unwrap()
}

fn ballot(round: u64) -> Ballot {
    Ballot { round, voter: VoterId(0), proposal: ProposalId { boot: 1, number: 1 } }
}

fn prepare(round: u64) -> Ask<char> {
    Ask::Prepare { epoch: EPOCH, ballot: ballot(round) }
}

fn accept(round: u64, value: char) -> Ask<char> {
    Ask::Accept { epoch: EPOCH, ballot: ballot(round), value }
}

fn promise(accepted: Option<(u64, char)>) -> Answer<char> {
    let accepted = accepted.map(|(round, value)| AcceptedValue { ballot: ballot(round), value });
    Answer::Promise { accepted }
}

fn nack(round: u64) -> Answer<char> {
    Answer::Nack { promised: ballot(round) }
}

#[test]
fn an_acceptor_keeps_its_highest_promise_and_tells_what_it_accepted() {
    let mut acceptor = Acceptor::after(Epoch(1));
    let must = Persist::BeforeAnswering;
    for (question, answer, persist) in [
        (prepare(2), promise(None), must),
        (prepare(1), nack(2), Persist::Unchanged),
        (prepare(2), promise(None), Persist::Unchanged),
        (accept(1, 'a'), nack(2), Persist::Unchanged),
        (accept(2, 'b'), Answer::Accepted, must),
        (accept(2, 'b'), Answer::Accepted, Persist::Unchanged),
        (accept(2, 'c'), nack(2), Persist::Unchanged),
        (prepare(3), promise(Some((2, 'b'))), must),
        (accept(2, 'b'), nack(3), Persist::Unchanged),
        (accept(4, 'd'), Answer::Accepted, must),
        (prepare(5), promise(Some((4, 'd'))), must),
    ] {
        let answered = acceptor.answer(question.clone());
        assert_eq!((answered.answer, answered.persist), (answer, persist), "{question:?}");
        acceptor = answered.acceptor;
    }
}

#[test]
fn an_acceptor_judges_the_epoch_after_its_ring_only() {
    let acceptor = Acceptor::<char>::after(Epoch(1)).answer(accept(1, 'a')).acceptor;
    assert_eq!(acceptor.clone().learned(Epoch(1)), acceptor, "an old ring changes nothing");
    assert_eq!(acceptor.clone().learned(Epoch(2)).deciding(), Epoch(3));

    let later = acceptor.learned(Epoch(4));
    assert_eq!(later, Acceptor::after(Epoch(4)), "votes do not carry over");
    let over = later.clone().answer(prepare(9));
    assert_eq!(over.answer, Answer::EpochOver { deciding: Epoch(5) });
    let ahead = later.answer(Ask::Prepare { epoch: Epoch(6), ballot: ballot(1) });
    assert_eq!(ahead.answer, Answer::EpochAhead { deciding: Epoch(5) });
    assert_eq!(ahead.persist, Persist::Unchanged);
}

/// A proposer under test, and what it wanted done last.
struct Play {
    proposer: Proposer<char>,
    effects: Effects,
}

impl Play {
    fn started(acceptors: u64, attempts: u32) -> Self {
        let proposer = Proposer::new(Proposal {
            id: ProposalId { boot: 1, number: 1 },
            proposer: VoterId(0),
            epoch: EPOCH,
            value: 'a',
            acceptors: (0..acceptors).map(|number| (node(number), VoterId(number))).collect(),
            attempts_max: NonZeroU32::new(attempts).unwrap(),
            rules: Rules::default(),
        });
        let mut play = Self { proposer, effects: Vec::new() };
        play.tell(ProposerEvent::Started).unwrap();
        play
    }

    fn tell(&mut self, event: ProposerEvent<char>) -> Result<(), Ignored> {
        let (proposer, result) = match self.proposer.clone().step(event) {
            ProposerStep::Moved(next, effects) => {
                self.effects = effects;
                (next, Ok(()))
            }
            ProposerStep::Stayed(same, ignored) => (same, Err(ignored)),
        };
        self.proposer = proposer;
        result
    }

    fn hear(&mut self, from: u64, round: u64, answer: Answer<char>) -> Result<(), Ignored> {
        let (from, voter) = (node(from), VoterId(from));
        self.tell(ProposerEvent::Answered { from, voter, ballot: ballot(round), answer })
    }

    fn asked_to_accept(&self, round: u64, value: char) -> bool {
        let wanted = accept(round, value);
        let asks = |effect: &ProposerEffect<char>| matches!(effect, ProposerEffect::Ask(_, ask) if *ask == wanted);
        self.effects.iter().filter(|effect| asks(effect)).count()
            == self.proposer.proposal().acceptors.len()
    }
}

#[test]
fn a_single_acceptor_decides_alone() {
    let mut play = Play::started(1, 1);
    let ask = ProposerEffect::Ask(node(0), prepare(1));
    assert_eq!(play.effects, vec![ProposerEffect::StartTimer(ballot(1)), ask]);
    play.hear(0, 1, promise(None)).unwrap();
    assert!(play.asked_to_accept(1, 'a'));
    play.hear(0, 1, Answer::Accepted).unwrap();
    assert_eq!(play.effects, vec![ProposerEffect::Decided { value: 'a', own: true }]);
    assert_eq!(play.hear(0, 1, Answer::Accepted), Err(Ignored::Late));
}

#[test]
fn two_acceptors_are_both_needed() {
    let mut play = Play::started(2, 1);
    play.hear(0, 1, promise(None)).unwrap();
    assert_eq!(play.effects, vec![]);
    let who = node(1);
    play.tell(ProposerEvent::NotReached { who, ballot: ballot(1) }).unwrap();
    let missing = BTreeMap::from([(node(1), Absence::NotReached)]);
    let reason = GiveUp::NoMajority { missing, needed: 2 };
    assert_eq!(play.effects, vec![ProposerEffect::GaveUp { reason, may_be_decided: false }]);
}

#[test]
fn what_was_accepted_under_the_highest_ballot_goes_before_the_own_value() {
    let mut play = Play::started(5, 2);
    play.tell(ProposerEvent::TimedOut(ballot(1))).unwrap();
    play.tell(ProposerEvent::RetryDue(ballot(2))).unwrap();
    play.hear(0, 2, promise(None)).unwrap();
    play.hear(1, 2, promise(Some((1, 'x')))).unwrap();
    play.hear(1, 2, promise(Some((1, 'x')))).unwrap();
    assert_eq!(play.effects, vec![], "one acceptor counts once");
    play.hear(2, 2, promise(None)).unwrap();
    assert!(play.asked_to_accept(2, 'x'));
    for from in [0, 3, 4] {
        play.hear(from, 2, Answer::Accepted).unwrap();
    }
    assert_eq!(play.effects, vec![ProposerEffect::Decided { value: 'x', own: false }]);
}

#[test]
fn an_answer_under_another_voting_identity_does_not_count() {
    let mut play = Play::started(2, 1);
    play.hear(0, 1, promise(None)).unwrap();
    let (from, voter, ballot) = (node(1), VoterId(77), ballot(1));
    play.tell(ProposerEvent::Answered { from, voter, ballot, answer: promise(None) }).unwrap();
    let missing = BTreeMap::from([(node(1), Absence::OtherVoter { voter })]);
    let reason = GiveUp::NoMajority { missing, needed: 2 };
    assert_eq!(play.effects, vec![ProposerEffect::GaveUp { reason, may_be_decided: false }]);
}

#[test]
fn the_next_attempt_is_above_every_ballot_that_was_heard_of() {
    let mut play = Play::started(3, 2);
    play.hear(0, 1, nack(7)).unwrap();
    assert_eq!(play.effects, vec![], "two may still promise");
    play.hear(1, 1, nack(5)).unwrap();
    let retry = ProposerEffect::Retry { ballot: ballot(8), backoff_step: 1 };
    assert_eq!(play.effects, vec![retry]);

    assert_eq!(play.hear(2, 1, promise(None)), Err(Ignored::Late));
    assert_eq!(play.tell(ProposerEvent::TimedOut(ballot(1))), Err(Ignored::Late));
    play.tell(ProposerEvent::RetryDue(ballot(8))).unwrap();
    assert!(play.effects.contains(&ProposerEffect::Ask(node(2), prepare(8))));
}

#[test]
fn a_proposer_that_asked_to_accept_says_that_its_value_may_yet_be_decided() {
    let mut play = Play::started(3, 1);
    play.hear(0, 1, promise(None)).unwrap();
    play.hear(1, 1, promise(None)).unwrap();
    play.hear(1, 1, Answer::Accepted).unwrap();
    play.tell(ProposerEvent::TimedOut(ballot(1))).unwrap();
    let missing = BTreeMap::from([(node(0), Absence::Silent), (node(2), Absence::Silent)]);
    let reason = GiveUp::NoMajority { missing, needed: 2 };
    assert_eq!(play.effects, vec![ProposerEffect::GaveUp { reason, may_be_decided: true }]);
}

#[test]
fn a_proposer_that_is_out_of_time_names_who_is_missing_after_this_attempt() {
    let mut play = Play::started(2, 9);
    play.hear(0, 1, promise(None)).unwrap();
    play.proposer.attempt_no_more();
    play.tell(ProposerEvent::TimedOut(ballot(1))).unwrap();
    let missing = BTreeMap::from([(node(1), Absence::Silent)]);
    let reason = GiveUp::NoMajority { missing, needed: 2 };
    assert_eq!(play.effects, vec![ProposerEffect::GaveUp { reason, may_be_decided: false }]);
}

#[test]
fn a_proposer_stops_at_once_when_the_epoch_is_over() {
    let mut play = Play::started(3, 5);
    play.hear(2, 1, Answer::EpochOver { deciding: Epoch(4) }).unwrap();
    let reason = GiveUp::EpochOver { at: node(2), deciding: Epoch(4) };
    assert_eq!(play.effects, vec![ProposerEffect::GaveUp { reason, may_be_decided: false }]);
    assert_eq!(play.tell(ProposerEvent::Started), Err(Ignored::Unexpected));
}

#[test]
fn an_acceptor_that_is_behind_is_sent_the_ring() {
    let mut play = Play::started(3, 2);
    play.hear(1, 1, Answer::EpochAhead { deciding: Epoch(1) }).unwrap();
    assert_eq!(play.effects, vec![ProposerEffect::BringUpToDate(node(1))]);
    play.hear(2, 1, Answer::EpochAhead { deciding: Epoch(1) }).unwrap();
    let retry = ProposerEffect::Retry { ballot: ballot(2), backoff_step: 1 };
    assert_eq!(play.effects, vec![ProposerEffect::BringUpToDate(node(2)), retry]);
}

#[test]
fn a_stranger_has_no_vote() {
    let mut play = Play::started(1, 1);
    assert_eq!(play.hear(5, 1, promise(None)), Err(Ignored::NotAnAcceptor));
    let who = node(5);
    let missed = ProposerEvent::NotReached { who, ballot: ballot(1) };
    assert_eq!(play.tell(missed), Err(Ignored::NotAnAcceptor));
}
