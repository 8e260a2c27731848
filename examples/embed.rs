//! Three nodes and two vnode types in one process, inside the program's own actix system: two nodes join, and
//! what happens to the partitions is printed as it happens.
//!
//! `cargo run --example embed`
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use serde::{Deserialize, Serialize};
use tanodb_actors::{
    Answer, Ask, Class, CommandContext, Env, Items, ItemsKind, MemoryDisk, Node, NodeName,
    NodeSettings, OwnershipChanged, Partition, RingHash, RingSize, Vnode, VnodeType, key_hash,
};

/// Keeps a text under each key. The two types differ in their class and in nothing else.
struct Texts<const REPLICATED: bool>;

#[derive(Serialize, Deserialize)]
enum Text {
    Write(String, String),
    Read(String),
}

impl<const REPLICATED: bool> Vnode for Texts<REPLICATED> {
    type Command = Text;
    type Reply = Option<String>;
    const CLASS: Class = if REPLICATED { Class::Merged } else { Class::Single };

    fn start(_: Partition) -> Self {
        Self
    }

    fn handle_command(
        &mut self,
        command: Text,
        _: &CommandContext,
        items: &mut Items<'_>,
    ) -> Answer<Option<String>, Text> {
        match command {
            Text::Write(key, text) => {
                items.put(key.as_bytes(), text);
                Answer::NoReply
            }
            Text::Read(key) => {
                let stored = items.get(key.as_bytes());
                Answer::Reply(stored.map(|text| String::from_utf8_lossy(&text).into_owned()))
            }
        }
    }

    fn ring_hash(key: &[u8]) -> RingHash {
        key_hash(b"texts", key)
    }
}

/// An actor of the program, which hears what one node does.
struct Printer(NodeName);

impl Actor for Printer {
    type Context = Context<Self>;
}

impl Handler<OwnershipChanged> for Printer {
    type Result = ();

    fn handle(&mut self, event: OwnershipChanged, _: &mut Context<Self>) {
        let me = &self.0;
        if let OwnershipChanged::RingAdopted { ring } = &event {
            println!("{me}: ring {} of {} nodes", ring.epoch(), ring.members().len());
        }
        if let OwnershipChanged::TransferStarted { vnode, target, .. } = &event {
            println!("{me}: {} {} -> {}", vnode.vnode_type, vnode.partition.0, target.name);
        }
        if let OwnershipChanged::OldCopyDeleted { vnode, .. } = &event {
            println!("{me}: {} {} has moved", vnode.vnode_type, vnode.partition.0);
        }
    }
}

async fn start(name: &str) -> Result<Node, Box<dyn Error>> {
    let env = Env::for_process(NodeName::new(name)?, MemoryDisk::default())?;
    let settings = NodeSettings { ring_size: RingSize::new(16)?, ..NodeSettings::default() };
    let replicated = ItemsKind::<Texts<true>>::in_memory(VnodeType::new("replicated")?);
    let single = ItemsKind::<Texts<false>>::in_memory(VnodeType::new("single")?);
    let node = Node::start(env, settings, vec![replicated, single]).await?;
    node.subscribe(Printer(node.id().name.clone()).start().recipient());
    Ok(node)
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (replicated, single) = (VnodeType::new("replicated")?, VnodeType::new("single")?);
    let [ada, bob, cyd] =
        [start("ada@host").await?, start("bob@host").await?, start("cyd@host").await?];
    let hash = Texts::<true>::ring_hash(b"greeting");
    let write = Text::Write("greeting".to_owned(), "hello".to_owned());
    ada.command::<Texts<true>>(&replicated, hash, &write, Ask::quorum(3, 2)).await?;
    ada.command::<Texts<false>>(&single, hash, &write, Ask::single()).await?;

    bob.join(ada.address()).await?;
    cyd.join(ada.address()).await?;
    ada.commit(ada.plan().await?.id).await?;
    let settled = ada.settled(Duration::from_secs(20)).await;

    let read = Text::Read("greeting".to_owned());
    let one = bob.command::<Texts<true>>(&replicated, hash, &read, Ask::quorum(3, 2)).await?;
    let other = cyd.command::<Texts<false>>(&single, hash, &read, Ask::single()).await?;
    println!("bob reads {one:?}, cyd reads {other:?}");
    let is_kept = settled && one == other && one.as_deref() == Some("hello");
    is_kept.then_some(()).ok_or_else(|| "a text is lost".into())
}
