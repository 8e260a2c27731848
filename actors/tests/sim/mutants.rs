//! A mutant counts only if nobody notices it while nothing goes wrong.

use std::time::Duration;

use tanodb_actors::protocol::mutant::{Mutant, PAIRS};
use tanodb_actors::protocol::rules::Rules;
use tanodb_actors::sim::cluster::{Cluster, ClusterSettings};
use tanodb_actors::{Ask, ItemsKind};

use crate::numbers::{Action, During, NumberCommand, Numbers, hash_of, numbers};

/// Two nodes join one that holds numbers, and the numbers are there afterwards.
fn play(seed: u64, rules: Rules) {
    let mut settings =
        ClusterSettings::new(seed, || vec![ItemsKind::<Numbers>::in_memory(numbers())]);
    settings.node.rules = rules;
    let mut town = Cluster::new(settings);
    town.start(&["ada"]);
    for key in 0..60 {
        assert_eq!(run(&mut town, "ada", Action::Put(key, key)), Some(key));
    }
    town.join("ada", &["bob", "cyd"]);
    town.settle();
    town.run_for(Duration::from_secs(60));
    town.assert_rings_agree();
    town.assert_each_partition_has_one_owner();
    for key in 0..60 {
        assert_eq!(run(&mut town, "bob", Action::Add(key, 1)), Some(key + 1));
        assert_eq!(run(&mut town, "cyd", Action::Get(key)), Some(key + 1));
    }
}

fn run(town: &mut Cluster, through: &str, action: Action) -> Option<u64> {
    let (Action::Put(key, _) | Action::Add(key, _) | Action::Get(key)) = action else {
        return None;
    };
    let node = town.node(through);
    let command = NumberCommand { action, during: During::Handle };
    let asked = async move {
        node.command::<Numbers>(&numbers(), hash_of(key), &command, Ask::single()).await
    };
    town.ask("a command", asked).unwrap()
}

/// These skip a state that every run goes through, and a promise looks at each step: no fault is needed.
const SEEN_AT_ONCE: [Mutant; 2] = [Mutant::GrantNotDurable, Mutant::PurgeBeforeReceipt];

#[test]
fn without_faults_nobody_notices_a_mutant() {
    let finer = Mutant::ALL.iter().filter(|mutant| !SEEN_AT_ONCE.contains(mutant));
    let alone = finer.map(|mutant| Rules::broken_by(*mutant));
    let pairs = PAIRS.iter().map(|(first, second)| Rules::broken_by_both(*first, *second));
    let mut noticed = Vec::new();
    for rules in alone.chain(pairs) {
        for seed in 0..2 {
            if std::panic::catch_unwind(|| play(seed, rules)).is_err() {
                noticed.push((seed, rules.mutants().map(Mutant::name).collect::<Vec<_>>()));
            }
        }
    }
    assert!(noticed.is_empty(), "these are too crude to count: {noticed:?}");
}
