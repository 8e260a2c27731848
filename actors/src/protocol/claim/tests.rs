//! Small cases by hand, the tutorial's numbers, sweeps over many clusters, and what holds for all.

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

use super::*;

fn name(number: usize) -> NodeName {
    NodeName::new(&format!("n{number:02}@host")).unwrap()
}

fn equals(count: usize) -> BTreeMap<NodeName, Claimant> {
    (0..count).map(|number| (name(number), Claimant { weight: 100, zone: None })).collect()
}

fn in_zones(zones: &str) -> BTreeMap<NodeName, Claimant> {
    let claimants = zones.chars().map(|zone| Claimant { weight: 100, zone: Some(zone.into()) });
    (0..).map(name).zip(claimants).collect()
}

fn counts(claim: &Claim) -> Vec<u32> {
    let mut counts: BTreeMap<&NodeName, u32> = BTreeMap::new();
    claim.owners.iter().for_each(|owner| *counts.entry(owner).or_default() += 1);
    counts.into_values().collect()
}

/// Checks what is promised of every claim, and gives it back.
fn checked(
    owners: &[NodeName],
    claimants: &BTreeMap<NodeName, Claimant>,
    n: u32,
    seed: u64,
) -> Claim {
    let claim = claim(owners, claimants, n, seed);
    let case = format!("{} partitions, {claimants:?}, n {n}, seed {seed}: {claim:?}", owners.len());
    let total: u64 = claimants.values().map(|claimant| u64::from(claimant.weight)).sum();
    for (node, claimant) in claimants {
        let parts = owners.len() as u64 * u64::from(claimant.weight);
        let count = claim.owners.iter().filter(|owner| *owner == node).count() as u64;
        assert!(count >= parts / total && count <= parts.div_ceil(total), "{node}: {case}");
    }
    assert_eq!(claim.owners.len(), owners.len());
    assert!(claim.owners.iter().all(|owner| claimants.contains_key(owner)), "{case}");
    let moves = owners.iter().zip(&claim.owners).filter(|(before, after)| before != after).count();
    assert_eq!(claim.moves as usize, moves, "{case}");
    assert!(claim.moves >= claim.lower_bound, "{case}");
    match &claim.verdict {
        Verdict::Optimal => assert_eq!(claim.moves, claim.lower_bound, "{case}"),
        Verdict::Gap(gap) => assert_eq!(claim.moves, claim.lower_bound + gap, "{case}"),
        Verdict::Infeasible { why } => {
            let of_zones = matches!(
                why,
                Obstacle::TooFew { apart: Apart::Zone, .. }
                    | Obstacle::TooHeavy { apart: Apart::Zone, .. }
                    | Obstacle::Crowded { apart: Apart::Zone, .. }
            );
            assert!(claim.violations + claim.zone_violations > 0, "what is proven shows: {case}");
            assert!(!of_zones || claim.violations == 0, "nodes are apart: {case}");
            assert!(of_zones || claim.moves == claim.lower_bound, "moves are fewest: {case}");
            return claim;
        }
    }
    assert_eq!((claim.violations, claim.zone_violations), (0, 0), "{case}");
    claim
}

#[test]
fn three_nodes_share_sixty_four_partitions_as_in_the_tutorial() {
    let claim = checked(&vec![name(0); 64], &equals(3), 3, 1);
    assert_eq!(counts(&claim), [22, 21, 21]);
    assert_eq!((claim.moves, claim.lower_bound), (42, 42));
    let (apart, count, most, size) = (Apart::Node, 3, 21, 64);
    let why = Obstacle::Crowded { apart, count, most, size };
    assert_eq!(claim.verdict, Verdict::Infeasible { why });
    assert_eq!(claim.violations, 2, "only where the pattern is cut");
}

/// Every ring size and node count, nodes joining together or one by one.
#[test]
fn joins_take_the_fewest_moves_and_keep_replicas_apart() {
    let (mut cases, mut fewest) = (0, 0);
    for size in [8, 16, 32, 64, 96, 128, 256] {
        let mut grown = vec![name(0); size];
        for nodes in 1..=12 {
            let together = checked(&vec![name(0); size], &equals(nodes), 3, 7);
            let one_more = checked(&grown, &equals(nodes), 3, 7);
            for claim in [&together, &one_more] {
                cases += 1;
                fewest += usize::from(claim.moves == claim.lower_bound);
                let can_be_apart = nodes > 3 || nodes == 3 && size % 3 == 0;
                assert_eq!(claim.violations == 0, can_be_apart, "{size} on {nodes}: {claim:?}");
                let counts = counts(claim);
                assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            }
            grown = one_more.owners;
        }
    }
    assert!(fewest * 100 >= cases * 95, "{fewest} of {cases} take the fewest moves");
}

