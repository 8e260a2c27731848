//! What every disk must do, and what only a folder can show.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::protocol::id::NodeName;
use crate::protocol::time::Moment;
use crate::runtime::clock::Clock;

fn node() -> NodeName {
    NodeName::new("ada@here").unwrap()
}

fn open(folder: &Path) -> FolderDisk {
    FolderDisk::open(folder, &node()).unwrap()
}

pub(crate) async fn both(disk: &dyn Disk, record: &str) -> [Option<Vec<u8>>; 2] {
    let newest = disk.read(record, Version::Newest).await.unwrap();
    [newest, disk.read(record, Version::Previous).await.unwrap()]
}

fn some(text: &str) -> Option<Vec<u8>> {
    Some(text.into())
}

/// The suite for every back end.
pub(crate) async fn keeps_its_promises(disk: &dyn Disk) {
    assert_eq!(both(disk, "ring").await, [None, None]);
    disk.write("ring", b"one".into()).await.unwrap();
    assert_eq!(both(disk, "ring").await, [some("one"), None]);
    disk.write("ring", b"two".into()).await.unwrap();
    disk.write("ring", Vec::new()).await.unwrap();
    assert_eq!(both(disk, "ring").await, [some(""), some("two")]);

    disk.set_aside("ring").await.unwrap();
    assert_eq!(both(disk, "ring").await, [None, some("two")]);
    disk.write("ring", b"three".into()).await.unwrap();
    assert_eq!(both(disk, "ring").await, [some("three"), some("two")], "the good one outlives it");
    disk.set_aside("ring").await.unwrap();
    disk.set_aside("never").await.unwrap();

    for record in ["token-10", "token-9", "tok", "u"] {
        disk.write(record, b"x".into()).await.unwrap();
    }
    assert_eq!(disk.list("token-").await.unwrap(), ["token-10", "token-9"]);
    assert_eq!(disk.list("").await.unwrap(), ["ring", "tok", "token-10", "token-9", "u"]);

    disk.remove("ring").await.unwrap();
    disk.remove("never").await.unwrap();
    assert_eq!(both(disk, "ring").await, [None, None]);
    assert_eq!(disk.list("r").await.unwrap(), [""; 0]);

    for bad in ["", "a/b", "..", "a.1", "LOCK", "ü", &"a".repeat(RECORD_NAME_BYTES_MAX + 1)] {
        let refused = disk.write(bad, Vec::new()).await.unwrap_err();
        assert!(matches!(&refused, DiskError::BadName(name) if name == bad), "{refused}");
        assert!(disk.read(bad, Version::Newest).await.is_err(), "{bad}");
        assert!(disk.remove(bad).await.is_err(), "{bad}");
    }
    let refused = disk.write("big", vec![0; RECORD_BYTES_MAX + 1]).await.unwrap_err();
    assert!(matches!(refused, DiskError::TooLarge { .. }), "{refused}");
}

#[tokio::test]
async fn a_disk_in_memory_keeps_its_promises() {
    keeps_its_promises(&MemoryDisk::default()).await;
}

#[tokio::test]
async fn a_folder_keeps_its_promises() {
    let folder = tempfile::tempdir().unwrap();
    keeps_its_promises(&open(folder.path())).await;
}

#[tokio::test]
async fn records_are_there_after_a_restart_and_leftovers_are_not() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("made").join("on").join("demand");
    let disk = open(&folder);
    disk.write("ring", b"one".into()).await.unwrap();
    disk.write("ring", b"two".into()).await.unwrap();
    disk.close().await.unwrap();
    fs::write(folder.join("ring.new"), b"half").unwrap();

    let again = open(&folder);
    assert_eq!(both(&again, "ring").await, [some("two"), some("one")]);
    assert_eq!(fs::read(folder.join("ring")).unwrap(), b"two");
    assert!(!folder.join("ring.new").exists());
    assert_eq!(again.place_of("ring", Version::Newest), folder.join("ring").display().to_string());
}

#[tokio::test]
async fn a_folder_is_refused_to_a_second_node_which_hears_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let other = NodeName::new("bob@here").unwrap();
    let refused = FolderDisk::open(folder.path(), &other).unwrap_err().to_string();
    for told in ["ada@here", &std::process::id().to_string(), folder.path().to_str().unwrap()] {
        assert!(refused.contains(told), "{refused}");
    }

    let clone = first.clone();
    first.close().await.unwrap();
    assert!(FolderDisk::open(folder.path(), &other).is_ok());
    assert!(matches!(clone.write("ring", Vec::new()).await, Err(DiskError::Closed)));
}

#[tokio::test]
async fn the_claim_ends_with_the_last_handle() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    let unheard = disk.write("ring", b"one".into());
    drop((disk, unheard));
    // The thread ends on its own and nobody waits for it, so the claim may outlive the handle a little.
    let since = Clock::real();
    let again = loop {
        match FolderDisk::open(folder.path(), &node()) {
            Ok(disk) => break disk,
            Err(OpenError::Held { .. }) if since.now() < Moment(20_000_000) => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(both(&again, "ring").await, [some("one"), None], "no longer waited for, yet done");
}

#[tokio::test]
async fn many_writers_at_once_are_all_answered_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(open(folder.path()));
    let writes = (0..600).map(|number: u32| {
        let record = format!("token-{}", number % 50);
        disk.write(&record, number.to_string().into_bytes())
    });
    for outcome in futures_util::future::join_all(writes).await {
        outcome.unwrap();
    }
    for number in 0..50 {
        let expected = [some(&(550 + number).to_string()), some(&(500 + number).to_string())];
        assert_eq!(both(&*disk, &format!("token-{number}")).await, expected);
    }
}

#[tokio::test]
async fn what_could_not_be_written_leaves_the_old_value_and_may_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    disk.write("ring", b"one".into()).await.unwrap();
    // A folder in the way of the new file.
    fs::create_dir(folder.path().join("ring.new")).unwrap();
    let refused = disk.write("ring", b"two".into()).await.unwrap_err();
    assert!(matches!(refused, DiskError::NotWritten { .. }), "{refused}");
    assert_eq!(both(&disk, "ring").await, [some("one"), None]);

    fs::remove_dir(folder.path().join("ring.new")).unwrap();
    disk.write("ring", b"two".into()).await.unwrap();
}

#[tokio::test]
async fn a_record_whose_change_is_in_doubt_is_not_used_again_until_the_disk_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    disk.write("ring", b"one".into()).await.unwrap();
    // The new file is written and synced, but a folder is in the way of the previous one.
    fs::create_dir(folder.path().join("ring.1")).unwrap();
    let doubt = disk.write("ring", b"two".into()).await.unwrap_err();
    assert!(matches!(doubt, DiskError::Uncertain { .. }), "{doubt}");

    fs::remove_dir(folder.path().join("ring.1")).unwrap();
    for refused in [
        disk.write("ring", b"two".into()).await.unwrap_err(),
        disk.read("ring", Version::Newest).await.unwrap_err(),
        disk.remove("ring").await.unwrap_err(),
    ] {
        assert!(matches!(refused, DiskError::Distrusted(_)), "{refused}");
    }
    disk.write("other", b"fine".into()).await.unwrap();

    disk.close().await.unwrap();
    open(folder.path()).write("ring", b"two".into()).await.unwrap();
}
