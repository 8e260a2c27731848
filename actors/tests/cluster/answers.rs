//! What a vnode can answer besides a reply, and what becomes of a vnode that stops or panics.

use tanodb_actors::{Ask, AskError, CommandError};
use tokio::task::spawn_local;

use crate::numbers::{Action, During, NumberCommand, Numbers, hash_of, numbers};
use crate::town::{Town, run, until};

/// Why a command at one replica failed.
fn reason(answer: Result<Option<u64>, AskError>) -> String {
    match answer {
        Err(AskError::Failed(CommandError::QuorumNotMet { failures, .. })) => {
            failures[0].reason.clone()
        }
        other => panic!("{other:?}"),
    }
}

async fn restarted(town: &Town, times: u64) {
    until("the vnode was started again", async || town.node("ada").vnode_restarts().await == times)
        .await;
}

#[test]
fn a_command_may_be_done_without_a_reply_or_after_work_elsewhere() {
    run(async {
        let town = Town::of("ada").await;
        let quietly = town.act("ada", 1, Action::PutQuietly(1, 7), Ask::single()).await;
        assert_eq!(quietly, Ok(None));
        assert_eq!(town.get("ada", 1).await, Some(7));
        let later = town.act("ada", 2, Action::PutLater(2, 8), Ask::single()).await;
        assert_eq!(later, Ok(Some(8)));
        assert_eq!(town.get("ada", 2).await, Some(8));
    });
}

#[test]
fn a_vnode_that_stops_answers_and_comes_back_with_its_items() {
    run(async {
        let town = Town::of("ada").await;
        town.put("ada", 1, 7).await;
        let stopped = town.act("ada", 1, Action::PutAndStop(1, 8), Ask::single()).await;
        assert_eq!(reason(stopped), "stopped: 1 was too much");
        restarted(&town, 1).await;
        assert_eq!(town.get("ada", 1).await, Some(7));
    });
}

#[test]
fn a_vnode_that_panics_answers_and_comes_back_with_its_items() {
    run(async {
        let town = Town::of("ada").await;
        town.put("ada", 1, 7).await;
        let panicked = town.act("ada", 1, Action::PutAndPanic(1, 8), Ask::single()).await;
        assert_eq!(reason(panicked), "stopped: whoever should have executed it is gone");
        restarted(&town, 1).await;
        assert_eq!(town.get("ada", 1).await, Some(7));
    });
}

/// The vnode stops while it is on its way and a command is parked: the handoff begins anew, and the parked
/// command, which was not executed, is.
#[test]
fn a_vnode_that_stops_on_its_way_starts_the_way_anew() {
    run(async {
        let mut town = Town::of("ada").await;
        let [parked, stops, _] = town.hold_one_up().await;
        let put = NumberCommand { action: Action::Put(parked, 7), during: During::Forward };
        let ada = town.node("ada").clone();
        let answer = spawn_local(async move {
            ada.command::<Numbers>(&numbers(), hash_of(parked), &put, Ask::single()).await
        });
        tokio::task::yield_now().await;
        let stopped = town.act("ada", stops, Action::PutAndStop(stops, 8), Ask::single()).await;
        assert_eq!(reason(stopped), format!("stopped: {stops} was too much"));
        assert_eq!(answer.await.unwrap(), Ok(Some(7)));

        town.roads.resume_transfers("ada", "bob");
        town.settled().await;
        assert_eq!(town.node("ada").vnode_restarts().await, 1);
        assert_eq!(town.get("bob", parked).await, Some(7));
        let held = town.node("bob").partitions().await;
        assert_eq!(held.iter().map(|row| row.objects).sum::<u64>(), 161);
    });
}
