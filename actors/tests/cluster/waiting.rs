//! What a handoff waits for, and what it does not wait for.

use tanodb_actors::{Ask, ItemsKind, VnodeType};

use crate::numbers::{Action, Numbers, hash_of, keys_in, numbers};
use crate::town::{Town, now, run, until};

/// Nothing that is said reaches cyd, so cyd does not learn of the ring that lets dan in; its own words reach
/// the others, so nobody takes it for down.
#[test]
fn nothing_moves_before_every_member_has_seen_the_ring() {
    run(async {
        let mut town = Town::of("ada").await;
        town.join("ada", &["bob", "cyd"]).await;
        town.settled().await;
        let ended = town.transfers("ada").await.ended.len();

        town.start("dan").await;
        for name in ["ada", "bob", "dan"] {
            town.roads.hold(name, "cyd");
        }
        town.commit("ada", &["dan"]).await;
        for name in ["ada", "bob", "dan"] {
            until("the new ring is here, and cyd has not seen it", async || {
                let ring = town.node(name).ring().await.unwrap();
                let not_seen: Vec<_> = ring.not_seen_by.iter().map(|node| node.as_str()).collect();
                ring.epoch.0 == 3 && not_seen == ["cyd@town"]
            })
            .await;
        }
        let report = town.transfers("ada").await;
        assert!(report.waiting.len() > 1 && report.active.is_empty(), "{report:?}");
        for row in &report.waiting {
            assert!(row.why.contains("waiting for 'cyd@town'"), "{}", row.why);
        }
        assert_eq!(report.ended.len(), ended, "{report:?}");

        for name in ["ada", "bob", "dan"] {
            town.roads.release(name, "cyd");
        }
        town.settled().await;
        assert!(town.node("dan").partitions().await.iter().any(|row| row.container == "owned"));
    });
}

/// Only ada hosts a second type. It stays where it is, and neither the numbers nor the next plan wait for it.
#[test]
fn a_type_that_only_some_nodes_host_holds_nothing_up() {
    run(async {
        let mut town = Town::of("ada").await;
        town.kill("ada").await;
        let rare = VnodeType::new("rare").unwrap();
        let kinds =
            [numbers(), rare.clone()].map(|name| ItemsKind::<Numbers>::in_memory(name) as _);
        town.start_with("ada", kinds.into()).await;
        let size = town.settings.ring_size;
        let first = |partition| keys_in(size, partition).next().unwrap();
        let keys: Vec<u64> = size.partitions().map(first).collect();
        let rarely = async |town: &Town, key: u64, action: Action| {
            let ada = town.node("ada").clone();
            ada.command::<Numbers>(&rare, hash_of(key), &now(action), Ask::single()).await.unwrap()
        };
        for &key in &keys {
            town.put("ada", key, key).await;
            rarely(&town, key, Action::Put(key, key + 1)).await;
        }
        town.join("ada", &["bob"]).await;
        town.settled().await;
        town.join("bob", &["cyd"]).await;
        town.settled().await;
        for &key in &keys {
            assert_eq!(town.get("cyd", key).await, Some(key));
            assert_eq!(rarely(&town, key, Action::Get(key)).await, Some(key + 1));
        }
        let report = town.transfers("ada").await;
        assert_eq!((report.waiting.len(), report.active.len()), (0, 0), "{report:?}");
        assert!(report.ended.iter().all(|row| row.cancelled.is_none()), "{report:?}");
    });
}
