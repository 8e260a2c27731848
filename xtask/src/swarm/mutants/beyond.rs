//! Mutants that random runs do not notice, each with what runs seem to lack and the test that notices it.

/// A test: its file from the root of the repository, and its name.
type Test = (&'static str, &'static str);

/// One that runs do not notice.
pub struct Beyond {
    /// Its name, or a pair's with a `+` between.
    pub name: &'static str,
    /// What runs seem to lack.
    pub reason: &'static str,
    /// The test that notices it, if there is one yet.
    pub test: Option<Test>,
}

/// Mutants that runs do not notice, and the model checker does within a second.
#[cfg(tanodb_mutants)]
pub const BY_MODEL: &[&str] = &["AcceptBelowPromise", "OwnValueFirst"];

const HANDOFF: Test =
    ("actors/src/protocol/handoff/exploration.rs", "some_sequence_of_events_shows_each_mutant");
const AGREEMENT: Test =
    ("actors/src/protocol/agreement/exploration.rs", "mutants_of_the_agreement_are_noticed");
const MAJORITY: Test =
    ("actors/src/protocol/agreement/tests.rs", "mutants_of_the_majority_are_noticed");

/// All others.
pub const BEYOND: &[Beyond] = &[
    Beyond {
        name: "DeclinedKeepsToken",
        reason: "no run has a grant declined while an older one is on its way",
        test: Some(HANDOFF),
    },
    Beyond {
        name: "DeclinedResumesOneHopOn",
        reason: "no run has a grant declined while an older one is on its way",
        test: Some(HANDOFF),
    },
    Beyond {
        name: "LaterIncarnationDeclines",
        reason: "a target that restarts between the grant and its answer has no memory to decline with",
        test: Some(HANDOFF),
    },
    Beyond {
        name: "DeclinedReadAsHeld",
        reason: "no run of these has a grant declined by the life it was meant for",
        test: Some(HANDOFF),
    },
    Beyond {
        name: "FenceOkOfAnyFence",
        reason: "a word on an older fence does not outlive its connection",
        test: Some(HANDOFF),
    },
    Beyond {
        name: "GrantOfAnyFence",
        reason: "a source that keeps the rules names the fence that was proved",
        test: Some(HANDOFF),
    },
    Beyond {
        name: "FenceOkOfAnyFence+GrantOfAnyFence",
        reason: "a word on an older fence does not outlive its connection",
        test: Some(HANDOFF),
    },
    Beyond {
        name: "GrantWithoutProof",
        reason: "a source that keeps the rules grants only what was proved",
        test: Some(HANDOFF),
    },
    Beyond {
        name: "SilenceIgnored",
        reason: "the lease of the slot ends what is silent; hunted with it in a pair",
        test: Some((
            "actors/src/protocol/sender/exploration.rs",
            "mutants_of_the_sender_are_noticed",
        )),
    },
    Beyond {
        name: "PromiseNotDurable",
        reason: "it takes a power cut within a vote; nodes that keep items in memory come back as others",
        test: Some(AGREEMENT),
    },
    Beyond {
        name: "MajorityOfTheReached",
        reason: "two halves would have to commit at the same time",
        test: Some(MAJORITY),
    },
    Beyond {
        name: "AnyIdentityVotes",
        reason: "two rings would have to be proposed while an acceptor is restarted",
        test: Some(MAJORITY),
    },
    Beyond {
        name: "OfferToAnybody",
        reason: "an offer does not outlive the connection to the life it is meant for",
        test: Some(("actors/src/wire/offer.rs", "an_offer_or_a_grant_for_another_life_is_noticed")),
    },
    Beyond {
        name: "MessagesPostponeHints",
        reason: "nobody looks at the tables for as long as hints wait",
        test: Some(("actors/src/protocol/hints/tests.rs", "mutants_of_the_way_home_are_noticed")),
    },
    Beyond {
        name: "UncommittedJoinFreezes",
        reason: "no node dies between its join and the commit",
        test: None,
    },
    Beyond {
        name: "ExpiredKeepPermits",
        reason: "no run has enough requests to use up the permits of a vnode",
        test: None,
    },
    Beyond {
        name: "PlanNotCompared",
        reason: "operators of a run commit the plan that they were shown at once",
        test: None,
    },
    Beyond { name: "FoldErrorEndsFold", reason: "items in memory can always be read", test: None },
    Beyond {
        name: "FoldErrorEndsFold+SumsNotCompared",
        reason: "items in memory can always be read",
        test: None,
    },
    Beyond {
        name: "CursorStays+SumsNotCompared",
        reason: "no change of a run is too large to be queued",
        test: Some((
            "actors/src/protocol/stream.rs",
            "a_stream_that_forgets_or_reorders_changes_is_noticed",
        )),
    },
    Beyond {
        name: "RemovalsNotShipped+SumsNotCompared",
        reason: "a delete stores a tombstone, and none is old enough to be removed",
        test: None,
    },
    Beyond {
        name: "OldStampsCount",
        reason: "no stamp is overtaken between two replicas of one write",
        test: Some((
            "actors/src/protocol/request/exploration.rs",
            "some_sequence_of_events_shows_each_mutant_of_a_request",
        )),
    },
    Beyond {
        name: "StampsNotObserved",
        reason: "no client waits for one node's answer before it asks another",
        test: None,
    },
    Beyond {
        name: "NextAttemptGoesOn+SumsNotCompared",
        reason: "no attempt of these is cancelled late enough and tried again by the same actor",
        test: Some((
            "actors/src/protocol/stream.rs",
            "a_stream_that_forgets_or_reorders_changes_is_noticed",
        )),
    },
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_has_a_reason_and_its_test_exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for Beyond { name, reason, test } in BEYOND {
            assert!(!reason.is_empty(), "{name} has no reason");
            let Some((file, test)) = test else { continue };
            let source = std::fs::read_to_string(root.join(file)).unwrap();
            assert!(source.contains(&format!("fn {test}()")), "{name}: {file} has no {test}");
        }
    }
}
