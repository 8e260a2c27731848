//! Processes killed in the middle of transfers: what was acknowledged stays readable where a quorum of it is
//! left, what waits says for whom, and nothing hangs.

use std::time::{Duration, Instant};

use tanodb::client::{ClientError, Options};
use tanodb::config::setting::TRANSFER_LIMIT;
use tanodb_actors::wire::admin::{AdminAnswer, AdminRequest, RingReport, WaitingRow};

use crate::cluster::{BUCKET, Brake, Cluster, Entry, PATIENCE, entries, until};
use crate::log_lines::{Line, lines};

/// Of three nodes, and then of four, none has two replicas of a key.
const RING_SIZE: u32 = 12;

/// Each partition has more than may be sent before any of it was acknowledged, 8 MiB: a transfer that has
/// begun is not over at once.
const ENTRIES: usize = 400;
const ENTRY_BYTES: usize = 100_000;

/// Keys of which a single copy is asked for. A quarter of the copies, at the least, is lost.
const ASKED_FOR_ONE_COPY: usize = 40;

/// One transfer at a time from each node, so that there are many moments to meet one.
async fn one_by_one(count: usize, stored: &[Entry]) -> Cluster {
    let settings = [(&TRANSFER_LIMIT, "1")];
    let cluster = match count {
        1 => {
            let mut cluster = Cluster::empty(RING_SIZE, &settings);
            cluster.start(1).await;
            cluster
        }
        _ => Cluster::settled(count, RING_SIZE, &settings).await,
    };
    cluster.put_all(0, stored).await;
    cluster
}

/// Joins new nodes and commits.
async fn grow(cluster: &mut Cluster, by: usize) {
    let before = cluster.count();
    cluster.start(by).await;
    for joiner in before..before + by {
        cluster.join(joiner, 0).await;
    }
    cluster.commit(0, before + by).await;
}

fn lines_of(cluster: &Cluster, number: usize, transfer: &str) -> Vec<Line> {
    let all = cluster.log(number);
    lines(&all).filter(|line| line.transfer.as_deref() == Some(transfer)).collect()
}

fn has(lines: &[Line], text: &str) -> bool {
    lines.iter().any(|line| line.text.contains(text))
}

/// Who is stopped.
#[derive(Debug, Clone, Copy)]
enum End {
    Source,
    Target,
}

/// A transfer that is on its way: its target does not have everything yet.
struct Caught {
    transfer: String,
    source: usize,
    brake: Brake,
}

/// Stops one end of a transfer to `target` while parts of it are under way. Follows the target's log as
/// closely as it can, because a transfer takes milliseconds; one that was too quick is let go.
fn caught(cluster: &Cluster, target: usize, end: End) -> Caught {
    let (began, mut missed) = (Instant::now(), Vec::new());
    while began.elapsed() < PATIENCE {
        let brakes: Vec<Brake> = (0..cluster.count()).map(|number| cluster.brake(number)).collect();
        let Some(transfer) = next_transfer(cluster, target, &missed) else { break };
        let starts =
            |number: &usize| has(&lines_of(cluster, *number, &transfer), "handoff starting");
        let source = (0..cluster.count()).find(starts).expect("somebody sends");
        let stopped = match end {
            End::Source => source,
            End::Target => target,
        };
        brakes[stopped].pull();
        let has_all = has(&lines_of(cluster, target, &transfer), "exited after processing");
        if !has_all {
            let brake = brakes.into_iter().nth(stopped).expect("each node has one");
            return Caught { transfer, source, brake };
        }
        missed.push(transfer);
    }
    panic!("every transfer was too quick: {missed:?}")
}

/// Waits for the next transfer to a node, and names it.
fn next_transfer(cluster: &Cluster, target: usize, seen: &[String]) -> Option<String> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let log = cluster.log(target);
        let mut begun = lines(&log).filter(|line| line.text.starts_with("Receiving handoff data"));
        let transfer =
            begun.find_map(|line| line.transfer.filter(|transfer| !seen.contains(transfer)));
        if transfer.is_some() {
            return transfer;
        }
        std::thread::yield_now();
    }
    None
}

