//! A node that is stopped for a while: others stand in for it, and bring home what they took.

use std::collections::BTreeSet;

use tanodb::client::Options;
use tanodb::config::setting::HINTED_IDLE;
use tanodb_actors::protocol::hash::{RingSize, key_hash};

use crate::cluster::{BUCKET, Brake, Cluster, Entry, entries, until};
use crate::lives::{Completed, rebuilt};

const RING_SIZE: u32 = 12;

/// The node that is stopped.
const AWAY: usize = 2;

/// Two copies of each key, at their owners or at whoever stands in.
fn two_copies() -> Options {
    Options { n: 2, r: 2, w: 2, ..Options::default() }
}

/// The first copy of a key, at its owner.
fn first_copy() -> Options {
    Options { n: 1, r: 1, w: 1, owners: 1, ..Options::default() }
}

/// Entries whose first replica a node holds.
async fn of_owner(cluster: &Cluster, owner: usize, all: Vec<Entry>) -> Vec<Entry> {
    let table = cluster.partitions(0).await;
    let size = RingSize::new(RING_SIZE).expect("a legal size");
    let rows = table.rows.iter().filter(|row| row.node == *cluster.name(owner));
    let held: BTreeSet<_> = rows.map(|row| row.partition).collect();
    let first =
        |entry: &Entry| size.index_of(size.partition_of(key_hash(BUCKET, entry.key.as_bytes())));
    all.into_iter().filter(|entry| held.contains(&first(entry))).collect()
}

/// Whether a node hears the one that is away.
async fn until_heard(cluster: &Cluster, number: usize, heard: bool) {
    let away = cluster.name(AWAY);
    until("the others know whether it is there", async || {
        let table = cluster.members(number).await;
        let row = table.members.iter().find(|row| row.node == *away).expect("a member");
        if row.up == heard { Ok(()) } else { Err(table) }
    })
    .await;
}

#[tokio::test]
async fn what_was_written_while_an_owner_was_away_comes_home_when_it_is_back() {
    let cluster = Cluster::settled(3, RING_SIZE, &[(&HINTED_IDLE, "1s")]).await;
    let stored = of_owner(&cluster, AWAY, entries(60, 10)).await;
    assert!(stored.len() > 5, "{stored:?}");
    let brake = cluster.brake(AWAY);
    brake.pull();
    until_heard(&cluster, 0, false).await;

    let client = cluster.client(0);
    for Entry { key, value } in &stored {
        let value = value.clone();
        client.put(BUCKET, key.as_bytes(), value, &two_copies()).await.expect("somebody stands in");
        let strict = client.put(BUCKET, key.as_bytes(), "not this", &first_copy()).await;
        assert!(strict.is_err(), "nobody but the owner may take it");
    }
    until("what waits says for whom", async || {
        let waiting = cluster.transfers(0).await.waiting;
        let why = format!("the owner '{}' is down; generation ", cluster.name(AWAY));
        let says = !waiting.is_empty() && waiting.iter().all(|row| row.why.starts_with(&why));
        if says { Ok(()) } else { Err(waiting) }
    })
    .await;
    drop(brake);
    until("the hints are home", async || {
        let table = cluster.partitions(0).await;
        let are_left = table.rows.iter().any(|row| row.container.starts_with("hints"));
        if are_left || !table.silent.is_empty() { Err(table) } else { Ok(()) }
    })
    .await;
    let told = rebuilt(&cluster).unwrap_or_else(|complaints| panic!("{}", complaints.join("\n")));
    let home: Vec<&Completed> = told.iter().filter(|one| one.kind == "hinted").collect();
    assert!(home.iter().all(|one| one.target == AWAY), "{home:?}");
    assert_eq!(home.iter().map(|one| one.objects).sum::<u64>(), stored.len() as u64, "{home:?}");

    // Who stood in cannot answer now: the copies are the owner's.
    let brakes = [cluster.brake(0), cluster.brake(1)];
    brakes.iter().for_each(Brake::pull);
    let complaints = cluster.complaints(&[AWAY], &stored, &first_copy()).await;
    assert_eq!(complaints, [""; 0]);
}