#[test]
fn a_leaver_gives_all_it_has_to_those_who_stay() {
    let five = checked(&vec![name(0); 64], &equals(5), 3, 1);
    let mut staying = equals(5);
    staying.remove(&name(2));
    let four = checked(&five.owners, &staying, 3, 1);
    assert_eq!(counts(&four), [16, 16, 16, 16]);
    assert_eq!(four.violations, 0);

    let twelve = checked(&vec![name(0); 256], &equals(12), 3, 1);
    let mut staying = equals(12);
    staying.remove(&name(7));
    assert_eq!(checked(&twelve.owners, &staying, 3, 1).verdict, Verdict::Optimal);
}

#[test]
fn with_nothing_to_change_nothing_moves() {
    for nodes in [1, 2, 3, 4, 7] {
        let first = checked(&vec![name(0); 64], &equals(nodes), 3, 1);
        let second = checked(&first.owners, &equals(nodes), 3, 2);
        assert_eq!((second.moves, &second.owners), (0, &first.owners), "{nodes} nodes");
    }
}

#[test]
fn a_heavier_node_owns_more() {
    let mut claimants = equals(5);
    claimants.insert(name(1), Claimant { weight: 200, zone: None });
    claimants.insert(name(4), Claimant { weight: 0, zone: None });
    // n04 has no weight and owns nothing.
    let claim = checked(&vec![name(0); 128], &claimants, 3, 1);
    assert_eq!(counts(&claim), [26, 51, 26, 25]);
    let why =
        Obstacle::TooHeavy { apart: Apart::Node, name: "n01@host".to_owned(), share: 51, most: 42 };
    assert_eq!(claim.verdict, Verdict::Infeasible { why });
}

#[test]
fn replicas_avoid_each_others_zone() {
    let claim = checked(&vec![name(0); 96], &in_zones("abcabc"), 3, 1);
    assert_eq!(claim.verdict, Verdict::Optimal);
    let claim = checked(&vec![name(0); 64], &in_zones("aabbccdd"), 3, 1);
    assert_eq!(claim.verdict, Verdict::Optimal);
    let joined = checked(&claim.owners, &in_zones("aabbccddabcd"), 3, 1);
    assert_eq!(joined.verdict, Verdict::Optimal);
}

#[test]
fn nodes_are_apart_even_where_zones_cannot_be() {
    let claim = checked(&vec![name(0); 64], &in_zones("aabb"), 3, 1);
    let why = Obstacle::TooFew { apart: Apart::Zone, count: 2, n: 3 };
    assert_eq!(claim.verdict, Verdict::Infeasible { why });
    assert_eq!((claim.violations, claim.zone_violations), (0, 64));

    let claim = checked(&vec![name(0); 64], &in_zones("aaaaabc"), 3, 1);
    assert_eq!(claim.violations, 0);
}

#[test]
fn nobody_to_own_anything_leaves_all_as_it_is() {
    let owners = vec![name(0); 8];
    let nobody = BTreeMap::from([(name(0), Claimant { weight: 0, zone: None })]);
    for claimants in [BTreeMap::new(), nobody] {
        let claim = claim(&owners, &claimants, 3, 1);
        assert_eq!(claim.owners, owners);
        assert_eq!(claim.verdict, Verdict::Infeasible { why: Obstacle::NoClaimant });
    }
}

#[test]
fn a_thousand_partitions_are_shared_among_fifty_nodes() {
    let claim = checked(&vec![name(0); 1_024], &equals(49), 3, 1);
    assert_eq!(claim.verdict, Verdict::Optimal);
    let joined = checked(&claim.owners, &equals(50), 3, 1);
    assert_eq!(joined.verdict, Verdict::Optimal);
    assert_eq!(joined.moves, 20);
}

#[test]
fn the_same_seed_gives_the_same_owners() {
    let owners = checked(&vec![name(0); 64], &equals(5), 3, 1).owners;
    let twice = [0, 0].map(|_| claim(&owners, &equals(7), 3, 9));
    assert_eq!(twice[0], twice[1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_claim_keeps_its_promises(
        held in select(vec![8usize, 12, 16, 64, 96]).prop_flat_map(|size| vec(0usize..7, size)),
        weights in vec(1u32..300, 1..7),
        zones in vec(0u8..4, 7),
        zoned: bool,
        n in 1u32..5,
        seed: u64,
    ) {
        let owners: Vec<NodeName> = held.into_iter().map(name).collect();
        let zone = |number: u8| zoned.then(|| format!("rack_{number}"));
        let claimants = weights.iter().zip(&zones).map(|(&weight, &number)| Claimant {
            weight,
            zone: zone(number),
        });
        let claimants: BTreeMap<NodeName, Claimant> = (0..).map(name).zip(claimants).collect();
        let first = checked(&owners, &claimants, n, seed);
        let again = claim(&owners, &claimants, n, seed);
        prop_assert_eq!(&first, &again);
        prop_assert!(first.moves as usize <= owners.len());
    }
}
