//! Turns a [`Vnode`] over [`Items`] into a [`RawVnode`]: a command's changes are collected while it runs and
//! applied when it is done, so a panic or a refusal in the middle leaves nothing behind.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::op_table::{OpTable, Replay};
use super::raw::{Change, Changes, ContainerError, PageLimits, RawAnswer, RawPage, RawVnode};
use super::{Answer, Class, CommandContext, CorruptItem, HandoffChoice, Merged, Vnode};
use crate::protocol::digest::{Digest, ItemPosition, ItemRange};
use crate::protocol::id::{NodeId, Partition, Stamp};
use crate::runtime::encoding::encoded;
use crate::runtime::items::{Engine, EngineError};
use crate::wire::page::{PageBuilder, PageItems, PageSlices};

/// Items deleted in one turn when a container is given up.
const DELETED_AT_ONCE: usize = 4_096;

/// Marks an author's item in a vnode of class `Single`, whose operations are items too.
pub(crate) const AUTHOR_KEY: u8 = b'k';

/// The items of one vnode, as a command sees them: what is stored, with this command's own changes on top.
pub struct Items<'a> {
    engine: &'a dyn Engine,
    is_prefixed: bool,
    changed: BTreeMap<Bytes, Option<Bytes>>,
    failure: RefCell<Option<String>>,
}

impl<'a> Items<'a> {
    pub(super) fn new(engine: &'a dyn Engine, class: Class) -> Self {
        let is_prefixed = match class {
            Class::Single => true,
            Class::Merged => false,
        };
        Self { engine, is_prefixed, changed: BTreeMap::new(), failure: RefCell::new(None) }
    }

    fn stored_key(&self, key: &[u8]) -> Bytes {
        if !self.is_prefixed {
            return Bytes::copy_from_slice(key);
        }
        let mut stored = BytesMut::with_capacity(key.len() + 1);
        stored.put_u8(AUTHOR_KEY);
        stored.put_slice(key);
        stored.freeze()
    }

    /// What is stored under a key, with this command's changes.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        if self.is_prefixed { self.get_stored(&self.stored_key(key)) } else { self.get_stored(key) }
    }

    pub(super) fn get_stored(&self, stored: &[u8]) -> Option<Bytes> {
        if let Some(changed) = self.changed.get(stored) {
            return changed.clone();
        }
        match self.engine.get(stored) {
            Ok(value) => value,
            Err(error) => {
                self.failure.borrow_mut().get_or_insert_with(|| error.to_string());
                None
            }
        }
    }

    /// Stores bytes under a key of 1 byte to 64 KiB.
    pub fn put(&mut self, key: &[u8], value: impl Into<Bytes>) {
        let stored = self.stored_key(key);
        self.put_stored(stored, value.into());
    }

    pub(super) fn put_stored(&mut self, stored: Bytes, value: Bytes) {
        self.changed.insert(stored, Some(value));
    }

    /// Removes what is stored under a key.
    pub fn remove(&mut self, key: &[u8]) {
        let stored = self.stored_key(key);
        self.remove_stored(stored);
    }

    pub(super) fn remove_stored(&mut self, stored: Bytes) {
        self.changed.insert(stored, None);
    }

    /// Removes all items whose key starts with `prefix`. Reads every item: for rare commands.
    pub fn remove_prefix(&mut self, prefix: &[u8]) {
        for (key, _) in self.scan(|key| key.starts_with(prefix)) {
            self.remove(&key);
        }
    }

    /// All items whose key passes, in no order an author should rely on. Reads every item: for rare
    /// commands.
    #[must_use]
    pub fn scan(&self, passes: impl Fn(&[u8]) -> bool) -> Vec<(Bytes, Bytes)> {
        let mut found = Vec::new();
        let mut rest = Some(ItemRange::all());
        while let Some(range) = rest {
            let page = match self.engine.page(&range, PageLimits::default()) {
                Ok(page) => page,
                Err(error) => {
                    self.failure.borrow_mut().get_or_insert_with(|| error.to_string());
                    break;
                }
            };
            rest = page.rest(&range);
            for (key, value) in PageItems::new(page.items).filter_map(Result::ok) {
                if !self.changed.contains_key(&key) {
                    found.push((key, value));
                }
            }
        }
        let added = self.changed.iter();
        found.extend(added.filter_map(|(key, value)| Some((key.clone(), value.clone()?))));
        found
            .into_iter()
            .filter_map(|(key, value)| Some((self.author_key(key)?, value)))
            .filter(|(key, _)| passes(key))
            .collect()
    }

    fn author_key(&self, stored: Bytes) -> Option<Bytes> {
        if !self.is_prefixed {
            return Some(stored);
        }
        (stored.first() == Some(&AUTHOR_KEY)).then(|| stored.slice(1..))
    }

    /// How many items are stored, before this command.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.engine.len()
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.engine.is_empty()
    }

    fn into_changes(self) -> Result<Changes, String> {
        if let Some(failure) = self.failure.into_inner() {
            return Err(failure);
        }
        let change = |(key, value)| match value {
            Some(value) => Change::Put { key, value },
            None => Change::Remove { key },
        };
        Ok(Changes { items: self.changed.into_iter().map(change).collect(), ranges: vec![] })
    }
}

