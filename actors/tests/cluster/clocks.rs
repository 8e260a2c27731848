//! Writes of one item through nodes whose clocks disagree.

use tanodb_actors::Ask;

use crate::numbers::{Action, keys_in};
use crate::town::{Town, run};

/// A town of two whose clocks are this many milliseconds wrong, and a key that lies at ada.
async fn two(ada: i64, bob: i64) -> (Town, u64) {
    let mut town = Town::of("ada").await;
    town.join("ada", &["bob"]).await;
    town.settled().await;
    town.clock("ada").set_wall_skew_millis(ada);
    town.clock("bob").set_wall_skew_millis(bob);
    let ring = town.node("ada").partitions().await;
    let at_ada = ring.iter().find(|row| row.container == "owned").unwrap();
    let partition = town.settings.ring_size.partition_at(at_ada.partition).unwrap();
    let key = keys_in(town.settings.ring_size, partition).next().unwrap();
    (town, key)
}

#[test]
fn the_later_write_wins_through_whichever_node_it_comes() {
    run(async {
        // The last pair is further apart than clocks are moved.
        for (ada, bob) in [(0, 0), (5_000, -3_000), (9_000, -9_000)] {
            let (town, key) = two(ada, bob).await;
            for value in (1..=20).step_by(2) {
                let first = town.act("ada", key, Action::Write(key, value), Ask::single()).await;
                assert_eq!(first, Ok(Some(value)));
                let write = Action::Write(key, value + 1);
                assert_eq!(town.act("bob", key, write, Ask::single()).await, Ok(Some(value + 1)));
                assert_eq!(town.get("ada", key).await, Some(value + 1));
            }
            let overtaken = town.node("bob").requests().await.restamped;
            assert!(overtaken > 0 || ada == bob, "{overtaken} writes of bob were overtaken");
        }
    });
}
