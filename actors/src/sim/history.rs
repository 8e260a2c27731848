//! What clients did and were told, and whether a store that keeps its promises could have told them so.
//!
//! Owns: the record of puts, deletes and gets ([`History`]) and the verdict on it ([`History::check`]); in
//! [`counters`] the same for counters. It asks no node and knows no time but the one it is handed: the
//! simulation's, one for all nodes.
//!
//! The rule is that of a regular register under real time: a read returns a write that was not yet
//! overwritten when the read began, or one that runs beside it. A write whose outcome nobody knows may take
//! effect at any time after it began, until a read has seen its value. Source: Lamport, "On Interprocess
//! Communication", 1986, widened by writes without an answer.

mod check;
pub mod counters;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

pub use check::{Checked, Verdict, Violation};

use crate::protocol::time::Moment;

/// Who asked. Only for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// A value, by a number that no other put of the history has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u64);

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// A write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deed {
    /// Stores a value.
    Put(ValueId),
    /// Removes it, whatever it is.
    Delete,
}

/// What a client was told about its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WriteOutcome {
    /// It is stored.
    Acknowledged {
        /// By W owners. A write that was helped by stand-ins is owed only to reads that begin when its
        /// hints have gone home ([`History::settled`]).
        strict: bool,
    },
    /// A refusal that promises that nothing was stored.
    NotDone,
    /// An error or a silence that says nothing. It may have been stored, or be stored later.
    Unknown,
}

/// What a client was told about its get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadOutcome {
    /// An answer.
    Answered {
        /// The value, or nothing.
        seen: Option<ValueId>,
        /// By R owners. What stand-ins answered is only checked for values that nobody put.
        strict: bool,
    },
    /// No answer.
    Failed,
}

/// A write as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// Who asked.
    pub client: ClientId,
    /// For what.
    pub deed: Deed,
    /// When it was sent.
    pub began: Moment,
    /// When the client heard what; nothing as long as it waits.
    pub end: Option<(Moment, WriteOutcome)>,
    /// Whether the store was seen to give it a second stamp: it may then take effect twice, until its answer.
    pub is_restamped: bool,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.deed {
            Deed::Put(value) => write!(f, "the put of {value}")?,
            Deed::Delete => f.write_str("the delete")?,
        }
        write!(f, " by {} from {}", self.client, self.began)?;
        match self.end {
            Some((at, WriteOutcome::Acknowledged { strict: true })) => {
                write!(f, ", acknowledged at {at}")
            }
            Some((at, WriteOutcome::Acknowledged { strict: false })) => {
                write!(f, ", acknowledged with stand-ins at {at}")
            }
            Some((at, WriteOutcome::NotDone)) => write!(f, ", refused at {at}"),
            Some((at, WriteOutcome::Unknown)) => write!(f, ", in doubt since {at}"),
            None => f.write_str(", not answered"),
        }
    }
}

/// A get as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Who asked.
    pub client: ClientId,
    /// When it was sent.
    pub began: Moment,
    /// When the client heard what; nothing as long as it waits.
    pub end: Option<(Moment, ReadOutcome)>,
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the get by {} from {}", self.client, self.began)?;
        match self.end {
            Some((at, ReadOutcome::Answered { seen: Some(value), .. })) => {
                write!(f, ", which saw {value} at {at}")
            }
            Some((at, ReadOutcome::Answered { seen: None, .. })) => {
                write!(f, ", which saw nothing at {at}")
            }
            Some((at, ReadOutcome::Failed)) => write!(f, ", which failed at {at}"),
            None => f.write_str(", not answered"),
        }
    }
}

/// Names a write that has begun.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[must_use = "a write that is never ended counts as in doubt"]
pub struct WriteId {
    key: String,
    number: usize,
}

/// Names a get that has begun.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[must_use = "a get that is never ended is not checked"]
pub struct ReadId {
    key: String,
    number: usize,
}

