//! A kind of vnode, as a node hosts it: a name, a class, and how to open a container.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use super::over_items::OverItems;
use super::raw::RawVnode;
use super::{Class, Vnode};
use crate::protocol::id::{Partition, VnodeType};
use crate::runtime::encoding::encoded;
use crate::runtime::env::Env;
use crate::runtime::items::{Engine, MemoryEngine};

/// One kind of vnode. A node hosts any number of kinds on one ring.
pub trait VnodeKind: Send + Sync + 'static {
    /// The name on the wire, in logs and in reports. Equal on every node that hosts the kind.
    fn name(&self) -> &VnodeType;

    /// How replicas relate.
    fn class(&self) -> Class;

    /// An empty container for a partition.
    fn open(&self, partition: Partition, env: &Env) -> Box<dyn RawVnode>;

    /// Makes one encoded reply of the encoded replies of a quorum; never called with an empty list.
    fn combine(&self, replies: Vec<Bytes>) -> Bytes;

    /// Whether an encoded reply tells what is stored. See [`Vnode::is_read`].
    fn is_read(&self, _reply: &Bytes) -> bool {
        false
    }
}

/// Opens the storage of one container.
pub type OpenEngine = Arc<dyn Fn(&Env) -> Box<dyn Engine> + Send + Sync>;

/// The kind of a [`Vnode`].
pub struct ItemsKind<V> {
    name: VnodeType,
    open_engine: OpenEngine,
    author: PhantomData<fn() -> V>,
}

impl<V: Vnode> ItemsKind<V> {
    /// A kind whose containers live in what `open_engine` opens.
    #[must_use]
    pub fn new(name: VnodeType, open_engine: OpenEngine) -> Arc<Self> {
        Arc::new(Self { name, open_engine, author: PhantomData })
    }

    /// A kind whose items live in memory.
    #[must_use]
    pub fn in_memory(name: VnodeType) -> Arc<Self> {
        Self::new(name, Arc::new(|_| Box::new(MemoryEngine::default())))
    }
}

impl<V: Vnode> VnodeKind for ItemsKind<V> {
    fn name(&self) -> &VnodeType {
        &self.name
    }

    fn class(&self) -> Class {
        V::CLASS
    }

    fn open(&self, partition: Partition, env: &Env) -> Box<dyn RawVnode> {
        Box::new(OverItems::<V>::new(partition, (self.open_engine)(env)))
    }

    fn is_read(&self, reply: &Bytes) -> bool {
        rmp_serde::from_slice(reply).is_ok_and(|reply| V::is_read(&reply))
    }

    fn combine(&self, mut replies: Vec<Bytes>) -> Bytes {
        let decoded: Vec<V::Reply> =
            replies.iter().filter_map(|reply| rmp_serde::from_slice(reply).ok()).collect();
        let combined = if decoded.is_empty() { None } else { V::combine(decoded) };
        match combined.and_then(|reply| encoded(&reply).ok()) {
            Some(reply) => Bytes::from(reply),
            None => replies.swap_remove(0),
        }
    }
}
