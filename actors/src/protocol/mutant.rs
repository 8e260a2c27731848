//! Bugs that can be switched on, one at a time or in the pairs that cover for each other.
//!
//! Each is the smallest change that brings back a failure which happened to somebody, or which a model has
//! shown. It sits beside the decision it breaks, in code that only a build with `--cfg tanodb_mutants` has, and
//! is chosen by a [`Rules`](super::rules::Rules) value in a node's settings. Without faults nobody notices it.

use std::fmt;
use std::str::FromStr;

use super::rules::Rules;

macro_rules! mutants {
    ($($(#[doc = $breaks:literal])+ $name:ident: $of:literal, seen by $seen_by:literal;)+) => {
        /// One rule of the protocol, broken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant {
            $($(#[doc = $breaks])+ $name,)+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name, as the command line takes it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What is wrong with it on, in a sentence.
            #[must_use]
            pub fn breaks_what(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($breaks),+).trim_ascii(),)+
                }
            }

            /// The museum's pieces or the rules of the handoff it is taken from.
            #[must_use]
            pub fn taken_from(self) -> &'static str {
                match self {
                    $(Self::$name => $of,)+
                }
            }

            /// The invariants that should see it, by name.
            #[must_use]
            pub fn seen_by(self) -> &'static str {
                match self {
                    $(Self::$name => $seen_by,)+
                }
            }
        }
    };
}

mutants! {
    /// A fenced vnode goes on executing commands; what they change is in no stream.
    ExecuteWhileFenced: "DESIGN 6.3", seen by "AckInherit, AckDurable, OneOwner";

    /// A new owner fences before its predecessor has said that it has retired, so that an older grant may
    /// still be declined and its source resume under a token that somebody else holds.
    FenceBeforeRetired: "DESIGN 6.5", seen by "OneOwner";

    /// A source goes back to serving when the attempt is cancelled after the grant was sent.
    CancelEndsGrant: "DESIGN 6.5", seen by "OneOwner, AckDurable";

    /// The grant is sent before the state that says so is durable.
    GrantNotDurable: "sota 4", seen by "OneOwner";

    /// A source whose grant was declined resumes under the token it has granted from.
    DeclinedKeepsToken: "DESIGN 6.5", seen by "OneOwner";

    /// A source whose grant was declined resumes under the token it has granted.
    DeclinedResumesOneHopOn: "DESIGN 6.5", seen by "OneOwner";

    /// A later life of the target declines the grant, which an earlier one may have accepted.
    LaterIncarnationDeclines: "M35, DESIGN 6.5", seen by "AckInherit, OneOwner";

    /// A source takes the answer that its grant was declined for one that it was accepted.
    DeclinedReadAsHeld: "M11", seen by "DeleteAfterProof, NoGap, AckDurable";

    /// A source grants whatever fence the target has confirmed.
    FenceOkOfAnyFence: "sota 4", seen by "AckInherit";

    /// A target accepts a grant whatever fence it names.
    GrantOfAnyFence: "sota 4", seen by "AckInherit";

    /// A target that has all pages accepts a grant before it has the last changes and has compared.
    GrantWithoutProof: "M02", seen by "AckInherit, NoSilentSkip";

    /// A target that holds everything gives it up when its source is gone, though a grant may be on its way.
    LostSourceEndsHolding: "DESIGN 6.1, M10", seen by "AckDurable, NoGap";

    /// The old copy is deleted as soon as the target has answered, before the receipt is durable.
    PurgeBeforeReceipt: "M10, M20", seen by "DeleteAfterProof";

    /// Between the deletion of the old copy and the news of who holds the vnode, an empty store answers.
    EmptyStoreAnswers: "M51", seen by "OneOwner, AckDurable";

    /// A source takes for stored what it has sent: it grants without waiting for the target's word on the
    /// fence.
    SentTakenForStored: "M02", seen by "AckInherit, NoSilentSkip, Terminates";

    /// The other side of a transfer may be silent for ever.
    SilenceIgnored: "M24", seen by "SlotsReturn, Terminates";

    /// A slot whose holder makes no progress is not taken back.
    LeasesNeverEnd: "M23", seen by "SlotsReturn, Terminates";

    /// Vnodes that wait for something else take their turn at the free slots.
    WaitingTakesTurns: "M32", seen by "Terminates, WhyNamed";

    /// Members that are staged to join count as members that must have seen the ring.
    UncommittedJoinFreezes: "M22", seen by "Terminates";

    /// An acceptor that has promised a higher ballot still accepts under a lower one.
    AcceptBelowPromise: "DESIGN 4, M49", seen by "RingCas";

    /// A promise is given before it is durable.
    PromiseNotDurable: "DESIGN 4", seen by "RingCas";

    /// A proposer proposes its own value though an acceptor told it of another one that it has accepted.
    OwnValueFirst: "DESIGN 4, M49", seen by "RingCas";

    /// The majority is of those acceptors that can be reached.
    MajorityOfTheReached: "DESIGN 4", seen by "RingCas";

    /// A node that has lost its promises votes under the name it had.
    AnyIdentityVotes: "DESIGN 4", seen by "RingCas";

    /// A stand-in that keeps a hint counts as an owner.
    StandInsCountAsOwners: "DESIGN 6 (hinted)", seen by "AckDurable";

    /// A command whose answer was lost counts as one that did not run.
    LostIsNotRun: "M11, M39", seen by "Answered, ExactlyOnce";

    /// A request whose replicas all wait to be asked again overlooks its deadline.
    PauseOutlivesDeadline: "M72", seen by "Answered";

    /// An offer is taken by whoever hears it, also if it is meant for another node or another life.
    OfferToAnybody: "M01", seen by "the decision tests; DeleteAfterProof";

    /// A node that comes back without its items speaks for its vnodes as though they were empty.
    LossForgotten: "sota 4, M51", seen by "AckDurable, NoResurrect";

    /// The sums of both sides are not compared at the fence.
    SumsNotCompared: "DESIGN 6.4", seen by "nothing alone; NoSilentSkip, AckDurable in pairs";

    /// While the fold runs, a change behind its cursor is not shipped.
    ChangesBehindForgotten: "DESIGN 6.2, M47", seen by "nothing alone; AckInherit, AckDurable in pairs";

    /// A change too large to be queued does not move the cursor back.
    CursorStays: "DESIGN 6.2", seen by "nothing alone; AckInherit in pairs";

    /// Removals behind the cursor are not shipped.
    RemovalsNotShipped: "M63", seen by "nothing alone; NoResurrect, AckInherit in pairs";

    /// Of two changes that wait, the newer is sent first.
    ChangesOvertake: "M64", seen by "nothing alone; NoResurrect, AckInherit in pairs";

    /// A second attempt goes on where the first one stopped, though the target has kept nothing of it.
    NextAttemptGoesOn: "M17", seen by "nothing alone; AckInherit, AckDurable in pairs";

    /// A fold that cannot read on is taken for one that has ended.
    FoldErrorEndsFold: "M08, L14", seen by "AckDurable for hints; NoSilentSkip in pairs";

    /// A single copy does not know the operation of a retry, and executes it again.
    RetryExecutedAgain: "M03, M47", seen by "ExactlyOnce";

    /// What a hint brings home replaces what is there.
    HintsOverwrite: "M46, M07", seen by "AckDurable, NoResurrect";

    /// Hints are deleted as soon as they were sent.
    SentHintsAreHome: "M02, M20", seen by "AckDurable, DeleteAfterProof";

    /// Hints whose way home failed once are not sent again.
    FailedHintsStay: "M07, M06", seen by "NoOrphan, Terminates";

    /// Hints wait for the node they were kept for, also when another one speaks for the vnode by now.
    HintsWaitForFormerOwner: "M06", seen by "NoOrphan, Terminates";

    /// Hints of an owner that is down hold up all that stand behind them.
    HintsWaitInLine: "M32", seen by "NoOrphan, Terminates";

    /// Any message, also a look at what is held, postpones the way home of hints.
    MessagesPostponeHints: "M25, M108", seen by "Terminates, WhyNamed";

    /// A command that expired at a vnode keeps its permit.
    ExpiredKeepPermits: "M71", seen by "Terminates, SlotsReturn";

    /// A commit applies what is staged now, whatever plan was shown.
    PlanNotCompared: "M80", seen by "PlanKept";

    /// What was executed under a stamp that was overtaken counts towards the quorum.
    OldStampsCount: "DESIGN 7", seen by "AckDurable, NoResurrect";

    /// A coordinator does not look at stamps of others that are ahead of its clock.
    StampsNotObserved: "DESIGN 7", seen by "a story: what is overtaken is stamped again";

    /// A coordinator that starts again counts from 1.
    NumbersStartAgain: "DESIGN 7", seen by "nothing alone; NoDotReuse in pairs";

    /// All lives of a coordinator mint under one name.
    MinterOutlivesItsLife: "DESIGN 6.7", seen by "nothing alone; NoDotReuse in pairs";
}