/// A [`Vnode`] with the engine that keeps its items.
pub struct OverItems<V> {
    author: V,
    engine: Box<dyn Engine>,
    ops: OpTable,
    is_deleting: bool,
}

impl<V: Vnode> OverItems<V> {
    /// A vnode over what `engine` holds.
    #[must_use]
    pub fn new(partition: Partition, engine: Box<dyn Engine>) -> Self {
        Self { author: V::start(partition), engine, ops: OpTable::default(), is_deleting: false }
    }

    /// Runs the author's code and takes its changes, which are not applied yet.
    fn run(&mut self, command: V::Command, context: &CommandContext) -> Ran<V> {
        let mut items = Items::new(self.engine.as_ref(), V::CLASS);
        let reply = match self.author.handle_command(command, context, &mut items) {
            Answer::Reply(reply) => match encoded(&reply) {
                Ok(reply) => Bytes::from(reply),
                Err(error) => return Ran::Stopped(format!("its reply cannot be encoded: {error}")),
            },
            Answer::NoReply => Bytes::new(),
            Answer::Async(work) => return Ran::Elsewhere(work),
            Answer::Overtaken(held) => return Ran::Overtaken(held),
            Answer::Stop(reason) => return Ran::Stopped(reason),
        };
        if let Class::Single = V::CLASS {
            self.ops.remember(context, &reply, &mut items);
        }
        match items.into_changes() {
            Ok(changes) => Ran::Done(reply, changes),
            Err(failure) => Ran::Stopped(format!("storage failed: {failure}")),
        }
    }

    fn apply_change(&mut self, change: &Change) -> Result<(), EngineError> {
        match change {
            Change::Put { key, value } => self.engine.put(key, value),
            Change::Remove { key } => self.engine.remove(key).map(drop),
        }
    }

    /// Lets the author encode every item of a page; the page goes as it is unless it wants more.
    fn encode_page(&mut self, page: &Bytes) -> Result<Bytes, ContainerError> {
        for (place, item) in PageSlices::new(page).enumerate() {
            let (key, value) = item?;
            if let Some(encoded) = self.encode_item(key, value)? {
                return self.encode_rest(page, place, &encoded);
            }
        }
        Ok(page.clone())
    }

