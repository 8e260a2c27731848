//! A town: several nodes in one process, each of which can be killed, with roads between them.

use std::collections::BTreeMap;
use std::time::Duration;

use tanodb_actors::runtime::arbiters::Arbiters;
use tanodb_actors::runtime::clock::Clock;
use tanodb_actors::runtime::observe::Watched;
use tanodb_actors::runtime::rng::Rng;
use tanodb_actors::wire::admin::TransferReport;
use tanodb_actors::{
    Ask, AskError, Env, ItemsKind, MemoryDisk, Node, NodeName, NodeSettings, Partition, RingSize,
    VnodeKind,
};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::numbers::{Action, During, NumberCommand, Numbers, hash_of, keys_in, numbers};
use crate::roads::{Name, Roads};

/// The first key of those that fill a partition.
const MANY: u64 = 1_000_000;

/// How long a story waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a story.
pub fn run(story: impl Future<Output = ()>) {
    let _ = env_logger::builder().is_test(true).try_init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, story);
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "in vain: {what}");
}

/// The settings of a town: a ring of 8 partitions.
pub fn small() -> NodeSettings {
    NodeSettings { ring_size: RingSize::new(8).unwrap(), ..NodeSettings::default() }
}

/// Something that is done at once, also during a handoff.
pub fn now(action: Action) -> NumberCommand {
    NumberCommand { action, during: During::Handle }
}

pub type Kinds = Vec<std::sync::Arc<dyn VnodeKind>>;

struct Resident {
    node: Node,
    clock: Clock,
    life: JoinHandle<()>,
}

pub struct Town {
    pub roads: Roads,
    pub settings: NodeSettings,
    residents: BTreeMap<Name, Resident>,
}

impl Town {
    /// One node, with a ring of 8 partitions.
    pub async fn of(first: Name) -> Self {
        Self::with(first, small()).await
    }

    /// One node with other settings.
    pub async fn with(first: Name, settings: NodeSettings) -> Self {
        let mut town = Self { roads: Roads::default(), settings, residents: BTreeMap::new() };
        town.start(first).await;
        town
    }

    pub async fn start(&mut self, name: Name) {
        let kind = ItemsKind::<Numbers>::in_memory(numbers());
        self.start_with(name, vec![kind]).await;
    }

    /// Starts a node in a set of tasks of its own, so that it can be killed.
    pub async fn start_with(&mut self, name: Name, kinds: Kinds) {
        let clock = Clock::real();
        let env = Env {
            node: NodeName::new(&format!("{name}@town")).unwrap(),
            transport: self.roads.of(name),
            arbiters: Arbiters::Here,
            rng: Rng::seeded(name.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte))),
            clock: clock.clone(),
            disk: std::sync::Arc::new(MemoryDisk::default()),
            watched: Watched::by_nobody(),
        };
        let home = LocalSet::new();
        let node = home.run_until(Node::start(env, self.settings.clone(), kinds)).await.unwrap();
        let life = spawn_local(home);
        self.residents.insert(name, Resident { node, clock, life });
    }

    /// Ends a node's process: its connections close, and nothing of it goes on.
    pub async fn kill(&mut self, name: Name) {
        let resident = self.residents.remove(name).unwrap();
        resident.life.abort();
        let _ = resident.life.await;
        self.roads.nobody_lives_at(resident.node.address());
    }

    pub fn node(&self, name: Name) -> &Node {
        &self.residents[name].node
    }

    pub fn clock(&self, name: Name) -> &Clock {
        &self.residents[name].clock
    }

    /// Starts nodes and has the first one commit that they join. Does not wait for the partitions.
    pub async fn join(&mut self, contact: Name, joiners: &[Name]) {
        for joiner in joiners {
            self.start(joiner).await;
        }
        self.commit(contact, joiners).await;
    }

    pub async fn commit(&self, contact: Name, joiners: &[Name]) {
        for joiner in joiners {
            self.node(joiner).join(self.node(contact).address()).await.unwrap();
        }
        let contact = self.node(contact);
        until("the staged joins can be committed", async || {
            let Ok(plan) = contact.plan().await else { return false };
            plan.changes.len() == joiners.len() && contact.commit(plan.id).await.is_ok()
        })
        .await;
    }

    /// Waits until nothing has to move, by everybody's account.
    pub async fn settled(&self) {
        for resident in self.residents.values() {
            let is_settled = resident.node.settled(PATIENCE).await;
            let report = resident.node.transfers().await.unwrap();
            assert!(is_settled, "waiting: {:#?}, active: {:#?}", report.waiting, report.active);
        }
    }

    pub async fn transfers(&self, asked: Name) -> TransferReport {
        self.node(asked).transfers().await.unwrap()
    }

    /// A node and a partition of it that are due to move from one node to another.
    pub async fn moves(&self, from: Name, to: Name) -> Vec<Partition> {
        let ring = self.node(from).ring().await.unwrap();
        let (from, to) = (self.node(from).id(), self.node(to).id());
        let between =
            ring.pending.iter().filter(|due| due.holder == from.name && due.next == to.name);
        between.filter_map(|due| ring.ring_size.partition_at(due.partition)).collect()
    }

    pub async fn act(
        &self,
        node: Name,
        key: u64,
        action: Action,
        ask: Ask,
    ) -> Result<Option<u64>, AskError> {
        self.say(node, key, now(action), ask).await
    }

    pub async fn say(
        &self,
        node: Name,
        key: u64,
        command: NumberCommand,
        ask: Ask,
    ) -> Result<Option<u64>, AskError> {
        let node = self.node(node).clone();
        node.command::<Numbers>(&numbers(), hash_of(key), &command, ask).await
    }

    /// Puts this many items of this many bytes into the partition of a key.
    pub async fn fill(&self, node: Name, key: u64, items: u64, bytes: usize) {
        let fill = Action::Fill { keys: MANY..MANY + items, bytes };
        let filled = self.act(node, key, fill, Ask::single()).await;
        assert_eq!(filled, Ok(Some(items)));
    }

    /// Has a partition on its way from ada to bob, a part of it sent and more to come than bob gives credit
    /// for, and keeps it there. Returns keys in it.
    pub async fn hold_one_up(&mut self) -> [u64; 3] {
        self.roads.stop_transfers("ada", "bob", 0);
        self.join("ada", &["bob"]).await;
        let partition = self.sending("ada", 0).await;
        let mut keys = keys_in(self.settings.ring_size, partition);
        let keys = std::array::from_fn(|_| keys.next().unwrap());
        self.fill("ada", keys[0], 160, 64 * 1024).await;
        self.roads.stop_transfers("ada", "bob", 600_000);
        until("a part has arrived", async || self.sending("ada", 1).await == partition).await;
        keys
    }

    /// A partition of which at least so many items have arrived, and which is kept on its way.
    async fn sending(&self, from: Name, objects: u64) -> Partition {
        let mut found = None;
        until("a transfer is on its way", async || {
            let report = self.transfers(from).await;
            let mut rows = report.active.iter().filter(|row| row.state == "Sending");
            let sending = rows.find(|row| row.objects_sent >= objects);
            found = sending.and_then(|row| self.settings.ring_size.partition_at(row.partition));
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Puts at one replica.
    pub async fn put(&self, node: Name, key: u64, value: u64) {
        let put = self.act(node, key, Action::Put(key, value), Ask::single()).await;
        assert_eq!(put, Ok(Some(value)), "put {key} at {node}");
    }

    /// Gets from one replica.
    pub async fn get(&self, node: Name, key: u64) -> Option<u64> {
        self.act(node, key, Action::Get(key), Ask::single()).await.unwrap()
    }
}
