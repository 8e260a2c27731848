//! The check of one vnode, without a cluster: what is tried in which order, and what was tried in the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

use super::failure::{CheckFailure, Promise};
use super::moving::Ended;
use super::trial::Trial;
use super::{Draw, merging, moving};
use crate::protocol::id::VnodeType;
use crate::runtime::items::PageLimits;
use crate::runtime::vnode::kind::{ItemsKind, VnodeKind};
use crate::runtime::vnode::over_items::AUTHOR_KEY;
use crate::runtime::vnode::{Class, HandoffChoice, Vnode};

/// How a vnode is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Everything that is drawn follows from it.
    pub seed: u64,
    /// Commands before the first transfer; about as many follow in transfers. Default 200.
    pub commands: u64,
    /// The vnode has a command that removes items. Default true: a generator that never draws it is refused.
    /// False for a vnode that keeps its items for ever.
    pub deletes: bool,
}

impl Check {
    /// The usual check.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { seed, commands: 200, deletes: true }
    }
}

/// Changes of items, by where a transfer stood when they were made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Points {
    /// Before the first page was read.
    pub before: u64,
    /// To items that the fold had passed: they are sent after it.
    pub behind: u64,
    /// To items that the fold had yet to come to.
    pub ahead: u64,
    /// When the fold had ended: they go with the fence.
    pub fence: u64,
}

/// What was tried.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CheckReport {
    /// Commands that were drawn.
    pub commands: u64,
    /// Of them, those that changed something.
    pub effects: u64,
    /// Items that were stored, each time counted.
    pub items: u64,
    /// Items that were there and were removed.
    pub deletes: u64,
    /// Transfers that ended with a new owner.
    pub transfers: u64,
    /// Transfers that were cut short, at each of their steps.
    pub crashes: u64,
    /// Commands executed at the source while it was sending.
    pub handled: u64,
    /// Commands that waited and were executed at the new owner.
    pub forwarded: u64,
    /// Commands that were dropped, as chosen.
    pub dropped: u64,
    /// Items that two copies had with different content when they were merged.
    pub conflicts: u64,
    /// When items were stored during a transfer.
    pub stored_at: Points,
    /// When items were removed during a transfer.
    pub removed_at: Points,
}

/// Checks a [`Vnode`], driven directly, with commands that `commands` draws. Their hash is not looked at: all
/// of them meet in one container.
///
/// What is tried: commands, commands that come again, folds with pages of several sizes into empty and into
/// stale containers, pages and changes that come twice, transfers with stores and removals before, behind and
/// ahead of the cursor and at the fence, a crash at each step of a transfer, each [`HandoffChoice`], deletion,
/// and for [`Class::Merged`] the laws of [`Vnode::merge`].
///
/// # Errors
///
/// [`CheckFailure`] says which promise was broken and where, or what the generator never drew.
pub fn check_vnode<V: Vnode>(
    check: &Check,
    commands: impl Fn(&Draw) -> V::Command,
) -> Result<CheckReport, CheckFailure> {
    let Ok(name) = VnodeType::new("checked") else { unreachable!("a fixed, legal name") };
    let is_authors: fn(&[u8]) -> bool = match V::CLASS {
        Class::Single => |key| key.first() == Some(&AUTHOR_KEY),
        Class::Merged => |_| true,
    };
    let encoded = |draw: &Draw| encode(&commands(draw));
    run(check, ItemsKind::<V>::in_memory(name), &encoded, is_authors)
}

/// Checks any kind of vnode, a [`RawVnode`](crate::runtime::vnode::raw::RawVnode) of the author's own among
/// them, as [`check_vnode`] does. Commands come encoded.
///
/// # Errors
///
/// [`CheckFailure`], as for [`check_vnode`].
pub fn check_raw_vnode(
    check: &Check,
    kind: Arc<dyn VnodeKind>,
    commands: impl Fn(&Draw) -> Bytes,
) -> Result<CheckReport, CheckFailure> {
    run(check, kind, &commands, |_| true)
}

/// A command as nodes send it. One that cannot be encoded is refused by the vnode, as nodes would.
pub(super) fn encode(command: &impl serde::Serialize) -> Bytes {
    rmp_serde::to_vec_named(command).map(Bytes::from).unwrap_or_default()
}

fn run(
    check: &Check,
    kind: Arc<dyn VnodeKind>,
    commands: &dyn Fn(&Draw) -> Bytes,
    is_authors: fn(&[u8]) -> bool,
) -> Result<CheckReport, CheckFailure> {
    let mut trial = Trial::new(check.seed, kind, commands, is_authors);
    // A panic ends the trial: nobody looks at what it left half done.
    let ended = catch_unwind(AssertUnwindSafe(|| play(&mut trial, check)));
    match ended {
        Ok(ended) => ended?,
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
            let what = said.unwrap_or("something that is no text").to_owned();
            return Err(trial.broken(Promise::DoesNotPanic, what));
        }
    }
    let (seed, report) = (check.seed, trial.report);
    let commands = report.commands;
    if report.effects == 0 {
        return Err(CheckFailure::NeverAnEffect { commands, seed });
    }
    if report.items == 0 {
        return Err(CheckFailure::NeverAnItem { commands, seed });
    }
    if report.deletes == 0 && check.deletes {
        return Err(CheckFailure::NeverADelete { commands, seed });
    }
    Ok(report)
}

fn play(trial: &mut Trial<'_>, check: &Check) -> Result<(), CheckFailure> {
    let mut subject = trial.subject();
    trial.begin("commands, nothing moves");
    for _ in 0..check.commands {
        trial.execute(&mut subject)?;
    }
    trial.verify(&mut subject)?;
    for limits in page_sizes() {
        trial.begin(&format!("folds with pages of up to {} items", limits.items));
        moving::round_trips(trial, &mut subject, limits)?;
    }
    if trial.class() == Class::Merged {
        merging::laws(trial, &mut subject)?;
    }
    let choices = [
        None,
        Some(HandoffChoice::Handle),
        Some(HandoffChoice::Forward),
        Some(HandoffChoice::Drop),
    ];
    for choice in choices {
        // Each step in its turn, until the transfer comes to its end before the crash.
        let mut crash_at = 0;
        while moving::transfer(trial, &mut subject, choice, crash_at)? == Ended::Crashed {
            crash_at += 1;
        }
    }
    Ok(())
}

/// One item a page, a few, and as many as a node takes.
fn page_sizes() -> [PageLimits; 4] {
    let of = |items, bytes| PageLimits { items, bytes };
    [of(1, usize::MAX), of(7, usize::MAX), of(usize::MAX, 200), PageLimits::default()]
}
