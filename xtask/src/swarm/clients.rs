//! The clients of a run: they ask what the plan says, and note what they are told.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tanodb::kv::{Content, KvCommand, KvReply, vnode_type};
use tanodb_actors::protocol::hash::RingHash;
use tanodb_actors::protocol::time::Moment;
use tanodb_actors::runtime::node::Node;
use tanodb_actors::sim::history::counters::{AddOutcome, Counters};
use tanodb_actors::sim::history::{
    ClientId, Deed, History, ReadOutcome, ValueId, WriteId, WriteOutcome,
};
use tanodb_actors::wire::message::{CommandAnswer, CommandError};
use tanodb_actors::{Ask, OpId, Vnode, VnodeType};
use tokio::time::Instant;

use super::counter::{Add, Counter, counters};
use super::draw::SKEW_MILLIS_MAX;
use super::plan::Asked;
use super::tracker::Tracker;

/// When a client has its answer at the latest.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// How much later than its deadline an answer may come: what the timers round up.
pub const DEADLINE_SLACK: Duration = Duration::from_millis(50);

/// How often a client repeats an addition whose outcome it does not know.
const ADD_TRIES: u32 = 3;

/// How far the clocks of two nodes may be apart.
const CLOCKS_APART: Duration = Duration::from_millis(2 * SKEW_MILLIS_MAX);

/// Bytes of a value, at least.
const VALUE_BYTES: usize = 24;

/// A write as the table of crossings needs it.
#[derive(Debug, Clone, Copy)]
pub struct WriteTimes {
    /// The key.
    pub key: u16,
    /// Whether it was a delete.
    pub is_delete: bool,
    /// When it was sent.
    pub began: Duration,
    /// When it was acknowledged.
    pub ended: Duration,
}

/// An answer that came after its deadline.
#[derive(Debug, Clone)]
pub struct Late {
    /// The full name of the node that was asked.
    pub node: String,
    /// When it was asked, since the run began.
    pub from: Duration,
    /// When it answered.
    pub until: Duration,
    /// What was said.
    pub answer: String,
}

/// What all clients were told.
pub struct Told {
    /// Of keys.
    pub history: History,
    /// Of counters.
    pub counters: Counters,
    /// Writes by the operations they were sent as.
    pub writes: Vec<(OpId, WriteId)>,
    /// Acknowledged writes.
    pub acknowledged: Vec<WriteTimes>,
    /// Answers that came too late.
    pub late: Vec<Late>,
    /// Requests sent.
    pub sent: u64,
    /// Reads of a quorum that were not answered.
    pub unanswered_reads: Vec<String>,
}

/// The clients of a run.
pub struct Clients {
    /// What they were told.
    pub told: Rc<RefCell<Told>>,
    tracker: Rc<RefCell<Tracker>>,
    began: Instant,
    values: u64,
    amounts: [u32; 64],
    under_way: Rc<Cell<u64>>,
}

/// The name of a key.
pub fn key_name(key: u16) -> String {
    format!("key{key}")
}

/// The name of a counter.
pub fn counter_name(counter: u16) -> String {
    format!("counter{counter}")
}

/// Where a key is on the ring.
pub fn key_hash_of(key: u16) -> RingHash {
    get(key).ring_hash()
}

/// Where a counter is on the ring.
pub fn counter_hash_of(counter: u16) -> RingHash {
    Counter::ring_hash(&counter.to_be_bytes())
}

fn get(key: u16) -> KvCommand {
    KvCommand::Get { bucket: bucket(), key: Bytes::from(key_name(key)) }
}

fn bucket() -> Bytes {
    Bytes::from_static(b"swarm")
}

/// A value that says which put it is from.
fn value_bytes(value: ValueId) -> Bytes {
    let mut bytes = value.0.to_be_bytes().to_vec();
    // Sizes differ, so that pages end at different places.
    let more = usize::try_from(value.0 % 200).unwrap_or(0);
    bytes.resize(VALUE_BYTES + more, 7);
    Bytes::from(bytes)
}

fn value_of(bytes: &[u8]) -> ValueId {
    ValueId(bytes.first_chunk().copied().map_or(u64::MAX, u64::from_be_bytes))
}

impl Clients {
    /// Clients that have not asked anything. Now is the beginning of their time.
    pub fn new(began: Instant, tracker: Rc<RefCell<Tracker>>) -> Self {
        let told = Told {
            history: History::new(CLOCKS_APART),
            counters: Counters::default(),
            writes: Vec::new(),
            acknowledged: Vec::new(),
            late: Vec::new(),
            sent: 0,
            unanswered_reads: Vec::new(),
        };
        Self {
            told: Rc::new(RefCell::new(told)),
            tracker,
            began,
            values: 0,
            amounts: [0; 64],
            under_way: Rc::default(),
        }
    }

