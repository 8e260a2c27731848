//! Mutants that random runs do not notice, each with what runs seem to lack and the test that notices it.

use std::fmt;

/// A test of `tanodb-actors` that passes, and fails with a mutant.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// Where it is.
    pub program: Program,
    /// Its whole name.
    pub name: &'static str,
}

/// A program with tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Beside the code: what is decided, event by event.
    Decisions,
    /// `actors/tests/sim`: whole nodes in the simulator.
    Stories,
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.program {
            Program::Decisions => "test",
            Program::Stories => "story",
        };
        write!(f, "{kind} {}", self.name)
    }
}

const fn decision(name: &'static str) -> Test {
    Test { program: Program::Decisions, name }
}

const fn story(name: &'static str) -> Test {
    Test { program: Program::Stories, name }
}

/// One that runs do not notice.
pub struct Beyond {
    /// Its name, or a pair's with a `+` between.
    pub name: &'static str,
    /// What runs seem to lack.
    pub reason: &'static str,
    /// The test that notices it.
    pub test: Test,
}

/// Mutants that runs do not notice, and the model checker does within a second.
#[cfg(tanodb_mutants)]
pub const BY_MODEL: &[&str] = &["AcceptBelowPromise", "OwnValueFirst"];

const EVERY_SEQUENCE: Test = decision(
    "protocol::handoff::exploration::\
     no_sequence_of_events_deletes_early_or_speaks_twice_and_every_state_is_reached",
);

