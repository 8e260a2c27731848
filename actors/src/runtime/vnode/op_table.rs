//! Executed operations of a vnode of class `Single`: operation id -> reply, stored as items in the same step
//! as the effect, so that they move, are fenced and are compared with it.
//!
//! An operation is remembered for [`OP_WINDOW_MILLIS`] by the coordinators' stamps, and at most [`OPS_MAX`]
//! are. What is forgotten leaves the highest forgotten count of its minter behind: an older or equal count
//! that is not remembered is refused, never executed again.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::CommandContext;
use super::over_items::Items;
use crate::protocol::digest::ItemRange;
use crate::protocol::id::{OpId, Stamp};
use crate::runtime::items::{Engine, PageLimits};
use crate::wire::delta::Change;
use crate::wire::page::PageItems;

/// How long a reply is kept: 10 minutes.
pub const OP_WINDOW_MILLIS: u64 = 10 * 60 * 1_000;

/// Replies kept at most, whatever their age.
pub const OPS_MAX: usize = 100_000;

/// Operations forgotten with one command at most: the table shrinks faster than it grows.
const FORGOTTEN_AT_ONCE: usize = 4;

/// Marks an executed operation.
const OP_KEY: u8 = b'o';

/// Marks what is left of forgotten ones.
const FLOOR_KEY: u8 = b'f';

#[derive(Serialize, Deserialize)]
struct Executed {
    stamp: Stamp,
    reply: Bytes,
}

/// What the table knows of an operation.
#[derive(Debug, PartialEq, Eq)]
pub enum Replay {
    /// It was not executed.
    New,
    /// It was; this is its reply.
    Executed(Bytes),
    /// It may have been: too old to tell.
    Expired,
}

/// The order in which operations are forgotten. The table itself is in the items.
#[derive(Debug, Default)]
pub struct OpTable {
    /// `None` until the items have been read once.
    by_age: Option<BTreeMap<(Stamp, OpId), ()>>,
}

fn op_key(op: OpId) -> Bytes {
    let mut key = BytesMut::with_capacity(17);
    key.put_u8(OP_KEY);
    key.put_u64(op.minter);
    key.put_u64(op.counter);
    key.freeze()
}

fn floor_key(minter: u64) -> Bytes {
    let mut key = BytesMut::with_capacity(9);
    key.put_u8(FLOOR_KEY);
    key.put_u64(minter);
    key.freeze()
}

fn read_op(key: &[u8]) -> Option<OpId> {
    let (marker, rest) = key.split_first()?;
    let (minter, counter) = rest.split_first_chunk::<8>()?;
    let counter = counter.first_chunk::<8>()?;
    (*marker == OP_KEY).then(|| OpId {
        minter: u64::from_be_bytes(*minter),
        counter: u64::from_be_bytes(*counter),
    })
}

fn read_floor(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl OpTable {
    /// Whether the operation was executed before.
    pub(super) fn replay(&mut self, context: &CommandContext, engine: &dyn Engine) -> Replay {
        self.read_once(engine);
        if let Ok(Some(stored)) = engine.get(&op_key(context.op))
            && let Ok(executed) = rmp_serde::from_slice::<Executed>(&stored)
        {
            return Replay::Executed(executed.reply);
        }
        let floor = engine.get(&floor_key(context.op.minter)).ok().flatten();
        if floor.is_some_and(|floor| context.op.counter <= read_floor(&floor)) {
            return Replay::Expired;
        }
        Replay::New
    }

    /// Stores the reply beside the effect, and forgets what is too old.
    pub(super) fn remember(&self, context: &CommandContext, reply: &Bytes, items: &mut Items<'_>) {
        let executed = Executed { stamp: context.stamp, reply: reply.clone() };
        if let Ok(stored) = rmp_serde::to_vec_named(&executed) {
            items.put_stored(op_key(context.op), Bytes::from(stored));
        }
        let Some(by_age) = &self.by_age else { return };
        let oldest_kept = context.stamp.millis.saturating_sub(OP_WINDOW_MILLIS);
        let surplus = (by_age.len() + 1).saturating_sub(OPS_MAX);
        let aged = by_age.keys().take(FORGOTTEN_AT_ONCE).enumerate();
        for (place, (stamp, op)) in aged {
            if stamp.millis >= oldest_kept && place >= surplus {
                break;
            }
            items.remove_stored(op_key(*op));
            let floor =
                items.get_stored(&floor_key(op.minter)).map_or(0, |bytes| read_floor(&bytes));
            let raised = floor.max(op.counter).to_be_bytes();
            items.put_stored(floor_key(op.minter), Bytes::copy_from_slice(&raised));
        }
    }

    /// Takes note of what was applied.
    pub(super) fn applied(&mut self, changes: &[Change]) {
        let Some(by_age) = &mut self.by_age else { return };
        for change in changes {
            let Some(op) = read_op(change.key()) else { continue };
            match change {
                Change::Put { value, .. } => {
                    if let Ok(executed) = rmp_serde::from_slice::<Executed>(value) {
                        by_age.insert((executed.stamp, op), ());
                    }
                }
                Change::Remove { .. } => by_age.retain(|(_, known), ()| *known != op),
            }
        }
    }

    /// The items were changed from outside: read them again.
    pub(super) fn forget(&mut self) {
        self.by_age = None;
    }

    fn read_once(&mut self, engine: &dyn Engine) {
        if self.by_age.is_some() {
            return;
        }
        let mut by_age = BTreeMap::new();
        let mut rest = Some(ItemRange::all());
        while let Some(range) = rest {
            let Ok(page) = engine.page(&range, PageLimits::default()) else { return };
            rest = page.rest(&range);
            for (key, value) in PageItems::new(page.items).filter_map(Result::ok) {
                let executed = rmp_serde::from_slice::<Executed>(&value);
                if let (Some(op), Ok(executed)) = (read_op(&key), executed) {
                    by_age.insert((executed.stamp, op), ());
                }
            }
        }
        self.by_age = Some(by_age);
    }
}