    fn encode_item(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Bytes>, CorruptItem> {
        match author_key::<V>(key) {
            Some(key) => self.author.encode_handoff_item(key, value),
            None => Ok(None),
        }
    }

    /// Writes a page anew from the first item that the author has encoded.
    fn encode_rest(
        &mut self,
        page: &Bytes,
        first: usize,
        encoded: &[u8],
    ) -> Result<Bytes, ContainerError> {
        let mut rebuilt = PageBuilder::with_capacity(page.len());
        for (place, item) in PageSlices::new(page).enumerate() {
            let (key, value) = item?;
            if place < first {
                rebuilt.push(key, value)?;
            } else if place == first {
                rebuilt.push(key, encoded)?;
            } else if let Some(encoded) = self.encode_item(key, value)? {
                rebuilt.push(key, &encoded)?;
            } else {
                rebuilt.push(key, value)?;
            }
        }
        Ok(rebuilt.finish())
    }

    /// Lets the author decode every item of a page that came from another node.
    fn decode_page(&mut self, page: &Bytes) -> Result<(Bytes, u64), ContainerError> {
        let mut count = 0;
        let mut decoded: Vec<(Bytes, Bytes)> = Vec::new();
        let mut is_changed = false;
        for item in PageSlices::new(page) {
            let (key, data) = item.map_err(malformed)?;
            count += 1;
            let Some(key) = author_key::<V>(key) else { continue };
            if let Some(value) = self.author.handle_handoff_data(key, data)? {
                if !is_changed {
                    is_changed = true;
                    decoded = PageItems::new(page.clone()).filter_map(Result::ok).collect();
                }
                if let Some(entry) = decoded.get_mut(count - 1) {
                    entry.1 = value;
                }
            }
        }
        if !is_changed {
            return Ok((page.clone(), count as u64));
        }
        let mut rebuilt = PageBuilder::with_capacity(page.len());
        for (key, value) in decoded {
            rebuilt.push(&key, &value).map_err(malformed)?;
        }
        Ok((rebuilt.finish(), count as u64))
    }
}

/// The author's part of a stored key; `None` for items of the runtime.
fn author_key<V: Vnode>(stored: &[u8]) -> Option<&[u8]> {
    match (V::CLASS, stored.split_first()) {
        (Class::Merged, _) => Some(stored),
        (Class::Single, Some((&AUTHOR_KEY, key))) => Some(key),
        (Class::Single, Some(_) | None) => None,
    }
}

enum Ran<V: Vnode> {
    Done(Bytes, Changes),
    Elsewhere(super::Work<V::Command>),
    Overtaken(Stamp),
    Stopped(String),
}

fn malformed(error: impl ToString) -> ContainerError {
    ContainerError::Malformed(error.to_string())
}

impl From<EngineError> for ContainerError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Storage(error) => Self::Storage(error.to_string()),
            other @ (EngineError::EmptyKey
            | EngineError::Page(_)
            | EngineError::OutOfOrder { .. }
            | EngineError::OutOfRange { .. }) => Self::Malformed(other.to_string()),
        }
    }
}

impl<V: Vnode> RawVnode for OverItems<V> {
    fn handle_command(&mut self, command: &Bytes, context: &CommandContext) -> RawAnswer {
        let decoded = match rmp_serde::from_slice(command) {
            Ok(decoded) => decoded,
            Err(error) => return RawAnswer::Refused(format!("the command is malformed: {error}")),
        };
        if let Class::Single = V::CLASS {
            match self.ops.replay(context, self.engine.as_ref()) {
                Replay::New => {}
                Replay::Executed(reply) => return RawAnswer::Reply(reply, Changes::default()),
                Replay::Expired => {
                    let op = context.op;
                    return RawAnswer::Refused(format!(
                        "operation {op} is too old to tell whether it was executed; it is not executed now"
                    ));
                }
            }
        }
        match self.run(decoded, context) {
            Ran::Done(reply, changes) => {
                for change in &changes.items {
                    if let Err(error) = self.apply_change(change) {
                        return RawAnswer::Stop(format!("an item could not be stored: {error}"));
                    }
                }
                self.ops.applied(&changes.items);
                RawAnswer::Reply(reply, changes)
            }
            Ran::Elsewhere(work) => RawAnswer::Async(Box::new(move || {
                rmp_serde::to_vec_named(&work()).map(Bytes::from).unwrap_or_default()
            })),
            Ran::Overtaken(held) => RawAnswer::Overtaken(held),
            Ran::Stopped(reason) => RawAnswer::Stop(reason),
        }
    }