#[derive(Debug, Clone, Default)]
struct OfKey {
    writes: Vec<Write>,
    reads: Vec<Read>,
    /// When more owners than one may lose had lost their data, in order.
    losses: Vec<Moment>,
}

/// What clients did to keys. Moments are one clock's, whichever node was asked.
#[derive(Debug, Clone)]
pub struct History {
    order_margin: Duration,
    keys: BTreeMap<String, OfKey>,
    values: BTreeSet<ValueId>,
    /// When all hints had gone home, in order.
    settled: Vec<Moment>,
}

impl History {
    /// A history in which nothing was done.
    ///
    /// A write that W owners acknowledged is later than every such write that had ended before it began. Where one
    /// of the two was helped by stand-ins, or is in doubt, the store orders them by stamps alone, which are no
    /// closer than the clocks of the nodes: it counts as later only if it began more than `order_margin` after the
    /// other had ended.
    #[must_use]
    pub fn new(order_margin: Duration) -> Self {
        Self { order_margin, keys: BTreeMap::new(), values: BTreeSet::new(), settled: Vec::new() }
    }

    /// A client sends a write.
    ///
    /// # Panics
    ///
    /// If the value was put before: a read of it would not say which of the two it saw.
    pub fn begin_write(&mut self, client: ClientId, key: &str, deed: Deed, at: Moment) -> WriteId {
        if let Deed::Put(value) = deed {
            assert!(self.values.insert(value), "{value} is put twice, the second time to '{key}'");
        }
        let writes = &mut self.keys.entry(key.to_owned()).or_default().writes;
        writes.push(Write { client, deed, began: at, end: None, is_restamped: false });
        WriteId { key: key.to_owned(), number: writes.len() - 1 }
    }

    /// The client hears of its write. Only the first answer counts.
    pub fn end_write(&mut self, id: &WriteId, outcome: WriteOutcome, at: Moment) {
        let write = self.keys.get_mut(&id.key).and_then(|key| key.writes.get_mut(id.number));
        if let Some(write) = write {
            write.end.get_or_insert((at, outcome));
        }
    }

    /// The store has given a write another stamp, because a replica held something newer: what was stored under
    /// the first may be overwritten, and come back under the second.
    pub fn restamped(&mut self, id: &WriteId) {
        let write = self.keys.get_mut(&id.key).and_then(|key| key.writes.get_mut(id.number));
        if let Some(write) = write {
            write.is_restamped = true;
        }
    }

    /// A client sends a get.
    pub fn begin_read(&mut self, client: ClientId, key: &str, at: Moment) -> ReadId {
        let reads = &mut self.keys.entry(key.to_owned()).or_default().reads;
        reads.push(Read { client, began: at, end: None });
        ReadId { key: key.to_owned(), number: reads.len() - 1 }
    }

    /// The client hears of its get. Only the first answer counts.
    pub fn end_read(&mut self, id: &ReadId, outcome: ReadOutcome, at: Moment) {
        let read = self.keys.get_mut(&id.key).and_then(|key| key.reads.get_mut(id.number));
        if let Some(read) = read {
            read.end.get_or_insert((at, outcome));
        }
    }

    /// All hints have gone home: what was acknowledged with stand-ins until now is owed from now on.
    pub fn settled(&mut self, at: Moment) {
        insert_in_order(&mut self.settled, at);
    }

    /// More owners of a key have lost their data than may: what began until now is owed to no read that
    /// ends later. Say it once per key and loss; later writes are checked again.
    pub fn data_lost(&mut self, key: &str, at: Moment) {
        insert_in_order(&mut self.keys.entry(key.to_owned()).or_default().losses, at);
    }

    /// The keys that were asked about, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }
}

fn insert_in_order(moments: &mut Vec<Moment>, at: Moment) {
    let place = moments.partition_point(|moment| *moment <= at);
    moments.insert(place, at);
}
