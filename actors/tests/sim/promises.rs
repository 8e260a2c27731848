//! The promises hold while nodes join under load and links fail, and each of them is really tried.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tanodb_actors::sim::cluster::{Cluster, ClusterSettings};
use tanodb_actors::sim::harness::for_each_seed;
use tanodb_actors::sim::invariant::{Rest, check_at_rest};
use tanodb_actors::{Ask, ItemsKind, OpId, VnodeType};

use crate::numbers::{Action, During, NumberCommand, Numbers, hash_of, numbers};

const DEADLINE: Duration = Duration::from_secs(5);

fn counters() -> VnodeType {
    VnodeType::new("counters").unwrap()
}

/// Far apart, so that a transfer takes long enough for commands to meet it.
fn town(seed: u64) -> Cluster {
    let mut settings = ClusterSettings::new(seed, || {
        vec![
            ItemsKind::<Numbers>::in_memory(numbers()),
            ItemsKind::<Numbers<true>>::in_memory(counters()),
        ]
    });
    settings.network.delay_min = Duration::from_millis(5);
    settings.network.delay_max = Duration::from_millis(25);
    Cluster::new(settings)
}

/// A client that counts up by one, again and again, and says each sum twice.
fn count_up(town: &mut Cluster, through: &str, client: u64, times: u64) {
    let (node, requests) = (town.node(through), town.requests());
    let (name, clock) = (through.to_owned(), town.node(through).env().clock.clone());
    drop(town.spawn(async move {
        for counter in 0..times {
            let key = counter % 16;
            let during = if counter % 5 == 0 { During::Forward } else { During::Handle };
            let command = NumberCommand { action: Action::Add(key, 1), during };
            let op = Some(OpId { minter: client, counter });
            for _ in 0..2 {
                let ask = Ask { op, deadline: DEADLINE, ..Ask::single() };
                let open = requests.begun(&name, "an addition", DEADLINE);
                let _ = node.command::<Numbers>(&counters(), hash_of(key), &command, ask).await;
                open.ended();
            }
            let command = NumberCommand { action: Action::Put(key, counter), during };
            let open = requests.begun(&name, "a put", DEADLINE);
            let _ = node
                .command::<Numbers>(&numbers(), hash_of(key), &command, Ask::quorum(3, 2))
                .await;
            open.ended();
            clock.sleep(Duration::from_millis(10)).await;
        }
    }));
}

fn tried(town: &Cluster, sum: &mut BTreeMap<&'static str, u64>) {
    for (name, count) in town.invariants().exercised() {
        *sum.entry(name).or_default() += count;
    }
}

/// Two nodes join while two clients count, and a link between members fails for a while.
fn a_join_under_load_with_a_cut_link(seed: u64, sum: &mut BTreeMap<&'static str, u64>) {
    let mut town = town(seed);
    town.start(&["ada"]);
    count_up(&mut town, "ada", 1, 100);
    town.run_for(Duration::from_secs(1));
    town.start(&["bob", "cyd"]);
    town.stage_joins("ada", &["bob", "cyd"]);
    let plan = town.plan("ada", 2);
    let (node, id) = (town.node("ada"), plan.id);
    let epoch = town.ask("a commit", async move { node.commit(id).await }).unwrap();
    count_up(&mut town, "bob", 2, 100);
    town.run_for(Duration::from_millis(seed % 40 * 10));
    town.cut("ada", "bob");
    town.run_for(Duration::from_secs(25));
    town.heal("ada", "bob");
    let rest = Rest { plan: Some((plan, epoch)), ..Rest::default() };
    let rested = check_at_rest(&mut town, &rest);
    town.must(rested);
    assert_eq!(town.requests().open(), 0);
    tried(&town, sum);
}

/// A member is killed in the middle of its transfers and comes back without its items.
fn a_member_dies_on_the_way(seed: u64, sum: &mut BTreeMap<&'static str, u64>) {
    let mut town = town(seed);
    town.start(&["ada"]);
    count_up(&mut town, "ada", 1, 100);
    town.join("ada", &["bob", "cyd"]);
    town.run_for(Duration::from_millis(seed % 50 * 10));
    town.kill("bob");
    town.run_for(Duration::from_secs(30));
    town.start(&["bob"]);
    let lost = BTreeSet::from(["bob".to_owned()]);
    let rested = check_at_rest(&mut town, &Rest { lost, plan: None });
    town.must(rested);
    tried(&town, sum);
}

/// Vnodes move on before they have settled: one ring follows the other, under load, on slow links.
fn rings_that_follow_one_another(seed: u64, sum: &mut BTreeMap<&'static str, u64>) {
    let mut town = town(seed);
    town.start(&["ada"]);
    count_up(&mut town, "ada", 1, 200);
    town.links(|network| network.limit("ada", "bob", Some(20_000)));
    for (joiner, client) in [("bob", 2), ("cyd", 3), ("dan", 4)] {
        town.join("ada", &[joiner]);
        count_up(&mut town, joiner, client, 100);
        town.run_for(Duration::from_millis(seed % 10 * 60));
        if seed.is_multiple_of(3) {
            town.links(|network| network.reset("ada", joiner));
        }
    }
    if seed.is_multiple_of(2) {
        town.cut("bob", "cyd");
        town.run_for(Duration::from_secs(seed % 15));
        town.heal("bob", "cyd");
    }
    let rested = check_at_rest(&mut town, &Rest::default());
    town.must(rested);
    tried(&town, sum);
}

#[test]
fn the_promises_hold_and_each_is_tried() {
    let mut sum = BTreeMap::new();
    for_each_seed("tanodb-actors --features sim", "the_promises_hold", 4, |seed| {
        a_join_under_load_with_a_cut_link(seed, &mut sum);
        a_member_dies_on_the_way(seed, &mut sum);
        rings_that_follow_one_another(seed, &mut sum);
    });
    let never: Vec<_> = sum.iter().filter(|(_, count)| **count == 0).collect();
    assert!(never.is_empty(), "never tried: {never:?} of {sum:?}");
}
