//! Merging gives the same result in whatever order, grouping and number parts arrive.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

/// Three members act; `ada` observes.
const ACTORS: [&str; 3] = ["bob", "cyd", "dan"];
const RINGS: usize = 5;

/// What a member does.
#[derive(Debug, Clone)]
enum Act {
    Stage { joiner: u8 },
    Clear,
    Hold { partition: u32, hop: u32, holder: usize },
    Learn { about: usize, boot: u64, port: u8 },
    Adopt,
    Merge { from: usize },
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let act = prop_oneof![
        (0..9_u8).prop_map(|joiner| Act::Stage { joiner }),
        any::<()>().prop_map(|()| Act::Clear),
        (0..8_u32, 0..3_u32, 0..3_usize).prop_map(|(partition, hop, holder)| Act::Hold {
            partition,
            hop,
            holder
        }),
        (0..8_usize, 0..3_u64, 0..2_u8).prop_map(|(about, boot, port)| Act::Learn {
            about,
            boot,
            port
        }),
        any::<()>().prop_map(|()| Act::Adopt),
        (0..3_usize).prop_map(|from| Act::Merge { from }),
    ];
    vec((0..3_usize, act), 0..40)
}

/// A chain of rings. Beside the four who stay, members come and go, and nobody comes back.
fn rings() -> Vec<Arc<Ring>> {
    let mut chain = vec![Arc::new(founded(1))];
    for epoch in 1..RINGS {
        let passing: Vec<String> = (epoch..epoch + 3).map(|number| format!("n{number}")).collect();
        let staying = ["ada", "bob", "cyd", "dan"].into_iter();
        let members: Vec<&str> = staying.chain(passing.iter().map(String::as_str)).collect();
        chain.push(Arc::new(next(&chain[epoch - 1], &members)));
    }
    chain
}

/// Lets the three members live through the acts.
fn live(acts: &[(usize, Act)]) -> Vec<Gossip> {
    let rings = rings();
    let mut lives: Vec<Gossip> =
        ACTORS.iter().map(|me| Gossip::new(name(me), Arc::clone(&rings[1]))).collect();
    for (actor, act) in acts {
        let theirs: Vec<Part> = lives.iter().map(Gossip::everything).collect();
        let life = &mut lives[*actor];
        match act {
            Act::Stage { joiner } => {
                let minter = node_id(ACTORS[*actor]).incarnation.nonce;
                life.stage(minter, join(&format!("j{joiner}"))).unwrap();
            }
            Act::Clear => {
                life.clear_staged();
            }
            Act::Hold { partition, hop, holder } => {
                life.hold(&vnode(*partition), &held(*hop, ACTORS[*holder]));
            }
            Act::Learn { about, boot, port } => {
                let about = life.ring().members().keys().nth(*about).cloned();
                let record = address(*boot, &format!("host:{port}"));
                about.map(|about| life.learn_address(&about, &record));
            }
            Act::Adopt => {
                let newer = rings.iter().find(|ring| ring.epoch() == life.ring().epoch().next());
                if let Some(ring) = newer {
                    life.merge(&Part::of_ring(Arc::clone(ring))).unwrap();
                }
            }
            Act::Merge { from } => {
                life.merge(&theirs[*from]).unwrap();
            }
        }
    }
    lives
}

/// What `ada` knows after these parts, in this order.
fn after<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Gossip {
    let mut ada = gossip_of("ada", &founded(1));
    for part in parts {
        ada.merge(part).unwrap();
    }
    ada
}

proptest! {
    #[test]
    fn merging_is_commutative_and_idempotent(acts in acts()) {
        let [b, c, d]: [Part; 3] =
            live(&acts).iter().map(Gossip::everything).collect::<Vec<_>>().try_into().unwrap();
        let all = after([&b, &c, &d]);
        for order in [[&b, &d, &c], [&c, &b, &d], [&c, &d, &b], [&d, &b, &c], [&d, &c, &b]] {
            prop_assert_eq!(&after(order), &all);
        }
        let mut again = all.clone();
        for part in [&b, &c, &d, &all.everything()] {
            prop_assert!(again.merge(part).unwrap().is_empty());
        }
        prop_assert_eq!(again, all);
    }

    #[test]
    fn merging_is_associative(acts in acts()) {
        let [b, c, d]: [Part; 3] =
            live(&acts).iter().map(Gossip::everything).collect::<Vec<_>>().try_into().unwrap();
        let all = after([&b, &c, &d]);
        prop_assert_eq!(&after([&b, &after([&c, &d]).everything()]), &all);
        prop_assert_eq!(&after([&after([&b, &c]).everything(), &d]), &all);
    }

    #[test]
    fn comparing_digests_brings_everybody_to_the_same_knowledge(acts in acts()) {
        let mut lives = live(&acts);
        for _ in 0..3 {
            for (left, right) in [(0, 1), (1, 2), (2, 0)] {
                let to_left = lives[right].parts_missing(&lives[left].digest());
                let to_right = lives[left].parts_missing(&lives[right].digest());
                lives[left].merge(&to_left).unwrap();
                lives[right].merge(&to_right).unwrap();
            }
        }
        for life in &lives {
            prop_assert_eq!(life.digest(), lives[0].digest());
            prop_assert_eq!(life.everything(), lives[0].everything());
            prop_assert!(life.parts_missing(&lives[0].digest()).is_empty());
        }
    }

    #[test]
    fn passing_on_the_news_is_as_good_as_passing_on_everything(acts in acts()) {
        let lives = live(&acts);
        let mut relay = gossip_of("ada", &founded(1));
        let mut last = gossip_of("ada", &founded(1));
        for life in &lives {
            let news = relay.merge(&life.everything()).unwrap();
            last.merge(&relay.part_of(&news)).unwrap();
            prop_assert_eq!(&last, &relay);
        }
    }

    #[test]
    fn parts_joined_on_the_way_are_as_good_as_parts_one_by_one(acts in acts()) {
        let parts: Vec<Part> = live(&acts).iter().map(Gossip::everything).collect();
        let mut joined = Part::empty(parts[0].cluster);
        for part in &parts {
            joined.absorb(part.clone());
        }
        prop_assert_eq!(after([&joined]), after(&parts));
    }
}
