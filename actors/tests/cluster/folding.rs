//! A fold is read page by page: between two pages commands are answered.

use tanodb_actors::{Ask, Node};

use crate::numbers::{Action, Numbers, hash_of, keys_in, numbers};
use crate::town::{Town, now, run};

const ITEMS: u64 = 200_000;

/// Items that may be folded between two commands of four clients. A page has 1,024, and a thread looks at sockets and
/// timers once in some thirty pages; a fold that collected its partition would have all.
const FOLDED_MAX: u64 = 32 * 1_024;

/// Asks until another vnode answers, at the new owner, which has folded nothing. How much was folded at once by then,
/// and how often it asked.
async fn ask_until_it_moved(node: Node, key: u64) -> (u64, u64) {
    let (mut most, mut asked) = (0, 0);
    loop {
        let command = now(Action::Folded);
        let (hash, ask) = (hash_of(key), Ask::single());
        let folded = node.command::<Numbers>(&numbers(), hash, &command, ask).await;
        let folded = folded.unwrap().unwrap();
        if asked > 0 && folded < most {
            return (most, asked);
        }
        most = most.max(folded);
        asked += 1;
    }
}

#[test]
fn a_fold_of_many_items_answers_commands_between_its_pages() {
    run(async {
        let mut town = Town::of("ada").await;
        town.roads.stop_transfers("ada", "bob", 0);
        town.join("ada", &["bob"]).await;
        let moves = town.moves("ada", "bob").await;
        let key = keys_in(town.settings.ring_size, moves[0]).next().unwrap();
        town.fill("ada", key, ITEMS, 8).await;

        town.roads.resume_transfers("ada", "bob");
        // Tasks of their own get their turns beside those that fold.
        let clients = [(); 4]
            .map(|()| tokio::task::spawn_local(ask_until_it_moved(town.node("ada").clone(), key)));
        let mut all = Vec::new();
        for client in clients {
            all.push(client.await.unwrap());
        }
        let most = all.iter().map(|(most, _)| *most).max().unwrap();
        let asked: u64 = all.iter().map(|(_, asked)| *asked).sum();
        assert!(most > 0 && most <= FOLDED_MAX, "{all:?}");
        assert!(asked > ITEMS / FOLDED_MAX, "{all:?}");
        town.settled().await;
        let held = town.node("bob").partitions().await;
        assert!(held.iter().any(|row| row.objects == ITEMS), "{held:?}");
    });
}
