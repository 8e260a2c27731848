//! Counters that are exact: every increment is executed once, while clients retry and the counters are on their
//! way to other nodes.
//!
//! A vnode of class `Single` keeps one copy. What it has executed, and what it replied, is stored with the
//! effect and moves with it, so a client may ask again under the same operation id wherever the counter is.
//!
//! `cargo run --example counter`
#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::cell::Cell;
use std::error::Error;
use std::time::Duration;

use futures_util::future::{try_join, try_join_all};
use serde::{Deserialize, Serialize};
use tanodb_actors::{
    Answer, Ask, Class, CommandContext, Env, Items, ItemsKind, MemoryDisk, Node, NodeName,
    NodeSettings, OpId, Partition, RingHash, Vnode, VnodeType, key_hash,
};

const CLIENTS: u64 = 8;
const COUNTERS: u64 = 100;
const TRIES: u64 = 1_000;
type Fallible<T> = Result<T, Box<dyn Error>>;

struct Counter;

#[derive(Serialize, Deserialize)]
struct Add {
    counter: u64,
    amount: u64,
}

impl Vnode for Counter {
    type Command = Add;
    type Reply = u64;
    const CLASS: Class = Class::Single;

    fn start(_: Partition) -> Self {
        Self
    }

    fn handle_command(
        &mut self,
        add: Add,
        _: &CommandContext,
        items: &mut Items<'_>,
    ) -> Answer<u64, Add> {
        let key = add.counter.to_be_bytes();
        let stored = items.get(&key).and_then(|bytes| bytes.first_chunk().copied());
        let sum = stored.map_or(0, u64::from_be_bytes) + add.amount;
        items.put(&key, sum.to_be_bytes().to_vec());
        Answer::Reply(sum)
    }

    fn ring_hash(key: &[u8]) -> RingHash {
        key_hash(b"counters", key)
    }
}

async fn start(node: &str, name: &VnodeType) -> Fallible<Node> {
    let env = Env::for_process(NodeName::new(node)?, MemoryDisk::default())?;
    let kind = ItemsKind::<Counter>::in_memory(name.clone());
    Ok(Node::start(env, NodeSettings::default(), vec![kind]).await?)
}

async fn add(node: &Node, name: &VnodeType, add: Add, ask: Ask) -> Fallible<u64> {
    let hash = Counter::ring_hash(&add.counter.to_be_bytes());
    Ok(node.command::<Counter>(name, hash, &add, ask).await?)
}

/// Counts until told to stop, and returns how often. After 5 ms without an answer it asks again.
async fn client(number: u64, node: &Node, name: &VnodeType, stop: &Cell<bool>) -> Fallible<u64> {
    let mut operations = 0;
    while !stop.get() {
        let op = Some(OpId { minter: number, counter: operations + 1 });
        let ask = Ask { op, deadline: Duration::from_millis(5), ..Ask::single() };
        let once = || add(node, name, Add { counter: operations % COUNTERS, amount: 1 }, ask);
        let mut added = once().await;
        for _ in 0..TRIES {
            if added.is_err() {
                added = once().await;
            }
        }
        added?;
        operations += 1;
    }
    Ok(operations)
}

/// Two nodes join, and take two thirds of the counters over.
async fn grow(ada: &Node, name: &VnodeType, stop: &Cell<bool>) -> Fallible<[Node; 2]> {
    let joiners = [start("bob@127.0.0.1", name).await?, start("cyd@127.0.0.1", name).await?];
    for joiner in &joiners {
        joiner.join(ada.address()).await?;
    }
    ada.commit(ada.plan().await?.id).await?;
    let settled = ada.settled(Duration::from_secs(20)).await;
    stop.set(true);
    settled.then_some(joiners).ok_or_else(|| "the counters did not arrive in time".into())
}

#[actix::main]
async fn main() -> Fallible<()> {
    let (name, stop) = (VnodeType::new("counters")?, Cell::new(false));
    let ada = start("ada@127.0.0.1", &name).await?;
    let clients = (1..=CLIENTS).map(|number| client(number, &ada, &name, &stop));
    let (counted, joiners) = try_join(try_join_all(clients), grow(&ada, &name, &stop)).await?;
    let expected: u64 = counted.iter().sum();
    for node in joiners.iter().chain([&ada]) {
        let read = |counter| add(node, &name, Add { counter, amount: 0 }, Ask::single());
        let found: u64 = try_join_all((0..COUNTERS).map(read)).await?.iter().sum();
        println!("{} counts {found}, {expected} were counted", node.id().name);
        if found != expected {
            return Err("the counters are not exact".into());
        }
    }
    Ok(())
}
