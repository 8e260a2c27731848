//! A connection that breaks in the middle of a transfer: nothing is lost, and the next attempt succeeds.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join_all;
use tanodb_actors::{Ask, AskError, CommandError, RingSize};
use tokio::task::spawn_local;

use crate::numbers::{Action, Numbers, hash_of, keys_in, numbers};
use crate::roads::{Name, Said};
use crate::town::{Town, now, run, until};

/// Items of a partition, and bytes of each.
const ITEMS: u64 = 100;
const BYTES: usize = 100;

/// Four partitions go from ada to bob, and the first transfer that gets so far breaks. A client writes all the
/// while. Returns whether a transfer was cancelled.
async fn breaks(said: Said, behind: u64) -> bool {
    let mut town = Town::of("ada").await;
    let size = RingSize::new(8).unwrap();
    let keys: Vec<u64> =
        size.partitions().map(|partition| keys_in(size, partition).next().unwrap()).collect();
    for &key in &keys {
        town.put("ada", key, 0).await;
        town.fill("ada", key, ITEMS, BYTES).await;
    }
    town.roads.break_transfer("ada", "bob", said, behind);
    town.join("ada", &["bob"]).await;

    let is_over = Cell::new(false);
    let writing = async {
        let mut round = 0;
        while !is_over.get() {
            round += 1;
            for &key in &keys {
                town.put("ada", key, round).await;
            }
        }
        round
    };
    let settling = async {
        town.settled().await;
        is_over.set(true);
    };
    let (rounds, ()) = tokio::join!(writing, settling);
    for &key in &keys {
        assert_eq!(town.get("bob", key).await, Some(rounds), "{key}, behind {behind}");
    }
    let mut held = town.node("ada").partitions().await;
    held.extend(town.node("bob").partitions().await);
    held.retain(|row| row.container == "owned");
    assert_eq!(held.len(), 8, "{held:?}");
    assert!(held.iter().all(|row| row.objects == ITEMS + 1), "{held:?}");

    let ended = town.transfers("ada").await.ended;
    let is_cancelled = ended.iter().any(|row| row.cancelled.is_some());
    // A connection that breaks behind the last word cancels nothing.
    assert!(!is_cancelled || !town.roads.is_whole("ada", "bob"), "{ended:?}");
    is_cancelled
}

/// Tries every so many bytes, until no transfer is that long; several towns at once, since most of them wait.
async fn breaks_everywhere(said: Said, step: u64, at_least: usize) {
    let mut cancelled = 0;
    for first in (0..).step_by(8) {
        let tries = (first..first + 8).map(|number| breaks(said, number * step));
        let these = join_all(tries).await.into_iter().filter(|&cancelled| cancelled).count();
        if these == 0 {
            break;
        }
        cancelled += these;
    }
    assert!(cancelled >= at_least, "{cancelled}");
}

#[test]
fn a_transfer_that_breaks_on_its_way_to_the_target_is_cancelled_and_tried_again() {
    run(breaks_everywhere(Said::BySource, 997, 12));
}

#[test]
fn a_transfer_that_breaks_on_its_way_back_is_cancelled_and_tried_again() {
    run(breaks_everywhere(Said::ByTarget, 19, 12));
}

/// What one of the two says to the other stays on its way from the fence on, and then the road between them is
/// cut: nobody knows what the other knows, until it is asked again.
async fn breaks_while_granting(from: Name, to: Name) {
    let mut town = Town::of("ada").await;
    let [key, other, _] = town.hold_one_up().await;
    town.put("ada", key, 7).await;
    town.roads.hold(from, to);
    town.roads.resume_transfers("ada", "bob");
    until("a grant is under way", async || {
        let active = town.node("ada").partitions().await;
        active.iter().any(|row| row.objects > 100 && row.state == "Granting")
    })
    .await;
    let ada = town.node("ada").clone();
    let put = now(Action::Put(other, 8));
    let patient = Ask { deadline: Duration::from_secs(20), ..Ask::single() };
    let asked = spawn_local(async move {
        ada.command::<Numbers>(&numbers(), hash_of(other), &put, patient).await
    });
    town.node("ada").requests().await;
    town.roads.cut("ada", "bob");
    town.roads.release(from, to);
    town.roads.heal("ada", "bob");
    town.settled().await;
    assert_eq!(town.get("bob", key).await, Some(7));
    match asked.await.unwrap() {
        Ok(put) => assert_eq!(put, Some(8)),
        Err(AskError::Failed(CommandError::QuorumNotMet { may_have_been_stored, .. })) => {
            assert!(may_have_been_stored);
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_grant_that_does_not_arrive_is_said_again() {
    run(breaks_while_granting("ada", "bob"));
}

#[test]
fn a_grant_whose_answer_does_not_arrive_is_asked_for_again() {
    run(breaks_while_granting("bob", "ada"));
}

#[test]
fn a_target_that_is_killed_on_the_way_leaves_everything_at_the_source() {
    run(async {
        let mut town = Town::of("ada").await;
        let [key, ..] = town.hold_one_up().await;
        town.kill("bob").await;
        until("the vnode waits for bob", async || {
            let waiting = town.transfers("ada").await.waiting;
            waiting.iter().any(|row| row.why.contains("the target 'bob@town' is down"))
        })
        .await;
        town.put("ada", key, 7).await;
        assert_eq!(town.get("ada", key).await, Some(7));
        let held = town.node("ada").partitions().await;
        assert!(held.iter().any(|row| row.state == "Owner" && row.objects == 161), "{held:?}");
    });
}

#[test]
fn what_was_staged_goes_when_its_source_is_killed() {
    run(async {
        let mut town = Town::of("ada").await;
        town.hold_one_up().await;
        let is_staged = async |town: &Town| {
            let held = town.node("bob").partitions().await;
            // Others may have been confirmed at that moment: they may be the only complete copy and stay.
            held.iter().any(|row| row.container == "staging" && row.objects > 0)
        };
        assert!(is_staged(&town).await);
        town.kill("ada").await;
        until("nothing is staged", async || !is_staged(&town).await).await;
    });
}
