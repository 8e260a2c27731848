//! The embeddable actor system of TanoDB: a ring of partitions, an actor for each of them (a *vnode*), quorums,
//! and handoff: when nodes join, partitions move to them while clients go on reading and writing.
//!
//! An author writes what one partition does, by implementing [`Vnode`], and starts a [`Node`]. The crate
//! promises that
//!
//! - at every instant one node speaks for a vnode, and which one is decided by nobody in the middle;
//! - nothing that was acknowledged is lost by a handoff, whatever the author's code does in it;
//! - a command of a vnode of class [`Class::Single`] is executed once, however often it is retried;
//! - every command is answered by its deadline, with a reply or with a reason;
//! - nothing is global: any number of nodes live in one process, and in one simulated run.
//!
//! # A vnode and a node
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tanodb_actors::{
//!     Answer, Ask, Class, CommandContext, Env, Items, ItemsKind, MemoryDisk, Node, NodeName, NodeSettings,
//!     Partition, RingHash, Vnode, VnodeType, key_hash,
//! };
//!
//! /// Remembers the longest word it was told for each topic.
//! struct LongestWords;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Tell {
//!     topic: String,
//!     word: String,
//! }
//!
//! impl Vnode for LongestWords {
//!     type Command = Tell;
//!     type Reply = String;
//!     const CLASS: Class = Class::Single;
//!
//!     fn start(_: Partition) -> Self {
//!         Self
//!     }
//!
//!     fn handle_command(
//!         &mut self,
//!         tell: Tell,
//!         _: &CommandContext,
//!         items: &mut Items<'_>,
//!     ) -> Answer<String, Tell> {
//!         let known = items.get(tell.topic.as_bytes()).unwrap_or_default();
//!         if tell.word.len() <= known.len() {
//!             return Answer::Reply(String::from_utf8_lossy(&known).into_owned());
//!         }
//!         items.put(tell.topic.as_bytes(), tell.word.clone());
//!         Answer::Reply(tell.word)
//!     }
//!
//!     fn ring_hash(topic: &[u8]) -> RingHash {
//!         key_hash(b"words", topic)
//!     }
//! }
//!
//! #[actix_rt::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let words = VnodeType::new("words")?;
//!     let env = Env::for_process(NodeName::new("ada@127.0.0.1")?, MemoryDisk::default())?;
//!     let kind = ItemsKind::<LongestWords>::in_memory(words.clone());
//!     let node = Node::start(env, NodeSettings::default(), vec![kind]).await?;
//!
//!     let mut longest = String::new();
//!     for word in ["ring", "partition", "vnode"] {
//!         let tell = Tell { topic: "design".to_owned(), word: word.to_owned() };
//!         let hash = LongestWords::ring_hash(tell.topic.as_bytes());
//!         longest = node.command::<LongestWords>(&words, hash, &tell, Ask::single()).await?;
//!     }
//!     assert_eq!(longest, "partition");
//!     Ok(())
//! }
//! ```
//!
//! The examples of the repository go on from here: `ping`, `counter` (exact through a handoff) and `embed`
//! (three nodes and two vnode types in one process).
//!
//! # The parts
//!
//! - [`protocol`]: decisions. Plain synchronous Rust without I/O, clock or chance.
//! - [`wire`]: bytes between nodes.
//! - `runtime`: the actors, which carry out what `protocol` decides. It is a feature, on by default; the other
//!   two build without actix and tokio.
//! - `sim`: the same actors as a whole cluster on one thread, in virtual time, from a seed. A feature for tests.
//!
//! What most programs need is named here at the root.
#![deny(missing_docs, unreachable_pub)]

#[cfg(tanodb_mutants)]
pub mod broken;
pub mod protocol;
pub mod wire;

#[cfg(feature = "runtime")]
pub mod runtime;

#[cfg(feature = "sim")]
pub mod sim;

pub use protocol::hash::{RingHash, RingSize, key_hash};
pub use protocol::id::{Dot, NodeId, NodeName, OpId, Partition, Stamp, VnodeType};
#[cfg(feature = "runtime")]
pub use runtime::{
    arbiters::Arbiters,
    disk::{FolderDisk, MemoryDisk},
    env::Env,
    node::{Ask, AskError, Node, NodeSettings, StartError},
    ring_manager::OwnershipChanged,
    vnode::kind::{ItemsKind, VnodeKind},
    vnode::{Answer, Class, CommandContext, CorruptItem, HandoffChoice, Items, Merged, Vnode},
    workers::Workers,
};
pub use wire::admin::AdminRefusal;
pub use wire::message::CommandError;
