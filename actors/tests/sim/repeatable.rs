//! One seed, one run.

use std::time::Duration;

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
