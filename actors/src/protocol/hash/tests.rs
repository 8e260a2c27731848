//! Golden numbers of `riak_core` and its tutorial, and what holds for every ring and hash.

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

use super::*;

fn legal_sizes() -> Vec<u32> {
    (0..=RING_SIZE_MAX + 1).filter(|&size| RingSize::new(size).is_ok()).collect()
}

fn any_size() -> impl Strategy<Value = RingSize> {
    select(legal_sizes()).prop_map(|size| RingSize::new(size).unwrap())
}

fn any_hash() -> impl Strategy<Value = RingHash> {
    any::<[u8; RING_HASH_BYTES]>().prop_map(RingHash)
}

fn sixty_four() -> RingSize {
    RingSize::new(64).unwrap()
}

#[test]
fn keys_fall_where_riak_core_puts_them() {
    let golden = [
        (
            "foo",
            "bar",
            "49d41bea680d96cf005256b77de1ac9a872e0670",
            "433883298582611803841718934712646521460354973696",
        ),
        (
            "bucket-1",
            "key-1",
            "bfce6c6fdfbea661e32325d7e7f3d366813eac54",
            "1096126227998177188652763624537212264741949407232",
        ),
        (
            "bucket-7",
            "key-8",
            "c342d06421404ef69f63829a093b47a230591da8",
            "1118962191081472546749696200048404186924073353216",
        ),
    ];
    for (bucket, key, digest, index) in golden {
        let hash = key_hash(bucket.as_bytes(), key.as_bytes());
        let hex: String = hash.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, digest, "{bucket}/{key}");
        let first = sixty_four().partition_of(hash);
        assert_eq!(sixty_four().index_of(first).to_string(), index, "{bucket}/{key}");
    }
}

/// Which of the tutorial's hundred keys a partition holds when every key has three replicas.
fn tutorial_keys_held_by(index: &str) -> Vec<String> {
    let held_by = sixty_four().partition_at(index.parse().unwrap()).expect("an index of the ring");
    let mut held = Vec::new();
    for bucket in (1..=10).map(|i| format!("bucket-{i}")) {
        for key in (1..=10).map(|j| format!("key-{j}")) {
            let first = sixty_four().partition_of(key_hash(bucket.as_bytes(), key.as_bytes()));
            if sixty_four().walk(first).take(3).any(|replica| replica == held_by) {
                held.push(format!("{bucket}/{key}"));
            }
        }
    }
    held
}

#[test]
fn the_tutorials_partitions_hold_as_many_keys_as_its_log_says() {
    let sent = tutorial_keys_held_by("1118962191081472546749696200048404186924073353216");
    assert_eq!(sent.len(), 7, "{sent:?}");
    assert!(sent.contains(&"bucket-1/key-1".to_owned()));
    assert!(sent.contains(&"bucket-7/key-8".to_owned()));

    let received = tutorial_keys_held_by("68507889249886074290797726533575766546371837952");
    assert_eq!(received.len(), 5, "{received:?}");
    assert!(received.contains(&"bucket-8/key-1".to_owned()));
    assert!(received.contains(&"bucket-3/key-7".to_owned()));
}

#[test]
fn a_ring_size_is_a_power_of_two_or_three_times_one() {
    let sizes = legal_sizes();
    assert_eq!(sizes.iter().take(6).copied().collect::<Vec<_>>(), [8, 12, 16, 24, 32, 48]);
    assert_eq!(sizes.last(), Some(&65_536));
    assert_eq!(sizes.len(), 14 + 13);
}

#[test]
fn a_refused_size_names_its_neighbours() {
    for legal in legal_sizes().windows(2) {
        let (below, above) = (legal[0], legal[1]);
        for size in below + 1..above {
            assert_eq!(RingSize::new(size), Err(RingSizeError::Between { size, below, above }));
        }
    }
    assert_eq!(RingSize::new(7), Err(RingSizeError::TooSmall { size: 7 }));
    assert_eq!(RingSize::new(98_304), Err(RingSizeError::TooLarge { size: 98_304 }));
    assert_eq!(
        RingSize::new(100).unwrap_err().to_string(),
        "a ring cannot have 100 partitions, only a power of two or three times one: \
         the nearest are 96 and 128"
    );
}

#[test]
fn the_ends_of_the_circle_belong_to_the_first_two_partitions() {
    for size in legal_sizes().into_iter().map(|size| RingSize::new(size).unwrap()) {
        assert_eq!(size.partition_of(RingHash([0; 20])), Partition(1), "{size}");
        assert_eq!(size.partition_of(RingHash([0xff; 20])), Partition(0), "{size}");
    }
}

#[test]
fn only_numbers_on_the_circle_are_hashes() {
    let last = "1461501637330902918203684832716283019655932542975";
    assert_eq!(last.parse(), Ok(RingHash([0xff; 20])));
    for bad in ["", "-1", "+1", "0x10", "1 ", "seven"] {
        assert_eq!(bad.parse::<RingHash>(), Err(RingHashError::NotDecimal(bad.to_owned())));
    }
    for high in ["1461501637330902918203684832716283019655932542976", &"9".repeat(100)] {
        assert_eq!(high.parse::<RingHash>(), Err(RingHashError::BeyondTheCircle(high.to_owned())));
    }
}

#[test]
fn a_hash_is_twenty_two_bytes_on_the_wire() {
    let packed = rmp_serde::to_vec(&RingHash([0xfe; 20])).unwrap();
    assert_eq!(packed.len(), 22, "two bytes of header: {packed:?}");
    assert_eq!(rmp_serde::from_slice::<RingHash>(&packed).unwrap(), RingHash([0xfe; 20]));
}

proptest! {
    #[test]
    fn a_hash_survives_being_written_in_decimal(hash in any_hash()) {
        prop_assert_eq!(hash.to_string().parse(), Ok(hash));
    }

    #[test]
    fn a_hash_lies_between_its_partition_and_the_one_before(
        size in any_size(),
        hash in any_hash(),
    ) {
        let partition = size.partition_of(hash);
        let before = size.walk(partition).last().expect("a ring is not empty");
        prop_assert_eq!(size.next(before), partition);
        prop_assert!(size.index_of(before) <= hash);
        prop_assert!(partition == Partition(0) || hash < size.index_of(partition));
    }

    #[test]
    fn an_index_leads_back_to_its_partition(size in any_size(), number in any::<u32>()) {
        let partition = Partition(number % size.count());
        let index = size.index_of(partition);
        prop_assert_eq!(size.partition_at(index), Some(partition));
        prop_assert_eq!(size.partition_of(index), size.next(partition), "it is the next one's");
    }

    #[test]
    fn a_walk_visits_every_partition_once_in_order(size in any_size(), number in any::<u32>()) {
        let first = Partition(number);
        let walked: Vec<Partition> = size.walk(first).collect();
        prop_assert_eq!(walked.len(), size.count() as usize);
        prop_assert_eq!(walked[0], Partition(number % size.count()));
        prop_assert!(walked.windows(2).all(|pair| size.next(pair[0]) == pair[1]));
    }

    #[test]
    fn only_an_exact_index_names_a_partition(size in any_size(), hash in any_hash()) {
        match size.partition_at(hash) {
            Some(partition) => prop_assert_eq!(size.index_of(partition), hash),
            None => {
                let end = size.partition_of(hash);
                let before = size.walk(end).last().expect("a ring is not empty");
                prop_assert!(size.index_of(before) != hash && size.index_of(end) != hash);
            }
        }
    }
}
