//! Folds and transfers, step by step, with the stream that nodes use: pages, the changes behind the cursor, the
//! fence, what waits for the new owner, and a crash in between.

use bytes::Bytes;

use super::failure::Promise;
use super::trial::{Checked, Container, Subject, Trial};
use crate::protocol::digest::{ItemPosition, ItemRange};
use crate::protocol::id::{Incarnation, NodeId, NodeName};
use crate::protocol::stream::{Next, Stream};
use crate::runtime::items::PageLimits;
use crate::runtime::vnode::raw::{Change, Changes};
use crate::runtime::vnode::{CommandContext, HandoffChoice};

/// Pages of a transfer, about.
const PAGES: u64 = 6;

/// Parts of a transfer after which no more commands come, so that it ends.
const PARTS_WITH_COMMANDS: u64 = 64;

/// How often a vnode may refuse to be moved.
const REFUSALS_MAX: u32 = 1_000;

/// Calls of `delete` for each item, at most, and beside them.
const DELETES_BESIDE: u64 = 1_000;

// ---- folds ---------------------------------------------------------------------------------------------

/// Folds into an empty container and into a stale one, in order and out of order, once and twice.
pub(super) fn round_trips(
    trial: &mut Trial<'_>,
    subject: &mut Subject,
    limits: PageLimits,
) -> Checked<()> {
    let mut stale = trial.copy(&mut subject.vnode)?;
    for _ in 0..20 {
        trial.execute(subject)?;
    }
    let pages = trial.fold(&mut subject.vnode, &ItemRange::all(), limits)?;
    trial.step(format!("a fold gives {} pages", pages.len()));
    let mut copy = trial.open();
    for (covered, page) in &pages {
        trial.replace(&mut copy, covered, page)?;
        if trial.draw.one_in(1, 4) {
            trial.replace(&mut copy, covered, page)?;
        }
    }
    trial.compare(&mut subject.vnode, &mut copy, Promise::PagesReplace, "in an empty container")?;
    let mut shuffled: Vec<_> = pages.iter().collect();
    for place in (1..shuffled.len()).rev() {
        let other = usize::try_from(trial.draw.below(place as u64 + 1)).unwrap_or(0);
        shuffled.swap(place, other);
    }
    for container in [&mut copy, &mut stale] {
        for (covered, page) in &shuffled {
            trial.replace(container, covered, page)?;
        }
    }
    let name = "where the pages came twice";
    trial.compare(&mut subject.vnode, &mut copy, Promise::PagesReplace, name)?;
    let name = "over an older content";
    trial.compare(&mut subject.vnode, &mut stale, Promise::PagesReplace, name)?;
    if let Some((covered, page)) = pages.iter().find(|(_, page)| page.count > 0) {
        let cut = page.items.slice(..page.items.len() - 1);
        if trial.open().replace_range(covered, &cut).is_ok() {
            let what = "a page without its last byte was taken".to_owned();
            return Err(trial.broken(Promise::RefusesDamage, what));
        }
    }
    Ok(())
}

// ---- transfers -----------------------------------------------------------------------------------------

/// Where a transfer stands.
enum Stage {
    Before,
    Folding(ItemPosition),
    Folded,
}

/// One attempt.
struct Attempt {
    target: Container,
    stream: Stream<Change>,
    stage: Stage,
    parked: Vec<(Bytes, CommandContext)>,
    choice: Option<HandoffChoice>,
    limits: PageLimits,
    steps: u64,
    crash_at: u64,
}

/// How a transfer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The target crashed; the source has everything.
    Crashed,
    /// The target owns the vnode.
    Moved,
}

/// Moves the vnode to another container, which crashes at the step `crash_at`, if the transfer has as many.
/// `choice` stands in for the vnode's own.
pub(super) fn transfer(
    trial: &mut Trial<'_>,
    subject: &mut Subject,
    choice: Option<HandoffChoice>,
    crash_at: u64,
) -> Checked<Ended> {
    let chosen = choice.map_or("its own choice".to_owned(), |choice| format!("{choice:?}"));
    trial.begin(&format!("a transfer with {chosen} for commands, a crash at step {crash_at}"));
    start(trial, subject)?;
    let most = 1 + subject.vnode.digest().count() / PAGES;
    let limits = PageLimits { items: usize::try_from(most).unwrap_or(1), bytes: usize::MAX };
    let mut attempt = Attempt {
        target: trial.open(),
        stream: Stream::default(),
        stage: Stage::Before,
        parked: Vec::new(),
        choice,
        limits,
        steps: 0,
        crash_at,
    };
    let ended = attempt.run(trial, subject)?;
    match ended {
        Ended::Crashed => attempt.cancel(trial, subject)?,
        Ended::Moved => attempt.finish(trial, subject)?,
    }
    trial.verify(subject)?;
    Ok(ended)
}

