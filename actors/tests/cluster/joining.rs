//! Nodes join, and the partitions move to them.

use std::time::Duration;

use tanodb_actors::{Ask, NodeSettings};

use crate::numbers::Action;
use crate::town::{Town, run};

/// The tutorial's ring: 64 partitions, of which 42 move, and every entry is there at every node.
#[test]
fn two_nodes_join_and_every_partition_moves_with_its_entries() {
    run(async {
        let mut town = Town::with("ada", NodeSettings::default()).await;
        for number in 0..100 {
            let put = Action::Put(number, number);
            town.act("ada", number, put, Ask::quorum(3, 2)).await.unwrap();
        }
        for joiner in ["bob", "cyd"] {
            town.start(joiner).await;
            town.node(joiner).join(town.node("ada").address()).await.unwrap();
        }
        let plan = town.node("ada").plan().await.unwrap();
        assert_eq!(plan.transfers.iter().map(|transfer| transfer.count).sum::<u32>(), 42);
        town.node("ada").commit(plan.id).await.unwrap();
        town.settled().await;
        for node in ["ada", "bob", "cyd"] {
            for number in 0..100 {
                let got = town.act(node, number, Action::Get(number), Ask::quorum(3, 2)).await;
                assert_eq!(got, Ok(Some(number)), "{number} at {node}");
            }
        }
    });
}

/// An operator waits for 10 seconds.
#[test]
fn a_commit_without_a_majority_says_in_time_who_is_missing() {
    run(async {
        let mut town = Town::of("ada").await;
        town.join("ada", &["bob"]).await;
        town.settled().await;
        town.kill("bob").await;
        town.start("cyd").await;
        town.node("cyd").join(town.node("ada").address()).await.unwrap();
        let plan = town.node("ada").plan().await.unwrap();
        let commit = town.node("ada").commit(plan.id);
        let refused = tokio::time::timeout(Duration::from_secs(9), commit).await.unwrap();
        let reason = refused.unwrap_err().reason;
        assert!(
            reason.ends_with("2 members must agree and these did not answer: 'bob@town'"),
            "{reason}"
        );
    });
}
