//! Transfers that fail on their way and begin anew.

use std::time::Duration;

use tanodb_actors::RingSize;
use tanodb_actors::sim::invariant::{Rest, check_at_rest};

use super::town::{
    Told, assert_all_is_well, assert_readable_at, is_now, members, one_at_a_time, owners_of, play,
    put_all, settings, some_keys_in, tell, until_some_is,
};
use crate::numbers::Action;

/// `dan` joins while his link to the source of a transfer fails in the middle of it. Until the link heals, the
/// source keeps answering for the partition; afterwards `dan` owns it and holds every entry a client was told
/// is stored. (M10, M24, M56)
#[test]
fn a_joining_member_gets_every_acknowledged_entry_despite_a_cut_link() {
    play("a_joining_member_gets_every_acknowledged_entry", |seed| {
        let mut town = members(settings(seed), "ada", &["bob", "cyd"]);
        let mut told = Told::new();

        town.chapter("three members hold sixty entries");
        put_all(&mut town, "ada", 0..60, 0, &mut told);

        town.chapter("dan joins and the operator commits the plan");
        town.join("ada", &["dan"]);
        let met = until_some_is(&mut town, "Sending");

        town.chapter("the link from the source to dan is cut for a minute");
        town.cut(&met.source, "dan");
        town.run_for(Duration::from_secs(60));
        assert_eq!(
            owners_of(&mut town, met.partition),
            std::slice::from_ref(&met.source),
            "seed {seed}"
        );
        let keys = some_keys_in(met.partition, 5);
        put_all(&mut town, &met.source, keys, 1_000, &mut told);

        town.chapter("the link heals and the transfers end");
        town.heal(&met.source, "dan");
        town.settle();
        assert_eq!(owners_of(&mut town, met.partition), ["dan"]);
        assert_all_is_well(&mut town, &told);
    });
}