fn target() -> NodeId {
    let Ok(name) = NodeName::new("target@sim") else { unreachable!("a fixed, legal name") };
    NodeId { name, incarnation: Incarnation { boot: 1, nonce: 1 } }
}

fn start(trial: &mut Trial<'_>, subject: &mut Subject) -> Checked<()> {
    for _ in 0..REFUSALS_MAX {
        if subject.vnode.handoff_starting(&target()) {
            return Ok(());
        }
        trial.step("it refuses the transfer".to_owned());
        trial.execute(subject)?;
    }
    let what = format!("it has refused {REFUSALS_MAX} transfers in a row");
    Err(trial.broken(Promise::LetsGo, what))
}

impl Attempt {
    /// Up to the fence, or to the crash.
    fn run(&mut self, trial: &mut Trial<'_>, subject: &mut Subject) -> Checked<Ended> {
        loop {
            self.commands(trial, subject)?;
            if self.crashes() {
                return Ok(Ended::Crashed);
            }
            match self.stream.next_part() {
                Next::Changes(changes) => self.send(trial, &changes)?,
                Next::Page(range) => self.send_page(trial, subject, &range)?,
                Next::Nothing => {
                    self.commands(trial, subject)?;
                    // A change of a whole range sends the cursor back.
                    if self.stream.has_ended() {
                        break;
                    }
                }
            }
        }
        if self.crashes() {
            return Ok(Ended::Crashed);
        }
        let tail = self.stream.take_tail();
        trial.step("the fence".to_owned());
        self.send(trial, &tail)?;
        trial.verify(subject)?;
        let promise = Promise::EqualAtTheFence;
        trial.compare(&mut subject.vnode, &mut self.target, promise, "at the target")?;
        Ok(if self.crashes() { Ended::Crashed } else { Ended::Moved })
    }

    fn commands(&mut self, trial: &mut Trial<'_>, subject: &mut Subject) -> Checked<()> {
        if self.steps < PARTS_WITH_COMMANDS {
            for _ in 0..trial.draw.below(4) {
                self.admit(trial, subject)?;
            }
        }
        Ok(())
    }

    /// Whether this step is the one at which the target crashes; else it is done.
    fn crashes(&mut self) -> bool {
        let is_now = self.crash_at == self.steps;
        self.steps += 1;
        is_now
    }

    fn admit(&mut self, trial: &mut Trial<'_>, subject: &mut Subject) -> Checked<()> {
        let (command, context) = trial.draw_command();
        let own = subject.vnode.handle_handoff_command(&command);
        let counter = context.op.counter;
        match self.choice.unwrap_or(own) {
            HandoffChoice::Handle => {
                trial.report.handled += 1;
                let changes = trial.run(subject, &command, context)?;
                self.note(trial, &changes);
            }
            HandoffChoice::Forward => {
                trial.report.forwarded += 1;
                trial.step(format!("operation {counter} waits for the new owner"));
                self.parked.push((command, context));
            }
            HandoffChoice::Drop => {
                trial.report.dropped += 1;
                trial.step(format!("operation {counter} is dropped"));
            }
        }
        Ok(())
    }

