//! A raw vnode that forgets one of its duties, and is perfect in all else.

use std::sync::Arc;

use bytes::Bytes;
use tanodb_actors::protocol::digest::{Digest, ItemPosition, ItemRange};
use tanodb_actors::runtime::vnode::raw::{
    Change, Changes, ContainerError, PageLimits, RawAnswer, RawPage, RawVnode,
};
use tanodb_actors::wire::page::PageItems;
use tanodb_actors::{
    Class, CommandContext, Env, HandoffChoice, ItemsKind, NodeId, Partition, VnodeKind, VnodeType,
};

use super::shelf::{Shelf, shelves};

/// What it forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    Nothing,
    /// A change to an item that the fold has passed is not reported.
    ForgetsBehindTheCursor,
    /// What is merged into it replaces what is there.
    OverwritesInsteadOfMerging,
    /// A removed item is not removed at the target.
    LosesDeletes,
}

/// A kind of shelves with a flaw.
pub struct FlawedKind {
    perfect: Arc<ItemsKind<Shelf<false>>>,
    flaw: Flaw,
}

impl FlawedKind {
    pub fn with(flaw: Flaw) -> Arc<dyn VnodeKind> {
        Arc::new(Self { perfect: ItemsKind::in_memory(shelves()), flaw })
    }
}

impl VnodeKind for FlawedKind {
    fn name(&self) -> &VnodeType {
        self.perfect.name()
    }

    fn class(&self) -> Class {
        self.perfect.class()
    }

    fn open(&self, partition: Partition, env: &Env) -> Box<dyn RawVnode> {
        let perfect = self.perfect.open(partition, env);
        Box::new(Flawed { perfect, flaw: self.flaw, cursor: Cursor::None })
    }

    fn combine(&self, replies: Vec<Bytes>) -> Bytes {
        self.perfect.combine(replies)
    }
}

/// How far somebody has read it.
enum Cursor {
    None,
    At(ItemPosition),
    Ended,
}

struct Flawed {
    perfect: Box<dyn RawVnode>,
    flaw: Flaw,
    cursor: Cursor,
}

impl Flawed {
    fn has_passed(&self, change: &Change) -> bool {
        match &self.cursor {
            Cursor::None => false,
            Cursor::At(cursor) => ItemPosition::of(change.key().clone()) <= *cursor,
            Cursor::Ended => true,
        }
    }

    fn reported(&self, mut changes: Changes) -> Changes {
        if self.flaw == Flaw::ForgetsBehindTheCursor {
            changes.items.retain(|change| !self.has_passed(change));
        }
        changes
    }
}

impl RawVnode for Flawed {
    fn handle_command(&mut self, command: &Bytes, context: &CommandContext) -> RawAnswer {
        match self.perfect.handle_command(command, context) {
            RawAnswer::Reply(reply, changes) => RawAnswer::Reply(reply, self.reported(changes)),
            RawAnswer::NoReply(changes) => RawAnswer::NoReply(self.reported(changes)),
            other @ (RawAnswer::Async(_)
            | RawAnswer::Overtaken(_)
            | RawAnswer::Stop(_)
            | RawAnswer::Refused(_)) => other,
        }
    }

    fn handle_handoff_command(&mut self, command: &Bytes) -> HandoffChoice {
        self.perfect.handle_handoff_command(command)
    }

    fn handoff_starting(&mut self, target: &NodeId) -> bool {
        self.perfect.handoff_starting(target)
    }

    fn is_empty(&mut self) -> bool {
        self.perfect.is_empty()
    }

    fn page(&mut self, range: &ItemRange, limits: PageLimits) -> Result<RawPage, ContainerError> {
        let page = self.perfect.page(range, limits)?;
        self.cursor = page.until.clone().map_or(Cursor::Ended, Cursor::At);
        Ok(page)
    }

    fn replace_range(&mut self, range: &ItemRange, items: &Bytes) -> Result<u64, ContainerError> {
        self.perfect.replace_range(range, items)
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), ContainerError> {
        for change in changes {
            let is_lost =
                self.flaw == Flaw::LosesDeletes && matches!(change, Change::Remove { .. });
            if !is_lost {
                self.perfect.apply(std::slice::from_ref(change))?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, items: &Bytes) -> Result<Changes, ContainerError> {
        if self.flaw != Flaw::OverwritesInsteadOfMerging {
            return self.perfect.merge(items);
        }
        let items: Vec<Change> = PageItems::new(items.clone())
            .map(|item| item.map(|(key, value)| Change::Put { key, value }))
            .collect::<Result<_, _>>()?;
        self.perfect.apply(&items)?;
        Ok(Changes { items, ranges: vec![] })
    }

    fn digest(&self) -> &Digest {
        self.perfect.digest()
    }

    fn handoff_finished(&mut self, target: &NodeId) {
        self.perfect.handoff_finished(target);
    }

    fn handoff_cancelled(&mut self) {
        self.perfect.handoff_cancelled();
    }

    fn delete(&mut self) -> bool {
        self.perfect.delete()
    }

    fn describe_key(&self, key: &[u8]) -> String {
        self.perfect.describe_key(key)
    }
}
