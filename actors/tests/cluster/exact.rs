//! Vnodes of class `Single`: each operation is executed once, wherever the vnode is.

use std::time::Duration;

use futures_util::future::join_all;
use tanodb_actors::{Ask, AskError, CommandError, ItemsKind, OpId};

use crate::numbers::{Action, Numbers, hash_of, numbers};
use crate::roads::Name;
use crate::town::{Kinds, Town, now, run};

const KEYS: u64 = 40;
const CLIENTS: u64 = 6;

fn single() -> Kinds {
    vec![ItemsKind::<Numbers<true>>::in_memory(numbers())]
}

async fn town_of_ada() -> Town {
    let mut town = Town::of("ada").await;
    town.kill("ada").await;
    town.start_with("ada", single()).await;
    town
}

async fn add(
    town: &Town,
    node: Name,
    key: u64,
    amount: u64,
    ask: Ask,
) -> Result<Option<u64>, AskError> {
    let node = town.node(node).clone();
    let add = now(Action::Add(key, amount));
    node.command::<Numbers<true>>(&numbers(), hash_of(key), &add, ask).await
}

/// Adds under one id until an answer comes. The first tries have hardly any time to be answered in.
async fn add_once(town: &Town, key: u64, op: OpId) -> u64 {
    for wait in [1, 2, 4, 8, 20_000] {
        let deadline = Duration::from_millis(wait);
        let ask = Ask { op: Some(op), deadline, ..Ask::single() };
        if let Ok(sum) = add(town, "ada", key, 1, ask).await {
            return sum.unwrap();
        }
    }
    panic!("no answer in time");
}

#[test]
fn an_operation_is_executed_once_however_often_it_is_asked_on_its_way() {
    run(async {
        let mut town = town_of_ada().await;
        for joiner in ["bob", "cyd"] {
            town.start_with(joiner, single()).await;
        }
        let client = async |number: u64| {
            let mut done = Vec::new();
            for counter in 1..=5 * KEYS {
                let op = OpId { minter: number, counter };
                let key = (counter + number) % KEYS;
                done.push((op, key, add_once(&town, key, op).await));
            }
            done
        };
        let clients = join_all((0..CLIENTS).map(client));
        let growing = async {
            town.commit("ada", &["bob", "cyd"]).await;
            town.settled().await;
        };
        let (done, ()) = tokio::join!(clients, growing);

        for name in ["ada", "bob", "cyd"] {
            for key in 0..KEYS {
                let sum = add(&town, name, key, 0, Ask::single()).await;
                assert_eq!(sum, Ok(Some(5 * CLIENTS)), "{key} at {name}");
            }
        }
        // What was replied then is replied now, by whoever owns the counter.
        for (op, key, sum) in done.into_iter().flatten() {
            let again = Ask { op: Some(op), ..Ask::single() };
            assert_eq!(add(&town, "cyd", key, 1, again).await, Ok(Some(sum)));
        }
        for key in 0..KEYS {
            assert_eq!(add(&town, "bob", key, 0, Ask::single()).await, Ok(Some(5 * CLIENTS)));
        }
    });
}

#[test]
fn an_operation_that_is_too_old_to_be_remembered_is_refused() {
    run(async {
        let town = town_of_ada().await;
        let old = Ask { op: Some(OpId { minter: 1, counter: 1 }), ..Ask::single() };
        assert_eq!(add(&town, "ada", 1, 1, old).await, Ok(Some(1)));
        assert_eq!(add(&town, "ada", 1, 1, old).await, Ok(Some(1)));

        let eleven_minutes = 11 * 60 * 1_000;
        town.clock("ada").set_wall_skew_millis(eleven_minutes);
        assert_eq!(add(&town, "ada", 1, 1, Ask::single()).await, Ok(Some(2)));
        let refused = add(&town, "ada", 1, 1, old).await;
        let Err(AskError::Failed(CommandError::QuorumNotMet {
            failures,
            may_have_been_stored: false,
            ..
        })) = &refused
        else {
            panic!("{refused:?}")
        };
        assert!(failures[0].reason.contains("too old to tell whether it was executed"));
        assert_eq!(add(&town, "ada", 1, 0, Ask::single()).await, Ok(Some(2)));
    });
}