async fn ring_status(cluster: &Cluster, number: usize) -> RingReport {
    let answer = cluster.ask(number, AdminRequest::RingStatus).await;
    let AdminAnswer::RingStatus(report) = answer else { panic!("{answer:?}") };
    *report
}

#[tokio::test]
async fn a_killed_target_leaves_everything_at_the_source_and_the_wait_names_it() {
    let stored = entries(ENTRIES, ENTRY_BYTES);
    let mut cluster = one_by_one(1, &stored).await;
    grow(&mut cluster, 2).await;
    let killed = cluster.name(1).clone();
    let Caught { transfer, source: _, brake } = caught(&cluster, 1, End::Target);
    cluster.kill(1);
    drop(brake);

    until("the source cancels the transfer", async || {
        let lines = lines_of(&cluster, 0, &transfer);
        if has(&lines, "handoff cancelled") { Ok(()) } else { Err(lines) }
    })
    .await;
    let waits = format!("the target '{killed}' is down; start it, or remove it from the cluster");
    until("only what goes to the dead node is left, and says so", async || {
        let (report, ring) = (cluster.transfers(0).await, ring_status(&cluster, 0).await);
        let is_named = report.down == [killed.clone()];
        let is_left = |row: &WaitingRow| row.target == killed && row.why == waits;
        let only_these = ring.pending.iter().all(|one| one.next == killed);
        let all_wait = !report.waiting.is_empty() && report.waiting.iter().all(is_left);
        if is_named && only_these && all_wait && report.active.is_empty() {
            assert_eq!(ring.pending.len(), report.waiting.len());
            Ok(())
        } else {
            Err((report, ring))
        }
    })
    .await;

    cluster.must_have_all(&[0, 2], &stored).await;
    let later = [Entry { key: "later".to_owned(), value: "written after the kill".to_owned() }];
    cluster.put_all(2, &later).await;
    cluster.must_have_all(&[0], &later).await;
}

#[tokio::test]
async fn what_a_killed_source_had_sent_is_discarded_and_its_next_life_answers_lost() {
    let stored = entries(ENTRIES, ENTRY_BYTES);
    let mut cluster = one_by_one(3, &stored).await;
    grow(&mut cluster, 1).await;
    let Caught { transfer, source, brake } = caught(&cluster, 3, End::Source);
    cluster.kill(source);
    drop(brake);

    until("the target discards what was staged", async || {
        let lines = lines_of(&cluster, 3, &transfer);
        if has(&lines, "what was staged is discarded") { Ok(()) } else { Err(lines) }
    })
    .await;
    let living: Vec<usize> = (0..4).filter(|number| *number != source).collect();
    cluster.must_have_all(&living, &stored).await;

    cluster.restart(source).await;
    until("the others hear the restarted node", async || {
        let table = cluster.members(living[0]).await;
        if table.members.iter().all(|member| member.up) { Ok(()) } else { Err(table) }
    })
    .await;
    cluster.must_have_all(&[source], &stored[..ASKED_FOR_ONE_COPY]).await;
    for number in [living[0], source] {
        only_copies_are_lost_never_missing(&cluster, number, &stored).await;
    }
}

/// Asks for one replica of each key: those of the restarted node answer that they are lost.
async fn only_copies_are_lost_never_missing(cluster: &Cluster, number: usize, stored: &[Entry]) {
    let client = cluster.client(number);
    // A link that was just lost is tried again within 2 seconds.
    let deadline = Duration::from_secs(4);
    let options = Options { n: 1, r: 1, w: 1, deadline, ..Options::default() };
    let read = async |entry: &Entry| {
        let found = client.get(BUCKET, entry.key.as_bytes(), &options).await;
        match found {
            Ok(Some(value)) => {
                assert_eq!(value, entry.value.as_bytes());
                false
            }
            Ok(None) => panic!("{} is said not to exist", entry.key),
            Err(ClientError::Command(error)) => {
                assert!(error.to_string().contains("lost"), "{error}");
                true
            }
            Err(error) => panic!("{error}"),
        }
    };
    let asked = stored.iter().take(ASKED_FOR_ONE_COPY);
    let lost = futures_util::future::join_all(asked.map(read)).await;
    assert!(lost.contains(&true) && lost.contains(&false), "some copies are lost, not all");
}
