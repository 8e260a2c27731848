//! Reads while partitions move.

use std::time::Duration;

use tanodb_actors::Ask;
use tanodb_actors::runtime::observe::Observed;

use super::town::{
    Told, answer, asked, assert_all_is_well, assert_readable, members, play, put_all, settings,
};
use crate::numbers::Action;

/// Whenever a vnode comes to another state, and at every page, every node is asked for every key: nobody ever
/// says that there is nothing, also not between the deletion of the old copy and the news of it. (M02, M51,
/// M53)
#[test]
fn every_entry_is_found_at_every_step_of_a_transfer() {
    play("every_entry_is_found_at_every_step", |seed| {
        let mut town = members(settings(seed), "ada", &["bob"]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..24, 0, &mut told);
        // What is known of holders spreads late.
        town.links(|network| network.limit("ada", "bob", Some(60_000)));
        town.join("ada", &["cyd"]);
        let (mut steps, mut reads) = (0, Vec::new());
        let ends = town.elapsed() + Duration::from_secs(3);
        while town.elapsed() < ends {
            let left = ends.saturating_sub(town.elapsed());
            let met = town.advance_until(left, &mut |seen| {
                matches!(seen.event, Observed::VnodeMoved { .. } | Observed::Deleted { .. })
            });
            if town.must(met).is_none() {
                break;
            }
            steps += 1;
            for name in town.running() {
                for key in [(steps * 7) % 24, (steps * 7 + 11) % 24] {
                    let get = Action::Get(key);
                    reads.push((steps, key, asked(&mut town, &name, key, get, Ask::single())));
                }
            }
        }
        for (step, key, pending) in reads {
            let got = answer(&mut town, &pending);
            assert_eq!(got, Ok(told[&key]), "seed {seed}, step {step}");
        }
        assert!(steps > 8, "seed {seed}: only {steps} steps");
        assert_readable(&mut town, &told);
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}
