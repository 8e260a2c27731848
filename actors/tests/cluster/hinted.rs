//! Writes for a member that is down, and their way home.

use std::time::Duration;

use tanodb_actors::protocol::liveness::Patience;
use tanodb_actors::protocol::preference::primaries;
use tanodb_actors::wire::admin::PartitionRow;
use tanodb_actors::{Ask, NodeSettings};

use crate::numbers::{Action, hash_of};
use crate::roads::Name;
use crate::town::{Town, run, small, until};

const KEYS: u64 = 50;

/// Three members that soon take a lost one for down, and send hints home when they are left alone briefly.
async fn three() -> Town {
    let patience = Patience { lost_grace: Duration::from_millis(50), ..Patience::default() };
    let hinted_idle = Duration::from_millis(200);
    let mut town = Town::with("ada", NodeSettings { patience, hinted_idle, ..small() }).await;
    town.join("ada", &["bob", "cyd"]).await;
    town.settled().await;
    town
}

async fn hears(town: &Town, asked: Name, node: Name, is_up: bool) {
    let what = format!("{asked} takes {node} for {}", if is_up { "up" } else { "down" });
    until(&what, async || {
        let table = town.node(asked).members().await.unwrap();
        let name = format!("{node}@town");
        table.members.iter().any(|row| row.node.as_str() == name && row.up == is_up)
    })
    .await;
}

/// Every replica answers, some of them through stand-ins.
async fn put_all(town: &Town, value: u64) {
    for key in 0..KEYS {
        let put = town.act("ada", key, Action::Put(key, value), Ask::quorum(3, 3)).await;
        assert_eq!(put, Ok(Some(value)));
    }
}

async fn rows(town: &Town, names: &[Name]) -> Vec<PartitionRow> {
    let mut rows = Vec::new();
    for name in names {
        rows.extend(town.node(name).partitions().await);
    }
    rows
}

fn objects(rows: &[PartitionRow], container: &str) -> u64 {
    let of_it = rows.iter().filter(|row| row.container.starts_with(container));
    of_it.map(|row| row.objects).sum()
}

#[test]
fn writes_for_a_member_that_was_killed_are_kept_as_hints() {
    run(async {
        let mut town = three().await;
        town.kill("bob").await;
        hears(&town, "ada", "bob", false).await;
        put_all(&town, 7).await;
        let kept = rows(&town, &["ada", "cyd"]).await;
        assert!(objects(&kept, "hints(") > 0);
        assert_eq!(objects(&kept, "owned") + objects(&kept, "hints("), 3 * KEYS);
        for key in 0..KEYS {
            let got = town.act("cyd", key, Action::Get(key), Ask::quorum(3, 3)).await;
            assert_eq!(got, Ok(Some(7)));
        }
        until("the hints wait for bob", async || {
            let waiting = town.transfers("ada").await.waiting;
            waiting
                .iter()
                .any(|row| row.kind == "hinted" && row.why.contains("the owner 'bob@town' is down"))
        })
        .await;
    });
}

#[test]
fn stand_ins_that_have_nothing_do_not_hide_what_the_last_owner_holds() {
    run(async {
        let mut town = three().await;
        put_all(&town, 7).await;
        let size = town.settings.ring_size;
        let at_ada = rows(&town, &["ada"]).await;
        let at_ada: Vec<_> = at_ada.iter().map(|row| row.partition).collect();
        for gone in ["bob", "cyd"] {
            town.kill(gone).await;
        }
        for gone in ["bob", "cyd"] {
            hears(&town, "ada", gone, false).await;
        }
        let is_at_ada = |&key: &u64| {
            let mut replicas = primaries(size, hash_of(key), 3).into_iter();
            replicas.any(|partition| at_ada.contains(&size.index_of(partition)))
        };
        let mut read = 0;
        for key in (0..KEYS).filter(is_at_ada) {
            let got = town.act("ada", key, Action::Get(key), Ask::quorum(3, 2)).await;
            assert_eq!(got, Ok(Some(7)));
            read += 1;
        }
        assert!(read > KEYS / 2, "{read} keys were read");
    });
}

/// All the while somebody looks at everything there is to see, every 20 ms: that postpones nothing.
#[test]
fn hints_go_home_when_their_owner_is_heard_again() {
    run(async {
        let town = three().await;
        put_all(&town, 7).await;
        for name in ["ada", "cyd"] {
            town.roads.cut("bob", name);
        }
        hears(&town, "ada", "bob", false).await;
        hears(&town, "cyd", "bob", false).await;
        put_all(&town, 8).await;
        let hinted = objects(&rows(&town, &["ada", "cyd"]).await, "hints(");
        assert!(hinted > 0);

        let watching = async {
            loop {
                for name in ["ada", "bob", "cyd"] {
                    let node = town.node(name);
                    let _ = tokio::join!(node.partitions(), node.transfers(), node.ring());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let going_home = async {
            for name in ["ada", "cyd"] {
                town.roads.heal("bob", name);
            }
            until("no hints are left", async || {
                objects(&rows(&town, &["ada", "cyd"]).await, "hints(") == 0
            })
            .await;
        };
        tokio::select! {
            biased;
            () = watching => {}
            () = going_home => {}
        }
        assert_eq!(objects(&rows(&town, &["ada", "bob", "cyd"]).await, "owned"), 3 * KEYS);
        let ended = town.transfers("ada").await.ended;
        let home = ended.iter().filter(|row| row.kind == "hinted" && row.cancelled.is_none());
        let (sent, deleted) = home
            .fold((0, true), |(sent, deleted), row| (sent + row.objects, deleted && row.deleted));
        assert_eq!((sent, deleted), (hinted, true), "{ended:?}");
        // What bob itself says, without asking anybody else.
        let mut at_bob = 0;
        for key in 0..KEYS {
            let all = Ask { owners_needed: 3, ..Ask::quorum(3, 3) };
            assert_eq!(town.act("bob", key, Action::Get(key), all).await, Ok(Some(8)));
            at_bob += 1;
        }
        assert_eq!(at_bob, KEYS);
    });
}
