//! What must not wait for ever.

use std::time::Duration;

use super::town::{
    Told, assert_all_is_well, assert_readable_at, members, one_at_a_time, owners_of, play, put_all,
    settings, some_keys_in, until_some_is,
};

/// A join is staged while partitions move and nobody commits it. What runs goes on to its end. (M22, L16)
#[test]
fn a_join_that_nobody_commits_holds_nothing_up() {
    play("a_join_that_nobody_commits", |seed| {
        let mut town = members(settings(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..60, 0, &mut told);
        town.start(&["dan"]);
        if seed % 2 == 0 {
            town.start(&["eve"]);
        }
        town.join("ada", &["bob", "cyd"]);
        town.run_for(Duration::from_millis(seed * 17));
        town.chapter("dan is staged, and stays so");
        town.stage_joins("ada", &["dan"]);
        let members = ["ada", "bob", "cyd"];
        for name in members {
            let node = town.node(name);
            let settled =
                town.ask("it settles", async move { node.settled(Duration::from_secs(120)).await });
            assert!(settled, "seed {seed}: {name} waits for a join that nobody commits");
        }
        for name in members {
            assert_readable_at(&mut town, name, &told);
        }
    });
}

/// Both ends of all transfers forget their connections without a word, and nothing crosses the link for a
/// while. All slots come back by themselves, and everything moves. (M23, M24, M36)
#[test]
fn slots_of_connections_that_died_in_silence_come_back() {
    play("slots_of_connections_that_died", |seed| {
        let mut town = members(settings(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..60, 0, &mut told);
        town.join("ada", &["bob", "cyd"]);
        let states = ["Sending", "Staging", "CaughtUp", "Fenced", "Granting", "Retired"];
        let met = until_some_is(&mut town, states[seed as usize % states.len()]);
        for target in ["bob", "cyd"] {
            town.links(|network| network.half_open("ada", target));
            town.cut("ada", target);
        }
        town.run_for(Duration::from_secs(30 + seed));
        for target in ["bob", "cyd"] {
            town.heal("ada", target);
        }
        town.settle();
        assert!(owners_of(&mut town, met.partition).len() == 1);
        assert_all_is_well(&mut town, &told);
    });
}

/// The target stands still at some moment of a transfer. The source answers for its partition again within
/// seconds. (M24, M37, M56)
#[test]
fn a_source_is_not_held_up_by_a_target_that_stands_still() {
    play("a_source_is_not_held_up", |seed| {
        let mut town = members(one_at_a_time(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..60, 0, &mut told);
        town.join("ada", &["bob"]);
        let states = ["Staging", "Sending", "Fenced"];
        let met = until_some_is(&mut town, states[seed as usize % states.len()]);
        town.pause("bob");
        let keys = some_keys_in(met.partition, 6);
        // A put waits five seconds at most.
        put_all(&mut town, "ada", keys, 300, &mut told);
        town.run_for(Duration::from_secs(40));
        town.resume("bob");
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

/// One of two joiners is gone before anything has moved to it. What goes to the other one moves; what waits says
/// for whom; and when the link is back all of it moves without an operator. (M30, M32)
#[test]
fn what_goes_to_a_lost_member_holds_up_nothing_else() {
    play("what_goes_to_a_lost_member", |seed| {
        let mut town = members(settings(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..60, 0, &mut told);
        town.join("ada", &["bob", "cyd"]);
        until_some_is(&mut town, "Sending");
        let (gone, other) = if seed % 2 == 0 { ("bob", "cyd") } else { ("cyd", "bob") };
        town.cut("ada", gone);
        town.cut(other, gone);
        town.run_for(Duration::from_secs(120));
        let node = town.node("ada");
        let report = town.ask("transfers", async move { node.transfers().await }).unwrap();
        let gone_too = format!("{gone}@sim");
        assert!(!report.waiting.is_empty(), "seed {seed}");
        for row in &report.waiting {
            assert_eq!(row.target.as_str(), gone_too, "seed {seed}: {row:?}");
            assert!(row.why.contains(&gone_too), "seed {seed}: {row:?}");
        }
        assert_eq!(report.active.len(), 0, "seed {seed}: {report:?}");
        town.chapter("the links are back");
        town.heal("ada", gone);
        town.heal(other, gone);
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

/// Nodes with one slot each give to one another in a circle. Nobody waits for a slot that waits for its own,
/// nothing ends early but for a newer ring, and what found all slots taken is not told as ended. (M70, M106)
#[test]
fn transfers_that_wait_for_one_slot_each_all_end() {
    play("transfers_that_wait_for_one_slot", |seed| {
        let mut settings = settings(seed);
        settings.node.transfers.limit = 1;
        let mut town = members(settings, "ada", &["bob"]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..40, 0, &mut told);
        town.join("bob", &["cyd", "dan"]);
        town.run_for(Duration::from_millis(seed * 5));
        town.join("ada", &["eve", "fay"]);
        town.settle();
        for name in town.running() {
            let node = town.node(&name);
            let report = town.ask("transfers", async move { node.transfers().await }).unwrap();
            let failed: Vec<_> = report
                .ended
                .iter()
                .filter_map(|row| row.cancelled.clone())
                .filter(|why| !why.starts_with("superseded by epoch"))
                .collect();
            assert!(failed.is_empty(), "seed {seed}: {failed:?}");
        }
        assert_all_is_well(&mut town, &told);
    });
}
