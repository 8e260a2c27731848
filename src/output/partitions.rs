//! `partitions`: what every node holds of every partition.

use tanodb_actors::wire::admin::{PartitionRow, PartitionTable};

use super::numbers::{counted, size};
use super::{Align, Columns, plain, quoted};

/// One row for each container, and a sum over those that answer for their vnode.
#[must_use]
pub fn partitions(table: &PartitionTable) -> String {
    let mut columns = Columns::new(&[
        ("Type", Align::Left),
        ("Partition", Align::Right),
        ("Holder", Align::Left),
        ("Container", Align::Left),
        ("Token", Align::Right),
        ("Objects", Align::Right),
        ("Bytes", Align::Right),
        ("State", Align::Left),
    ]);
    for row in &table.rows {
        columns.row([
            row.vnode_type.to_string(),
            row.partition.to_string(),
            quoted(&row.node),
            plain(&row.container),
            row.token.map_or_else(|| "-".to_owned(), |token| token.to_string()),
            row.objects.to_string(),
            size(row.bytes),
            plain(&row.state),
        ]);
    }
    let owned = || table.rows.iter().filter(|row| row.container == OWNED);
    let sum = |of: fn(&PartitionRow) -> u64| owned().map(of).fold(0, u64::saturating_add);
    let partitions = counted(u64::try_from(owned().count()).unwrap_or(u64::MAX), "partition");
    let objects = counted(sum(|row| row.objects), "object");
    let bytes = size(sum(|row| row.bytes));
    let mut text = columns.render();
    text += &format!("\nOwned: {partitions}, {objects}, {bytes}\n");
    for node in &table.silent {
        text += &format!("Node {} could not be contacted\n", quoted(node));
    }
    text
}

/// The container that answers for its vnode.
pub const OWNED: &str = "owned";
