//! Who holds which vnode: the highest token of each that was heard of.
//!
//! A table of the largest ring has tens of thousands of rows, so it is compared by buckets, and written with
//! each name once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::part::hash_of;
use crate::protocol::id::{Epoch, NodeId, Partition, Token, VnodeRef, VnodeType};

/// Buckets by which two tables are compared. A single differing token then costs a 64th of the table.
pub const TOKEN_BUCKETS: usize = 64;

/// Most types of vnodes in one cluster.
pub const VNODE_TYPES_MAX: usize = 64;

/// A token and who holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Held {
    /// The token.
    pub token: Token,
    /// Who holds it.
    pub holder: NodeId,
}

/// What a token that was heard of is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenNews {
    /// Higher than the known one, which it replaced.
    Higher,
    /// The known one with another holder. That must not be; so that all members keep the same, the later name wins.
    Contested {
        /// Whether it replaced the known one.
        replaced: bool,
    },
    /// Known, or older.
    Known,
}

/// The highest token of each vnode that was heard of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "TokensForm", into = "TokensForm")]
pub struct Tokens {
    held: BTreeMap<VnodeRef, Held>,
    /// For each bucket the sum of its rows' hashes, kept at every change.
    sums: Vec<u64>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { held: BTreeMap::new(), sums: vec![0; TOKEN_BUCKETS] }
    }
}

impl Tokens {
    /// How many vnodes are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether no vnode is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The token of a vnode and who holds it.
    #[must_use]
    pub fn get(&self, vnode: &VnodeRef) -> Option<&Held> {
        self.held.get(vnode)
    }

    pub(super) fn get_entry(&self, vnode: &VnodeRef) -> Option<(VnodeRef, Held)> {
        self.held.get(vnode).map(|held| (vnode.clone(), held.clone()))
    }

    /// All of them, in the order of types and partitions.
    pub fn iter(&self) -> impl Iterator<Item = (&VnodeRef, &Held)> {
        self.held.iter()
    }

    /// Keeps the higher token.
    pub(super) fn raise(&mut self, vnode: &VnodeRef, held: &Held) -> TokenNews {
        let news = match self.held.get(vnode) {
            Some(known) if known.token > held.token || known == held => return TokenNews::Known,
            Some(known) if known.token == held.token && known > held => {
                return TokenNews::Contested { replaced: false };
            }
            Some(known) if known.token == held.token => TokenNews::Contested { replaced: true },
            Some(_) | None => TokenNews::Higher,
        };
        let added = hash_of(&(vnode, held));
        let replaced = self.held.insert(vnode.clone(), held.clone());
        let removed = replaced.map_or(0, |held| hash_of(&(vnode, held)));
        if let Some(sum) = self.sums.get_mut(bucket(vnode.partition)) {
            *sum = sum.wrapping_add(added).wrapping_sub(removed);
        }
        news
    }

    /// One number for each bucket; equal for equal content.
    #[must_use]
    pub fn bucket_sums(&self) -> &[u64] {
        &self.sums
    }

    /// The rows in buckets whose sum is another one there.
    pub(super) fn differing(&self, their_sums: &[u64]) -> Self {
        let differs: Vec<bool> =
            self.sums.iter().enumerate().map(|(at, sum)| their_sums.get(at) != Some(sum)).collect();
        if !differs.contains(&true) {
            return Self::default();
        }
        let wanted = |vnode: &VnodeRef| differs.get(bucket(vnode.partition)) == Some(&true);
        let rows = self.held.iter().filter(|(vnode, _)| wanted(vnode));
        rows.map(|(vnode, held)| (vnode.clone(), held.clone())).collect()
    }
}

impl FromIterator<(VnodeRef, Held)> for Tokens {
    fn from_iter<I: IntoIterator<Item = (VnodeRef, Held)>>(rows: I) -> Self {
        let mut tokens = Self::default();
        for (vnode, held) in rows {
            tokens.raise(&vnode, &held);
        }
        tokens
    }
}

fn bucket(partition: Partition) -> usize {
    partition.0 as usize % TOKEN_BUCKETS
}

/// A table as it is written: names stand once, rows refer to them by number.
#[derive(Serialize, Deserialize)]
struct TokensForm {
    types: Vec<VnodeType>,
    holders: Vec<NodeId>,
    /// Type, partition, epoch, hop, holder.
    rows: Vec<(u16, u32, u64, u32, u32)>,
}

/// A row of a table on the wire refers to a type or holder that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token of partition {partition} refers to type {vnode_type} of {types} or holder {holder} of {holders}"
)]
struct TokensFormError {
    partition: u32,
    vnode_type: u16,
    types: usize,
    holder: u32,
    holders: usize,
}

impl From<Tokens> for TokensForm {
    fn from(tokens: Tokens) -> Self {
        let mut types: BTreeMap<VnodeType, u16> = BTreeMap::new();
        let mut holders: BTreeMap<NodeId, u32> = BTreeMap::new();
        for (vnode, held) in &tokens.held {
            types.entry(vnode.vnode_type.clone()).or_default();
            holders.entry(held.holder.clone()).or_default();
        }
        for (number, place) in (0..).zip(types.values_mut()) {
            *place = number;
        }
        for (number, place) in (0..).zip(holders.values_mut()) {
            *place = number;
        }
        let rows = tokens.held.iter().map(|(vnode, Held { token, holder })| {
            let vnode_type = types.get(&vnode.vnode_type).copied().unwrap_or_default();
            let holder = holders.get(holder).copied().unwrap_or_default();
            (vnode_type, vnode.partition.0, token.epoch.0, token.hop, holder)
        });
        Self {
            rows: rows.collect(),
            types: types.into_keys().collect(),
            holders: holders.into_keys().collect(),
        }
    }
}

impl TryFrom<TokensForm> for Tokens {
    type Error = TokensFormError;

    fn try_from(form: TokensForm) -> Result<Self, TokensFormError> {
        let TokensForm { types, holders, rows } = form;
        let rows = rows.into_iter().map(|(vnode_type, partition, epoch, hop, holder)| {
            let names = types.get(usize::from(vnode_type)).zip(holders.get(holder as usize));
            let Some((of_type, by)) = names else {
                let (types, holders) = (types.len(), holders.len());
                return Err(TokensFormError { partition, vnode_type, types, holder, holders });
            };
            let vnode = VnodeRef { vnode_type: of_type.clone(), partition: Partition(partition) };
            let token = Token { epoch: Epoch(epoch), hop };
            Ok((vnode, Held { token, holder: by.clone() }))
        });
        rows.collect()
    }
}
