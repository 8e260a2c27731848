//! Hints, overload, and statuses that are read all the while.

use std::time::Duration;

use tanodb_actors::sim::cluster::Cluster;
use tanodb_actors::{Ask, AskError};

use super::town::{
    Told, answer, asked, assert_all_is_well, members, play, put_all, settings,
    settings_of_replicas, tell, until_some_is,
};
use crate::numbers::Action;

const KEYS: u64 = 16;

fn write_all(town: &mut Cluster, through: &str, value: u64) {
    let written: Vec<_> = (0..KEYS)
        .map(|key| asked(town, through, key, Action::Write(key, value), Ask::quorum(3, 2)))
        .collect();
    for pending in written {
        assert_eq!(answer(town, &pending), Ok(Some(value)), "seed {}", town.seed());
    }
}

fn hints(town: &mut Cluster) -> u64 {
    let rows = town.partitions();
    let hints = rows.iter().filter(|row| row.container.starts_with("hints("));
    hints.map(|row| row.objects).sum()
}

fn alone(town: &mut Cluster, who: &str, others: &[&str]) {
    for other in others {
        town.cut(who, other);
    }
    town.run_for(Duration::from_secs(30));
}

fn back(town: &mut Cluster, who: &str, others: &[&str]) {
    for other in others {
        town.heal(who, other);
    }
}

fn assert_all_read(town: &mut Cluster, value: u64) {
    for name in town.running() {
        for key in 0..KEYS {
            let strict = Ask { owners_needed: 3, ..Ask::quorum(3, 3) };
            let pending = asked(town, &name, key, Action::Get(key), strict);
            assert_eq!(answer(town, &pending), Ok(Some(value)), "seed {}", town.seed());
        }
    }
}

/// Everything is asked and looked at once a second. Hints go home and partitions move in the time they take
/// anyway. (M25, M108)
#[test]
fn questions_put_off_neither_hints_nor_handoffs() {
    play("questions_put_off_neither", |seed| {
        let mut town = members(settings_of_replicas(seed), "ada", &["bob", "cyd"]);
        write_all(&mut town, "ada", 1);
        alone(&mut town, "bob", &["ada", "cyd"]);
        write_all(&mut town, "ada", 2);
        assert!(hints(&mut town) > 0, "seed {seed}: nothing was kept for bob");
        back(&mut town, "bob", &["ada", "cyd"]);
        let ends = town.elapsed() + Duration::from_secs(30);
        while town.elapsed() < ends {
            look_at_everything(&mut town);
            town.run_for(Duration::from_secs(1));
        }
        assert_eq!(hints(&mut town), 0, "seed {seed}: hints still wait after half a minute");
        assert_all_read(&mut town, 2);
    });
}

fn look_at_everything(town: &mut Cluster) {
    for name in town.running() {
        let node = town.node(&name);
        town.ask("all there is to see", async move {
            drop((node.members().await, node.ring().await, node.transfers().await));
            drop((node.partitions().await, node.requests().await));
        });
        for key in 0..KEYS {
            drop(asked(town, &name, key, Action::Get(key), Ask::quorum(3, 2)));
        }
    }
}

/// Hints fail to go home, and meanwhile what they speak of is written anew. They are sent again without a
/// restart, and when they arrive at last they win over nothing that is newer. (M07)
#[test]
fn a_late_hint_is_sent_again_and_beats_nothing_newer() {
    play("a_late_hint_is_sent_again", |seed| {
        let mut town = members(settings_of_replicas(seed), "ada", &["bob", "cyd"]);
        write_all(&mut town, "ada", 1);
        alone(&mut town, "bob", &["ada", "cyd"]);
        write_all(&mut town, "ada", 2);
        assert!(hints(&mut town) > 0, "seed {seed}: nothing was kept for bob");
        town.chapter("their way home fails again and again");
        back(&mut town, "bob", &["ada", "cyd"]);
        town.run_until("bob is heard again", |town| {
            let node = town.node("ada");
            let members = town.ask("members", async move { node.members().await }).unwrap();
            members.members.iter().all(|row| row.up)
        });
        write_all(&mut town, "bob", 3);
        for _ in 0..12 {
            for holder in ["ada", "cyd"] {
                town.links(|network| network.reset(holder, "bob"));
            }
            town.run_for(Duration::from_millis(500 + seed * 10));
        }
        town.chapter("it succeeds");
        town.run_until("no hints are left", |town| hints(town) == 0);
        town.run_for(Duration::from_secs(5));
        assert_all_read(&mut town, 3);
    });
}

