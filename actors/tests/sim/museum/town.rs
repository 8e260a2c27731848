//! What the stories share: a town of counters, and what clients say in it.

use std::collections::BTreeMap;
use std::time::Duration;

use tanodb_actors::runtime::observe::Observed;
use tanodb_actors::sim::cluster::{Cluster, ClusterSettings, Pending};
use tanodb_actors::sim::harness::for_each_seed;
use tanodb_actors::sim::invariant::{Rest, check_at_rest};
use tanodb_actors::sim::trace::Seen;
use tanodb_actors::{Ask, AskError, ItemsKind, NodeId, Partition, RingSize, VnodeType};

use crate::numbers::{Action, During, NumberCommand, Numbers, hash_of, keys_in, numbers};

/// What clients were told is stored: `None` for what was removed.
pub type Told = BTreeMap<u64, Option<u64>>;

/// Plays a story on its seeds.
pub fn play(story: &str, run: impl FnMut(u64)) {
    for_each_seed("tanodb-actors --features sim --test sim", story, 20, run);
}

/// Vnodes with one copy each.
pub fn counters() -> VnodeType {
    VnodeType::new("counters").unwrap()
}

/// Nodes that host counters. A page takes four items, so that a transfer of a few is a stream.
pub fn settings(seed: u64) -> ClusterSettings {
    let mut settings =
        ClusterSettings::new(seed, || vec![ItemsKind::<Numbers<true>>::in_memory(counters())]);
    settings.node.page.items = 4;
    settings
}

/// Nodes that host numbers with three replicas, and soon send hints home.
pub fn settings_of_replicas(seed: u64) -> ClusterSettings {
    let mut settings =
        ClusterSettings::new(seed, || vec![ItemsKind::<Numbers>::in_memory(numbers())]);
    settings.node.page.items = 4;
    settings.node.hinted_idle = Duration::from_secs(5);
    settings
}

/// The same, and a node has one transfer at a time.
pub fn one_at_a_time(seed: u64) -> ClusterSettings {
    let mut settings = settings(seed);
    settings.node.transfers.limit = 1;
    settings
}

/// The first is a member of its own cluster, and the others have joined it.
pub fn members(settings: ClusterSettings, first: &str, others: &[&str]) -> Cluster {
    let mut town = Cluster::new(settings);
    town.start(&[first]);
    if !others.is_empty() {
        town.join(first, others);
        town.settle();
    }
    town
}

/// Has a client ask, and does not wait.
pub fn asked(
    town: &mut Cluster,
    through: &str,
    key: u64,
    action: Action,
    ask: Ask,
) -> Pending<Result<Option<u64>, AskError>> {
    let (node, requests, name) = (town.node(through), town.requests(), through.to_owned());
    town.spawn(async move {
        let command = NumberCommand { action, during: During::Handle };
        let open = requests.begun(&name, "a command", ask.deadline);
        let (single, hash) = (ask.n == 1, hash_of(key));
        let answer = if single {
            node.command::<Numbers<true>>(&counters(), hash, &command, ask).await
        } else {
            node.command::<Numbers>(&numbers(), hash, &command, ask).await
        };
        open.ended();
        answer
    })
}

/// What becomes of something asked.
#[track_caller]
pub fn answer<T: 'static>(town: &mut Cluster, pending: &Pending<T>) -> T {
    let mut answer = None;
    town.run_until("an answer", |_| {
        answer = pending.take();
        answer.is_some()
    });
    answer.unwrap()
}

/// Asks for one copy and waits.
#[track_caller]
pub fn tell(town: &mut Cluster, through: &str, key: u64, action: Action) -> Option<u64> {
    let pending = asked(town, through, key, action, Ask::single());
    answer(town, &pending).unwrap()
}

/// Stores these keys, each under itself plus `more`.
#[track_caller]
pub fn put_all(
    town: &mut Cluster,
    through: &str,
    keys: impl IntoIterator<Item = u64>,
    more: u64,
    told: &mut Told,
) {
    let asked: Vec<_> = keys
        .into_iter()
        .map(|key| (key, asked(town, through, key, Action::Put(key, key + more), Ask::single())))
        .collect();
    for (key, pending) in asked {
        assert_eq!(answer(town, &pending), Ok(Some(key + more)));
        told.insert(key, Some(key + more));
    }
}

/// Everything a client was told is stored is read through this node.
#[track_caller]
pub fn assert_readable_at(town: &mut Cluster, through: &str, told: &Told) {
    let asked: Vec<_> = told
        .iter()
        .map(|(key, value)| {
            (*key, *value, asked(town, through, *key, Action::Get(*key), Ask::single()))
        })
        .collect();
    for (key, value, pending) in asked {
        let got = answer(town, &pending);
        assert_eq!(got, Ok(value), "seed {}: {key} through {through}", town.seed());
    }
}

/// Everything a client was told is stored is read through every node.
#[track_caller]
pub fn assert_readable(town: &mut Cluster, told: &Told) {
    for name in town.running() {
        assert_readable_at(town, &name, told);
    }
}

/// What every story ends on, with nothing lost.
#[track_caller]
pub fn assert_all_is_well(town: &mut Cluster, told: &Told) {
    // Who was cut off tries again every two seconds.
    town.run_for(Duration::from_secs(5));
    let rested = check_at_rest(town, &Rest::default());
    town.must(rested);
    town.assert_rings_agree();
    town.assert_each_partition_has_one_owner();
    assert_readable(town, told);
}

/// Whether a vnode has come to this state.
pub fn is_now(seen: &Seen, state: &str) -> bool {
    matches!(&seen.event, Observed::VnodeMoved { after, .. } if after.to_string() == state)
}

/// A transfer at the moment at which one of its ends came to a state.
pub struct Met {
    pub source: String,
    pub target: String,
    pub partition: Partition,
}

/// Waits until a vnode somewhere comes to this state, and says whose transfer it is.
#[track_caller]
pub fn until_some_is(town: &mut Cluster, state: &str) -> Met {
    let seen = town.run_until_seen(&format!("a vnode is {state}"), |seen| is_now(seen, state));
    let Observed::VnodeMoved { vnode, before, after, .. } = &seen.event else {
        panic!("{:?}", seen.event)
    };
    let here = seen.node.to_string();
    let outgoing = after.outgoing().or(before.outgoing()).map(|to| host(&to.target));
    let incoming = after.incoming().or(before.incoming()).map(|from| host(&from.source));
    let (source, target) = match (outgoing, incoming) {
        (Some(target), _) => (here, target),
        (None, Some(source)) => (source, here),
        (None, None) => panic!("{state} is no state of a transfer"),
    };
    Met { source, target, partition: vnode.partition }
}

fn host(node: &NodeId) -> String {
    node.name.as_str().split('@').next().unwrap().to_owned()
}

/// Keys that lie in a partition.
pub fn some_keys_in(partition: Partition, count: usize) -> Vec<u64> {
    keys_in(RingSize::new(8).unwrap(), partition).take(count).collect()
}

/// Where a partition is owned, by the account of those that run.
#[track_caller]
pub fn owners_of(town: &mut Cluster, partition: Partition) -> Vec<String> {
    let index = RingSize::new(8).unwrap().index_of(partition);
    let rows = town.partitions();
    let owned = rows.iter().filter(|row| row.partition == index && row.container == "owned");
    owned.map(|row| row.node.as_str().split('@').next().unwrap().to_owned()).collect()
}