    fn handle_handoff_command(&mut self, command: &Bytes) -> HandoffChoice {
        match rmp_serde::from_slice(command) {
            Ok(command) => self.author.handle_handoff_command(&command),
            // It is refused where it would be executed.
            Err(_) => HandoffChoice::Handle,
        }
    }

    fn handoff_starting(&mut self, target: &NodeId) -> bool {
        self.author.handoff_starting(target)
    }

    fn is_empty(&mut self) -> bool {
        self.author.is_empty(&Items::new(self.engine.as_ref(), V::CLASS))
    }

    fn page(&mut self, range: &ItemRange, limits: PageLimits) -> Result<RawPage, ContainerError> {
        let page = self.engine.page(range, limits)?;
        let until = if page.complete { None } else { page.last };
        let items = self.encode_page(&page.items)?;
        Ok(RawPage { items, count: page.count as u64, until })
    }

    fn replace_range(&mut self, range: &ItemRange, items: &Bytes) -> Result<u64, ContainerError> {
        let (items, count) = self.decode_page(items)?;
        self.engine.replace_range(range, &items)?;
        self.ops.forget();
        Ok(count)
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), ContainerError> {
        for change in changes {
            self.apply_change(change)?;
        }
        self.ops.forget();
        Ok(())
    }

    fn merge(&mut self, items: &Bytes) -> Result<Changes, ContainerError> {
        if let Class::Single = V::CLASS {
            return Err(ContainerError::Unsupported("a single copy is never merged".to_owned()));
        }
        let (items, _) = self.decode_page(items)?;
        let mut changes = Changes::default();
        for item in PageItems::new(items) {
            let (key, theirs) = item.map_err(malformed)?;
            let mine = self.engine.get(&key)?;
            if let Merged::Take(value) = V::merge(&key, mine.as_deref(), &theirs) {
                self.engine.put(&key, &value)?;
                changes.items.push(Change::Put { key, value });
            }
        }
        Ok(changes)
    }

    fn digest(&self) -> &Digest {
        self.engine.digest()
    }

    fn repairs(&self) -> bool {
        true
    }

    fn handoff_finished(&mut self, target: &NodeId) {
        self.author.handoff_finished(target);
    }

    fn handoff_cancelled(&mut self) {
        self.author.handoff_cancelled();
    }

    fn delete(&mut self) -> bool {
        if !std::mem::replace(&mut self.is_deleting, true) {
            self.author.delete();
        }
        self.ops.forget();
        match self.engine.remove_range(&ItemRange::all(), DELETED_AT_ONCE) {
            Ok(removed) => removed.complete,
            // Nothing reads them any more; opening the partition again starts with an empty container.
            Err(error) => {
                log::warn!(error:%; "items were not deleted");
                true
            }
        }
    }

    fn describe_key(&self, key: &[u8]) -> String {
        match (V::CLASS, key.split_first()) {
            (Class::Single, Some((&AUTHOR_KEY, key))) => V::describe_key(key),
            (Class::Single, Some(_) | None) => "an executed operation".to_owned(),
            (Class::Merged, Some(_) | None) => V::describe_key(key),
        }
    }
}

/// Where an item stands, for the changes a stream takes note of.
#[must_use]
pub fn position_of(change: &Change) -> ItemPosition {
    ItemPosition::of(change.key().clone())
}

impl From<crate::wire::page::PageError> for ContainerError {
    fn from(error: crate::wire::page::PageError) -> Self {
        malformed(error)
    }
}

/// Names an item that cannot be read.
#[must_use]
pub fn corrupt(key: String, detail: &str) -> ContainerError {
    ContainerError::Corrupt(CorruptItem { key, detail: detail.to_owned() })
}
