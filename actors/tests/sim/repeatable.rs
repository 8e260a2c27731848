//! One seed, one run.

use std::time::Duration;

use tanodb_actors::runtime::observe::Observed;
use tanodb_actors::sim::cluster::{Cluster, ClusterSettings};
use tanodb_actors::sim::invariant::{Rest, check_at_rest};
use tanodb_actors::{Ask, ItemsKind};

use crate::numbers::{Action, During, NumberCommand, Numbers, hash_of, numbers};

fn play(seed: u64) -> u64 {
    let settings = ClusterSettings::new(seed, || vec![ItemsKind::<Numbers>::in_memory(numbers())]);
    let mut town = Cluster::new(settings);
    town.start(&["ada"]);
    for key in 0..100 {
        let node = town.node("ada");
        let put = NumberCommand { action: Action::Put(key, key), during: During::Handle };
        let done = town.ask("a put", async move {
            node.command::<Numbers>(&numbers(), hash_of(key), &put, Ask::single()).await
        });
        assert_eq!(done, Ok(Some(key)));
    }
    town.join("ada", &["bob", "cyd"]);
    town.settle();
    town.run_for(Duration::from_secs(60));
    let rested = check_at_rest(&mut town, &Rest::default());
    town.must(rested);
    town.assert_rings_agree();
    town.assert_each_partition_has_one_owner();
    for key in 0..100 {
        let node = town.node("cyd");
        let get = NumberCommand { action: Action::Get(key), during: During::Handle };
        let got = town.ask("a get", async move {
            node.command::<Numbers>(&numbers(), hash_of(key), &get, Ask::single()).await
        });
        assert_eq!(got, Ok(Some(key)));
    }
    town.trace().sum()
}

#[test]
fn one_seed_is_one_run() {
    let first: Vec<u64> = (0..5).map(play).collect();
    let again: Vec<u64> = (0..5).map(play).collect();
    assert_eq!(first, again);
    for (place, sum) in first.iter().enumerate() {
        assert!(!first[..place].contains(sum), "two seeds played alike");
    }
}

/// A short run, for many seeds: one node joins another that holds a few entries, and its link fails.
fn play_shortly(seed: u64) -> u64 {
    let mut settings =
        ClusterSettings::new(seed, || vec![ItemsKind::<Numbers>::in_memory(numbers())]);
    settings.network.lost_per_mille = 100;
    let mut town = Cluster::new(settings);
    town.start(&["ada"]);
    for key in 0..10 {
        let node = town.node("ada");
        let put = NumberCommand { action: Action::Put(key, key), during: During::Handle };
        drop(town.spawn(async move {
            node.command::<Numbers>(&numbers(), hash_of(key), &put, Ask::single()).await
        }));
    }
    town.join("ada", &["bob"]);
    town.cut("ada", "bob");
    town.run_for(Duration::from_secs(3));
    town.heal("ada", "bob");
    town.kill("bob");
    town.start(&["bob"]);
    town.run_for(Duration::from_secs(5));
    town.trace().sum()
}

#[test]
fn one_seed_is_one_run_whatever_other_threads_do() {
    let seeds = 0..24;
    let play_all = || seeds.clone().map(play_shortly).collect::<Vec<u64>>();
    let (one, other) = std::thread::scope(|scope| {
        let (one, other) = (scope.spawn(play_all), scope.spawn(play_all));
        (one.join().unwrap(), other.join().unwrap())
    });
    assert_eq!(one, other);
    let different: std::collections::BTreeSet<u64> = one.iter().copied().collect();
    assert_eq!(different.len(), one.len(), "two seeds played alike");
}

/// A node loses power at the moment of something it told, with more that it told behind that.
fn play_until_power_goes(seed: u64) -> u64 {
    let settings = ClusterSettings::new(seed, || vec![ItemsKind::<Numbers>::in_memory(numbers())]);
    let mut town = Cluster::new(settings);
    town.start(&["ada"]);
    town.join("ada", &["bob"]);
    town.run_until_seen("ada sends", |seen| {
        &*seen.node == "ada" && matches!(seen.event, Observed::SlotsHeld { outbound: 1.., .. })
    });
    town.power_off("ada");
    town.run_for(Duration::from_secs(2));
    town.trace().sum()
}

#[test]
fn one_seed_is_one_run_when_power_goes_in_the_middle_of_something() {
    let play_all = || (0..10).map(play_until_power_goes).collect::<Vec<u64>>();
    assert_eq!(play_all(), play_all());
}

/// What every node tells, without the moments, when its statuses are read so often.
fn told_while_reading(reads: u32) -> Vec<(String, Vec<String>)> {
    let mut settings = ClusterSettings::new(1, || vec![ItemsKind::<Numbers>::in_memory(numbers())]);
    // Nothing is drawn on the way: a read takes no chance from anybody.
    settings.network.delay_max = settings.network.delay_min;
    settings.network.lost_per_mille = 0;
    let mut town = Cluster::new(settings);
    town.start(&["ada"]);
    town.join("ada", &["bob"]);
    // Everything waits from here on, and says why.
    town.power_off("bob");
    let told = Told::default();
    town.invariants_mut().add(Box::new(told.clone()));
    for _ in 0..reads {
        for name in town.running() {
            let node = town.node(&name);
            let read = async move {
                let transfers = node.transfers().await.unwrap();
                drop((node.ring().await, node.members().await, node.partitions().await));
                (transfers.waiting.len(), node.requests().await)
            };
            let (waiting, _) = town.ask("all statuses", read);
            assert!(waiting > 0, "something waits, and its reason is read");
        }
    }
    let rest = Duration::from_secs(120).saturating_sub(town.elapsed());
    town.run_for(rest);
    told.0.borrow().clone().into_iter().collect()
}

/// Keeps what is told.
#[derive(Default, Clone)]
struct Told(std::rc::Rc<std::cell::RefCell<std::collections::BTreeMap<String, Vec<String>>>>);

impl tanodb_actors::sim::invariant::Invariant for Told {
    fn name(&self) -> &'static str {
        "told"
    }

    fn saw(&mut self, seen: &tanodb_actors::sim::trace::Seen) -> Result<(), String> {
        let mut told = self.0.borrow_mut();
        told.entry(seen.node.to_string()).or_default().push(seen.event.to_string());
        Ok(())
    }

    fn exercised(&self) -> u64 {
        0
    }
}

#[test]
fn reading_statuses_changes_nothing_that_nodes_do() {
    assert_eq!(told_while_reading(0), told_while_reading(20));
}
