//! What clients of a simulated cluster ask and are told.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::Draw;
use crate::protocol::hash::RingHash;
use crate::protocol::id::{OpId, VnodeType};
use crate::runtime::node::{Ask, Node};
use crate::runtime::vnode::Class;
use crate::sim::trace::Trace;
use crate::wire::message::CommandError;

/// What a client heard of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard<R> {
    /// It was executed; this is the reply.
    Done(R),
    /// It was not executed, and will not be.
    NotExecuted(String),
    /// Nobody can say: it was executed, was not, or is executed later.
    Unknown(String),
}

/// One command of a client, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<C, R> {
    /// Which client, from 1. A client asks one command after another.
    pub client: usize,
    /// When it asked, since the run began.
    pub asked: Duration,
    /// When it heard, or gave up.
    pub heard_at: Duration,
    /// Where the command belongs.
    pub hash: RingHash,
    /// The command.
    pub command: C,
    /// What it heard in the end.
    pub heard: Heard<R>,
}

/// Asks again after this, the same operation, in class `Single`.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How often a command of class `Single` is asked.
const TRIES_MAX: usize = 30;

/// The nodes that take commands.
pub(super) type Directory = Rc<RefCell<Vec<(String, Node)>>>;

/// Draws encoded commands, each with the hash of the place where it belongs.
pub(super) type Generator = Rc<dyn Fn(&Draw) -> (RingHash, Bytes)>;

/// What all clients share.
#[derive(Clone)]
pub(super) struct Workload {
    pub(super) name: VnodeType,
    pub(super) class: Class,
    pub(super) ask: Ask,
    pub(super) commands: Generator,
    pub(super) pause: Duration,
    pub(super) nodes: Directory,
    pub(super) stop: Rc<Cell<bool>>,
    pub(super) told: Rc<RefCell<Vec<Told<Bytes, Bytes>>>>,
    pub(super) trace: Trace,
    pub(super) began: Instant,
}

impl Workload {
    /// Asks one command after another until told to stop.
    pub(super) async fn client(self, number: usize, draw: Draw) {
        let name = format!("client {number}");
        let mut counter = 0;
        while !self.stop.get() {
            let millis = u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX);
            sleep(Duration::from_millis(draw.below(millis.saturating_mul(2)))).await;
            counter += 1;
            let (hash, command) = (self.commands)(&draw);
            let op = OpId { minter: CLIENT_MINTER + number as u64, counter };
            let asked = self.began.elapsed();
            let heard = self.ask_until_known(hash, &command, op, &draw).await;
            let word = match &heard {
                Heard::Done(_) => "done",
                Heard::NotExecuted(_) => "not executed",
                Heard::Unknown(_) => "unknown",
            };
            self.trace.said(&name, format!("operation {counter}: {word}"));
            let heard_at = self.began.elapsed();
            let told = Told { client: number, asked, heard_at, hash, command, heard };
            self.told.borrow_mut().push(told);
        }
    }

    async fn ask_until_known(
        &self,
        hash: RingHash,
        command: &Bytes,
        op: OpId,
        draw: &Draw,
    ) -> Heard<Bytes> {
        let tries = match self.class {
            Class::Single => TRIES_MAX,
            // A second execution would be another one.
            Class::Merged => 1,
        };
        let mut last = Heard::NotExecuted("no node takes commands".to_owned());
        for _ in 0..tries {
            let heard = self.ask_once(hash, command.clone(), op, draw).await;
            match (heard, last) {
                (Heard::Done(reply), _) => return Heard::Done(reply),
                // What may have been executed once is not unmade by a later refusal.
                (Heard::NotExecuted(_), Heard::Unknown(why)) => last = Heard::Unknown(why),
                (heard, _) => last = heard,
            }
            if self.stop.get() {
                break;
            }
            sleep(ASK_AGAIN).await;
        }
        last
    }

    async fn ask_once(
        &self,
        hash: RingHash,
        command: Bytes,
        op: OpId,
        draw: &Draw,
    ) -> Heard<Bytes> {
        let chosen = draw.pick(&self.nodes.borrow()).cloned();
        let Some((name, node)) = chosen else {
            return Heard::NotExecuted("no node takes commands".to_owned());
        };
        let ask = Ask { op: Some(op), ..self.ask };
        let answer = node.run(&self.name, hash, command, ask).await;
        let still_runs = self.nodes.borrow().iter().any(|(other, _)| *other == name);
        heard(answer, still_runs)
    }
}

/// Operations of clients are told from those that nodes mint.
const CLIENT_MINTER: u64 = 1 << 40;

fn heard(answer: Result<Bytes, CommandError>, still_runs: bool) -> Heard<Bytes> {
    let error = match answer {
        Ok(reply) => return Heard::Done(reply),
        Err(error) => error,
    };
    let may_have_run = match &error {
        CommandError::QuorumNotMet { may_have_been_stored, .. }
        | CommandError::DeadlinePassed { may_have_been_stored, .. } => *may_have_been_stored,
        CommandError::Overloaded { .. } | CommandError::Illegal { .. } => false,
        // A node that ended while it was asked cannot say more than that it has.
        CommandError::NotServing { .. } => !still_runs,
    };
    let why = error.to_string();
    if may_have_run { Heard::Unknown(why) } else { Heard::NotExecuted(why) }
}
