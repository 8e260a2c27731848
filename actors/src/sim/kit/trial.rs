//! One trial: containers and what they must hold, commands, folds, and the comparison of two copies.
//!
//! Beside every vnode stands a mirror: another container of the same kind that is never given a command, only
//! the changes that the vnode reports. Nothing is asked of an author's commands twice, so they may be as
//! random as they like.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::Draw;
use super::check::CheckReport;
use super::failure::{CheckFailure, Promise};
use crate::protocol::digest::{ItemPosition, ItemRange};
use crate::protocol::id::{Dot, NodeName, OpId, Partition, Stamp};
use crate::runtime::arbiters::Arbiters;
use crate::runtime::clock::Clock;
use crate::runtime::disk::MemoryDisk;
use crate::runtime::env::Env;
use crate::runtime::items::PageLimits;
use crate::runtime::observe::Watched;
use crate::runtime::rng::Rng;
use crate::runtime::vnode::kind::VnodeKind;
use crate::runtime::vnode::raw::{Change, Changes, RawAnswer, RawPage, RawVnode};
use crate::runtime::vnode::{Class, CommandContext};
use crate::sim::cluster::WALL_START_MILLIS;
use crate::sim::driver::Driver;
use crate::sim::network::{Network, NetworkSettings};
use crate::sim::trace::Trace;
use crate::wire::page::PageSlices;

/// Steps that a failure tells of.
const LATEST: usize = 12;

/// Commands that may follow one another by `Async` answers.
const FOLLOW_UPS_MAX: usize = 32;

/// Pages of a fold, at most: none of the trial's containers has as many items.
const PAGES_MAX: usize = 100_000;

/// Milliseconds between two commands, at most.
const PAUSE_MILLIS: u64 = 100;

pub(super) type Container = Box<dyn RawVnode>;
pub(super) type Checked<T> = Result<T, CheckFailure>;
/// Keys in the order of items, with what a page carries for each.
pub(super) type Content = BTreeMap<ItemPosition, Bytes>;

/// A vnode, and what it must hold.
pub(super) struct Subject {
    pub(super) vnode: Container,
    pub(super) mirror: Container,
}

/// A command that was executed with an effect.
#[derive(Clone)]
pub(super) struct Executed {
    pub(super) command: Bytes,
    pub(super) context: CommandContext,
    pub(super) reply: Bytes,
}

pub(super) struct Trial<'a> {
    kind: Arc<dyn VnodeKind>,
    commands: &'a dyn Fn(&Draw) -> Bytes,
    /// Tells an author's keys from the runtime's.
    pub(super) is_authors: fn(&[u8]) -> bool,
    pub(super) draw: Draw,
    authors_draw: Draw,
    env: Env,
    // Its clock is what the vnode's environment shows.
    driver: Driver,
    seed: u64,
    doing: String,
    steps: u64,
    latest: VecDeque<String>,
    operations: u64,
    millis: u64,
    last: Option<Executed>,
    pub(super) report: CheckReport,
}

impl<'a> Trial<'a> {
    pub(super) fn new(
        seed: u64,
        kind: Arc<dyn VnodeKind>,
        commands: &'a dyn Fn(&Draw) -> Bytes,
        is_authors: fn(&[u8]) -> bool,
    ) -> Self {
        let rng = Rng::seeded(seed);
        let driver = Driver::new(rng.fork("order"));
        let env = {
            let _inside = driver.enter();
            env(&rng)
        };
        Self {
            kind,
            commands,
            is_authors,
            draw: Draw::new(rng.fork("check")),
            authors_draw: Draw::new(rng.fork("commands")),
            env,
            driver,
            seed,
            doing: "the beginning".to_owned(),
            steps: 0,
            latest: VecDeque::new(),
            operations: 0,
            millis: WALL_START_MILLIS,
            last: None,
            report: CheckReport::default(),
        }
    }

    pub(super) fn class(&self) -> Class {
        self.kind.class()
    }

