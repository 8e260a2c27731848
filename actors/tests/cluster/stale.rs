//! A coordinator that has not heard where a partition went.

use tanodb_actors::Ask;
use tokio::task::spawn_local;

use crate::numbers::{Action, Numbers, hash_of, keys_in, numbers};
use crate::town::{Town, now, run, until};

/// What bob asks of ada is under way for so long that the partition has gone to cyd when it arrives: ada names
/// the new owner, and bob asks there.
#[test]
fn a_command_to_a_former_owner_is_sent_on_to_the_new_one() {
    run(async {
        let mut town = Town::of("ada").await;
        town.join("ada", &["bob"]).await;
        town.settled().await;
        town.roads.stop_transfers("ada", "cyd", 0);
        town.join("ada", &["cyd"]).await;
        until("a transfer has begun", async || !town.transfers("ada").await.active.is_empty())
            .await;
        let moving = town.moves("ada", "cyd").await;
        assert!(!moving.is_empty());
        let keys = moving
            .iter()
            .map(|&partition| keys_in(town.settings.ring_size, partition).next().unwrap());
        let keys: Vec<u64> = keys.collect();
        assert_eq!(town.node("bob").requests().await.moved, 0);

        town.roads.hold("bob", "ada");
        let asked: Vec<_> = keys
            .iter()
            .map(|&key| {
                let bob = town.node("bob").clone();
                let put = now(Action::Put(key, key));
                spawn_local(async move {
                    bob.command::<Numbers>(&numbers(), hash_of(key), &put, Ask::single()).await
                })
            })
            .collect();
        town.node("bob").requests().await;
        town.roads.resume_transfers("ada", "cyd");
        until("ada has given everything away", async || town.moves("ada", "cyd").await.is_empty())
            .await;
        town.roads.release("bob", "ada");
        for (asked, &key) in asked.into_iter().zip(&keys) {
            assert_eq!(asked.await.unwrap(), Ok(Some(key)));
            assert_eq!(town.get("cyd", key).await, Some(key));
        }
        let report = town.node("bob").requests().await;
        assert_eq!(report.moved, keys.len() as u64, "{report:?}");
    });
}
