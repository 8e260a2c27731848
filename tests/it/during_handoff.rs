//! Clients at work while partitions move: nothing fails, nothing is lost, nothing deleted comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tanodb::client::{Client, Options};
use tanodb::config::setting::TRANSFER_LIMIT;

use crate::cluster::{BUCKET, Cluster, Entry, entries, until};
use crate::history::{Deed, Operation, complaints};
use crate::log_lines::{Line, is_between, lines, now};

const CLIENTS: usize = 8;
const OPERATIONS_PER_CLIENT: usize = 2_500;

/// Operations that are answered before the commit.
const BEFORE_THE_COMMIT: usize = 1_000;

/// At least so many must be answered while partitions move.
const DURING_MIN: usize = 500;

/// Keys of each client, and keys that all of them write.
const OWN_KEYS: u64 = 60;
const SHARED_KEYS: u64 = 12;

/// What has to move besides: it makes the transfers last.
const PRELOADED: usize = 1_000;
const PRELOADED_BYTES: usize = 4_000;

/// One client: its operations, and when each was answered, in milliseconds of the day.
struct Worker {
    number: usize,
    client: Client,
    began: Instant,
    random: u64,
    operations: Vec<Operation>,
    answered_at: Vec<u64>,
    failures: Vec<String>,
}

impl Worker {
    fn random(&mut self, below: u64) -> u64 {
        // Knuth's multiplier; the low bits of such a sequence are poor.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % below
    }

    async fn work(mut self, answered: Arc<AtomicUsize>) -> Self {
        for number in 0..OPERATIONS_PER_CLIENT {
            let key = match (self.random(6), self.number) {
                (0, _) => format!("shared-{}", self.random(SHARED_KEYS)),
                (_, client) => format!("own-{client}-{}", self.random(OWN_KEYS)),
            };
            match self.random(10) {
                0..5 => self.put(key, format!("client {} operation {number}", self.number)).await,
                5..8 => self.get(key).await,
                _ => self.delete(key).await,
            }
            answered.fetch_add(1, Ordering::Relaxed);
        }
        self
    }

    async fn put(&mut self, key: String, value: String) {
        let began = self.began.elapsed();
        let done =
            self.client.put(BUCKET, key.as_bytes(), value.clone(), &Options::default()).await;
        self.note(key, began, done.map(|()| Deed::Wrote(Some(value))));
    }

    async fn delete(&mut self, key: String) {
        let began = self.began.elapsed();
        let done = self.client.delete(BUCKET, key.as_bytes(), &Options::default()).await;
        self.note(key, began, done.map(|_| Deed::Wrote(None)));
    }

    async fn get(&mut self, key: String) {
        let began = self.began.elapsed();
        let done = self.client.get(BUCKET, key.as_bytes(), &Options::default()).await;
        let text = |value: bytes::Bytes| String::from_utf8_lossy(&value).into_owned();
        self.note(key, began, done.map(|value| Deed::Read(value.map(text))));
    }

    fn note<E: std::fmt::Display>(&mut self, key: String, began: Duration, done: Result<Deed, E>) {
        let ended = self.began.elapsed();
        self.answered_at.push(now());
        match done {
            Ok(deed) => self.operations.push(Operation { key, deed, began, ended }),
            Err(error) => self.failures.push(format!("{key} after {:?}: {error}", ended - began)),
        }
    }

    /// Reads every key that anybody may have written.
    async fn read_all(mut self) -> Self {
        let own = (0..CLIENTS)
            .flat_map(|client| (0..OWN_KEYS).map(move |key| format!("own-{client}-{key}")));
        for key in own.chain((0..SHARED_KEYS).map(|key| format!("shared-{key}"))) {
            self.get(key).await;
        }
        self
    }
}

fn worker(cluster: &Cluster, number: usize, through: &[usize], began: Instant) -> Worker {
    Worker {
        number,
        client: cluster.client_of(through),
        began,
        random: number as u64,
        operations: Vec::new(),
        answered_at: Vec::new(),
        failures: Vec::new(),
    }
}

/// One node with data, and two that are staged to join it.
async fn about_to_grow(preloaded: &[Entry]) -> Cluster {
    let mut cluster = Cluster::empty(64, &[(&TRANSFER_LIMIT, "1")]);
    cluster.start(1).await;
    cluster.put_all(0, preloaded).await;
    cluster.start(2).await;
    cluster.join(1, 0).await;
    cluster.join(2, 0).await;
    cluster
}

/// How many of these moments lie between the first offer and the last grant.
fn while_partitions_moved(cluster: &Cluster, moments: &[u64]) -> usize {
    let logs = (0..cluster.count()).map(|number| cluster.log(number));
    let lines: Vec<Line> = logs.flat_map(|log| lines(&log).collect::<Vec<_>>()).collect();
    let at = |text: &str| {
        let those = lines.iter().filter(|line| line.text.starts_with(text));
        those.map(|line| line.at).collect::<Vec<_>>()
    };
    let offers = at("Starting ownership transfer of");
    let grants = at("owns the partition now");
    assert_eq!(grants.len(), 42);
    let lies_between = |moment: &&u64| {
        // The source's lines are in order; of two targets either may have had the last grant.
        grants.iter().any(|last| is_between(**moment, offers[0], *last))
    };
    moments.iter().filter(lies_between).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_clients_notice_nothing_while_42_partitions_move() {
    let preloaded = entries(PRELOADED, PRELOADED_BYTES);
    let cluster = about_to_grow(&preloaded).await;
    let (began, answered) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let start = |number| {
        let worker = worker(&cluster, number, &[0, 1, 2], began);
        tokio::spawn(worker.work(Arc::clone(&answered)))
    };
    let workers: Vec<_> = (0..CLIENTS).map(start).collect();

    until("some operations are answered before the commit", async || {
        let count = answered.load(Ordering::Relaxed);
        if count < BEFORE_THE_COMMIT { Err(count) } else { Ok(()) }
    })
    .await;
    let plan = cluster.commit(0, 3).await;
    assert_eq!(plan.transfers.iter().map(|transfer| transfer.count).sum::<u32>(), 42);
    cluster.until_settled(0).await;

    let (mut history, mut answered_at, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for worker in workers {
        let worker = worker.await.expect("it does not panic");
        history.extend(worker.operations);
        answered_at.extend(worker.answered_at);
        failures.extend(worker.failures);
    }
    cluster.must_have_all(&[0, 1, 2], &preloaded).await;
    let readers = (0..3).map(|number| worker(&cluster, CLIENTS, &[number], began).read_all());
    for reader in futures_util::future::join_all(readers).await {
        history.extend(reader.operations);
        failures.extend(reader.failures);
    }
    assert_eq!(failures, [""; 0]);
    assert_eq!(answered_at.len(), CLIENTS * OPERATIONS_PER_CLIENT);
    assert_eq!(complaints(&history), [""; 0]);
    let during = while_partitions_moved(&cluster, &answered_at);
    assert!(during >= DURING_MIN, "only {during} operations were answered during the transfers");
}