/// Mutants that change nothing one at a time, because the one rule covers for the other.
pub const PAIRS: &[(Mutant, Mutant)] = &[
    (Mutant::FenceOkOfAnyFence, Mutant::GrantOfAnyFence),
    (Mutant::SentTakenForStored, Mutant::GrantWithoutProof),
    (Mutant::SilenceIgnored, Mutant::LeasesNeverEnd),
    (Mutant::ChangesBehindForgotten, Mutant::SumsNotCompared),
    (Mutant::CursorStays, Mutant::SumsNotCompared),
    (Mutant::RemovalsNotShipped, Mutant::SumsNotCompared),
    (Mutant::ChangesOvertake, Mutant::SumsNotCompared),
    (Mutant::NextAttemptGoesOn, Mutant::SumsNotCompared),
    (Mutant::FoldErrorEndsFold, Mutant::SumsNotCompared),
    (Mutant::NumbersStartAgain, Mutant::MinterOutlivesItsLife),
];

/// There is no mutant of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no mutant is called '{name}'")]
pub struct UnknownMutant {
    /// The name that was given.
    pub name: String,
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mutant {
    type Err = UnknownMutant;

    fn from_str(name: &str) -> Result<Self, UnknownMutant> {
        let found = Self::ALL.iter().find(|mutant| mutant.name() == name).copied();
        found.ok_or_else(|| UnknownMutant { name: name.to_owned() })
    }
}

/// One mutant by its name, or two with a `+` between them.
impl FromStr for Rules {
    type Err = UnknownMutant;

    fn from_str(names: &str) -> Result<Self, UnknownMutant> {
        match names.split_once('+') {
            Some((first, second)) => Ok(Self::broken_by_both(first.parse()?, second.parse()?)),
            None => Ok(Self::broken_by(names.parse()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_is_found_by_its_name_and_says_what_it_breaks() {
        for mutant in Mutant::ALL {
            assert_eq!(mutant.name().parse(), Ok(*mutant));
            assert!(mutant.breaks_what().ends_with('.'), "{mutant}");
        }
        assert!("Nothing".parse::<Mutant>().is_err());
    }

    #[test]
    fn a_pair_is_written_with_a_plus() {
        for (first, second) in PAIRS {
            let rules: Rules = format!("{first}+{second}").parse().unwrap();
            assert_eq!(rules, Rules::broken_by_both(*first, *second));
        }
    }
}