    pub(super) fn open(&self) -> Container {
        let _inside = self.driver.enter();
        self.kind.open(Partition(0), &self.env)
    }

    pub(super) fn subject(&self) -> Subject {
        Subject { vnode: self.open(), mirror: self.open() }
    }

    // ---- what is said ------------------------------------------------------------------------------

    pub(super) fn begin(&mut self, doing: &str) {
        doing.clone_into(&mut self.doing);
        self.step(format!("-- {doing}"));
    }

    pub(super) fn step(&mut self, what: String) {
        self.steps += 1;
        if self.latest.len() >= LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(format!("    {:>5}  {what}", self.steps));
    }

    pub(super) fn broken(&self, promise: Promise, what: impl Into<String>) -> CheckFailure {
        CheckFailure::Broken {
            promise,
            what: what.into(),
            step: self.steps,
            doing: self.doing.clone(),
            latest: self.latest.iter().map(String::as_str).collect::<Vec<_>>().join("\n"),
            seed: self.seed,
        }
    }

    // ---- commands ----------------------------------------------------------------------------------

    pub(super) fn draw_command(&mut self) -> (Bytes, CommandContext) {
        self.report.commands += 1;
        self.operations += 1;
        self.millis += self.draw.below(PAUSE_MILLIS);
        let counter = self.operations;
        let context = CommandContext {
            op: OpId { minter: 1, counter },
            stamp: Stamp { millis: self.millis, logical: u32::try_from(counter).unwrap_or(0) },
            dot: Dot { minter: 1, counter },
            partition: Partition(0),
        };
        ((self.commands)(&self.authors_draw), context)
    }

    pub(super) fn execute(&mut self, subject: &mut Subject) -> Checked<Changes> {
        let (command, context) = self.draw_command();
        let changes = self.run(subject, &command, context)?;
        if self.draw.one_in(1, 8) {
            self.repeat(subject)?;
        }
        Ok(changes)
    }

    /// Executes a command, and has the mirror follow.
    pub(super) fn run(
        &mut self,
        subject: &mut Subject,
        command: &Bytes,
        context: CommandContext,
    ) -> Checked<Changes> {
        let (reply, changes) = self.answer(&mut subject.vnode, command, &context)?;
        self.count(subject, &changes)?;
        if !changes.is_empty() {
            let command = command.clone();
            self.last = Some(Executed { command, context, reply });
        }
        self.follow(subject, &changes)?;
        let counter = context.op.counter;
        let (items, ranges) = (changes.items.len(), changes.ranges.len());
        self.step(format!("operation {counter}: {items} changes, {ranges} ranges"));
        let (held, reported) = (subject.vnode.digest(), subject.mirror.digest());
        if held.summary() != reported.summary() {
            let what = self.difference(subject, "by its reports")?;
            return Err(self.broken(Promise::ReportsEveryChange, what));
        }
        Ok(changes)
    }

    fn answer(
        &mut self,
        vnode: &mut Container,
        command: &Bytes,
        context: &CommandContext,
    ) -> Checked<(Bytes, Changes)> {
        let before = vnode.digest().summary();
        let (mut command, mut context) = (command.clone(), *context);
        let counter = context.op.counter;
        for _ in 0..FOLLOW_UPS_MAX {
            let is_over;
            let said = match vnode.handle_command(&command, &context) {
                RawAnswer::Reply(reply, changes) => return Ok((reply, changes)),
                RawAnswer::NoReply(changes) => return Ok((Bytes::new(), changes)),
                RawAnswer::Async(work) => {
                    command = work();
                    is_over = false;
                    "goes on elsewhere".to_owned()
                }
                RawAnswer::Overtaken(stamp) => {
                    let held = stamp.max(context.stamp);
                    context.stamp = Stamp { logical: held.logical.saturating_add(1), ..held };
                    is_over = false;
                    "is overtaken, and comes with a higher stamp".to_owned()
                }
                RawAnswer::Stop(reason) => {
                    is_over = true;
                    format!("stops the vnode: {reason}")
                }
                RawAnswer::Refused(reason) => {
                    is_over = true;
                    format!("is refused: {reason}")
                }
            };
            self.step(format!("operation {counter} {said}"));
            if vnode.digest().summary() != before {
                let what = format!("operation {counter} {said}; yet items changed");
                return Err(self.broken(Promise::RefusesWithoutEffect, what));
            }
            if is_over {
                return Ok((Bytes::new(), Changes::default()));
            }
        }
        let what = format!("no reply to operation {counter} after {FOLLOW_UPS_MAX} answers");
        Err(self.broken(Promise::Answers, what))
    }