    /// Requests that were sent and not answered.
    pub fn under_way(&self) -> u64 {
        self.under_way.get()
    }

    /// What a client does to ask this. To be spawned.
    pub fn task(
        &mut self,
        node: Node,
        client: u8,
        what: Asked,
    ) -> impl Future<Output = ()> + use<> {
        self.values += 1;
        let amount = self.next_amount(what);
        let asking = Asking {
            node,
            told: Rc::clone(&self.told),
            tracker: Rc::clone(&self.tracker),
            began: self.began,
            client: ClientId(u32::from(client)),
            op: OpId { minter: 77, counter: self.values },
        };
        let (value, under_way) = (ValueId(self.values), Rc::clone(&self.under_way));
        under_way.set(under_way.get() + 1);
        async move {
            asking.told.borrow_mut().sent += 1;
            match what {
                Asked::Put { key, strict } => asking.write(key, Deed::Put(value), strict).await,
                Asked::Delete { key, strict } => asking.write(key, Deed::Delete, strict).await,
                Asked::Get { key, strict } => asking.read(key, strict).await,
                Asked::Add { counter } => asking.add(counter, amount).await,
            }
            under_way.set(under_way.get() - 1);
        }
    }

    /// What a client does to read a counter.
    pub fn total(&mut self, node: Node, counter: u16) -> impl Future<Output = ()> + use<> {
        self.values += 1;
        let asking = Asking {
            node,
            told: Rc::clone(&self.told),
            tracker: Rc::clone(&self.tracker),
            began: self.began,
            client: ClientId(u32::MAX),
            op: OpId { minter: 77, counter: self.values },
        };
        async move { asking.add(counter, 0).await }
    }

    /// Distinct powers of two say most; then they repeat.
    fn next_amount(&mut self, what: Asked) -> u64 {
        let Asked::Add { counter } = what else { return 0 };
        let Some(count) = self.amounts.get_mut(usize::from(counter)) else { return 1 };
        *count += 1;
        1 << ((*count - 1) % 40)
    }
}

/// One request of one client.
struct Asking {
    node: Node,
    told: Rc<RefCell<Told>>,
    tracker: Rc<RefCell<Tracker>>,
    began: Instant,
    client: ClientId,
    op: OpId,
}

impl Asking {
    fn now(&self) -> Moment {
        Moment::START.plus(self.began.elapsed())
    }

    async fn ask(
        &self,
        vnode_type: &VnodeType,
        hash: RingHash,
        command: Vec<u8>,
        ask: Ask,
    ) -> CommandAnswer {
        let name = &self.node.id().name;
        if self.tracker.borrow().is_astray(name.as_str()) {
            // Whoever it was meant for, it would be somebody else's data.
            let reason = "a joiner that was left out is a cluster of its own again".to_owned();
            return CommandAnswer::Failed(CommandError::NotServing { node: name.clone(), reason });
        }
        let sent = Instant::now();
        let answer = self.node.ask(vnode_type, hash, Bytes::from(command), ask).await;
        let took = sent.elapsed();
        log::debug!(
            "{:>10.3} {} answered: {answer:?}",
            self.began.elapsed().as_secs_f64(),
            ask_of(&self.node)
        );
        if took > DEADLINE + DEADLINE_SLACK {
            let until = self.began.elapsed();
            self.told.borrow_mut().late.push(Late {
                node: ask_of(&self.node),
                from: until.saturating_sub(took),
                until,
                answer: format!("{answer:?}"),
            });
        }
        answer
    }

    async fn quorum(&self, command: &KvCommand, strict: bool) -> CommandAnswer {
        let Ok(encoded) = rmp_serde::to_vec_named(command) else {
            return CommandAnswer::Failed(CommandError::Illegal { reason: "unencodable".into() });
        };
        let owners_needed = if strict { 2 } else { 0 };
        let op = Some(self.op);
        let ask = Ask { owners_needed, deadline: DEADLINE, op, ..Ask::quorum(3, 2) };
        self.ask(&vnode_type(), command.ring_hash(), encoded, ask).await
    }

