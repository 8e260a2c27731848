//! The record of numbers: when it is read and written; and commands that come too early: before it was, or
//! before there are links to the other members.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::agenda::Due;
use super::minting::{Mint, Reserved};
use super::{Coordinator, EarlyCommand, Reservation, Serving};
use crate::protocol::preference::primaries;
use crate::protocol::quorum::REPLICAS_MAX;
use crate::protocol::request::Directory;
use crate::protocol::time::Moment;
use crate::runtime::message::RunCommand;
use crate::runtime::records::{self, LoadError, Loaded, SaveError};
use crate::wire::message::{Command, CommandAnswer};

/// The record in which numbers are reserved.
const RECORD: &str = "coordinator";

/// How long the disk is left alone after it refused to reserve numbers.
pub(super) const RESERVE_AGAIN: Duration = Duration::from_secs(1);

/// Commands that may wait for the first numbers, and how long.
const EARLY_MAX: usize = 256;
const EARLY_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long after a node has learned of its cluster commands wait for links to members never met.
pub(super) const LINKS_WAIT_MAX: Duration = Duration::from_secs(1);

/// What a node without numbers waits for.
pub(super) const NO_NUMBERS: &str = "its disk has not reserved numbers for commands";

impl Coordinator {
    pub(super) fn load_mint(&mut self, ctx: &mut Context<Self>) {
        self.reservation = Reservation::UnderWay;
        let disk = Arc::clone(&self.env.disk);
        let loading = async move { records::load::<Reserved>(disk.as_ref(), RECORD).await };
        ctx.spawn(loading.into_actor(self).map(|loaded, this, ctx| this.mint_loaded(loaded, ctx)));
    }

    fn mint_loaded(
        &mut self,
        loaded: Result<Option<Loaded<Reserved>>, LoadError>,
        ctx: &mut Context<Self>,
    ) {
        match loaded {
            Ok(earlier) => {
                self.reservation = Reservation::Idle;
                self.mint = Some(Mint::after(&self.me, earlier.as_ref(), self.rules));
                self.reserve(ctx);
            }
            Err(error) => {
                log::error!(
                    error:%;
                    "commands are not taken: the numbers of earlier ones cannot be read"
                );
                self.disk_refused(ctx);
            }
        }
    }

    /// Reserves the next block of numbers, if it is time to and no other block is being written.
    pub(super) fn reserve(&mut self, ctx: &mut Context<Self>) {
        let Some(next) = self.mint.as_ref().and_then(Mint::wants) else { return };
        match self.reservation {
            Reservation::Idle => self.reservation = Reservation::UnderWay,
            Reservation::UnderWay | Reservation::Failed => return,
        }
        let saving = records::save(self.env.disk.as_ref(), RECORD, &next);
        ctx.spawn(
            saving
                .into_actor(self)
                .map(move |saved, this, ctx| this.reserved(next.upper, saved, ctx)),
        );
    }

    fn reserved(&mut self, upper: u64, saved: Result<(), SaveError>, ctx: &mut Context<Self>) {
        self.reservation = Reservation::Idle;
        match (saved, &mut self.mint) {
            (Ok(()), Some(mint)) => {
                mint.reserved(upper);
                self.run_early(ctx);
                self.tell_if_serving();
            }
            (Ok(()), None) => {}
            (Err(error), _) => {
                log::error!(error:%; "no numbers for commands could be reserved");
                self.disk_refused(ctx);
            }
        }
    }

    fn disk_refused(&mut self, ctx: &mut Context<Self>) {
        self.reservation = Reservation::Failed;
        self.remind(RESERVE_AGAIN, Due::Reservation, ctx);
        for early in std::mem::take(&mut self.early) {
            self.refuse(early.run);
        }
    }

    /// Asks the disk again after it refused.
    pub(super) fn reserve_again(&mut self, ctx: &mut Context<Self>) {
        self.reservation = Reservation::Idle;
        match self.mint {
            None => self.load_mint(ctx),
            Some(_) => self.reserve(ctx),
        }
    }

    /// Whether there are no numbers at this moment, and the disk is about to reserve some: as it is when
    /// the node has just started.
    pub(super) fn numbers_are_near(&self) -> bool {
        let has_numbers = self.mint.as_ref().is_some_and(Mint::has_numbers);
        !has_numbers && self.reservation == Reservation::UnderWay && self.early.len() < EARLY_MAX
    }

    /// Whether a command is for members that were never met, and this node has learned of them only now: as it is
    /// when it has just joined. Their links are being made.
    pub(super) fn links_are_near(&self, command: &Command) -> bool {
        let is_early = self.env.clock.now() < self.links_by && self.early.len() < EARLY_MAX;
        let view = self.knowledge.view(&command.vnode_type);
        let Some(view) = view.filter(|_| is_early && matches!(self.serving, Serving::Open)) else {
            return false;
        };
        let n = usize::from(command.n.min(REPLICAS_MAX));
        let mut asked = primaries(view.size(), command.hash, n).into_iter();
        asked.any(|partition| self.knowledge.is_unmet(&view.held(partition).holder.name))
    }

    /// Runs the commands that came too early, as far as it is time now.
    pub(super) fn run_early(&mut self, ctx: &mut Context<Self>) {
        for early in std::mem::take(&mut self.early) {
            if self.numbers_are_near() || self.links_are_near(&early.run.command) {
                self.early.push(early);
            } else {
                self.run(early.run, early.deadline, ctx);
            }
        }
    }

    /// Keeps a command until there are numbers and links, for a short time.
    pub(super) fn keep_early(
        &mut self,
        run: RunCommand,
        deadline: Moment,
        ctx: &mut Context<Self>,
    ) {
        let now = self.env.clock.now();
        let until = deadline.min(now.plus(EARLY_WAIT_MAX));
        self.early.push(EarlyCommand { run, deadline, until });
        self.remind(until.since(now), Due::EarlyCommand, ctx);
    }

    /// Runs or refuses the early commands that waited long enough.
    pub(super) fn end_early(&mut self, ctx: &mut Context<Self>) {
        let now = self.env.clock.now();
        let early = std::mem::take(&mut self.early);
        let (over, kept) = early.into_iter().partition(|early| early.until <= now);
        self.early = kept;
        let over: Vec<EarlyCommand> = over;
        let has_numbers = self.mint.as_ref().is_some_and(Mint::has_numbers);
        for early in over {
            if has_numbers {
                self.run(early.run, early.deadline, ctx);
            } else {
                self.refuse(early.run);
            }
        }
    }

    fn refuse(&mut self, run: RunCommand) {
        self.report.refused += 1;
        run.reply.answer(CommandAnswer::Failed(self.not_serving(NO_NUMBERS)));
    }
}
