//! The smallest vnode: it answers a ping with the partition that was asked, as the first chapter of the
//! riak_core tutorial does.
//!
//! `cargo run --example ping`
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;

use serde::{Deserialize, Serialize};
use tanodb_actors::{
    Answer, Ask, Class, CommandContext, Env, Items, ItemsKind, MemoryDisk, Node, NodeName,
    NodeSettings, Partition, RingHash, RingSize, Vnode, VnodeType, key_hash,
};

/// One partition. It keeps nothing.
struct Pinged;

#[derive(Serialize, Deserialize)]
struct Ping;

#[derive(Serialize, Deserialize)]
struct Pong(Partition);

impl Vnode for Pinged {
    type Command = Ping;
    type Reply = Pong;
    const CLASS: Class = Class::Merged;

    fn start(_: Partition) -> Self {
        Self
    }

    fn handle_command(
        &mut self,
        _: Ping,
        context: &CommandContext,
        _: &mut Items<'_>,
    ) -> Answer<Pong, Ping> {
        Answer::Reply(Pong(context.partition))
    }

    fn ring_hash(key: &[u8]) -> RingHash {
        key_hash(b"ping", key)
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let pings = VnodeType::new("ping")?;
    let ring_size = RingSize::default();
    let env = Env::for_process(NodeName::new("tanodb1@127.0.0.1")?, MemoryDisk::default())?;
    let settings = NodeSettings { ring_size, ..NodeSettings::default() };
    let node =
        Node::start(env, settings, vec![ItemsKind::<Pinged>::in_memory(pings.clone())]).await?;

    for word in ["one", "two", "three"] {
        let hash = Pinged::ring_hash(word.as_bytes());
        let Pong(partition) = node.command::<Pinged>(&pings, hash, &Ping, Ask::single()).await?;
        println!("{{pong,'{}',{}}}", node.id().name, ring_size.index_of(partition));
        if partition != ring_size.partition_of(hash) {
            return Err(format!("partition {} answered for another one", partition.0).into());
        }
    }
    Ok(())
}
