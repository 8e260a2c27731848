//! Whole nodes in one process, over loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

mod town;

use std::time::Duration;

use tanodb_actors::wire::admin::{AdminAnswer, AdminRequest};
use town::{Town, run};

#[test]
fn two_nodes_join_and_every_partition_moves_with_its_entries() {
    run(async {
        let mut town = Town::of("ada").await;
        for number in 0..100 {
            town.put(0, number, number).await.unwrap();
        }
        town.start("bob").await;
        town.start("cyd").await;
        for joiner in [1, 2] {
            let contact = town.nodes[0].address().to_owned();
            let answer = town.nodes[joiner].admin(AdminRequest::Join { contact }).await;
            assert!(matches!(answer, AdminAnswer::JoinStaged { .. }), "{answer:?}");
        }
        let AdminAnswer::Plan(plan) = town.nodes[0].admin(AdminRequest::Plan).await else {
            panic!("a plan is shown")
        };
        let moved: u32 = plan.transfers.iter().map(|transfer| transfer.count).sum();
        assert_eq!(moved, 42);
        let answer = town.nodes[0].admin(AdminRequest::Commit { plan: None }).await;
        assert!(matches!(answer, AdminAnswer::Committed { .. }), "{answer:?}");
        town.settled(Duration::from_secs(20)).await;
        for node in 0..3 {
            for number in 0..100 {
                assert_eq!(
                    town.get(node, number).await.unwrap(),
                    Some(number),
                    "{number} at {node}"
                );
            }
        }
    });
}