/// The connection of a transfer is reset at some page, again and again. Each time the source goes on with all
/// that it had, no vnode is started anew, and in the end everything has moved. (M08, L14, M96)
#[test]
fn a_connection_that_breaks_at_any_page_costs_nothing_but_the_attempt() {
    play("a_connection_that_breaks_at_any_page", |seed| {
        let mut town = members(settings(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..100, 0, &mut told);
        town.join("ada", &["bob"]);
        for round in 0..3 {
            town.chapter("a transfer breaks");
            let within = Duration::from_secs(20);
            let begun = town.advance_until(within, &mut |seen| is_now(seen, "Sending"));
            let is_one_left = town.must(begun).is_some();
            assert!(is_one_left || round > 0, "seed {seed}: nothing began");
            town.run_for(Duration::from_micros((seed * 3 + round) * 400));
            town.links(|network| network.reset("ada", "bob"));
            put_all(&mut town, "ada", 0..100, round + 1, &mut told);
        }
        town.chapter("all goes well");
        town.settle();
        for name in ["ada", "bob"] {
            let node = town.node(name);
            let restarts = town.ask("restarts", async move { node.vnode_restarts().await });
            assert_eq!(restarts, 0, "a vnode of {name} was started anew");
        }
        assert_all_is_well(&mut town, &told);
    });
}

/// The first attempt fails when most has arrived. Writes and removals come in between, and the second attempt
/// brings exactly what is there by then. (M17, M39)
#[test]
fn a_second_attempt_trusts_nothing_of_the_first() {
    play("a_second_attempt_trusts_nothing", |seed| {
        let mut town = members(settings(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..100, 0, &mut told);

        town.chapter("the first attempt stops behind its pages");
        town.join("ada", &["bob"]);
        let met = until_some_is(&mut town, if seed % 2 == 0 { "Fenced" } else { "CaughtUp" });
        town.cut("ada", "bob");
        town.run_for(Duration::from_secs(15));
        assert_eq!(owners_of(&mut town, met.partition), ["ada"], "seed {seed}");

        town.chapter("writes and removals come in between");
        let keys = some_keys_in(met.partition, 12);
        put_all(&mut town, "ada", keys.iter().copied(), 500, &mut told);
        for &key in keys.iter().step_by(2) {
            assert_eq!(tell(&mut town, "ada", key, Action::Remove(key)), Some(1));
            told.insert(key, None);
        }

        town.chapter("the second attempt brings what is there");
        town.heal("ada", "bob");
        town.settle();
        assert_eq!(owners_of(&mut town, met.partition), ["bob"]);
        assert_all_is_well(&mut town, &told);
    });
}

/// An item cannot be read for the handoff. The transfer stops, the wait names the item, nothing is destroyed,
/// and everything else moves; once the item is put anew, it moves too. (M97, L6)
#[test]
fn an_item_that_cannot_be_read_stays_where_it_is_and_is_named() {
    play("an_item_that_cannot_be_read", |seed| {
        let mut town = members(settings(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..60, 0, &mut told);
        for key in 0..60 {
            tell(&mut town, "ada", key, Action::Spoil(key));
        }
        town.join("ada", &["bob"]);
        town.run_for(Duration::from_secs(60));
        let node = town.node("ada");
        let report = town.ask("transfers", async move { node.transfers().await }).unwrap();
        let named = |row: &&_| {
            let row: &&tanodb_actors::wire::admin::WaitingRow = row;
            let error = format!("{} {}", row.why, row.last_error.clone().unwrap_or_default());
            error.contains("the test spoiled it")
        };
        assert!(!report.waiting.is_empty(), "seed {seed}: {report:?}");
        let unnamed: Vec<_> = report.waiting.iter().filter(|row| !named(row)).collect();
        assert!(unnamed.is_empty(), "seed {seed}: {unnamed:?}");
        assert_readable_at(&mut town, "ada", &told);

        town.chapter("the items are put anew");
        put_all(&mut town, "ada", 0..60, 7, &mut told);
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

/// The target is killed at some moment before the source grants, and comes back at once under its name: it is
/// another one now. The source serves on with everything. (M10, M20, M35)
#[test]
fn a_target_that_dies_before_the_grant_leaves_everything_at_the_source() {
    play("a_target_that_dies_before_the_grant", |seed| {
        let mut town = members(one_at_a_time(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..60, 0, &mut told);
        town.join("ada", &["bob"]);
        let states = ["Staging", "Sending", "Fenced"];
        until_some_is(&mut town, states[seed as usize % states.len()]);
        if seed % 3 == 0 {
            town.power_off("bob");
        } else {
            town.kill("bob");
        }
        if seed % 5 == 0 {
            town.start(&["bob"]);
        }
        put_all(&mut town, "ada", 0..60, 1, &mut told);
        town.run_for(Duration::from_secs(30));
        if seed % 5 != 0 {
            town.start(&["bob"]);
        }
        let lost = std::collections::BTreeSet::from(["bob".to_owned()]);
        let rested = check_at_rest(&mut town, &Rest { lost, plan: None });
        town.must(rested);
        assert_readable_at(&mut town, "ada", &told);
        assert_readable_at(&mut town, "bob", &told);
    });
}

/// The way to the target takes its time, slowly but steadily. One attempt for each partition is enough. (M29)
#[test]
fn a_slow_link_needs_one_attempt() {
    play("a_slow_link_needs_one_attempt", |seed| {
        let mut town = members(settings(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..60, 0, &mut told);
        for first in 0..8 {
            let keys = 1_000 * first..1_000 * first + 4;
            let fill = Action::Fill { keys, bytes: 2_000 };
            tell(&mut town, "ada", first, fill);
        }
        town.join("ada", &["bob"]);
        until_some_is(&mut town, "Sending");
        town.links(|network| network.limit("ada", "bob", Some(8_000)));
        town.settle();
        let node = town.node("ada");
        let ended = town.ask("transfers", async move { node.transfers().await }).unwrap().ended;
        assert!(ended.len() == 4, "seed {seed}: {ended:?}");
        assert!(ended.iter().all(|row| row.cancelled.is_none()), "seed {seed}: {ended:?}");
        town.links(|network| network.limit("ada", "bob", None));
        assert_all_is_well(&mut town, &told);
    });
}

/// The way to the target takes 32 to 64 KiB a second, so that two megabytes in four partitions need a minute. They
/// need no second attempt either, and all the while clients write and are answered in time. (M29)
#[test]
fn big_partitions_get_over_a_slow_link_in_one_attempt() {
    play("big_partitions_get_over_a_slow_link", |seed| {
        let mut settings = settings(seed);
        settings.node.page.items = 256;
        let mut town = members(settings, "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..16, 0, &mut told);
        for (partition, more) in RingSize::new(8).unwrap().partitions().zip(1..) {
            let keys = 1_000 * more..1_000 * more + 250;
            let fill = Action::Fill { keys, bytes: 2_000 };
            tell(&mut town, "ada", some_keys_in(partition, 1)[0], fill);
        }
        town.links(|network| network.limit("ada", "bob", Some((32 + 2 * (seed % 17)) * 1024)));
        town.join("ada", &["bob"]);
        let (node, within) = (town.node("ada"), Duration::from_secs(400));
        let settled = town.spawn(async move { node.settled(within).await });
        let mut round = 0;
        let settled = loop {
            if let Some(settled) = settled.take() {
                break settled;
            }
            round += 1;
            put_all(&mut town, "ada", 0..16, round, &mut told);
            town.run_for(Duration::from_secs(2));
        };
        assert!(settled, "seed {seed}: it goes on for ever");
        let node = town.node("ada");
        let ended = town.ask("transfers", async move { node.transfers().await }).unwrap().ended;
        assert!(ended.len() == 4, "seed {seed}: {ended:?}");
        assert!(ended.iter().all(|row| row.cancelled.is_none()), "seed {seed}: {ended:?}");
        town.links(|network| network.limit("ada", "bob", None));
        assert_all_is_well(&mut town, &told);
    });
}
