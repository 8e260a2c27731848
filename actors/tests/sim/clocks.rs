//! A clock that is behind follows the stamps that its node stores.

use std::time::Duration;

use tanodb_actors::sim::cluster::{Cluster, ClusterSettings};
use tanodb_actors::sim::harness::for_each_seed;
use tanodb_actors::{Ask, ItemsKind};

use crate::numbers::{Action, During, NumberCommand, Numbers, hash_of, numbers};

const KEYS: u64 = 40;

/// Writes every key through one node, and waits for each.
fn write_all(town: &mut Cluster, through: &str, value: u64) {
    for key in 0..KEYS {
        let node = town.node(through);
        let action = Action::Write(key, value);
        let command = NumberCommand { action, during: During::Handle };
        let asked = async move {
            node.command::<Numbers>(&numbers(), hash_of(key), &command, Ask::quorum(2, 2)).await
        };
        assert_eq!(town.ask("a write", asked), Ok(Some(value)));
    }
}

/// Both nodes store what ada writes, so that bob, whose clock is behind, knows of a stamp above all of hers: each of
/// his writes is the newer one at once, and none is overtaken.
#[test]
fn a_node_whose_clock_is_behind_writes_what_is_newer_at_once() {
    for_each_seed("tanodb-actors --features sim --test sim", "a_clock_behind", 5, |seed| {
        let mut town = Cluster::new(ClusterSettings::new(seed, || {
            vec![ItemsKind::<Numbers>::in_memory(numbers())]
        }));
        town.start(&["ada"]);
        town.join("ada", &["bob"]);
        town.settle();
        town.skew("ada", 3_000);
        town.skew("bob", -3_000);
        write_all(&mut town, "ada", 1);
        town.run_for(Duration::from_millis(100));
        write_all(&mut town, "bob", 2);
        let bob = town.node("bob");
        let report = town.ask("a report", async move { bob.requests().await });
        assert_eq!(report.restamped, 0, "seed {seed}: writes of bob were overtaken");
    });
}
