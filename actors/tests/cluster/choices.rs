//! What an author decides about a handoff: which commands wait for it, and whether it starts.

use std::time::Duration;

use tanodb_actors::{Ask, AskError};
use tokio::task::{JoinHandle, spawn_local};

use crate::numbers::{Action, During, NumberCommand, Numbers, hash_of, keys_in, numbers};
use crate::roads::Said;
use crate::town::{Town, run, until};

/// A town in which a partition is on its way from ada to bob and stays there, and three keys in it.
async fn held_up() -> (Town, [u64; 3]) {
    let mut town = Town::of("ada").await;
    let keys = town.hold_one_up().await;
    (town, keys)
}

type Asked = JoinHandle<Result<Option<u64>, AskError>>;

/// Asks ada to put, with much time.
fn ask(town: &Town, key: u64, value: u64, during: During) -> Asked {
    let ada = town.node("ada").clone();
    let command = NumberCommand { action: Action::Put(key, value), during };
    let patient = Ask { deadline: Duration::from_secs(20), ..Ask::single() };
    spawn_local(
        async move { ada.command::<Numbers>(&numbers(), hash_of(key), &command, patient).await },
    )
}

/// Has a put parked, and returns when it is.
async fn park(town: &Town, key: u64, value: u64) -> Asked {
    let parked = ask(town, key, value, During::Forward);
    tokio::task::yield_now().await;
    // What is asked later is answered earlier.
    town.put("ada", key, value + 1).await;
    assert!(!parked.is_finished());
    parked
}

#[test]
fn a_command_is_handled_forwarded_or_dropped_as_its_author_says() {
    run(async {
        let (town, [handled, forwarded, dropped]) = held_up().await;
        town.put("ada", handled, 7).await;
        assert_eq!(town.get("ada", handled).await, Some(7));

        let tried = town.node("ada").requests().await.retries;
        let drops = ask(&town, dropped, 7, During::Drop);
        until("a dropped command was asked again", async || {
            town.node("ada").requests().await.retries > tried + 2
        })
        .await;
        assert_eq!(town.get("ada", dropped).await, None);

        let parked = park(&town, forwarded, 7).await;
        town.roads.resume_transfers("ada", "bob");
        assert_eq!(parked.await.unwrap(), Ok(Some(7)));
        assert_eq!(drops.await.unwrap(), Ok(Some(7)));
        town.settled().await;
        // It ran behind the put that was handled, at the new owner.
        assert_eq!(town.get("bob", forwarded).await, Some(7));
        assert_eq!(town.get("bob", handled).await, Some(7));
        assert_eq!(town.get("bob", dropped).await, Some(7));
    });
}

#[test]
fn a_parked_command_whose_time_is_up_is_answered_as_not_executed() {
    run(async {
        let (town, [key, ..]) = held_up().await;
        let put = NumberCommand { action: Action::Put(key, 7), during: During::Forward };
        let soon = Ask { deadline: Duration::from_millis(200), ..Ask::single() };
        // On a machine that is busy at that moment the answer comes too late; then nobody knows.
        until("the answer says that it was not executed", async || {
            let answer = town.say("ada", key, put.clone(), soon).await;
            let Err(AskError::Failed(error)) = answer else { panic!("{answer:?}") };
            error.to_string().contains("expired before it was executed")
        })
        .await;
        town.roads.resume_transfers("ada", "bob");
        town.settled().await;
        assert_eq!(town.get("bob", key).await, None);
    });
}

#[test]
fn a_parked_command_runs_at_the_source_when_the_handoff_is_cancelled() {
    run(async {
        let (town, [key, other, _]) = held_up().await;
        let parked = park(&town, key, 7).await;
        town.roads.break_transfer("ada", "bob", Said::BySource, 0);
        assert_eq!(parked.await.unwrap(), Ok(Some(7)));
        assert_eq!(town.get("ada", key).await, Some(7));
        assert!(!town.moves("ada", "bob").await.is_empty(), "nothing has moved");

        town.roads.resume_transfers("ada", "bob");
        town.settled().await;
        town.put("bob", other, 8).await;
        assert_eq!(town.get("bob", key).await, Some(7));
    });
}

#[test]
fn a_handoff_that_the_vnode_refuses_says_so_and_is_tried_again() {
    run(async {
        let mut town = Town::of("ada").await;
        for partition in town.settings.ring_size.partitions() {
            let key = keys_in(town.settings.ring_size, partition).next().unwrap();
            town.put("ada", key, key).await;
            town.act("ada", key, Action::Refuse(u32::MAX), Ask::single()).await.unwrap();
        }
        town.join("ada", &["bob"]).await;
        until("the refusal is the reason of the wait", async || {
            let report = town.transfers("ada").await;
            let refused = "the vnode refused to start";
            report.waiting.iter().any(|row| row.attempts > 1 && row.why.contains(refused))
        })
        .await;
        assert_eq!(town.moves("ada", "bob").await.len(), 4);

        for partition in town.settings.ring_size.partitions() {
            let key = keys_in(town.settings.ring_size, partition).next().unwrap();
            town.act("ada", key, Action::Refuse(0), Ask::single()).await.unwrap();
        }
        town.settled().await;
        let moved = town.transfers("ada").await.ended;
        assert_eq!(moved.iter().filter(|row| row.cancelled.is_none()).count(), 4);
        for partition in town.settings.ring_size.partitions() {
            let key = keys_in(town.settings.ring_size, partition).next().unwrap();
            assert_eq!(town.get("bob", key).await, Some(key));
        }
    });
}
