//! Tests of the memory engine. What every engine must do is tested by the conformance suite.

use super::super::conformance::check_engine;
use super::*;

const NO_LIMIT: PageLimits = PageLimits { items: usize::MAX, bytes: usize::MAX };

fn engine_of(count: u32) -> MemoryEngine {
    let mut engine = MemoryEngine::new();
    for number in 0..count {
        engine.put(&number.to_be_bytes(), &[7; 100]).unwrap();
    }
    engine
}

#[test]
fn the_memory_engine_conforms() {
    for seed in 0..8 {
        check_engine(&mut MemoryEngine::new(), seed);
    }
}

#[test]
fn a_partition_folded_page_by_page_is_proven_equal_at_its_target() {
    let source = engine_of(10_000);
    let mut target = MemoryEngine::new();
    let mut rest = Some(ItemRange::all());
    let mut pages = 0;
    while let Some(range) = rest {
        let page = source.page(&range, PageLimits::default()).unwrap();
        target.replace_range(&page.covered(&range), &page.items).unwrap();
        rest = page.rest(&range);
        pages += 1;
    }
    assert_eq!(pages, 10_000_usize.div_ceil(256));
    assert_eq!(target.digest(), source.digest());
}

#[test]
fn only_differing_buckets_are_sent_again_to_make_two_engines_equal() {
    let source = engine_of(5_000);
    let mut target = engine_of(5_000);
    target.put(&17_u32.to_be_bytes(), b"other").unwrap();
    target.remove(&99_u32.to_be_bytes()).unwrap();
    target.put(b"extra", b"").unwrap();
    let differing = source.digest().differing(target.digest());
    assert_eq!(differing.len(), 3);
    for bucket in differing {
        let page = source.page(&bucket.range(), NO_LIMIT).unwrap();
        assert!(page.count < 20);
        target.replace_range(&page.covered(&bucket.range()), &page.items).unwrap();
    }
    assert_eq!(target.digest(), source.digest());
}

#[test]
fn damage_is_found_where_it_lies_and_shows_at_a_target() {
    let mut source = engine_of(1_000);
    let key = 5_u32.to_be_bytes();
    let before = source.digest().clone();
    assert!(source.damage(&key));
    assert_eq!(*source.digest(), before);

    let checked = source.check(&ItemRange::all(), NO_LIMIT).unwrap();
    let position = ItemPosition::of(Bytes::copy_from_slice(&key));
    let stored_hash = ItemHash::of(&key, &[7; 100]);
    assert_eq!(
        checked.corrupt,
        [CorruptItem { position: position.clone(), stored_hash, bytes: 104 }]
    );

    let mut target = MemoryEngine::new();
    let page = source.page(&ItemRange::all(), NO_LIMIT).unwrap();
    target.replace_range(&ItemRange::all(), &page.items).unwrap();
    assert_eq!(source.digest().differing(target.digest()), [position.order.bucket()]);
}

#[test]
fn a_check_goes_on_where_it_stopped() {
    let mut engine = engine_of(1_000);
    engine.damage(&5_u32.to_be_bytes());
    engine.damage(&700_u32.to_be_bytes());
    let (mut range, mut checked, mut corrupt) = (ItemRange::all(), 0, 0);
    loop {
        let part = engine.check(&range, PageLimits { items: 64, bytes: 1_000_000 }).unwrap();
        checked += part.count;
        corrupt += part.corrupt.len();
        if part.complete {
            break;
        }
        range.after = part.last;
    }
    assert_eq!((checked, corrupt), (1_000, 2));
}

#[test]
fn only_an_item_with_a_value_can_be_damaged() {
    let mut engine = MemoryEngine::new();
    engine.put(b"empty", b"").unwrap();
    assert!(!engine.damage(b"empty"));
    assert!(!engine.damage(b"absent"));
}

#[test]
fn a_value_that_was_read_stays_when_it_is_replaced() {
    let mut engine = MemoryEngine::new();
    for length in [10, COPIED_VALUE_BYTES_MAX, COPIED_VALUE_BYTES_MAX + 1] {
        engine.put(b"key", &vec![1; length]).unwrap();
        let read = engine.get(b"key").unwrap().unwrap();
        engine.put(b"key", &vec![2; length]).unwrap();
        assert_eq!(read, vec![1; length]);
    }
}

#[test]
fn an_item_keeps_nothing_alive_but_itself() {
    let page = engine_of(100).page(&ItemRange::all(), NO_LIMIT).unwrap().items;
    let mut engine = MemoryEngine::new();
    engine.replace_range(&ItemRange::all(), &page).unwrap();
    assert!(page.is_unique(), "the page is still referred to");
}
