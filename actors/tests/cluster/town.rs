//! Several nodes in one process, with a vnode that maps numbers to numbers.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tanodb_actors::protocol::hash::{RingHash, key_hash};
use tanodb_actors::protocol::id::{NodeName, Partition, VnodeType};
use tanodb_actors::runtime::arbiters::Arbiters;
use tanodb_actors::runtime::clock::Clock;
use tanodb_actors::runtime::disk::MemoryDisk;
use tanodb_actors::runtime::env::Env;
use tanodb_actors::runtime::node::{Ask, AskError, Node, NodeSettings};
use tanodb_actors::runtime::rng::Rng;
use tanodb_actors::runtime::tcp::Tcp;
use tanodb_actors::runtime::vnode::kind::ItemsKind;
use tanodb_actors::runtime::vnode::{Answer, Class, CommandContext, Items, Vnode};
use tanodb_actors::wire::admin::{AdminAnswer, AdminRequest};

/// Runs a test in a `LocalSet`.
pub fn run(story: impl Future<Output = ()>) {
    let _ = env_logger::builder().is_test(true).try_init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, story);
}

pub struct Numbers;

#[derive(Serialize, Deserialize)]
pub enum NumberCommand {
    Put { key: u64, value: u64 },
    Get { key: u64 },
}

impl Vnode for Numbers {
    type Command = NumberCommand;
    type Reply = Option<u64>;
    const CLASS: Class = Class::Merged;

    fn start(_: Partition) -> Self {
        Self
    }

    fn handle_command(
        &mut self,
        command: NumberCommand,
        _: &CommandContext,
        items: &mut Items<'_>,
    ) -> Answer<Option<u64>, NumberCommand> {
        match command {
            NumberCommand::Put { key, value } => {
                items.put(&key.to_be_bytes(), value.to_be_bytes().to_vec());
                Answer::Reply(Some(value))
            }
            NumberCommand::Get { key } => {
                let stored = items.get(&key.to_be_bytes());
                Answer::Reply(
                    stored.and_then(|stored| Some(u64::from_be_bytes(*stored.first_chunk::<8>()?))),
                )
            }
        }
    }

    fn ring_hash(key: &[u8]) -> RingHash {
        key_hash(b"numbers", key)
    }
}

pub fn numbers() -> VnodeType {
    VnodeType::new("numbers").unwrap()
}

pub struct Town {
    pub nodes: Vec<Node>,
}

impl Town {
    pub async fn of(name: &str) -> Self {
        let mut town = Self { nodes: Vec::new() };
        town.start(name).await;
        town
    }

    pub async fn start(&mut self, name: &str) {
        let seed = self.nodes.len() as u64 + 1;
        let env = Env {
            node: NodeName::new(&format!("{name}@127.0.0.1")).unwrap(),
            transport: Arc::new(Tcp),
            arbiters: Arbiters::Here,
            rng: Rng::seeded(seed),
            clock: Clock::real(),
            disk: Arc::new(MemoryDisk::default()),
        };
        let kind = ItemsKind::<Numbers>::in_memory(numbers());
        self.nodes.push(Node::start(env, NodeSettings::default(), vec![kind]).await.unwrap());
    }

    pub async fn put(&self, node: usize, key: u64, value: u64) -> Result<(), AskError> {
        let hash = key_hash(b"numbers", &key.to_be_bytes());
        let command = NumberCommand::Put { key, value };
        let ask = Ask::quorum(3, 2);
        self.nodes[node].command::<Numbers>(&numbers(), hash, &command, ask).await.map(drop)
    }

    pub async fn get(&self, node: usize, key: u64) -> Result<Option<u64>, AskError> {
        let hash = key_hash(b"numbers", &key.to_be_bytes());
        let command = NumberCommand::Get { key };
        self.nodes[node].command::<Numbers>(&numbers(), hash, &command, Ask::quorum(3, 2)).await
    }

    /// Waits until nothing has to move any more.
    pub async fn settled(&self, within: Duration) {
        let started = tokio::time::Instant::now();
        loop {
            let AdminAnswer::MemberStatus(table) =
                self.nodes[0].admin(AdminRequest::MemberStatus).await
            else {
                panic!("a table of members")
            };
            if !table.pending {
                return;
            }
            if started.elapsed() > within {
                let transfers = self.nodes[0].admin(AdminRequest::Transfers).await;
                panic!("not settled: {transfers:#?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
