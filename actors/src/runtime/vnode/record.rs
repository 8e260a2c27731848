//! What a vnode keeps on disk of itself: its state, and the receipt of its last move.

use serde::{Deserialize, Serialize};

use crate::protocol::digest::Summary;
use crate::protocol::handoff::Handoff;
use crate::protocol::id::{Incarnation, NodeId, Token, TransferId, VnodeRef};
use crate::runtime::observe::Observed;

/// Proof that a target held everything before the source deleted anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// The transfer.
    pub transfer: TransferId,
    /// Who gave.
    pub source: NodeId,
    /// Who took, and made it durable.
    pub target: NodeId,
    /// The source's token.
    pub from: Token,
    /// The target's token.
    pub to: Token,
    /// What was held on both sides at the fence.
    pub summary: Summary,
    /// When the source heard that it is durable, milliseconds since 1970.
    pub at_millis: u64,
}

/// A vnode's control record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VnodeRecord {
    /// Which vnode.
    pub vnode: VnodeRef,
    /// The life of the data it speaks of.
    pub incarnation: Incarnation,
    /// Where it stands.
    pub handoff: Handoff,
    /// Stored with `Retired`, before anything is deleted.
    pub receipt: Option<Receipt>,
}

impl VnodeRecord {
    /// What is told of it once it is durable.
    pub(super) fn kept(self) -> Observed {
        let receipt = self.receipt.map(|receipt| receipt.transfer);
        Observed::RecordKept { vnode: self.vnode, state: self.handoff, receipt }
    }
}

/// The beginning of the names of these records.
pub const RECORD_PREFIX: &str = "vnode-";

impl VnodeRecord {
    /// The record's name. Letters that a record's name cannot have are written as `-` and two hex digits.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = RECORD_PREFIX.to_owned();
        for byte in self.vnode.vnode_type.as_str().bytes() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'_' => name.push(char::from(byte)),
                other => name.push_str(&format!("-{other:02x}")),
            }
        }
        format!("{name}@{}", self.vnode.partition.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::id::{Partition, VnodeType};

    #[test]
    fn records_of_different_vnodes_have_different_names() {
        let name = |text: &str, partition| {
            let vnode_type = VnodeType::new(text).unwrap();
            let vnode = VnodeRef { vnode_type, partition: Partition(partition) };
            let incarnation = Incarnation { boot: 1, nonce: 2 };
            VnodeRecord { vnode, incarnation, handoff: Handoff::absent(), receipt: None }.name()
        };
        assert_eq!(name("tanodb_vnode", 3), "vnode-tanodb_vnode@3");
        assert_ne!(name("A", 3), name("a", 3));
        assert_ne!(name("a@1", 3), name("a", 13));
    }
}
