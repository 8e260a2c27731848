//! What a handoff waits for, and what it does not wait for.

use crate::town::{Town, run, until};

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
