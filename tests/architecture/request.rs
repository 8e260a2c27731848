//! The table of a request: what follows from what a replica says.

use std::collections::BTreeSet;

use bytes::Bytes;
use tanodb_actors::protocol::gossip::Held;
use tanodb_actors::protocol::hash::{RingHash, RingSize};
use tanodb_actors::protocol::id::{Epoch, Incarnation, NodeId, NodeName, Partition, Stamp, Token};
use tanodb_actors::protocol::quorum::{FailureReason, Quorum, Verdict};
use tanodb_actors::protocol::request::{
    AttemptId, Directory, Effect, Event, Request, Role, Said, Start,
};
use tanodb_actors::protocol::rules::Rules;

use crate::document::{assert_all_are_walked, assert_in_document, folded, table, variant_of};

/// The holder of the first replica.
const HOLDER: &str = "a@host";

fn name(number: u32) -> NodeName {
    let letters = ["a", "b", "c", "d", "e"];
    NodeName::new(&format!("{}@host", letters[number as usize % letters.len()])).unwrap()
}

fn held(holder: NodeName, hop: u32) -> Held {
    let incarnation = Incarnation { boot: 1, nonce: 1 };
    Held { token: Token { epoch: Epoch(1), hop }, holder: NodeId { name: holder, incarnation } }
}

/// Eight partitions on five nodes, the first of a request's replicas on node a.
struct World {
    down: BTreeSet<NodeName>,
}

impl Directory for World {
    fn size(&self) -> RingSize {
        RingSize::new(8).unwrap()
    }

    fn held(&self, partition: Partition) -> Held {
        held(name(partition.0 + 4), 1)
    }

    fn is_up(&self, node: &NodeName) -> bool {
        !self.down.contains(node)
    }

    fn may_stand_in(&self, node: &NodeName) -> bool {
        self.is_up(node)
    }
}

#[derive(Clone, Copy)]
struct Case {
    /// Replicas asked, two of three or the only one.
    n: u8,
    needed: u8,
    /// Whether the holder of the first replica goes down before it is heard of.
    goes_down: bool,
}

const CASES: [Case; 3] = [
    Case { n: 3, needed: 2, goes_down: false },
    Case { n: 3, needed: 2, goes_down: true },
    Case { n: 1, needed: 1, goes_down: true },
];

/// What a request that has asked all its replicas does about this end of its first attempt.
fn after(event: &Event, case: Case) -> String {
    let mut world = World { down: BTreeSet::new() };
    let start = Start {
        hash: RingHash([0; 20]),
        quorum: Quorum::new(case.n, case.needed, 0).unwrap(),
        stand_ins: case.n > 1,
        jitter: 0,
        rules: Rules::default(),
    };
    let (mut request, sent) = Request::start(start, &world).unwrap();
    assert_eq!(sent.len(), usize::from(case.n));
    assert!(matches!(&sent[0], Effect::Send { to, .. } if to.as_str() == HOLDER));
    if case.goes_down {
        world.down.insert(NodeName::new(HOLDER).unwrap());
    }
    let effects = request.step(event.clone(), &world);
    if effects.iter().any(|effect| matches!(effect, Effect::Restamp { .. })) {
        return "all, with a higher stamp".to_owned();
    }
    let words: Vec<String> = effects.iter().filter_map(in_words).collect();
    match (words.is_empty(), event) {
        (false, _) => words.join("; "),
        (true, Event::Replied { said: Said::Done { .. }, .. }) => "counted".to_owned(),
        (true, _) => "the replica is given up".to_owned(),
    }
}

fn in_words(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Send { role: Role::StandIn { .. }, .. } => "a stand-in is asked".to_owned(),
        Effect::Send { to, .. } if to.as_str() == HOLDER => "the holder is asked again".to_owned(),
        Effect::Send { .. } => "the new holder is asked".to_owned(),
        Effect::After { .. } => "again after a pause".to_owned(),
        Effect::Learned { .. } | Effect::Restamp { .. } => return None,
        Effect::Answer(Verdict::Met { .. }) => "answered".to_owned(),
        Effect::Answer(Verdict::Failed { may_have_been_stored: true, .. }) => {
            "failed, may have run".to_owned()
        }
        Effect::Answer(Verdict::Failed { .. }) => "failed".to_owned(),
    })
}

fn reasons() -> Vec<FailureReason> {
    let text = || "reason".to_owned();
    vec![
        FailureReason::Behind,
        FailureReason::Retry,
        FailureReason::Busy,
        FailureReason::Dropped,
        FailureReason::Expired,
        FailureReason::Lost,
        FailureReason::Stalled,
        FailureReason::Stopped(text()),
        FailureReason::Refused(text()),
    ]
}

fn endings() -> Vec<(String, Event)> {
    let attempt = AttemptId(0);
    let replied = |said| Event::Replied { attempt, said };
    let moved = |hop| replied(Said::Moved(held(name(3), hop)));
    let mut all = vec![
        ("`Done`".to_owned(), replied(Said::Done { reply: Bytes::new() })),
        ("`Moved`, higher token".to_owned(), moved(2)),
        ("`Moved`, no higher token".to_owned(), moved(1)),
        ("`Overtaken`".to_owned(), replied(Said::Overtaken(Stamp::default()))),
    ];
    for reason in reasons() {
        all.push((format!("`{}`", variant_of(&reason)), replied(Said::Failed(reason))));
    }
    all.push(("not sent".to_owned(), Event::NotSent { attempt }));
    all.push(("sent, no answer will come".to_owned(), Event::Lost { attempt }));
    all
}

#[test]
fn the_requests_table_is_that_of_the_machine() {
    // What replicas do not say: the request itself finds these out.
    let found_out =
        ["Moved", "Overtaken", "Unconfirmed", "Unreachable", "Silent"].map(str::to_owned);
    let walked = reasons().iter().map(variant_of).chain(found_out).collect::<Vec<_>>();
    assert_all_are_walked("actors/src/protocol/quorum.rs", "FailureReason", walked.into_iter());
    let row = |(said, event): &(String, Event)| {
        let cells = CASES.map(|case| after(event, case));
        std::iter::once(said.clone()).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = endings().iter().map(row).collect();
    let heads = [
        "the first replica",
        "its holder is up",
        "is down, others may stand in",
        "is down, the only copy",
    ];
    assert_in_document("request", &table(&heads, &folded(rows, usize::MAX)));
}
