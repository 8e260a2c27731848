//! The counters of the swarm: a vnode of class `Single`.

use serde::{Deserialize, Serialize};
use tanodb_actors::{
    Answer, Class, CommandContext, Items, Partition, RingHash, Vnode, VnodeType, key_hash,
};

/// Counters by number.
pub struct Counter;

/// Adds to a counter and answers with its total.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Add {
    /// Which.
    pub counter: u16,
    /// How much. 0 reads.
    pub amount: u64,
}

/// The name of the vnode type.
#[expect(clippy::expect_used, reason = "the name is a legal one")]
pub fn counters() -> VnodeType {
    VnodeType::new("counters").expect("letters only")
}

impl Vnode for Counter {
    type Command = Add;
    type Reply = u64;
    const CLASS: Class = Class::Single;

    fn start(_: Partition) -> Self {
        Self
    }

    fn handle_command(
        &mut self,
        add: Add,
        _: &CommandContext,
        items: &mut Items<'_>,
    ) -> Answer<u64, Add> {
        let key = add.counter.to_be_bytes();
        let stored = items.get(&key).and_then(|bytes| bytes.first_chunk().copied());
        let sum = stored.map_or(0, u64::from_be_bytes) + add.amount;
        if add.amount > 0 {
            items.put(&key, sum.to_be_bytes().to_vec());
        }
        Answer::Reply(sum)
    }

    fn ring_hash(key: &[u8]) -> RingHash {
        key_hash(b"counters", key)
    }
}