    /// The stream takes note of changes, as a node's does.
    fn note(&mut self, trial: &mut Trial<'_>, changes: &Changes) {
        for range in &changes.ranges {
            self.stream.note_range(range);
        }
        let is_authors = trial.is_authors;
        for change in changes.items.iter().filter(|change| is_authors(change.key())) {
            let points = match change {
                Change::Put { .. } => &mut trial.report.stored_at,
                Change::Remove { .. } => &mut trial.report.removed_at,
            };
            let position = ItemPosition::of(change.key().clone());
            match &self.stage {
                Stage::Before => points.before += 1,
                Stage::Folding(cursor) if position <= *cursor => points.behind += 1,
                Stage::Folding(_) => points.ahead += 1,
                Stage::Folded => points.fence += 1,
            }
        }
        self.stream.note(changes.items.iter().map(|change| {
            let bytes = match change {
                Change::Put { key, value } => key.len() + value.len(),
                Change::Remove { key } => key.len(),
            };
            (ItemPosition::of(change.key().clone()), bytes as u64, change.clone())
        }));
    }

    fn send(&mut self, trial: &mut Trial<'_>, changes: &[Change]) -> Checked<()> {
        trial.step(format!("{} changes go to the target", changes.len()));
        trial.apply(&mut self.target, changes)?;
        if trial.draw.one_in(1, 4) {
            let before = self.target.digest().summary();
            trial.apply(&mut self.target, changes)?;
            if self.target.digest().summary() != before {
                let what = format!("{} changes that came twice left something else", changes.len());
                return Err(trial.broken(Promise::ChangesApply, what));
            }
        }
        for change in changes {
            let (key, is_there) = (change.key(), matches!(change, Change::Put { .. }));
            let is_last = changes.iter().rfind(|other| other.key() == key) == Some(change);
            if is_last && trial.holds(&mut self.target, key)? != is_there {
                let shown = self.target.describe_key(key);
                let what = if is_there { "was stored and is not" } else { "was removed and is" };
                let what = format!("item {shown} {what} there");
                return Err(trial.broken(Promise::ChangesApply, what));
            }
        }
        Ok(())
    }

    fn send_page(
        &mut self,
        trial: &mut Trial<'_>,
        subject: &mut Subject,
        range: &ItemRange,
    ) -> Checked<()> {
        let (covered, page) = trial.page(&mut subject.vnode, range, self.limits)?;
        trial.step(format!("a page of {} items goes to the target", page.count));
        trial.replace(&mut self.target, &covered, &page)?;
        self.stage = match &page.until {
            Some(until) => Stage::Folding(until.clone()),
            None => Stage::Folded,
        };
        self.stream.page_read(page.until);
        Ok(())
    }

    /// The target crashes: what it has is gone, the source goes on as if nothing had been.
    fn cancel(mut self, trial: &mut Trial<'_>, subject: &mut Subject) -> Checked<()> {
        trial.report.crashes += 1;
        trial.step("the target crashes".to_owned());
        delete(trial, &mut self.target)?;
        for (command, context) in self.parked {
            trial.run(subject, &command, context)?;
        }
        subject.vnode.handoff_cancelled();
        trial.repeat(subject)
    }

    /// The target owns the vnode: what waited runs there, and the old copy goes.
    fn finish(mut self, trial: &mut Trial<'_>, subject: &mut Subject) -> Checked<()> {
        trial.report.transfers += 1;
        std::mem::swap(&mut subject.vnode, &mut self.target);
        let mut old = self.target;
        trial.step("the target owns the vnode".to_owned());
        trial.repeat(subject)?;
        for (command, context) in self.parked {
            trial.run(subject, &command, context)?;
        }
        old.handoff_finished(&target());
        delete(trial, &mut old)?;
        trial.verify(subject).map_err(|mut failure| {
            if let super::CheckFailure::Broken { promise, .. } = &mut failure {
                *promise = Promise::DeletesAll;
            }
            failure
        })
    }
}

/// Deletes a container, and looks whether anything is left.
fn delete(trial: &mut Trial<'_>, container: &mut Container) -> Checked<()> {
    let calls = container.digest().count() + DELETES_BESIDE;
    let is_deleted = (0..calls).any(|_| container.delete());
    let left = trial.content(container, &ItemRange::all())?.len();
    let counted = container.digest().count();
    let is_empty = container.is_empty();
    if is_deleted && left == 0 && counted == 0 && is_empty {
        return Ok(());
    }
    let what = if is_deleted {
        format!("deleted, it has {left} items, counts {counted}, and is_empty says {is_empty}")
    } else {
        format!("{calls} calls of `delete` did not come to the end of it")
    };
    Err(trial.broken(Promise::DeletesAll, what))
}
