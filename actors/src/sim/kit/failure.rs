//! What is said when a vnode breaks a promise: which, where, and how to see it again.

use std::fmt;

use crate::sim::harness::SEED_VARIABLE;

/// What a vnode owes the runtime, and its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// The changes it reports are all the changes it makes.
    ReportsEveryChange,
    /// A command that is not executed, whether it is refused, overtaken, or stops the vnode, has changed nothing.
    RefusesWithoutEffect,
    /// Class `Single`: an operation that comes again is answered as before, and not executed.
    ExecutesOnce,
    /// Commands come to an end: work elsewhere and higher stamps are followed by a reply.
    Answers,
    /// Pages are the items of their range, in order, and a fold comes to its end.
    FoldsInOrder,
    /// A page becomes the complete content of its range, however often and in whatever order pages come.
    PagesReplace,
    /// Changes that are applied leave what they say, also when they are applied twice.
    ChangesApply,
    /// Source and target hold the same items at the fence.
    EqualAtTheFence,
    /// Equal items have equal digests, and the digest counts every item.
    DigestCoversItems,
    /// A page that is damaged is refused.
    RefusesDamage,
    /// It lets go of its partition when asked often enough.
    LetsGo,
    /// It says that it is empty only when it has no items.
    EmptyMeansEmpty,
    /// Deleting comes to an end and leaves nothing; no other copy loses anything by it.
    DeletesAll,
    /// Two copies that are merged are the same whichever was merged into the other.
    MergeCommutes,
    /// Three copies that are merged are the same in whatever grouping.
    MergeAssociates,
    /// What was merged already changes nothing.
    MergeIsIdempotent,
    /// It does not panic.
    DoesNotPanic,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReportsEveryChange => "the changes it reports are all the changes it makes",
            Self::RefusesWithoutEffect => "a command that is not executed changes nothing",
            Self::ExecutesOnce => "an operation that comes again is answered as before",
            Self::Answers => "every command is answered in the end",
            Self::FoldsInOrder => "pages are the items of their range, in order",
            Self::PagesReplace => "a page becomes the complete content of its range",
            Self::ChangesApply => "changes that are applied leave what they say",
            Self::EqualAtTheFence => "source and target hold the same items at the fence",
            Self::DigestCoversItems => "the digest covers every item",
            Self::RefusesDamage => "a damaged page is refused",
            Self::LetsGo => "it lets its partition go when asked often enough",
            Self::EmptyMeansEmpty => "it says that it is empty only when it has no items",
            Self::DeletesAll => "deleting leaves nothing here and everything elsewhere",
            Self::MergeCommutes => "merging gives the same whichever copy is merged into the other",
            Self::MergeAssociates => "merging gives the same in whatever grouping",
            Self::MergeIsIdempotent => "what was merged already changes nothing",
            Self::DoesNotPanic => "it does not panic",
        })
    }
}

/// Why [`check_vnode`](super::check_vnode) refuses a vnode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckFailure {
    /// A promise is broken.
    #[error(
        "the vnode breaks a promise: {promise}\n  {what}\n  at step {step}, {doing}; the last steps:\n{latest}{}",
        again(*seed)
    )]
    Broken {
        /// Which.
        promise: Promise,
        /// What was seen.
        what: String,
        /// Commands, parts and crashes until then.
        step: u64,
        /// What went on.
        doing: String,
        /// The last steps, a line each.
        latest: String,
        /// Plays it again.
        seed: u64,
    },
    /// Nothing was tried: no command has stored an item.
    #[error("nothing was checked: of {commands} drawn commands none has stored an item; draw some that do{}", again(*seed))]
    NeverAnItem {
        /// Commands that were drawn.
        commands: u64,
        /// The seed.
        seed: u64,
    },
    /// No command has removed an item that was there: a delete that gets lost on its way would not show.
    #[error(
        "deletes were not checked: of {commands} drawn commands none has removed an item; draw some that do, or \
         say that this vnode never deletes{}",
        again(*seed)
    )]
    NeverADelete {
        /// Commands that were drawn.
        commands: u64,
        /// The seed.
        seed: u64,
    },
    /// No command has changed anything.
    #[error("nothing was checked: none of {commands} drawn commands has changed anything{}", again(*seed))]
    NeverAnEffect {
        /// Commands that were drawn.
        commands: u64,
        /// The seed.
        seed: u64,
    },
}

fn again(seed: u64) -> String {
    format!("\nrun it again with {SEED_VARIABLE}={seed} and the name of this test")
}
