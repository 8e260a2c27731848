//! What has moved, by what every node says it holds. Pure functions.

use std::collections::{BTreeMap, BTreeSet};

use tanodb::output::OWNED;
use tanodb_actors::protocol::hash::{RingHash, RingSize, key_hash};
use tanodb_actors::protocol::id::NodeName;
use tanodb_actors::wire::admin::{PartitionRow, PartitionTable};

use super::load::BUCKET;
use super::shape::Shape;

fn owned(table: &PartitionTable) -> impl Iterator<Item = &PartitionRow> {
    table.rows.iter().filter(|row| row.container == OWNED)
}

/// Partitions that somebody else than `first` holds.
pub fn partitions_away_from(first: &NodeName, table: &PartitionTable) -> BTreeSet<RingHash> {
    owned(table).filter(|row| row.node != *first).map(|row| row.partition).collect()
}

/// How many of the shape's entries each partition has when all of them are there.
pub fn expected(shape: Shape, size: RingSize) -> BTreeMap<RingHash, u64> {
    let mut counts = BTreeMap::new();
    for number in 0..shape.objects {
        *counts.entry(home(number, size)).or_insert(0) += 1;
    }
    counts
}

/// Partitions that do not hold what they should, in words; empty: none.
pub fn differences(expected: &BTreeMap<RingHash, u64>, table: &PartitionTable) -> Vec<String> {
    let mut held: BTreeMap<RingHash, u64> = BTreeMap::new();
    for row in owned(table) {
        *held.entry(row.partition).or_insert(0) += row.objects;
    }
    let partitions: BTreeSet<&RingHash> = expected.keys().chain(held.keys()).collect();
    let count = |counts: &BTreeMap<RingHash, u64>, at| counts.get(at).copied().unwrap_or(0);
    let wrong = partitions.into_iter().filter(|at| count(expected, at) != count(&held, at));
    wrong
        .map(|at| format!("{at} has {} of {} objects", count(&held, at), count(expected, at)))
        .collect()
}

/// The numbers of the shape's entries that lie in these partitions.
pub fn entries_in<'a>(
    partitions: &'a BTreeSet<RingHash>,
    shape: Shape,
    size: RingSize,
) -> impl Iterator<Item = u64> + 'a {
    (0..shape.objects).filter(move |number| partitions.contains(&home(*number, size)))
}

/// The only partition of an entry with one replica.
fn home(number: u64, size: RingSize) -> RingHash {
    let hash = key_hash(BUCKET.as_bytes(), Shape::key(number).as_bytes());
    size.index_of(size.partition_of(hash))
}

#[cfg(test)]
mod tests {
    use tanodb_actors::protocol::id::VnodeType;

    use super::*;

    fn row(partition: RingHash, node: &str, container: &str, objects: u64) -> PartitionRow {
        PartitionRow {
            vnode_type: VnodeType::new("kv").unwrap(),
            partition,
            node: NodeName::new(node).unwrap(),
            container: container.to_owned(),
            token: None,
            objects,
            bytes: 0,
            state: String::new(),
        }
    }

    #[test]
    fn what_moved_is_found_and_compared() {
        let shape = Shape { name: "1 B", objects: 1_000, bytes_each: 1 };
        let size = RingSize::new(8).unwrap();
        let expected = expected(shape, size);
        assert_eq!(expected.values().sum::<u64>(), shape.objects);
        assert_eq!(expected.len(), 8, "a thousand keys lie everywhere");

        let holder = |place: usize| if place < 3 { "b@h" } else { "a@h" };
        let rows = expected.iter().enumerate();
        let rows = rows.map(|(place, (at, count))| row(*at, holder(place), OWNED, *count));
        let mut table = PartitionTable { rows: rows.collect(), silent: Vec::new() };
        let old = expected.keys().next().unwrap();
        table.rows.push(row(*old, "a@h", "retained", 7));
        assert_eq!(differences(&expected, &table), Vec::<String>::new());

        let away = partitions_away_from(&NodeName::new("a@h").unwrap(), &table);
        assert_eq!(away, expected.keys().take(3).copied().collect());
        let moved: u64 = expected.values().take(3).sum();
        assert_eq!(entries_in(&away, shape, size).count() as u64, moved);

        table.rows[4].objects -= 1;
        assert_eq!(differences(&expected, &table).len(), 1);
        table.rows.remove(0);
        assert_eq!(differences(&expected, &table).len(), 2);
    }
}
