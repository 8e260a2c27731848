//! The vnode as the runtime runs it: encoded commands in, encoded replies out, over an engine.

use proptest::prelude::*;
use tanodb_actors::protocol::digest::ItemRange;
use tanodb_actors::protocol::id::{Dot, OpId, Stamp};
use tanodb_actors::runtime::items::{MemoryEngine, PageLimits};
use tanodb_actors::runtime::vnode::over_items::OverItems;
use tanodb_actors::runtime::vnode::raw::{Change, RawAnswer, RawVnode};

use super::*;
use crate::kv::{NAME_BYTES_MAX, VALUE_BYTES_MAX, item_key};

/// One replica of one partition.
struct Replica(OverItems<KvVnode>);

/// The write number `time` of coordinator `minter`.
fn at(time: u64, minter: u64) -> CommandContext {
    CommandContext {
        op: OpId { minter, counter: time },
        stamp: Stamp { millis: time, logical: 0 },
        dot: Dot { minter, counter: time },
        partition: Partition(0),
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> KvCommand {
    KvCommand::Put { bucket: bytes("bucket-1"), key: bytes(key), value: bytes(value) }
}

fn delete(key: &str) -> KvCommand {
    KvCommand::Delete { bucket: bytes("bucket-1"), key: bytes(key) }
}

fn get(key: &str) -> KvCommand {
    KvCommand::Get { bucket: bytes("bucket-1"), key: bytes(key) }
}

impl Replica {
    fn new() -> Self {
        Self(OverItems::new(Partition(0), Box::new(MemoryEngine::new())))
    }

    fn run(&mut self, command: &KvCommand, context: &CommandContext) -> (KvReply, usize) {
        self.try_run(command, context).unwrap()
    }

    /// The reply and how many items changed, or the stamp of what is newer than the command.
    fn try_run(
        &mut self,
        command: &KvCommand,
        context: &CommandContext,
    ) -> Result<(KvReply, usize), Stamp> {
        let encoded = Bytes::from(rmp_serde::to_vec_named(command).unwrap());
        match self.0.handle_command(&encoded, context) {
            RawAnswer::Reply(reply, changes) => {
                Ok((rmp_serde::from_slice(&reply).unwrap(), changes.items.len()))
            }
            RawAnswer::Overtaken(held) => Err(held),
            RawAnswer::NoReply(_)
            | RawAnswer::Async(_)
            | RawAnswer::Stop(_)
            | RawAnswer::Refused(_) => panic!("{command:?} was not replied to"),
        }
    }

    fn value(&mut self, key: &str) -> Option<String> {
        match self.run(&get(key), &at(1_000_000, 9)).0 {
            KvReply::Found(Record { content: Content::Live(value), .. }) => {
                Some(String::from_utf8(value.to_vec()).unwrap())
            }
            KvReply::Found(Record { content: Content::Tombstone, .. }) | KvReply::Nothing => None,
            other @ (KvReply::Stored
            | KvReply::Deleted { .. }
            | KvReply::Illegal { .. }
            | KvReply::Unreadable { .. }) => panic!("{other:?}"),
        }
    }

    fn items(&mut self) -> Bytes {
        let limits = PageLimits { items: usize::MAX, bytes: usize::MAX };
        let page = self.0.page(&ItemRange::all(), limits).unwrap();
        assert_eq!(page.until, None, "one page holds all");
        page.items
    }

    /// Takes over what another replica holds, as hints and repair do.
    fn merge(&mut self, other: &mut Self) -> usize {
        self.0.merge(&other.items()).unwrap().items.len()
    }
}

#[test]
fn a_value_that_was_put_is_read_and_one_that_was_deleted_is_not() {
    let mut replica = Replica::new();
    assert_eq!(replica.run(&get("key-1"), &at(1, 1)), (KvReply::Nothing, 0));
    assert_eq!(replica.run(&put("key-1", "hello"), &at(2, 1)), (KvReply::Stored, 1));
    assert_eq!(replica.value("key-1").as_deref(), Some("hello"));
    let deleted = KvReply::Deleted { existed: true };
    assert_eq!(replica.run(&delete("key-1"), &at(3, 1)), (deleted, 1));
    assert_eq!(replica.value("key-1"), None);
}

#[test]
fn a_delete_of_nothing_is_answered_and_keeps_a_tombstone() {
    let mut replica = Replica::new();
    let deleted = KvReply::Deleted { existed: false };
    assert_eq!(replica.run(&delete("key-1"), &at(2, 1)), (deleted.clone(), 1));
    assert_eq!(replica.run(&delete("key-1"), &at(3, 1)), (deleted, 1));
    let held = Stamp { millis: 3, logical: 0 };
    assert_eq!(replica.try_run(&put("key-1", "late"), &at(1, 1)), Err(held));
    assert_eq!(replica.value("key-1"), None, "an older put does not bring it back");
}

#[test]
fn the_higher_stamp_wins_and_then_the_higher_dot() {
    let mut replica = Replica::new();
    replica.run(&put("key-1", "second"), &at(2, 1));
    let held = Stamp { millis: 2, logical: 0 };
    assert_eq!(replica.try_run(&put("key-1", "first"), &at(1, 7)), Err(held));
    assert_eq!(replica.value("key-1").as_deref(), Some("second"));
    replica.run(&put("key-1", "other coordinator"), &at(2, 2));
    assert_eq!(replica.value("key-1").as_deref(), Some("other coordinator"));
}

#[test]
fn the_same_write_again_changes_nothing() {
    let mut replica = Replica::new();
    assert_eq!(replica.run(&put("key-1", "hello"), &at(2, 1)).1, 1);
    let before = replica.0.digest().clone();
    assert_eq!(replica.run(&put("key-1", "hello"), &at(2, 1)), (KvReply::Stored, 0));
    assert_eq!(*replica.0.digest(), before);
}

#[test]
fn a_write_that_was_stamped_anew_is_the_same_write() {
    let mut replica = Replica::new();
    let (first, mut anew) = (at(2, 1), at(2, 1));
    anew.stamp.millis = 5;
    assert_eq!(replica.run(&put("key-1", "hello"), &first), (KvReply::Stored, 1));
    assert_eq!(replica.run(&put("key-1", "hello"), &anew), (KvReply::Stored, 1));
    let late = replica.run(&put("key-1", "hello"), &first);
    assert_eq!(late, (KvReply::Stored, 0), "it is not overtaken by itself");
    let held = Stamp { millis: 5, logical: 0 };
    assert_eq!(replica.try_run(&delete("key-1"), &at(4, 1)), Err(held));
    assert_eq!(replica.value("key-1").as_deref(), Some("hello"));
}

#[test]
fn a_command_over_a_limit_is_answered_and_stores_nothing() {
    let mut replica = Replica::new();
    let over = [
        (put("", "value"), "the key is empty"),
        (put(&"k".repeat(NAME_BYTES_MAX), "value"), "at most 65532 are allowed"),
        (put("key", &"v".repeat(VALUE_BYTES_MAX + 1)), "at most 8388608 are allowed"),
        (delete(""), "the key is empty"),
        (get(""), "the key is empty"),
    ];
    for (command, expected) in over {
        match replica.run(&command, &at(1, 1)) {
            (KvReply::Illegal { reason }, 0) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    let longest = put("key", &"v".repeat(VALUE_BYTES_MAX));
    assert_eq!(replica.run(&longest, &at(1, 1)), (KvReply::Stored, 1));
}

#[test]
fn a_copy_that_cannot_be_read_is_not_taken_for_nothing() {
    let mut replica = Replica::new();
    let key = Bytes::from(item_key(b"bucket-1", b"key-1").unwrap());
    replica.0.apply(&[Change::Put { key, value: Bytes::from_static(&[7; 40]) }]).unwrap();
    let (reply, _) = replica.run(&get("key-1"), &at(1, 1));
    let reason = "a record of version 7, known is 1".to_owned();
    assert_eq!(reply, KvReply::Unreadable { reason });
    assert_eq!(KvReply::combine(vec![KvReply::Nothing, reply.clone()]), Some(reply));
}

#[test]
fn a_quorum_answers_with_the_newest_record() {
    let record = |millis, content| {
        KvReply::Found(Record {
            stamp: Stamp { millis, logical: 0 },
            dot: Dot { minter: 1, counter: 1 },
            content,
        })
    };
    let (old, new) = (record(1, Content::Live(bytes("old"))), record(2, Content::Tombstone));
    for replies in [
        vec![old.clone(), new.clone(), KvReply::Nothing],
        vec![KvReply::Nothing, new.clone(), old.clone()],
    ] {
        assert_eq!(KvVnode::combine(replies), Some(new.clone()));
    }
    let existed = |existed| KvReply::Deleted { existed };
    assert_eq!(KvVnode::combine(vec![existed(false), existed(true)]), Some(existed(true)));
}

#[test]
fn an_item_key_is_described_and_placed_by_bucket_and_key() {
    let key = item_key(b"bucket-7", b"key-8").unwrap();
    assert_eq!(KvVnode::describe_key(&key), r#"{<<"bucket-7">>,<<"key-8">>}"#);
    assert_eq!(KvVnode::ring_hash(&key), key_hash(b"bucket-7", b"key-8"));
    let command = KvCommand::Get { bucket: bytes("bucket-7"), key: bytes("key-8") };
    assert_eq!(command.ring_hash(), KvVnode::ring_hash(&key));
}

#[test]
fn the_vnode_type_has_its_name() {
    assert_eq!(vnode_type().as_str(), "tanodb_vnode");
}

/// A put or delete of one of three keys, with a dot of its own for each place in the list.
fn any_writes() -> impl Strategy<Value = Vec<(KvCommand, CommandContext)>> {
    let write = (0u8..3, any::<bool>(), 0u64..4);
    prop::collection::vec(write, 1..12).prop_map(|writes| {
        let write = |(place, (key, is_put, millis)): (usize, (u8, bool, u64))| {
            let key = format!("key-{key}");
            let command = if is_put { put(&key, &format!("value-{place}")) } else { delete(&key) };
            let mut context = at(place as u64, 1);
            context.stamp.millis = millis;
            (command, context)
        };
        writes.into_iter().enumerate().map(write).collect()
    })
}

proptest! {
    #[test]
    fn replicas_agree_whatever_the_order_in_which_writes_arrive(
        writes in any_writes(),
        order in Just((0..12).collect::<Vec<usize>>()).prop_shuffle(),
        repeated in any::<prop::sample::Index>(),
    ) {
        let (mut one, mut other) = (Replica::new(), Replica::new());
        for (command, context) in &writes {
            let _ = one.try_run(command, context);
        }
        let shuffled = order.into_iter().filter_map(|place| writes.get(place));
        let again = &writes[repeated.index(writes.len())];
        for (command, context) in shuffled.chain([again]) {
            let _ = other.try_run(command, context);
        }
        prop_assert_eq!(one.items(), other.items());
        prop_assert_eq!(one.0.digest(), other.0.digest());
    }

    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        writes in any_writes(),
        homes in prop::collection::vec(0usize..3, 12),
    ) {
        let fill = |place: usize| {
            let mut replica = Replica::new();
            for ((command, context), &home) in writes.iter().zip(&homes) {
                if home == place {
                    let _ = replica.try_run(command, context);
                }
            }
            replica
        };
        let (mut left, mut right) = (fill(0), fill(2));
        left.merge(&mut fill(1));
        left.merge(&mut fill(2));
        right.merge(&mut fill(1));
        right.merge(&mut fill(0));
        prop_assert_eq!(left.items(), right.items(), "commutative");
        let mut tail = fill(1);
        tail.merge(&mut fill(2));
        let mut grouped = fill(0);
        grouped.merge(&mut tail);
        prop_assert_eq!(left.items(), grouped.items(), "associative");
        prop_assert_eq!(left.merge(&mut grouped), 0, "idempotent");
        let mut all = Replica::new();
        for (command, context) in &writes {
            let _ = all.try_run(command, context);
        }
        prop_assert_eq!(left.items(), all.items(), "nothing was lost");
    }
}
