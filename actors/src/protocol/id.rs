//! The names and numbers everything else is told apart by.
//!
//! Plain values: they are compared, ordered, hashed and written to the wire and to disk. What a ring
//! position means stands in [`super::hash`]; who owns what stands in [`super::ring`].

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest node name, in bytes. Names are printed in tables and sent in every hello.
pub const NODE_NAME_BYTES_MAX: usize = 255;

/// Why a text is not a node name or a vnode type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing stands before or after the `@`, or there is none.
    #[error("'{0}' is not a node name: write NAME@HOST, for example tanodb1@127.0.0.1")]
    NotNameAtHost(String),
    /// The name has a character that tables, logs or files could not carry.
    #[error("'{0}' has a blank, a quote, a slash or a control character")]
    BadCharacter(String),
    /// Longer than [`NODE_NAME_BYTES_MAX`], or empty.
    #[error("a name has 1 to {NODE_NAME_BYTES_MAX} bytes, this one has {0}")]
    BadLength(usize),
}

fn check_characters(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > NODE_NAME_BYTES_MAX {
        return Err(NameError::BadLength(text.len()));
    }
    let bad = |c: char| c.is_whitespace() || c.is_control() || "'\"\\/".contains(c);
    if text.chars().any(bad) {
        return Err(NameError::BadCharacter(text.to_owned()));
    }
    Ok(())
}

/// A node's name, `name@host`. It is an identity, not an address: the address may change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`NameError`] says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check_characters(text)?;
        match text.split_once('@') {
            Some((name, host)) if !name.is_empty() && !host.is_empty() => Ok(Self(text.into())),
            Some(_) | None => Err(NameError::NotNameAtHost(text.to_owned())),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the `@`.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, host)| host)
    }
}

impl TryFrom<String> for NodeName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0)
    }
}

/// One life of a node's data. A node that lost its data comes back under another incarnation, so that
/// no message meant for the old data is taken for the new.
///
/// `boot` grows with each start from one directory; `nonce` tells two directories apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// Starts counted on the node's own disk, from 1.
    pub boot: u64,
    /// Drawn at random with each incarnation.
    pub nonce: u32,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08x}", self.boot, self.nonce)
    }
}

/// A node in one incarnation: who holds something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId {
    /// The node.
    pub name: NodeName,
    /// The life of its data.
    pub incarnation: Incarnation,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.name, self.incarnation)
    }
}

/// Who votes in [`super::agreement`]. Bound to the control records on disk, not to the data: a memory
/// node that restarts keeps its vote, a node that lost its records gets another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VoterId(pub u64);

/// Tells clusters apart. Two clusters never merge. Drawn at random by the node that founds one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The number of a decided ring. The founder's ring is epoch 1.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The name of a kind of vnode, for example `tanodb_vnode`. One node hosts several kinds on one ring.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VnodeType(Arc<str>);

impl VnodeType {
    /// Checks a name: 1 to 255 bytes, no blanks, quotes or slashes.
    ///
    /// # Errors
    ///
    /// [`NameError`] says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check_characters(text)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for VnodeType {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<VnodeType> for String {
    fn from(name: VnodeType) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for VnodeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for VnodeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A partition's number on the ring, 0 to ring size - 1. Its index on the 160-bit circle, which is what
/// people see, is [`super::hash::RingSize::index_of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition(pub u32);

/// One vnode: a partition of one type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VnodeRef {
    /// The kind of vnode.
    pub vnode_type: VnodeType,
    /// The partition it serves.
    pub partition: Partition,
}

/// The owner token: at any instant the node that holds a vnode's highest token speaks for it.
///
/// A grant keeps `epoch` and adds to `hop`. `epoch` changes only by a takeover, which is part of a
/// decided ring. Tokens of one vnode strictly increase along its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token {
    /// The epoch of the ring that minted it.
    pub epoch: Epoch,
    /// Grants since then.
    pub hop: u32,
}

impl Token {
    /// The token a ring mints.
    #[must_use]
    pub fn minted(epoch: Epoch) -> Self {
        Self { epoch, hop: 0 }
    }

    /// The token a grant hands to the target.
    #[must_use]
    pub fn granted(self) -> Self {
        Self { epoch: self.epoch, hop: self.hop.saturating_add(1) }
    }

    /// The token under which a source resumes after its grant was declined. One above what was granted,
    /// so that nobody can mistake the resumed owner for the one that declined.
    #[must_use]
    pub fn resumed(self) -> Self {
        Self { epoch: self.epoch, hop: self.hop.saturating_add(2) }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.hop)
    }
}

/// The id of one attempt to move something. Never used twice: the source's incarnation draws `nonce`,
/// and counts `number` up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransferId {
    /// The nonce of the source's incarnation.
    pub nonce: u32,
    /// Attempts of that incarnation, from 1.
    pub number: u64,
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.nonce, self.number)
    }
}

/// The id of one client operation, kept over every retry and forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpId {
    /// Who minted it: the nonce and boot of a client or coordinator, mixed.
    pub minter: u64,
    /// Operations of that minter, from 1.
    pub counter: u64,
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.minter, self.counter)
    }
}

/// A hybrid-logical-clock stamp: wall-clock milliseconds, then a counter within the millisecond.
///
/// Source: Kulkarni et al., "Logical Physical Clocks", 2014.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Stamp {
    /// Milliseconds since 1970-01-01 UTC.
    pub millis: u64,
    /// Order within the millisecond.
    pub logical: u32,
}

/// Names one write for ever: who coordinated it, and that coordinator's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// The coordinator's incarnation.
    pub minter: u64,
    /// Writes of that incarnation, from 1.
    pub counter: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_name_needs_a_name_and_a_host() {
        assert_eq!(NodeName::new("tanodb1@127.0.0.1").unwrap().host(), "127.0.0.1");
        for bad in ["", "tanodb1", "@host", "name@", "a b@host", "a'b@host", "a@b/c"] {
            assert!(NodeName::new(bad).is_err(), "{bad:?} is no node name");
        }
    }

    #[test]
    fn a_grant_raises_the_hop_and_a_takeover_the_epoch() {
        let token = Token::minted(Epoch(3));
        assert!(token < token.granted());
        assert!(token.granted() < token.resumed());
        assert!(token.resumed() < Token::minted(Epoch(4)));
    }
}
