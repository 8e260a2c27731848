//! A ring as it is written to the wire and to disk, and the way back with every number checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Member, Ring, RingDigest, RingError, check_owner_count};
use crate::protocol::hash::RingSize;
use crate::protocol::id::{ClusterId, Epoch, NodeName};

/// Members up to which an owner's place fits in one byte.
const NARROW_MEMBERS_MAX: usize = 256;

#[derive(Serialize, Deserialize)]
pub(super) struct RingForm {
    cluster: ClusterId,
    epoch: Epoch,
    parent: RingDigest,
    size: RingSize,
    members: BTreeMap<NodeName, Member>,
    /// Each owner's place among the members: one byte each while that suffices, else two,
    /// big-endian.
    #[serde(with = "serde_bytes")]
    owners: Vec<u8>,
}

impl From<Ring> for RingForm {
    fn from(ring: Ring) -> Self {
        let narrow = ring.members.len() <= NARROW_MEMBERS_MAX;
        let bytes = ring.owners.iter().map(|place| place.to_be_bytes());
        let owners = bytes.flat_map(|pair| pair.into_iter().skip(usize::from(narrow))).collect();
        let Ring { cluster, epoch, parent, size, members, names: _, owners: _ } = ring;
        Self { cluster, epoch, parent, size, members, owners }
    }
}

impl TryFrom<RingForm> for Ring {
    type Error = RingError;

    fn try_from(form: RingForm) -> Result<Self, RingError> {
        let RingForm { cluster, epoch, parent, size, members, owners } = form;
        let owners: Vec<u16> = if members.len() <= NARROW_MEMBERS_MAX {
            owners.into_iter().map(u16::from).collect()
        } else {
            let (pairs, rest) = owners.as_chunks::<2>();
            // Half an owner is counted as one, so that it is refused.
            check_owner_count(size, pairs.len() + rest.len())?;
            pairs.iter().map(|&pair| u16::from_be_bytes(pair)).collect()
        };
        let names = members.keys().cloned().collect();
        Self { cluster, epoch, parent, size, members, names, owners }.checked()
    }
}
