//! What a simulated disk promises like every other, and what only it can do.

use std::collections::BTreeSet;

use super::*;
use crate::runtime::disk::tests::{both, keeps_its_promises};
use crate::runtime::records;

const SEEDS: u64 = 200;

fn disk(seed: u64) -> SimDisk {
    SimDisk::new("ada", Rng::seeded(seed))
}

fn text(bytes: Option<Vec<u8>>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn peek(disk: &SimDisk, record: &str) -> [Option<String>; 2] {
    [Version::Newest, Version::Previous].map(|version| text(disk.peek(record, version)))
}

fn some(value: &str) -> Option<String> {
    Some(value.to_owned())
}

async fn with_ring(seed: u64) -> SimDisk {
    let disk = disk(seed);
    disk.write("ring", b"one".into()).await.unwrap();
    disk.write("ring", b"two".into()).await.unwrap();
    disk
}

#[tokio::test(start_paused = true)]
async fn a_simulated_disk_keeps_its_promises() {
    for seed in 0..20 {
        keeps_its_promises(&disk(seed)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_takes_its_time_and_more_on_a_slow_disk() {
    let disk = disk(1);
    let began = Instant::now();
    for _ in 0..100 {
        disk.write("ring", b"x".into()).await.unwrap();
    }
    let taken = began.elapsed();
    // tokio rounds each wait up to a millisecond.
    assert!((100..=600).contains(&taken.as_millis()), "{taken:?}");

    disk.set_slow(Duration::from_secs(2));
    let began = Instant::now();
    disk.write("ring", b"x".into()).await.unwrap();
    assert_eq!((began.elapsed().as_secs(), disk.faults().slowed), (2, 1));
    disk.mend();
    let began = Instant::now();
    disk.read("ring", Version::Newest).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(7));
}

#[tokio::test(start_paused = true)]
async fn a_request_nobody_waits_for_is_served_in_its_turn() {
    let disk = disk(2);
    drop(disk.write("ring", b"one".into()));
    drop(disk.write("ring", b"two".into()));
    drop(disk.set_aside("ring"));
    disk.write("ring", b"three".into()).await.unwrap();
    assert_eq!(peek(&disk, "ring"), [some("three"), some("one")]);
}

#[tokio::test(start_paused = true)]
async fn writes_of_many_records_share_their_time() {
    let disk = disk(3);
    let began = Instant::now();
    let writes = (0..600_u32).map(|number| {
        disk.write(&format!("token-{}", number % 50), number.to_string().into_bytes())
    });
    for outcome in futures_util::future::join_all(writes.collect::<Vec<_>>()).await {
        outcome.unwrap();
    }
    for number in 0..50 {
        let expected = [some(&(550 + number).to_string()), some(&(500 + number).to_string())];
        assert_eq!(peek(&disk, &format!("token-{number}")), expected);
    }
    // 600 syncs one after the other would take more than a second.
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_survives_a_power_cut_and_what_waits_does_not() {
    for seed in 0..SEEDS {
        let disk = with_ring(seed).await;
        // Under way: the removal of another record. Behind it: all others.
        let unheard = [
            disk.remove("other"),
            disk.write("ring", b"three".into()),
            disk.write("token", b"x".into()),
            disk.remove("ring"),
        ];
        disk.power_off();
        for answer in unheard {
            assert!(matches!(answer.await, Err(DiskError::Closed)));
        }
        let again = disk.reopen();
        assert_eq!(both(&again, "ring").await.map(text), [some("two"), some("one")]);
        assert_eq!(again.list("").await.unwrap(), ["ring"]);
        assert_eq!((again.faults().interrupted, again.faults().lost), (1, 3));
    }
}

/// What stands in `ring` after a change of it was cut short, over many seeds.
async fn left_by(
    change: impl Fn(&SimDisk) -> BoxFuture<Result<(), DiskError>>,
    cut: impl Fn(&SimDisk),
) -> BTreeSet<[Option<String>; 2]> {
    let mut left = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = with_ring(seed).await;
        let answer = change(&disk);
        cut(&disk);
        assert!(matches!(answer.await, Err(DiskError::Closed)));
        left.insert(peek(&disk, "ring"));
    }
    left
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_leaves_the_old_or_the_new_value_whole() {
    let write = |disk: &SimDisk| disk.write("ring", b"three".into());
    let old = [some("two"), some("one")];
    let new = [some("three"), some("two")];
    let both = BTreeSet::from([old, new]);
    assert_eq!(left_by(write, SimDisk::kill).await, both);
    let untorn = |disk: &SimDisk| {
        disk.set_tearing(false);
        disk.power_off();
    };
    assert_eq!(left_by(write, untorn).await, both);
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_may_tear_the_newest_version_while_the_old_value_is_the_previous() {
    let write = |disk: &SimDisk| disk.write("ring", b"three".into());
    let mut left = left_by(write, SimDisk::power_off).await;
    assert!(left.remove(&[some("two"), some("one")]), "the old value");
    assert!(left.remove(&[some("three"), some("two")]), "the new value");
    assert!(left.len() > 5, "torn: {left:?}");
    for [newest, previous] in left {
        assert_eq!(previous, some("two"));
        assert!(newest.is_some_and(|bytes| bytes != "three" && bytes.len() < 40));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_removal_never_leaves_the_previous_version_without_the_newest() {
    for cut in [SimDisk::kill, SimDisk::power_off] {
        let left = left_by(|disk| disk.remove("ring"), cut).await;
        let whole = [some("two"), some("one")];
        assert_eq!(left, BTreeSet::from([whole, [some("two"), None], [None, None]]));
        let left = left_by(|disk| disk.set_aside("ring"), cut).await;
        let whole = [some("two"), some("one")];
        assert_eq!(left, BTreeSet::from([whole, [None, some("one")]]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_decides_about_each_write_of_a_group() {
    let mut left = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = disk(seed);
        let first = disk.remove("other");
        let (one, two) = (disk.write("a", b"x".into()), disk.write("b", b"x".into()));
        first.await.unwrap();
        disk.power_off();
        left.insert(disk.reopen().list("").await.unwrap());
        drop((one, two));
    }
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let expected = [names(&[]), names(&["a"]), names(&["b"]), names(&["a", "b"])];
    assert_eq!(left, BTreeSet::from(expected));
}

#[tokio::test(start_paused = true)]
async fn a_record_torn_by_a_power_cut_is_read_from_its_previous_version() {
    let mut fell_back = 0;
    for seed in 0..SEEDS {
        let disk = disk(seed);
        records::save(&disk, "ring", &"old").await.unwrap();
        drop(records::save(&disk, "ring", &"new"));
        disk.power_off();
        let loaded = records::load::<String>(&disk.reopen(), "ring").await.unwrap().unwrap();
        assert!(["old", "new"].contains(&loaded.value.as_str()), "{}", loaded.value);
        assert_eq!(loaded.fell_back.is_some(), disk.faults().torn == 1);
        fell_back += disk.faults().torn;
    }
    assert!((SEEDS / 5..SEEDS / 2).contains(&fell_back), "{fell_back} of {SEEDS}");
}

#[tokio::test(start_paused = true)]
async fn only_the_handle_of_the_last_opening_makes_requests() {
    let first = with_ring(4).await;
    let second = first.reopen();
    assert!(matches!(first.write("ring", b"late".into()).await, Err(DiskError::Closed)));
    second.write("ring", b"three".into()).await.unwrap();
    first.power_off();
    assert!(matches!(second.list("").await, Err(DiskError::Closed)), "one disk, whoever says it");
    assert_eq!(peek(&second, "ring"), [some("three"), some("two")]);
}

#[tokio::test(start_paused = true)]
async fn planned_failures_hit_the_records_they_are_meant_for_and_are_counted() {
    let disk = with_ring(5).await;
    disk.fail_writes("agree", 2, WriteFailure::NotWritten);
    disk.fail_reads("ring", 1);
    for _ in 0..2 {
        disk.write("ring", b"fine".into()).await.unwrap();
        let refused = disk.write("agreement", b"x".into()).await.unwrap_err();
        assert!(matches!(refused, DiskError::NotWritten { .. }), "{refused}");
    }
    disk.write("agreement", b"x".into()).await.unwrap();
    let refused = disk.read("ring", Version::Newest).await.unwrap_err();
    assert!(matches!(&refused, DiskError::Unreadable { place, .. } if place == "ada/ring"));
    disk.read("ring", Version::Newest).await.unwrap();

    disk.fail_reads("", 1);
    assert!(disk.list("r").await.is_err());
    disk.fail_writes("", 9, WriteFailure::NotWritten);
    disk.mend();
    disk.write("ring", b"fine".into()).await.unwrap();
    let counted = DiskFaults { not_written: 2, unreadable: 2, ..DiskFaults::default() };
    assert_eq!(disk.faults(), counted);
    assert_eq!(disk.faults().and(counted).not_written, 4);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_keeps_the_old_value_and_lets_records_go() {
    let disk = with_ring(6).await;
    disk.fill();
    let refused = disk.write("ring", b"three".into()).await.unwrap_err();
    let DiskError::NotWritten { why, .. } = refused else { panic!("{refused}") };
    assert_eq!(why.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(peek(&disk, "ring"), [some("two"), some("one")]);
    disk.remove("ring").await.unwrap();
    disk.free();
    disk.write("ring", b"three".into()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_in_doubt_is_decided_by_the_next_opening_and_again_by_a_power_cut() {
    let (mut after_kill, mut changed_by_cut) = (BTreeSet::new(), 0);
    let (old, new) = ([some("two"), some("one")], [some("three"), some("two")]);
    for seed in 0..SEEDS {
        let disk = with_ring(seed).await;
        disk.fail_writes("ring", 1, WriteFailure::Uncertain);
        let doubt = disk.write("ring", b"three".into()).await.unwrap_err();
        assert!(matches!(doubt, DiskError::Uncertain { .. }), "{doubt}");
        for refused in [
            disk.write("ring", b"four".into()).await.unwrap_err(),
            disk.read("ring", Version::Newest).await.unwrap_err(),
            disk.set_aside("ring").await.unwrap_err(),
        ] {
            assert!(matches!(refused, DiskError::Distrusted(_)), "{refused}");
        }
        disk.write("other", b"fine".into()).await.unwrap();

        let shown = peek(&disk, "ring");
        disk.kill();
        assert_eq!(peek(&disk, "ring"), shown);
        after_kill.insert(shown.clone());
        disk.power_off();
        changed_by_cut += usize::from(peek(&disk, "ring") != shown);
        let again = disk.reopen();
        let stands = both(&again, "ring").await.map(text);
        assert!([&old, &new].contains(&&stands), "{stands:?}");
        again.write("ring", b"four".into()).await.unwrap();
        again.power_off();
        assert_eq!(peek(&again, "ring")[0], some("four"), "no longer in doubt");
    }
    assert_eq!(after_kill, BTreeSet::from([old, new]));
    assert!(changed_by_cut > 50, "{changed_by_cut}");
}

#[tokio::test(start_paused = true)]
async fn a_wiped_disk_is_empty_and_without_faults() {
    let disk = with_ring(7).await;
    disk.fill();
    disk.set_slow(Duration::from_secs(60));
    disk.wipe();
    assert!(matches!(disk.list("").await, Err(DiskError::Closed)));
    let fresh = disk.reopen();
    let began = Instant::now();
    assert_eq!(fresh.list("").await.unwrap(), [""; 0]);
    fresh.write("ring", b"one".into()).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(20));
    assert_eq!(fresh.faults().wiped, 1);
}

#[tokio::test(start_paused = true)]
async fn a_version_rots_at_rest() {
    let disk = with_ring(8).await;
    assert!(!disk.rot("token", Version::Newest));
    assert!(disk.rot("ring", Version::Previous));
    let [newest, previous] = peek(&disk, "ring");
    assert_eq!(newest, some("two"));
    assert!(previous.is_some_and(|bytes| bytes.len() == 3 && bytes != "one"));
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_may_wait_are_refused() {
    let disk = disk(9);
    let waiting: Vec<_> = (0..20_000).map(|_| disk.remove("ring")).collect();
    let refused = waiting
        .into_iter()
        .filter_map(|answer| futures_util::FutureExt::now_or_never(answer).and_then(Result::err));
    // One is under way.
    let refused: Vec<DiskError> = refused.collect();
    assert_eq!(refused.len(), 20_000 - 16_384 - 1);
    assert!(refused.iter().all(|error| matches!(error, DiskError::Busy { .. })));
}

#[test]
fn the_same_seed_gives_the_same_disk_at_the_same_times() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut disk = disk(seed);
            let mut seen = Vec::new();
            for round in 0..50_u32 {
                disk.fail_writes("ring", round % 2, WriteFailure::Uncertain);
                let began = Instant::now();
                let outcome = disk.write("ring", round.to_string().into_bytes()).await.is_ok();
                drop(disk.write("other", b"x".into()));
                disk.power_off();
                disk = disk.reopen();
                seen.push((began.elapsed(), outcome, peek(&disk, "ring"), disk.faults()));
            }
            seen
        })
    };
    assert!(run(1) == run(1) && run(1) != run(2));
}
