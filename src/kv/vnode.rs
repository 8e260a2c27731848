//! The key/value vnode: commands over items.

use bytes::Bytes;
use tanodb_actors::protocol::hash::{RingHash, key_hash};
use tanodb_actors::protocol::id::{Partition, Stamp, VnodeType};
use tanodb_actors::runtime::vnode::{Answer, Class, CommandContext, Items, Merged, Vnode};

use super::command::{KvCommand, KvReply};
use super::item_key::{shown, split};
use super::record::{Content, Record, compare, head};

/// The name of the vnode type, on the wire and in logs.
pub const VNODE_TYPE: &str = "tanodb_vnode";

/// [`VNODE_TYPE`] as the runtime takes it.
#[must_use]
#[expect(clippy::expect_used, reason = "a test makes it")]
pub fn vnode_type() -> VnodeType {
    VnodeType::new(VNODE_TYPE).expect("the name is a legal one")
}

/// One partition of the key/value store. All its state is in its items.
#[derive(Debug)]
pub struct KvVnode;

impl Vnode for KvVnode {
    type Command = KvCommand;
    type Reply = KvReply;

    const CLASS: Class = Class::Merged;

    fn start(_partition: Partition) -> Self {
        Self
    }

    fn handle_command(
        &mut self,
        command: KvCommand,
        context: &CommandContext,
        items: &mut Items<'_>,
    ) -> Answer<KvReply, KvCommand> {
        let item_key = match command.item_key() {
            Ok(item_key) => item_key,
            Err(error) => return Answer::Reply(KvReply::Illegal { reason: error.to_string() }),
        };
        let stored = items.get(&item_key);
        let (content, reply) = match command {
            KvCommand::Put { value, .. } => (Content::Live(value), KvReply::Stored),
            KvCommand::Delete { .. } => {
                let existed = stored.clone().is_some_and(is_live);
                (Content::Tombstone, KvReply::Deleted { existed })
            }
            KvCommand::Get { .. } => return Answer::Reply(read(stored)),
        };
        match write(&item_key, stored.as_deref(), content, context, items) {
            Written::Stored => Answer::Reply(reply),
            Written::Overtaken(held) => Answer::Overtaken(held),
        }
    }

    fn ring_hash(item_key: &[u8]) -> RingHash {
        // Bytes that are no item key were not written by this vnode; they keep some place on the ring.
        let (bucket, key) = split(item_key).unwrap_or((&[], item_key));
        key_hash(bucket, key)
    }

    fn merge(_key: &[u8], mine: Option<&[u8]>, theirs: &[u8]) -> Merged {
        match mine {
            Some(mine) if compare(mine, theirs).is_ge() => Merged::Keep,
            Some(_) | None => Merged::Take(Bytes::copy_from_slice(theirs)),
        }
    }

    fn combine(replies: Vec<KvReply>) -> Option<KvReply> {
        KvReply::combine(replies)
    }

    fn is_read(reply: &KvReply) -> bool {
        reply.is_read()
    }

    fn describe_key(item_key: &[u8]) -> String {
        let (bucket, key) = split(item_key).unwrap_or((&[], item_key));
        shown(bucket, key)
    }
}

/// What became of a write.
enum Written {
    /// It is stored.
    Stored,
    /// It is not: another write is, under this stamp, and is newer.
    Overtaken(Stamp),
}

/// Stores a write unless a newer one is there. The same write again changes nothing, and under a higher stamp
/// takes its own place.
fn write(
    item_key: &[u8],
    stored: Option<&[u8]>,
    content: Content,
    context: &CommandContext,
    items: &mut Items<'_>,
) -> Written {
    let record = Record { stamp: context.stamp, dot: context.dot, content }.encode();
    match stored.filter(|stored| compare(&record, stored).is_le()) {
        None => {
            items.put(item_key, record);
            Written::Stored
        }
        Some(newer) => match head(newer) {
            Some((held, dot)) if dot != context.dot => Written::Overtaken(held),
            Some(_) | None => Written::Stored,
        },
    }
}

fn read(stored: Option<Bytes>) -> KvReply {
    match stored.map(Record::decode) {
        Some(Ok(record)) => KvReply::Found(record),
        Some(Err(error)) => KvReply::Unreadable { reason: error.to_string() },
        None => KvReply::Nothing,
    }
}

fn is_live(stored: Bytes) -> bool {
    match Record::decode(stored) {
        Ok(Record { content: Content::Live(_), .. }) => true,
        Ok(Record { content: Content::Tombstone, .. }) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests;
