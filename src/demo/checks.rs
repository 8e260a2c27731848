//! What the demo makes of the reports: what has moved, what is left over, what is lost. Pure functions.

use std::collections::{BTreeMap, BTreeSet};

use tanodb_actors::protocol::hash::{RingHash, RingSize, key_hash};
use tanodb_actors::protocol::id::{NodeName, VnodeType};
use tanodb_actors::wire::admin::{PartitionRow, PartitionTable};

use crate::output::OWNED;

/// Replicas of each key of the demo.
pub(super) const REPLICAS: u8 = 3;

/// A bucket and a key of the demo, with their value in the tutorial's look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) bucket: String,
    pub(super) key: String,
}

impl Entry {
    /// All of them: `bucket-1` to `bucket-N`, `key-1` to `key-N` in each.
    pub(super) fn all(buckets: u16, keys: u16) -> impl Iterator<Item = Self> {
        (1..=buckets).flat_map(move |bucket| {
            (1..=keys).map(move |key| Self {
                bucket: format!("bucket-{bucket}"),
                key: format!("key-{key}"),
            })
        })
    }

    /// The pair of bucket and key.
    pub(super) fn value(&self) -> String {
        format!("[{{bucket,<<\"{}\">>}},{{key,<<\"{}\">>}}]", self.bucket, self.key)
    }
}

/// A vnode as reports name it.
type Vnode = (VnodeType, RingHash);

fn owned(table: &PartitionTable) -> BTreeMap<Vnode, &PartitionRow> {
    let rows = table.rows.iter().filter(|row| row.container == OWNED);
    rows.map(|row| ((row.vnode_type.clone(), row.partition), row)).collect()
}

/// A partition that another node holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) partition: RingHash,
    pub(super) source: NodeName,
    pub(super) target: NodeName,
    pub(super) objects_before: u64,
    pub(super) objects: u64,
}

/// Who held what before and holds it now, where that differs.
pub(super) fn moved(before: &PartitionTable, after: &PartitionTable) -> Vec<Moved> {
    let after = owned(after);
    let one = |(vnode, was): (Vnode, &PartitionRow)| {
        let is = after.get(&vnode).filter(|is| is.node != was.node)?;
        Some(Moved {
            partition: was.partition,
            source: was.node.clone(),
            target: is.node.clone(),
            objects_before: was.objects,
            objects: is.objects,
        })
    };
    owned(before).into_iter().filter_map(one).collect()
}

/// What stands in the way of "every partition has one copy, at its holder", in words; empty: nothing.
pub(super) fn left_over(table: &PartitionTable) -> Vec<String> {
    let silent = table.silent.iter().map(|node| format!("'{node}' did not say what it holds"));
    let old = table.rows.iter().filter(|row| row.container != OWNED);
    let old = old.map(|row| format!("{} of {} at '{}'", row.container, row.partition, row.node));
    let mut holders: BTreeMap<Vnode, Vec<&NodeName>> = BTreeMap::new();
    for row in table.rows.iter().filter(|row| row.container == OWNED) {
        holders.entry((row.vnode_type.clone(), row.partition)).or_default().push(&row.node);
    }
    let twice = holders.into_iter().filter(|(_, nodes)| nodes.len() > 1);
    let twice = twice.map(|((_, partition), nodes)| format!("{partition} is held by {nodes:?}"));
    silent.chain(old).chain(twice).collect()
}

/// Partitions whose content changed although nobody wrote; `None` objects: nobody holds it any more.
pub(super) fn changed(before: &PartitionTable, after: &PartitionTable) -> Vec<String> {
    let after = owned(after);
    let one = |(vnode, was): (Vnode, &PartitionRow)| {
        let is = after.get(&vnode).map_or(0, |row| row.objects);
        (is != was.objects)
            .then(|| format!("{} had {} objects and has {is}", was.partition, was.objects))
    };
    owned(before).into_iter().filter_map(one).collect()
}

/// What went with nodes that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    /// Partitions that only they held.
    pub(super) partitions: usize,
    /// Objects in them, as last reported.
    pub(super) objects: u64,
    /// Keys none of whose replicas is left.
    pub(super) keys_lost: usize,
    /// Keys that have lost some of their replicas.
    pub(super) keys_thinned: usize,
}