    /// The last operation comes again.
    pub(super) fn repeat(&mut self, subject: &mut Subject) -> Checked<()> {
        let (Class::Single, Some(last)) = (self.class(), self.last.clone()) else { return Ok(()) };
        let counter = last.context.op.counter;
        self.step(format!("operation {counter} comes again"));
        let (reply, changes) = self.answer(&mut subject.vnode, &last.command, &last.context)?;
        self.follow(subject, &changes)?;
        if !changes.is_empty() || reply != last.reply {
            let what = format!(
                "operation {counter} came again: {} changes, and its reply is {}",
                changes.items.len() + changes.ranges.len(),
                if reply == last.reply { "the same" } else { "another one" },
            );
            return Err(self.broken(Promise::ExecutesOnce, what));
        }
        Ok(())
    }

    fn count(&mut self, subject: &mut Subject, changes: &Changes) -> Checked<()> {
        let is_authors = self.is_authors;
        let mut is_effect = !changes.ranges.is_empty();
        for change in &changes.items {
            if !is_authors(change.key()) {
                continue;
            }
            is_effect = true;
            match change {
                Change::Put { .. } => self.report.items += 1,
                Change::Remove { key } => {
                    self.report.deletes += u64::from(self.holds(&mut subject.mirror, key)?);
                }
            }
        }
        for range in &changes.ranges {
            let is_there = self.content(&mut subject.vnode, range)?.len() as u64;
            let was_there = self.content(&mut subject.mirror, range)?.len() as u64;
            self.report.items += is_there;
            self.report.deletes += was_there.saturating_sub(is_there);
        }
        self.report.effects += u64::from(is_effect);
        Ok(())
    }

    /// Whether an item is there.
    pub(super) fn holds(&mut self, container: &mut Container, key: &Bytes) -> Checked<bool> {
        let position = ItemPosition::of(key.clone());
        let before = ItemPosition { order: position.order, key: Bytes::new() };
        let range = ItemRange { after: Some(before), until: Some(position.clone()) };
        Ok(self.content(container, &range)?.contains_key(&position))
    }

    /// The mirror does what was reported.
    pub(super) fn follow(&mut self, subject: &mut Subject, changes: &Changes) -> Checked<()> {
        self.apply(&mut subject.mirror, &changes.items)?;
        for range in &changes.ranges {
            for (covered, page) in self.fold(&mut subject.vnode, range, PageLimits::default())? {
                self.replace(&mut subject.mirror, &covered, &page)?;
            }
        }
        Ok(())
    }

    // ---- copies ------------------------------------------------------------------------------------

    pub(super) fn apply(&mut self, to: &mut Container, changes: &[Change]) -> Checked<()> {
        to.apply(changes).map_err(|error| {
            self.broken(Promise::ChangesApply, format!("changes were refused: {error}"))
        })
    }

    pub(super) fn replace(
        &mut self,
        to: &mut Container,
        range: &ItemRange,
        page: &RawPage,
    ) -> Checked<()> {
        match to.replace_range(range, &page.items) {
            Ok(count) if count == page.count => Ok(()),
            Ok(count) => {
                let what = format!("a page of {} items was taken for {count}", page.count);
                Err(self.broken(Promise::PagesReplace, what))
            }
            Err(error) => {
                let what = format!("a page of {} items was refused: {error}", page.count);
                Err(self.broken(Promise::PagesReplace, what))
            }
        }
    }

