//! What overtakes what: commands, changes behind the fold, removals, second tries.

use std::time::Duration;

use tanodb_actors::runtime::observe::Observed;
use tanodb_actors::sim::cluster::Cluster;
use tanodb_actors::{Ask, OpId};

use super::town::{
    Told, answer, asked, assert_all_is_well, assert_readable, counters, is_now, members,
    one_at_a_time, play, put_all, settings, some_keys_in, tell, until_some_is,
};
use crate::numbers::{Action, During, NumberCommand, Numbers, hash_of};

/// Counters are counted up while they move twice, each operation is asked for several times under its id
/// through nodes that know different rings, and transfers break. Each counts once. (M03, M46, M47)
#[test]
fn an_addition_counts_once_however_often_it_is_asked_on_the_way() {
    play("an_addition_counts_once", |seed| {
        let mut town = members(settings(seed), "ada", &["bob"]);
        let mut told: Told = (0..8).map(|key| (key, Some(0))).collect();
        let mut counter = 0;
        for (round, joiner) in ["cyd", "dan"].into_iter().enumerate() {
            town.join("ada", &[joiner]);
            for step in 0..6 {
                let through: Vec<String> = ["ada", "bob", joiner].map(str::to_owned).into();
                count_up(&mut town, &through, &mut counter, &mut told);
                if step == 2 * round {
                    town.links(|network| network.reset("ada", joiner));
                    town.links(|network| network.reset("bob", joiner));
                }
            }
        }
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

/// Every counter is counted up by one, said three times through three nodes.
fn count_up(town: &mut Cluster, through: &[String], counter: &mut u64, told: &mut Told) {
    let mut sums = Vec::new();
    for (key, sum) in told.iter_mut() {
        *counter += 1;
        let op = Some(OpId { minter: 1, counter: *counter });
        let ask = Ask { op, deadline: Duration::from_secs(20), ..Ask::single() };
        *sum = sum.map(|sum| sum + 1);
        for name in through {
            sums.push((*key, *sum, asked(town, name, *key, Action::Add(*key, 1), ask)));
        }
    }
    for (key, sum, pending) in sums {
        assert_eq!(answer(town, &pending), Ok(sum), "seed {}: {key}", town.seed());
    }
}

/// Every key is put, removed and put again while its partition moves, in an order that the seed chooses. What
/// was said last is so: no removed key comes back with the items that are streamed meanwhile. (M63, M64, M65,
/// M68)
#[test]
fn a_removal_is_not_undone_by_what_was_streamed() {
    play("a_removal_is_not_undone", |seed| {
        let mut town = members(settings(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..80, 0, &mut told);
        let rng = town.rng("removals");
        town.join("ada", &["bob", "cyd"]);
        until_some_is(&mut town, "Sending");
        for joiner in ["bob", "cyd"] {
            town.links(|network| network.limit("ada", joiner, Some(6_000)));
        }
        town.chapter("keys are removed and put again behind and before the cursor");
        for round in 1..300 {
            let key = rng.below(80);
            let was = told[&key];
            if was.is_some() && rng.below(3) > 0 {
                assert_eq!(tell(&mut town, "ada", key, Action::Remove(key)), Some(1));
                told.insert(key, None);
            } else {
                tell(&mut town, "ada", key, Action::Put(key, round));
                told.insert(key, Some(round));
            }
            town.run_for(Duration::from_micros(rng.below(1_500)));
        }
        assert!(told.values().any(Option::is_none));
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

/// A former owner is alone with its old ring while the new one takes writes. When it is back it is no owner, and
/// the writes stay. (M13, M49)
#[test]
fn a_former_owner_that_was_away_does_not_win() {
    play("a_former_owner_that_was_away", |seed| {
        let mut town = members(settings(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..40, 0, &mut told);
        town.join("ada", &["bob", "cyd"]);
        let met = until_some_is(&mut town, "Retired");
        let other = if met.target == "bob" { "cyd" } else { "bob" };
        for name in ["bob", "cyd"] {
            town.cut("ada", name);
        }
        town.chapter("the new owner takes writes that the former one does not see");
        let keys = super::town::some_keys_in(met.partition, 10);
        town.run_for(Duration::from_secs(seed));
        put_all(&mut town, &met.target, keys.iter().copied(), 900, &mut told);
        put_all(&mut town, other, keys, 901, &mut told);
        town.chapter("the former owner is back");
        for name in ["bob", "cyd"] {
            town.heal("ada", name);
        }
        town.settle();
        assert_readable(&mut town, &told);
        assert_all_is_well(&mut town, &told);
    });
}

/// What is asked of ada goes on to bob, to whom ada is granting, and waits there, as its author wants, until bob's own
/// handoff to dan. Bob does not pass it on a second time: its coordinator looks for the owner anew, and finds it.
#[test]
fn a_command_is_passed_on_once_and_then_looks_for_its_owner() {
    let mut tried = 0;
    play("a_command_is_passed_on_once", |seed| {
        let mut town = members(one_at_a_time(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..60, 0, &mut told);
        town.start(&["dan"]);
        town.join("ada", &["bob", "cyd"]);
        town.stage_joins("ada", &["dan"]);
        let seen = town.run_until_seen("bob takes something over", |seen| {
            *seen.node == *"bob" && is_now(seen, "Accepting")
        });
        let Observed::VnodeMoved { vnode, .. } = seen.event else { panic!("{:?}", seen.event) };
        town.links(|network| network.cut_one_way("bob", "ada"));
        let (node, id) = (town.node("cyd"), town.plan("cyd", 1).id);
        town.ask("a commit", async move { node.commit(id).await }).unwrap();
        town.chapter("ada does not hear that bob holds what it is granted");
        let sends = town.advance_until(Duration::from_millis(500), &mut |seen| {
            let is_it = |of: &Observed| matches!(of, Observed::VnodeMoved { vnode: it, .. } if *it == vnode);
            *seen.node == *"bob" && is_it(&seen.event) && is_now(seen, "Sending")
        });
        if town.must(sends).is_some() {
            tried += 1;
            let key = some_keys_in(vnode.partition, 1)[0];
            let (node, requests) = (town.node("ada"), town.requests());
            let ask = Ask { deadline: Duration::from_secs(30), ..Ask::single() };
            let put = town.spawn(async move {
                let action = Action::Put(key, 7);
                let command = NumberCommand { action, during: During::Forward };
                let open = requests.begun("ada", "a command", ask.deadline);
                let hash = hash_of(key);
                let done = node.command::<Numbers<true>>(&counters(), hash, &command, ask).await;
                open.ended();
                done
            });
            town.run_for(Duration::from_millis(300));
            town.heal("bob", "ada");
            assert_eq!(answer(&mut town, &put), Ok(Some(7)), "seed {seed}");
            told.insert(key, Some(7));
        }
        town.heal("bob", "ada");
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
    assert!(tried > 0 || std::env::var("TANODB_SEED").is_ok(), "nothing was to be passed on twice");
}