/// Counts what only `dead` nodes held: by the last report of all nodes, and what the others say now.
pub(super) fn loss(
    last: &PartitionTable,
    now: &PartitionTable,
    dead: &[NodeName],
    entries: impl Iterator<Item = Entry>,
    size: RingSize,
) -> Loss {
    let alive = |row: &&PartitionRow| !dead.contains(&row.node);
    let last = owned(last);
    let now = owned(now);
    // What moved away before the end is held by somebody else now.
    let gone: BTreeMap<_, _> = last
        .iter()
        .filter(|(vnode, row)| !alive(row) && !now.get(*vnode).is_some_and(alive))
        .collect();
    let lost: BTreeSet<RingHash> = gone.values().map(|row| row.partition).collect();
    let (mut keys_lost, mut keys_thinned) = (0, 0);
    for entry in entries {
        let first = size.partition_of(key_hash(entry.bucket.as_bytes(), entry.key.as_bytes()));
        let replicas = size.walk(first).take(REPLICAS.into());
        match replicas.filter(|replica| lost.contains(&size.index_of(*replica))).count() {
            0 => {}
            all if all >= usize::from(REPLICAS) => keys_lost += 1,
            _ => keys_thinned += 1,
        }
    }
    let objects = gone.values().map(|row| row.objects).fold(0, u64::saturating_add);
    Loss { partitions: gone.len(), objects, keys_lost, keys_thinned }
}

#[cfg(test)]
mod tests {
    use tanodb_actors::protocol::id::Partition;

    use super::*;

    fn size() -> RingSize {
        RingSize::new(8).unwrap()
    }

    fn node(number: u8) -> NodeName {
        NodeName::new(&format!("tanodb{number}@127.0.0.1")).unwrap()
    }

    fn row(partition: u32, number: u8, container: &str, objects: u64) -> PartitionRow {
        PartitionRow {
            vnode_type: VnodeType::new("tanodb_vnode").unwrap(),
            partition: size().index_of(Partition(partition)),
            node: node(number),
            container: container.to_owned(),
            token: None,
            objects,
            bytes: 0,
            state: "Owner".to_owned(),
        }
    }

    fn table(rows: Vec<PartitionRow>) -> PartitionTable {
        PartitionTable { rows, silent: vec![] }
    }

    /// Node 1 holds the whole ring, five objects in each partition.
    fn before() -> PartitionTable {
        table((0..8).map(|partition| row(partition, 1, OWNED, 5)).collect())
    }

    #[test]
    fn what_has_another_holder_has_moved() {
        let mut after = before();
        after.rows[3] = row(3, 2, OWNED, 5);
        let moved = moved(&before(), &after);
        assert_eq!(moved.len(), 1);
        assert_eq!((&moved[0].source, &moved[0].target), (&node(1), &node(2)));
        assert_eq!((moved[0].objects_before, moved[0].objects), (5, 5));
        assert!(changed(&before(), &after).is_empty() && left_over(&after).is_empty());
    }

    #[test]
    fn an_old_copy_or_a_second_holder_is_left_over() {
        let mut after = before();
        after.rows.push(row(3, 2, "retained", 5));
        assert_eq!(left_over(&after).len(), 1);
        after.rows.push(row(4, 2, OWNED, 5));
        assert_eq!(left_over(&after).len(), 2);
        after.silent.push(node(3));
        assert_eq!(left_over(&after).len(), 3);
    }

    #[test]
    fn a_partition_that_lost_an_object_or_its_holder_has_changed() {
        let mut after = before();
        after.rows[3].objects = 4;
        after.rows.remove(5);
        assert_eq!(changed(&before(), &after).len(), 2);
    }

    #[test]
    fn a_dead_node_takes_with_it_what_nobody_else_holds() {
        let last = before();
        let entries = || Entry::all(10, 10);
        // Everything but partition 0 had moved to node 2 when node 1 died.
        let mut now = table((1..8).map(|partition| row(partition, 2, OWNED, 5)).collect());
        now.silent.push(node(1));
        let loss_of_one = loss(&last, &now, &[node(1)], entries(), size());
        assert_eq!((loss_of_one.partitions, loss_of_one.objects), (1, 5));
        assert_eq!(loss_of_one.keys_lost, 0, "two replicas are left of each key");
        assert!(loss_of_one.keys_thinned > 0);

        let nobody_says_anything = table(vec![]);
        let loss_of_all = loss(&last, &nobody_says_anything, &[node(1)], entries(), size());
        assert_eq!((loss_of_all.partitions, loss_of_all.keys_lost), (8, 100));
    }

    #[test]
    fn a_value_is_the_pair_of_bucket_and_key() {
        let entries: Vec<_> = Entry::all(10, 10).collect();
        assert_eq!(entries.len(), 100);
        assert_eq!(entries[0].value(), "[{bucket,<<\"bucket-1\">>},{key,<<\"key-1\">>}]");
        assert_eq!(entries[99].value(), "[{bucket,<<\"bucket-10\">>},{key,<<\"key-10\">>}]");
    }
}