    /// One page of a range, checked for its form: what it covers, and the page.
    pub(super) fn page(
        &mut self,
        of: &mut Container,
        range: &ItemRange,
        limits: PageLimits,
    ) -> Checked<(ItemRange, RawPage)> {
        let refuse = |what: String| self.broken(Promise::FoldsInOrder, what);
        let page = of.page(range, limits).map_err(|error| refuse(error.to_string()))?;
        let until = page.until.clone().or_else(|| range.until.clone());
        let covered = ItemRange { after: range.after.clone(), until };
        if page.until.is_some() && page.until <= range.after {
            return Err(refuse("a page covers nothing of its range".to_owned()));
        }
        let (mut count, mut last) = (0_u64, None);
        for item in PageSlices::new(&page.items) {
            let (key, _) = item.map_err(|error| refuse(error.to_string()))?;
            let position = ItemPosition::of(Bytes::copy_from_slice(key));
            let shown = of.describe_key(key);
            if !covered.contains(position.order, key) {
                return Err(refuse(format!("item {shown} lies outside of what its page covers")));
            }
            if last.as_ref().is_some_and(|last| *last >= position) {
                return Err(refuse(format!(
                    "item {shown} does not stand behind the one before it"
                )));
            }
            (count, last) = (count + 1, Some(position));
        }
        if count != page.count || count > limits.items.max(1) as u64 {
            let (said, most) = (page.count, limits.items);
            return Err(refuse(format!(
                "a page of at most {most} items says {said} and has {count}"
            )));
        }
        Ok((covered, page))
    }

    /// All pages of a range.
    pub(super) fn fold(
        &mut self,
        of: &mut Container,
        range: &ItemRange,
        limits: PageLimits,
    ) -> Checked<Vec<(ItemRange, RawPage)>> {
        let mut pages = Vec::new();
        let mut rest = range.clone();
        while pages.len() < PAGES_MAX {
            let (covered, page) = self.page(of, &rest, limits)?;
            let until = page.until.clone();
            pages.push((covered, page));
            match until {
                Some(until) if Some(&until) != range.until.as_ref() => rest.after = Some(until),
                Some(_) | None => return Ok(pages),
            }
        }
        Err(self.broken(Promise::FoldsInOrder, "a fold does not come to its end"))
    }

    pub(super) fn content(&mut self, of: &mut Container, range: &ItemRange) -> Checked<Content> {
        let mut content = Content::new();
        for (_, page) in self.fold(of, range, PageLimits::default())? {
            for (key, value) in PageSlices::new(&page.items).flatten() {
                let position = ItemPosition::of(Bytes::copy_from_slice(key));
                content.insert(position, Bytes::copy_from_slice(value));
            }
        }
        Ok(content)
    }

    /// A copy, by pages.
    pub(super) fn copy(&mut self, of: &mut Container) -> Checked<Container> {
        let mut copy = self.open();
        for (covered, page) in self.fold(of, &ItemRange::all(), PageLimits::default())? {
            self.replace(&mut copy, &covered, &page)?;
        }
        self.compare(of, &mut copy, Promise::PagesReplace, "a copy by pages")?;
        Ok(copy)
    }
}

/// A world in which time stands still and nobody can be reached.
fn env(rng: &Rng) -> Env {
    let network = Network::new(NetworkSettings::default(), rng.fork("network"), Trace::begun());
    let Ok(node) = NodeName::new("checked@sim") else { unreachable!("a fixed, legal name") };
    Env {
        node,
        transport: network.transport_of("checked"),
        arbiters: Arbiters::Here,
        rng: rng.fork("node"),
        clock: Clock::starting_at(WALL_START_MILLIS),
        disk: Arc::new(MemoryDisk::default()),
        watched: Watched::by_nobody(),
    }
}
