//! A fold is read page by page: between two pages commands are answered.

use tanodb_actors::Ask;

use crate::numbers::{Action, keys_in};
use crate::town::{Town, run};

const ITEMS: u64 = 200_000;

/// Items that may be folded between two commands of four clients. A page has 1,024; a fold that collected its
/// partition would have all.
const FOLDED_MAX: u64 = 8 * 1_024;

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
        let client = async || {
            let mut most = 0;
            let mut asked = 0_u64;
            loop {
                let folded = town.act("ada", key, Action::Folded, Ask::single()).await;
                let folded = folded.unwrap().unwrap();
                if asked > 0 && folded < most {
                    // Another vnode answers, at the new owner, which has folded nothing.
                    return (most, asked);
                }
                most = most.max(folded);
                asked += 1;
            }
        };
        let clients = tokio::join!(client(), client(), client(), client());
        let all = [clients.0, clients.1, clients.2, clients.3];
        let most = all.iter().map(|(most, _)| *most).max().unwrap();
        let asked: u64 = all.iter().map(|(_, asked)| *asked).sum();
        assert!(most > 0 && most <= FOLDED_MAX, "{all:?}");
        assert!(asked > ITEMS / FOLDED_MAX, "{all:?}");
        town.settled().await;
        let held = town.node("bob").partitions().await;
        assert!(held.iter().any(|row| row.objects == ITEMS), "{held:?}");
    });
}
