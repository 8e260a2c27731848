//! A record comes back whole, from the file before, or not at all.

use std::sync::Arc;

use serde::Deserialize;

use super::*;
use crate::runtime::disk::{FolderDisk, MemoryDisk};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Promise {
    epoch: u64,
    voters: Vec<String>,
}

fn promise(epoch: u64) -> Promise {
    Promise { epoch, voters: vec!["ada@here".into(), "bob@there".into()] }
}

/// A disk whose newest file of `promise` is as given, and the one before says epoch 1.
async fn disk_with(newest: &[u8]) -> MemoryDisk {
    let disk = MemoryDisk::default();
    save(&disk, "promise", &promise(1)).await.unwrap();
    disk.write("promise", newest.into()).await.unwrap();
    disk
}

async fn load_promise(disk: &dyn Disk) -> Result<Option<Loaded<Promise>>, LoadError> {
    load(disk, "promise").await
}

#[tokio::test]
async fn what_was_saved_last_is_loaded() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
    assert_eq!(load_promise(&*disk).await.unwrap(), None);
    for epoch in 1..=3 {
        save(&*disk, "promise", &promise(epoch)).await.unwrap();
        let expected = Loaded { value: promise(epoch), fell_back: None };
        assert_eq!(load_promise(&*disk).await.unwrap(), Some(expected));
    }
}

#[tokio::test]
async fn a_file_torn_at_any_byte_gives_way_to_the_one_before() {
    let whole = encode("promise", &promise(2)).unwrap();
    for length in 0..whole.len() {
        let disk = disk_with(&whole[..length]).await;
        let loaded = load_promise(&disk).await.unwrap().unwrap();
        assert_eq!(loaded.value, promise(1), "torn at {length}");
        let damage = loaded.fell_back.unwrap();
        match length {
            0 => assert_eq!(damage, Damage::Empty),
            _ => assert!(matches!(damage, Damage::Torn { bytes, .. } if bytes == length)),
        }
    }
    let disk = disk_with(&whole).await;
    assert_eq!(load_promise(&disk).await.unwrap().unwrap().value, promise(2));
}

#[tokio::test]
async fn a_file_with_any_bit_wrong_gives_way_to_the_one_before() {
    let whole = encode("promise", &promise(2)).unwrap();
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut rotten = whole.clone();
            rotten[place] ^= 1 << bit;
            let loaded = load_promise(&disk_with(&rotten).await).await.unwrap().unwrap();
            assert_eq!(loaded.value, promise(1), "byte {place}, bit {bit}");
            assert!(loaded.fell_back.is_some(), "byte {place}, bit {bit}");
        }
    }
    let longer = [whole, b"tail".into()].concat();
    let loaded = load_promise(&disk_with(&longer).await).await.unwrap().unwrap();
    assert_eq!((loaded.value, loaded.fell_back), (promise(1), Some(Damage::Rotten)));
}

#[tokio::test]
async fn falling_back_is_said_until_the_record_is_written_and_the_good_file_outlives_that() {
    let disk = disk_with(b"junk").await;
    let damage = Damage::Torn { bytes: 4, expected: HEADER_BYTES };
    for damage in [damage, Damage::Missing] {
        let loaded = load_promise(&disk).await.unwrap().unwrap();
        assert_eq!(loaded, Loaded { value: promise(1), fell_back: Some(damage) });
    }
    save(&disk, "promise", &promise(5)).await.unwrap();
    let loaded = load_promise(&disk).await.unwrap().unwrap();
    assert_eq!(loaded, Loaded { value: promise(5), fell_back: None });

    disk.set_aside("promise").await.unwrap();
    assert_eq!(load_promise(&disk).await.unwrap().unwrap().value, promise(1));
}

#[tokio::test]
async fn two_damaged_files_are_both_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FolderDisk::open(folder.path(), &"ada@here".to_owned().try_into().unwrap()).unwrap();
    disk.write("promise", b"junk".into()).await.unwrap();
    disk.write("promise", Vec::new()).await.unwrap();
    let text = load_promise(&disk).await.unwrap_err().to_string();
    let newest = folder.path().join("promise").display().to_string();
    for told in [format!("{newest} is empty"), format!("{newest}.1 is torn"), "backup".into()] {
        assert!(text.contains(&told), "{text}");
    }
    assert_eq!(std::fs::read(folder.path().join("promise.1")).unwrap(), b"junk", "left as it was");
}

#[tokio::test]
async fn a_whole_file_that_is_not_ours_is_refused_and_not_stepped_over() {
    let mut newer = encode("promise", &promise(2)).unwrap();
    newer[9] = 2;
    let sum = crc32fast::hash(&newer[8..]).to_be_bytes();
    newer[4..8].copy_from_slice(&sum);
    let cases = [
        (newer, Foreign::Format(2)),
        (encode("ring", &promise(2)).unwrap(), Foreign::Name("ring".into())),
    ];
    for (bytes, expected) in cases {
        let refused = load_promise(&disk_with(&bytes).await).await.unwrap_err();
        assert!(
            matches!(&refused, LoadError::Foreign { why, .. } if *why == expected),
            "{refused}"
        );
    }
    let other_shape = encode("promise", &"a text").unwrap();
    let refused = load_promise(&disk_with(&other_shape).await).await.unwrap_err();
    assert!(matches!(refused, LoadError::Foreign { why: Foreign::Shape(_), .. }), "{refused}");
}

#[tokio::test]
async fn a_later_version_may_add_a_field() {
    #[derive(Serialize)]
    struct Newer {
        added: bool,
        epoch: u64,
        voters: Vec<String>,
    }
    let newer = Newer { added: true, epoch: 9, voters: promise(9).voters };
    let disk = disk_with(&encode("promise", &newer).unwrap()).await;
    assert_eq!(load_promise(&disk).await.unwrap().unwrap().value, promise(9));
}
