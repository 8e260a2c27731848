//! Tests of the order of items and of the sums over them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Items = BTreeMap<Vec<u8>, Vec<u8>>;

fn digest_of(items: &Items) -> Digest {
    let mut digest = Digest::default();
    for (key, value) in items {
        add(&mut digest, key, value);
    }
    digest
}

fn add(digest: &mut Digest, key: &[u8], value: &[u8]) {
    digest.add(item_order(key), ItemHash::of(key, value), (key.len() + value.len()) as u64);
}

fn remove(digest: &mut Digest, key: &[u8], value: &[u8]) {
    digest.remove(item_order(key), ItemHash::of(key, value), (key.len() + value.len()) as u64);
}

fn any_items() -> impl Strategy<Value = Items> {
    let bytes = |least: usize| prop::collection::vec(any::<u8>(), least..20);
    prop::collection::btree_map(bytes(1), bytes(0), 0..40)
}

/// The item as it lies in a page.
fn encoded(key: &[u8], value: &[u8]) -> Vec<u8> {
    let lengths = [(key.len() as u32).to_be_bytes(), (value.len() as u32).to_be_bytes()];
    [&lengths.concat(), key, value].concat()
}

proptest! {
    #[test]
    fn what_is_added_and_removed_again_leaves_no_trace(kept in any_items(), passing in any_items()) {
        let mut digest = digest_of(&kept);
        for (key, value) in &passing {
            add(&mut digest, key, value);
        }
        for (key, value) in passing.iter().rev() {
            remove(&mut digest, key, value);
        }
        prop_assert_eq!(digest, digest_of(&kept));
    }

    #[test]
    fn exactly_the_buckets_of_changed_items_differ(items in any_items(), changed in any_items()) {
        let mut expected: Vec<u16> = changed
            .iter()
            .filter(|(key, value)| items.get(*key) != Some(value))
            .map(|(key, _)| item_order(key).bucket().number())
            .collect();
        expected.sort_unstable();
        expected.dedup();
        let mut other = items.clone();
        other.extend(changed);
        let differing = digest_of(&items).differing(&digest_of(&other));
        let differing: Vec<u16> = differing.into_iter().map(Bucket::number).collect();
        prop_assert_eq!(&differing, &expected);
        let same_root = digest_of(&items).root() == digest_of(&other).root();
        prop_assert_eq!(same_root, expected.is_empty());
    }

    #[test]
    fn the_root_is_the_sum_of_the_buckets(items in any_items()) {
        let digest = digest_of(&items);
        let sum = digest.bucket_sums().fold(0_u128, u128::wrapping_add);
        prop_assert_eq!(digest.root(), sum);
        prop_assert_eq!(digest.count(), items.len() as u64);
        let bytes: usize = items.iter().map(|(key, value)| key.len() + value.len()).sum();
        prop_assert_eq!(digest.bytes(), bytes as u64);
    }

    #[test]
    fn a_digest_survives_the_wire(items in any_items()) {
        let digest = digest_of(&items);
        let written = rmp_serde::to_vec_named(&digest).unwrap();
        prop_assert_eq!(rmp_serde::from_slice::<Digest>(&written).unwrap(), digest);
    }

    #[test]
    fn an_item_is_in_the_range_of_its_bucket_alone(key in prop::collection::vec(any::<u8>(), 1..30)) {
        let order = item_order(&key);
        for number in 0..BUCKETS {
            let bucket = Bucket::try_from(number).unwrap();
            prop_assert_eq!(bucket.range().contains(order, &key), bucket == order.bucket());
        }
    }

    #[test]
    fn a_hash_is_that_of_the_item_in_a_page(
        key in prop::collection::vec(any::<u8>(), 0..40),
        value in prop::collection::vec(any::<u8>(), 0..1000),
    ) {
        prop_assert_eq!(ItemHash::of(&key, &value), ItemHash::of_encoded(&encoded(&key, &value)));
    }
}

#[test]
fn the_edges_of_a_bucket_belong_to_it() {
    let bucket = Bucket::try_from(5).unwrap();
    let first = KeyOrder(5 << ORDER_BITS_IN_BUCKET);
    let last = KeyOrder((6 << ORDER_BITS_IN_BUCKET) - 1);
    for order in [first, last] {
        assert!(bucket.range().contains(order, b"k"));
        assert_eq!(order.bucket(), bucket);
    }
    assert!(!bucket.range().contains(KeyOrder(first.0 - 1), b"\xff\xff"));
    assert!(!bucket.range().contains(KeyOrder(last.0 + 1), b"\0"));
}

#[test]
fn a_key_does_not_run_into_its_value() {
    assert_ne!(ItemHash::of(b"ab", b"c"), ItemHash::of(b"a", b"bc"));
}

#[test]
fn swapped_values_show() {
    let straight = Items::from([(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);
    let swapped = Items::from([(b"a".to_vec(), b"2".to_vec()), (b"b".to_vec(), b"1".to_vec())]);
    assert_ne!(digest_of(&straight).root(), digest_of(&swapped).root());
}

#[test]
fn order_and_hash_are_part_of_the_format() {
    assert_eq!(item_order(b"tano"), KeyOrder(ORDER_OF_TANO));
    assert_eq!(ItemHash::of(b"tano", b"db"), ItemHash(HASH_OF_TANO_DB));
}

/// Computed with the reference implementation of xxHash 0.8.4, `XXH3_64bits_withSeed`.
const ORDER_OF_TANO: u64 = 0x5d2d_045c_3696_b8e1;
/// Computed with the reference implementation of xxHash 0.8.4, `XXH3_128bits`.
const HASH_OF_TANO_DB: u128 = 0x0791_69d1_4394_04aa_bc8c_014e_e1c5_b8f4;

#[test]
fn sums_of_another_number_of_buckets_are_refused() {
    let parts = DigestParts { sums: vec![0; 160].into(), count: 1, bytes: 1 };
    assert_eq!(Digest::try_from(parts), Err(DigestError::WrongLength { bytes: 160 }));
}

#[test]
fn a_sum_of_128_bits_is_sixteen_bytes_on_the_wire() {
    let written = rmp_serde::to_vec_named(&Summary { root: 1 << 100, count: 2, bytes: 3 }).unwrap();
    let root = [&b"\x83\xa4root\xc4\x10"[..], &(1_u128 << 100).to_be_bytes()].concat();
    assert_eq!(written[..root.len()], root);
    assert_eq!(rmp_serde::from_slice::<Summary>(&written).unwrap().root, 1 << 100);
}