/// All others.
pub const BEYOND: &[Beyond] = &[
    Beyond {
        name: "DeclinedKeepsToken",
        reason: "no run has a grant declined while an older one is on its way",
        test: EVERY_SEQUENCE,
    },
    Beyond {
        name: "DeclinedResumesOneHopOn",
        reason: "no run has a grant declined while an older one is on its way",
        test: EVERY_SEQUENCE,
    },
    Beyond {
        name: "LaterIncarnationDeclines",
        reason: "a target that restarts between the grant and its answer has no memory to decline with",
        test: EVERY_SEQUENCE,
    },
    Beyond {
        name: "DeclinedReadAsHeld",
        reason: "no run has a grant declined by the life it was meant for",
        test: EVERY_SEQUENCE,
    },
    Beyond {
        name: "FenceOkOfAnyFence",
        reason: "a word on an older fence does not outlive its connection",
        test: EVERY_SEQUENCE,
    },
    Beyond {
        name: "GrantOfAnyFence",
        reason: "a source that keeps the rules names the fence that was proved",
        test: EVERY_SEQUENCE,
    },
    Beyond {
        name: "FenceOkOfAnyFence+GrantOfAnyFence",
        reason: "a word on an older fence does not outlive its connection",
        test: EVERY_SEQUENCE,
    },
    Beyond {
        name: "GrantWithoutProof",
        reason: "a source that keeps the rules grants only what was proved",
        test: decision(
            "protocol::handoff::exploration::a_target_declines_a_grant_of_what_it_has_not_proved",
        ),
    },
    Beyond {
        name: "SilenceIgnored",
        reason: "the lease of the slot ends what is silent; hunted with it in a pair",
        test: decision(
            "protocol::sender::exploration::every_sequence_keeps_within_the_window_and_reports_once",
        ),
    },
    Beyond {
        name: "PromiseNotDurable",
        reason: "it takes a power cut within a vote; nodes that keep items in memory come back as others",
        test: decision(
            "protocol::agreement::tests::an_acceptor_keeps_its_highest_promise_and_tells_what_it_accepted",
        ),
    },
    Beyond {
        name: "MajorityOfTheReached",
        reason: "two halves would have to commit at the same time",
        test: decision("protocol::agreement::tests::two_acceptors_are_both_needed"),
    },
    Beyond {
        name: "AnyIdentityVotes",
        reason: "two rings would have to be proposed while an acceptor is restarted",
        test: decision(
            "protocol::agreement::tests::an_answer_under_another_voting_identity_does_not_count",
        ),
    },
    Beyond {
        name: "OfferToAnybody",
        reason: "an offer does not outlive the connection to the life it is meant for",
        test: decision("wire::offer::tests::a_node_never_takes_its_own_data_nor_another_nodes"),
    },
    Beyond {
        name: "FoldErrorEndsFold",
        reason: "items in memory can always be read",
        test: story("museum::attempts::an_item_that_cannot_be_read_stays_where_it_is_and_is_named"),
    },
    Beyond {
        name: "FoldErrorEndsFold+SumsNotCompared",
        reason: "items in memory can always be read",
        test: story("museum::attempts::an_item_that_cannot_be_read_stays_where_it_is_and_is_named"),
    },
    Beyond {
        name: "ChangesBehindForgotten+SumsNotCompared",
        reason: "few runs write behind the cursor before the last page has been read",
        test: decision(
            "protocol::stream::tests::\
             the_target_holds_the_sources_content_whatever_is_written_between_parts",
        ),
    },
    Beyond {
        name: "ChangesOvertake+SumsNotCompared",
        reason: "few runs change an item twice behind the cursor between two parts",
        test: decision(
            "protocol::stream::tests::\
             the_target_holds_the_sources_content_whatever_is_written_between_parts",
        ),
    },
    Beyond {
        name: "CursorStays+SumsNotCompared",
        reason: "no change of a run is too large to be queued",
        test: decision("protocol::stream::tests::a_big_change_moves_the_cursor_back"),
    },
    Beyond {
        name: "RemovalsNotShipped+SumsNotCompared",
        reason: "a delete stores a tombstone, and none is old enough to be removed",
        test: story("museum::overtaken::a_removal_is_not_undone_by_what_was_streamed"),
    },
    Beyond {
        name: "WaitingTakesTurns",
        reason: "few runs have more to move than slots while somebody is down for long",
        test: decision(
            "protocol::due::tests::what_waits_for_a_node_that_is_down_takes_no_turn_at_the_slots",
        ),
    },
    Beyond {
        name: "HintsWaitInLine",
        reason: "few runs keep hints for an owner that stays away beside those for others",
        test: decision("protocol::hints::tests::hints_of_an_owner_that_is_down_hold_no_others_up"),
    },
    Beyond {
        name: "OldStampsCount",
        reason: "no stamp is overtaken between two replicas of one write",
        test: decision(
            "protocol::request::exploration::replicas_that_are_overtaken_keep_their_promises",
        ),
    },
    Beyond {
        name: "StampsNotObserved",
        reason: "a write that is overtaken for it is stamped again, which only its author's node counts",
        test: story("clocks::a_node_whose_clock_is_behind_writes_what_is_newer_at_once"),
    },
    Beyond {
        name: "NextAttemptGoesOn+SumsNotCompared",
        reason: "no attempt of these is cancelled late enough and tried again by the same actor",
        test: story("museum::attempts::an_item_that_cannot_be_read_stays_where_it_is_and_is_named"),
    },
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_has_a_reason_and_its_test_exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("actors");
        for Beyond { name, reason, test } in BEYOND {
            assert!(!reason.is_empty(), "{name} has no reason");
            let folder = match test.program {
                Program::Decisions => root.join("src"),
                Program::Stories => root.join("tests/sim"),
            };
            let parts: Vec<&str> = test.name.split("::").collect();
            let (function, modules) = parts.split_last().unwrap();
            // A module of tests is in the file it tests, or has one of its own.
            let file = |modules: &[&str]| folder.join(modules.join("/")).with_extension("rs");
            let source = std::fs::read_to_string(file(modules))
                .or_else(|_| std::fs::read_to_string(file(modules.split_last().unwrap().1)))
                .unwrap();
            assert!(source.contains(&format!("fn {function}()")), "{name}: there is no {test}");
        }
    }
}
