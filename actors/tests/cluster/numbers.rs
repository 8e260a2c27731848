//! A vnode that maps numbers to numbers, and does whatever else a test asks of it.

use serde::{Deserialize, Serialize};
use tanodb_actors::{
    Answer, Class, CommandContext, CorruptItem, Dot, HandoffChoice, Items, NodeId, Partition,
    RingHash, RingSize, Stamp, Vnode, VnodeType, key_hash,
};

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Action {
    Put(u64, u64),
    Add(u64, u64),
    /// Puts unless a write with a higher stamp is there.
    Write(u64, u64),
    /// Puts without a reply.
    PutQuietly(u64, u64),
    /// Puts after work off the arbiter.
    PutLater(u64, u64),
    /// Puts many numbers at once, each under itself, with so many bytes behind it that it is this long.
    Fill {
        keys: std::ops::Range<u64>,
        bytes: usize,
    },
    Get(u64),
    /// Removes; whether it was there.
    Remove(u64),
    /// From here on this item cannot be read for a handoff, until it is put anew.
    Spoil(u64),
    /// How many items were folded between two commands, at most, and commands since the fold began.
    Folded,
    /// Puts, and stops the vnode.
    PutAndStop(u64, u64),
    /// Puts, and panics.
    PutAndPanic(u64, u64),
    /// Refuses so many handoffs.
    Refuse(u32),
}

/// What is to be done with it during a handoff.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum During {
    Handle,
    Forward,
    Drop,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NumberCommand {
    pub action: Action,
    pub during: During,
}

/// One partition of numbers. `SINGLE`: of class `Single`.
#[derive(Default)]
pub struct Numbers<const SINGLE: bool = false> {
    refuses: u32,
    folded: u64,
    folded_at_once: u64,
    commands: u64,
    spoiled: Option<u64>,
}

pub fn numbers() -> VnodeType {
    VnodeType::new("numbers").unwrap()
}

pub fn hash_of(key: u64) -> RingHash {
    key_hash(b"numbers", &key.to_be_bytes())
}

/// The first keys that lie in a partition.
pub fn keys_in(size: RingSize, partition: Partition) -> impl Iterator<Item = u64> {
    (0..).filter(move |key| size.partition_of(hash_of(*key)) == partition)
}

fn number(stored: &[u8]) -> u64 {
    u64::from_be_bytes(*stored.first_chunk::<8>().unwrap())
}

/// Puts each of the numbers, and says how many.
fn fill(items: &mut Items<'_>, keys: std::ops::Range<u64>, bytes: usize) -> u64 {
    for key in keys.clone() {
        let mut value = key.to_be_bytes().to_vec();
        value.resize(bytes, 0);
        items.put(&key.to_be_bytes(), value);
    }
    keys.end - keys.start
}

/// Removes a number, and says whether it was there.
fn remove(items: &mut Items<'_>, key: u64) -> bool {
    let was_there = items.get(&key.to_be_bytes()).is_some();
    items.remove(&key.to_be_bytes());
    was_there
}

/// By whom a number was stored that was written with a stamp.
fn written(stored: &[u8]) -> Option<(Stamp, Dot)> {
    rmp_serde::from_slice(stored.get(8..)?).ok()
}

impl<const SINGLE: bool> Vnode for Numbers<SINGLE> {
    type Command = NumberCommand;
    type Reply = Option<u64>;
    const CLASS: Class = if SINGLE { Class::Single } else { Class::Merged };

    fn start(_: Partition) -> Self {
        Self::default()
    }

    fn handle_command(
        &mut self,
        command: NumberCommand,
        context: &CommandContext,
        items: &mut Items<'_>,
    ) -> Answer<Option<u64>, NumberCommand> {
        let mut put = |key: u64, value: u64| {
            items.put(&key.to_be_bytes(), value.to_be_bytes().to_vec());
            Answer::Reply(Some(value))
        };
        self.commands += 1;
        self.folded = 0;
        match command.action {
            Action::Put(key, value) => {
                self.spoiled.take_if(|spoiled| *spoiled == key);
                put(key, value)
            }
            Action::Add(key, amount) => {
                let stored = items.get(&key.to_be_bytes());
                let sum = stored.map_or(0, |stored| number(&stored)) + amount;
                items.put(&key.to_be_bytes(), sum.to_be_bytes().to_vec());
                Answer::Reply(Some(sum))
            }
            Action::Write(key, value) => {
                let held = items.get(&key.to_be_bytes()).and_then(|stored| written(&stored));
                match held {
                    Some((stamp, dot)) if (stamp, dot) > (context.stamp, context.dot) => {
                        assert_ne!(dot, context.dot, "a lower stamp of the same write");
                        return Answer::Overtaken(stamp);
                    }
                    Some(_) | None => {}
                }
                let stored = rmp_serde::to_vec(&(context.stamp, context.dot)).unwrap();
                items.put(&key.to_be_bytes(), [value.to_be_bytes().to_vec(), stored].concat());
                Answer::Reply(Some(value))
            }
            Action::PutQuietly(key, value) => {
                put(key, value);
                Answer::NoReply
            }
            Action::PutLater(key, value) => Answer::Async(Box::new(move || NumberCommand {
                action: Action::Put(key, value),
                ..command
            })),
            Action::Fill { keys, bytes } => Answer::Reply(Some(fill(items, keys, bytes))),
            Action::Get(key) => {
                Answer::Reply(items.get(&key.to_be_bytes()).map(|stored| number(&stored)))
            }
            Action::Remove(key) => Answer::Reply(Some(remove(items, key).into())),
            Action::Spoil(key) => {
                self.spoiled = Some(key);
                Answer::Reply(Some(key))
            }
            Action::Folded => Answer::Reply(Some(self.folded_at_once)),
            Action::PutAndStop(key, value) => {
                put(key, value);
                Answer::Stop(format!("{key} was too much"))
            }
            Action::PutAndPanic(key, value) => {
                put(key, value);
                panic!("this panic belongs to the test");
            }
            Action::Refuse(times) => {
                self.refuses = times;
                Answer::Reply(None)
            }
        }
    }

    fn handle_handoff_command(&mut self, command: &NumberCommand) -> HandoffChoice {
        match command.during {
            During::Handle => HandoffChoice::Handle,
            During::Forward => HandoffChoice::Forward,
            During::Drop => HandoffChoice::Drop,
        }
    }

    fn handoff_starting(&mut self, _: &NodeId) -> bool {
        let refuses = self.refuses > 0;
        self.refuses = self.refuses.saturating_sub(1);
        !refuses
    }

    fn encode_handoff_item(
        &mut self,
        key: &[u8],
        _: &[u8],
    ) -> Result<Option<bytes::Bytes>, CorruptItem> {
        if self.spoiled.is_some_and(|spoiled| key == spoiled.to_be_bytes()) {
            let key = number(key).to_string();
            return Err(CorruptItem { key, detail: "the test spoiled it".to_owned() });
        }
        self.folded += 1;
        self.folded_at_once = self.folded_at_once.max(self.folded);
        Ok(None)
    }

    fn combine(replies: Vec<Option<u64>>) -> Option<Option<u64>> {
        replies.into_iter().max()
    }

    fn is_read(reply: &Option<u64>) -> bool {
        reply.is_none()
    }

    fn ring_hash(key: &[u8]) -> RingHash {
        key_hash(b"numbers", key)
    }
}