/// Hints whose way home breaks are seen to wait for the next attempt, at every moment until they are home, and that
/// attempt does not wait until clients have let them alone for another while.
#[test]
fn hints_whose_way_home_broke_are_seen_to_wait() {
    play("hints_whose_way_home_broke", |seed| {
        let mut settings = settings_of_replicas(seed);
        settings.node.hinted_idle = Duration::from_secs(60);
        let mut town = members(settings, "ada", &["bob", "cyd"]);
        write_all(&mut town, "ada", 1);
        alone(&mut town, "bob", &["ada", "cyd"]);
        write_all(&mut town, "ada", 2);
        town.run_for(Duration::from_secs(70));
        assert!(hints(&mut town) > 0, "seed {seed}: nothing was kept for bob");
        town.chapter("their way home breaks a few times");
        back(&mut town, "bob", &["ada", "cyd"]);
        let mut resets = 0;
        for _ in 0..400 {
            if hints(&mut town) == 0 {
                break;
            }
            for holder in ["ada", "cyd"] {
                let held = town.partitions().into_iter().any(|row| {
                    row.node.as_str() == format!("{holder}@sim")
                        && row.container.starts_with("hints(")
                });
                let node = town.node(holder);
                let report = town.ask("transfers", async move { node.transfers().await }).unwrap();
                let is_named = report.waiting.iter().any(|row| row.kind == "hinted")
                    || report.active.iter().any(|row| row.kind == "hinted");
                assert!(!held || is_named || hints(&mut town) == 0, "seed {seed}: {report:?}");
                if !report.active.is_empty() && resets < 4 {
                    resets += 1;
                    town.links(|network| network.reset(holder, "bob"));
                }
            }
            town.run_for(Duration::from_millis(40 + seed));
        }
        assert_eq!(hints(&mut town), 0, "seed {seed}: they wait for another idle minute");
        // Links that were reset are made again.
        town.run_for(Duration::from_secs(5));
        assert_all_read(&mut town, 2);
    });
}

/// A vnode gets more than it may have under way. What is refused is told so at once, and as soon as the load is
/// over it works and moves. (M71, M72)
#[test]
fn an_overload_that_is_over_leaves_nothing_behind() {
    play("an_overload_that_is_over", |seed| {
        let mut settings = settings(seed);
        settings.node.permits = 4;
        settings.node.parked_max = 4;
        let mut town = members(settings, "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..8, 0, &mut told);
        town.join("ada", &["bob"]);
        until_some_is(&mut town, "Sending");
        town.chapter("three hundred commands come at once");
        let flood: Vec<_> = (0..300)
            .map(|number| {
                let key = number % 8;
                let ask = Ask { deadline: Duration::from_secs(2), ..Ask::single() };
                (key, number, asked(&mut town, "ada", key, Action::Get(key), ask))
            })
            .collect();
        town.run_for(Duration::from_secs(3));
        for (key, number, pending) in flood {
            match pending.take() {
                Some(Ok(got)) => assert_eq!(got, told[&key], "seed {seed}"),
                Some(Err(AskError::Failed(_))) => {}
                other => panic!("seed {seed}: command {number} was answered {other:?}"),
            }
        }
        assert_eq!(town.requests().open(), 0, "seed {seed}");
        town.chapter("the load is over");
        for key in 0..8 {
            assert_eq!(tell(&mut town, "bob", key, Action::Get(key)), told[&key]);
        }
        let node = town.node("ada");
        let within = Duration::from_secs(10);
        assert!(town.ask("it settles", async move { node.settled(within).await }), "seed {seed}");
        assert_all_is_well(&mut town, &told);
    });
}