    async fn write(self, key: u16, deed: Deed, strict: bool) {
        let (bucket, name) = (bucket(), key_name(key));
        let key_bytes = Bytes::from(name.clone());
        let command = match deed {
            Deed::Put(value) => {
                KvCommand::Put { bucket, key: key_bytes, value: value_bytes(value) }
            }
            Deed::Delete => KvCommand::Delete { bucket, key: key_bytes },
        };
        let began = self.now();
        let id = self.told.borrow_mut().history.begin_write(self.client, &name, deed, began);
        let answer = self.quorum(&command, strict).await;
        let outcome = match &answer {
            CommandAnswer::Met { strict, .. } => WriteOutcome::Acknowledged { strict: *strict },
            CommandAnswer::Failed(error) if may_have_run(error) => WriteOutcome::Unknown,
            CommandAnswer::Failed(_) => WriteOutcome::NotDone,
        };
        let ended = self.now();
        log::debug!("{name}: {deed:?} from {began} to {ended}: {outcome:?}");
        let mut told = self.told.borrow_mut();
        told.history.end_write(&id, outcome, ended);
        told.writes.push((self.op, id));
        if let WriteOutcome::Acknowledged { .. } = outcome {
            let since = |moment: Moment| moment.since(Moment::START);
            told.acknowledged.push(WriteTimes {
                key,
                is_delete: deed == Deed::Delete,
                began: since(began),
                ended: since(ended),
            });
        }
    }

    async fn read(self, key: u16, strict: bool) {
        let name = key_name(key);
        let id = self.told.borrow_mut().history.begin_read(self.client, &name, self.now());
        let answer = self.quorum(&get(key), strict).await;
        let outcome = match &answer {
            CommandAnswer::Met { reply, strict } => {
                seen(reply).map_or(ReadOutcome::Failed, |seen| ReadOutcome::Answered {
                    seen,
                    strict: *strict,
                })
            }
            CommandAnswer::Failed(_) => ReadOutcome::Failed,
        };
        let now = self.now();
        let mut told = self.told.borrow_mut();
        if outcome == ReadOutcome::Failed {
            told.unanswered_reads
                .push(format!("{name} through {}: {answer:?}", ask_of(&self.node)));
        }
        log::debug!("{name}: read until {now}: {outcome:?}");
        told.history.end_read(&id, outcome, now);
    }

    /// Repeats what may have been executed, as a client does, under the same operation id.
    async fn add(self, counter: u16, amount: u64) {
        let name = counter_name(counter);
        let id = self.told.borrow_mut().counters.begin(self.client, &name, amount, self.now());
        let mut may_have_been = false;
        let mut outcome = AddOutcome::Unknown;
        for _ in 0..ADD_TRIES {
            let add = Add { counter, amount };
            let Ok(encoded) = rmp_serde::to_vec_named(&add) else { return };
            let ask = Ask { op: Some(self.op), deadline: DEADLINE, ..Ask::single() };
            match self.ask(&counters(), counter_hash_of(counter), encoded, ask).await {
                CommandAnswer::Met { reply, .. } => {
                    outcome = rmp_serde::from_slice(&reply)
                        .map_or(AddOutcome::Unknown, |total| AddOutcome::Acknowledged { total });
                    break;
                }
                CommandAnswer::Failed(error) => {
                    may_have_been |= may_have_run(&error);
                    outcome = if may_have_been { AddOutcome::Unknown } else { AddOutcome::NotDone };
                }
            }
        }
        let now = self.now();
        let mut told = self.told.borrow_mut();
        if amount == 0 && !matches!(outcome, AddOutcome::Acknowledged { .. }) {
            told.unanswered_reads.push(format!("{name} through {}", ask_of(&self.node)));
        }
        told.counters.end(&id, outcome, now);
    }
}

fn ask_of(node: &Node) -> String {
    node.id().name.to_string()
}

/// The value a reply shows; `None` in it for a tombstone or nothing. No answer if it cannot be read.
fn seen(reply: &[u8]) -> Option<Option<ValueId>> {
    match rmp_serde::from_slice::<KvReply>(reply) {
        Ok(KvReply::Found(record)) => match record.content {
            Content::Live(bytes) => Some(Some(value_of(&bytes))),
            Content::Tombstone => Some(None),
        },
        Ok(KvReply::Nothing) => Some(None),
        Ok(_) | Err(_) => None,
    }
}

/// Whether a failed command may have been executed somewhere.
fn may_have_run(error: &CommandError) -> bool {
    match error {
        CommandError::QuorumNotMet { may_have_been_stored, .. }
        | CommandError::DeadlinePassed { may_have_been_stored, .. } => *may_have_been_stored,
        CommandError::NotServing { reason, .. } => reason.contains("may have been executed"),
        CommandError::Overloaded { .. } | CommandError::Illegal { .. } | _ => false,
    }
}
