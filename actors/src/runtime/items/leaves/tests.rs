//! Tests of the table, with orders chosen so that leaves are cut, joined and overfull.

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<(KeyOrder, Vec<u8>), Vec<u8>>;

#[derive(Debug, Clone)]
enum Action {
    Insert(u64, u8, u8),
    Remove(u64, u8),
    RemoveRange(ItemRange, usize),
}

fn entry(order: u64, key: u8, value: u8) -> Entry {
    let item = PageItem::new(&[key], &[value]).unwrap();
    Entry { order: KeyOrder(order), hash: ItemHash::of_encoded(item.encoded()), item }
}

/// Few orders, so that many keys share one, and the two ends.
fn any_order() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0_u64..40, 1 => Just(u64::MAX), 2 => any::<u64>()]
}

fn any_edge() -> impl Strategy<Value = Option<ItemPosition>> {
    let position = (any_order(), prop::option::of(any::<u8>())).prop_map(|(order, key)| {
        ItemPosition { order: KeyOrder(order), key: key.into_iter().collect() }
    });
    prop::option::of(position)
}

fn any_range() -> impl Strategy<Value = ItemRange> {
    (any_edge(), any_edge()).prop_map(|(after, until)| ItemRange { after, until })
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        40 => (any_order(), any::<u8>(), any::<u8>()).prop_map(|(o, k, v)| Action::Insert(o, k, v)),
        20 => (any_order(), any::<u8>()).prop_map(|(o, k)| Action::Remove(o, k)),
        1 => (any_range(), 0_usize..300).prop_map(|(range, most)| Action::RemoveRange(range, most)),
    ]
}

fn in_model<'a>(model: &'a Model, range: &ItemRange) -> Vec<&'a (KeyOrder, Vec<u8>)> {
    model.keys().filter(|(order, key)| range.contains(*order, key)).collect()
}

fn in_leaves(leaves: &Leaves, range: &ItemRange) -> Vec<(KeyOrder, Vec<u8>)> {
    leaves.entries(range).map(|entry| (entry.order, entry.item.key().to_vec())).collect()
}

/// What must hold of the leaves themselves after every action.
fn assert_well_formed(leaves: &Leaves) {
    let mut before: Option<&Entry> = None;
    for (start, leaf) in &leaves.leaves {
        assert!(!leaf.is_empty());
        assert!(leaf[0].order >= *start);
        let one_order = leaf[0].order == leaf[leaf.len() - 1].order;
        assert!(one_order || leaf.len() <= LEAF_ENTRIES_MAX, "a leaf has {} entries", leaf.len());
        assert!(before.is_none_or(|entry| entry.order < *start), "two leaves share an order");
        for entry in leaf {
            assert!(before.is_none_or(|before| before.place() < entry.place()));
            before = Some(entry);
        }
    }
}

fn carry_out(leaves: &mut Leaves, model: &mut Model, action: Action) {
    match action {
        Action::Insert(order, key, value) => {
            let replaced = leaves.insert(entry(order, key, value));
            let expected = model.insert((KeyOrder(order), vec![key]), vec![value]);
            assert_eq!(replaced.map(|entry| entry.item.value().to_vec()), expected);
        }
        Action::Remove(order, key) => {
            let removed = leaves.remove(KeyOrder(order), &[key]);
            let expected = model.remove(&(KeyOrder(order), vec![key]));
            assert_eq!(removed.map(|entry| entry.item.value().to_vec()), expected);
        }
        Action::RemoveRange(range, most) => {
            let expected: Vec<_> =
                in_model(model, &range).into_iter().take(most).cloned().collect();
            let mut removed = Vec::new();
            leaves.remove_range(&range, most, |entry| {
                removed.push((entry.order, entry.item.key().to_vec()));
            });
            assert_eq!(removed, expected);
            model.retain(|place, _| !expected.contains(place));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn leaves_hold_what_a_plain_map_holds(
        actions in prop::collection::vec(any_action(), 0..1500),
        ranges in prop::collection::vec(any_range(), 5),
    ) {
        let (mut leaves, mut model) = (Leaves::default(), Model::new());
        for action in actions {
            carry_out(&mut leaves, &mut model, action);
            assert_well_formed(&leaves);
        }
        for range in ranges.into_iter().chain([ItemRange::all()]) {
            let expected: Vec<_> = in_model(&model, &range).into_iter().cloned().collect();
            prop_assert_eq!(in_leaves(&leaves, &range), expected);
        }
        for ((order, key), value) in &model {
            prop_assert_eq!(leaves.find(*order, key).unwrap().item.value(), &value[..]);
            prop_assert_eq!(leaves.find_mut(*order, key).unwrap().item.value(), &value[..]);
        }
        prop_assert_eq!(leaves.find(KeyOrder(41), b"absent"), None);
    }
}

#[test]
fn items_that_come_in_order_fill_their_leaves() {
    let mut leaves = Leaves::default();
    for order in 0..640 {
        leaves.insert(entry(order * 1000, 1, 1));
    }
    assert_eq!(leaves.leaves.len(), 10);
}

#[test]
fn leaves_that_empty_at_random_are_joined() {
    let mut leaves = Leaves::default();
    for order in 0..6400 {
        leaves.insert(entry(order, 1, 1));
    }
    for order in (0..6400).filter(|order| order % 64 != 0) {
        leaves.remove(KeyOrder(order), &[1]);
    }
    assert_well_formed(&leaves);
    assert_eq!(leaves.entries(&ItemRange::all()).count(), 100);
    let most = 100 / LEAF_ENTRIES_MIN + 1;
    assert!(leaves.leaves.len() <= most, "{} leaves for 100 entries", leaves.leaves.len());
}

#[test]
fn keys_that_share_one_order_share_one_leaf() {
    let mut leaves = Leaves::default();
    for key in 0..=255 {
        leaves.insert(entry(7, key, 1));
    }
    leaves.insert(entry(6, 1, 1));
    leaves.insert(entry(8, 1, 1));
    assert_well_formed(&leaves);
    assert_eq!(leaves.entries(&ItemRange::all()).count(), 258);
}
