//! Who joins, who commits, and what a disk does meanwhile.

use std::time::Duration;

use tanodb_actors::runtime::observe::Observed;
use tanodb_actors::sim::cluster::{Cluster, ClusterSettings};
use tanodb_actors::wire::admin::AdminRequest;

use super::town::{
    Told, answer, assert_all_is_well, assert_readable_at, members, play, put_all, settings,
    until_some_is,
};

fn epoch(town: &mut Cluster, name: &str) -> u64 {
    let node = town.node(name);
    town.ask("a ring", async move { node.ring().await }).unwrap().epoch.0
}

/// Another join is staged between the plan and its commit. The commit of what was shown changes nothing, and says
/// why. (M80, M18)
#[test]
fn a_plan_that_is_out_of_date_is_not_committed() {
    play("a_plan_that_is_out_of_date", |seed| {
        let mut town = members(settings(seed), "ada", &["bob"]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..20, 0, &mut told);
        let before = epoch(&mut town, "ada");
        town.start(&["cyd", "dan"]);
        town.stage_joins("ada", &["cyd"]);
        let shown = town.plan("ada", 1);
        town.stage_joins(if seed % 2 == 0 { "ada" } else { "bob" }, &["dan"]);
        town.plan("ada", 2);
        let (node, id) = (town.node("ada"), shown.id);
        let refused = town.ask("a commit", async move { node.commit(id).await });
        let refusal = refused.expect_err("what was staged is no longer what was shown");
        assert!(!refusal.reason.is_empty());
        assert_eq!(epoch(&mut town, "ada"), before);
        town.chapter("the plan is made again");
        let (node, id) = (town.node("bob"), town.plan("bob", 2).id);
        town.ask("a commit", async move { node.commit(id).await }).unwrap();
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

/// Four members are cut into halves, and both halves try to commit. Neither does; when the links are back there
/// is one ring of each number. (M49, M85, M89)
#[test]
fn half_of_the_members_decide_nothing() {
    play("half_of_the_members_decide_nothing", |seed| {
        let mut town = members(settings(seed), "ada", &["bob", "cyd", "dan"]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..20, 0, &mut told);
        town.start(&["eve", "fay"]);
        town.stage_joins("ada", &["eve"]);
        town.stage_joins("dan", &["fay"]);
        let plans = [("ada", town.plan("ada", 2).id), ("dan", town.plan("dan", 2).id)];
        let before = epoch(&mut town, "ada");
        for one in ["ada", "bob"] {
            for other in ["cyd", "dan"] {
                town.cut(one, other);
            }
        }
        for (name, id) in plans {
            let node = town.node(name);
            drop(town.spawn(async move { node.commit(id).await }));
        }
        town.run_for(Duration::from_secs(20));
        for name in ["ada", "bob", "cyd", "dan"] {
            assert_eq!(epoch(&mut town, name), before, "seed {seed}: {name} went on alone");
        }
        town.chapter("the halves meet again");
        town.links(|network| network.heal_all());
        town.run_for(Duration::from_secs(20));
        if epoch(&mut town, "ada") == before {
            let (node, id) = (town.node("ada"), town.plan("ada", 2).id);
            town.ask("a commit", async move { node.commit(id).await }).unwrap();
        }
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

/// A node is told to join in the first moment of its life. It does, or says that it cannot yet; and everything
/// ends in one ring. (M84, M59)
#[test]
fn a_join_in_the_first_moment_of_a_life_is_refused_or_right() {
    play("a_join_in_the_first_moment", |seed| {
        let mut town = members(settings(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..20, 0, &mut told);
        town.start_soon("bob");
        town.start_soon("cyd");
        town.run_until("bob is there", |town| town.find("bob").is_some());
        town.stage_joins("ada", &["bob"]);
        let mut is_staged = false;
        for _ in 0..100 {
            if let Some(node) = town.find("cyd") {
                let contact = town.node("bob").address().to_owned();
                is_staged = town.ask("a join", async move { node.join(&contact).await }).is_ok();
            }
            if is_staged {
                break;
            }
            town.run_for(Duration::from_millis(5));
            if let Ok(plan) = plan(&mut town) {
                let node = town.node("ada");
                let _ = town.ask("a commit", async move { node.commit(plan).await });
            }
        }
        assert!(is_staged, "seed {seed}: cyd was never let in");
        town.run_for(Duration::from_secs(2));
        if let Ok(plan) = plan(&mut town) {
            let node = town.node("ada");
            let _ = town.ask("a commit", async move { node.commit(plan).await });
        }
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

fn plan(town: &mut Cluster) -> Result<tanodb_actors::protocol::plan::PlanId, ()> {
    let node = town.node("ada");
    town.ask("a plan", async move { node.plan().await }).map(|plan| plan.id).map_err(|_| ())
}

/// Whether a node is on its own: the only member of its ring.
fn is_alone(town: &mut Cluster, name: &str) -> bool {
    let node = town.node(name);
    let members = town.ask("members", async move { node.members().await }).unwrap().members;
    members.len() == 1 && members[0].node.as_str() == format!("{name}@sim")
}

/// A join is cleared while nobody can tell the joiner. Once it can ask again it becomes a cluster of its own, speaks
/// for all of it, and may join anew.
#[test]
fn a_joiner_whose_join_was_cleared_behind_its_back_is_on_its_own_again() {
    play("a_joiner_whose_join_was_cleared", |seed| {
        let mut town = members(settings(seed), "ada", &["bob"]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..20, 0, &mut told);
        town.start(&["dan"]);
        town.stage_joins("ada", &["dan"]);
        town.run_for(Duration::from_millis(seed * 100));
        town.chapter("dan hears of nothing");
        town.cut("ada", "dan");
        town.cut("bob", "dan");
        let node = town.node("bob");
        town.run_until("bob knows of the join", |town| {
            let node = node.clone();
            let members = town.ask("members", async move { node.members().await }).unwrap();
            members.members.len() == 3
        });
        town.ask("a clear", async move { node.admin(AdminRequest::Clear).await });
        let is_another_decided = seed % 2 == 0;
        if is_another_decided {
            town.join("bob", &["eve"]);
        }
        town.run_for(Duration::from_secs(30));
        town.chapter("the links are back");
        town.links(|network| network.heal_all());
        town.run_until("dan is on its own", |town| is_alone(town, "dan"));
        let rows = town.partitions().into_iter();
        let of_dan = rows.filter(|row| row.node.as_str() == "dan@sim" && row.container == "owned");
        assert_eq!(of_dan.count(), 8, "seed {seed}: it speaks for all of its cluster");
        town.chapter("dan joins anew");
        town.stage_joins("ada", &["dan"]);
        let (node, id) = (town.node("ada"), town.plan("ada", 1).id);
        town.ask("a commit", async move { node.commit(id).await }).unwrap();
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

/// A member stages a join, and its answer is lost. The joiner asks again, by itself or when it is told to, and is
/// staged once; the commit needs no clearing.
#[test]
fn a_join_whose_answer_was_lost_is_asked_for_again_and_staged_once() {
    play("a_join_whose_answer_was_lost", |seed| {
        let mut town = members(settings(seed), "ada", &["bob"]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..20, 0, &mut told);
        town.start(&["dan"]);
        let (node, address) = (town.node("dan"), town.node("ada").address().to_owned());
        let (dan, to_ada) = (node.clone(), address.clone());
        let join = town.spawn(async move { node.join(&address).await });
        town.run_until("ada has staged it", |town| {
            let node = town.node("ada");
            let members = town.ask("members", async move { node.members().await }).unwrap();
            members.members.len() == 3
        });
        town.chapter("the answer does not arrive");
        town.links(|network| network.cut_one_way("ada", "dan"));
        town.run_for(Duration::from_secs(1 + seed));
        town.heal("ada", "dan");
        let answer = answer(&mut town, &join);
        if seed < 5 {
            assert!(answer.is_ok(), "seed {seed}: {answer:?}");
        }
        if answer.is_err() {
            town.ask("a join", async move { dan.join(&to_ada).await }).unwrap();
        }
        town.chapter("it is committed");
        let (node, id) = (town.node("bob"), town.plan("bob", 1).id);
        town.ask("a commit", async move { node.commit(id).await }).unwrap();
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

/// A joiner is shown the ring that makes it a member, and hears nothing more. Whether that ring is decided or another
/// one, without it: it is a member then, or on its own, and never in between.
#[test]
fn a_joiner_that_was_shown_a_ring_is_a_member_or_on_its_own() {
    let (mut let_in, mut left_out) = (0, 0);
    play("a_joiner_that_was_shown_a_ring", |seed| {
        let mut town = members(settings(seed), "ada", &["bob", "cyd"]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..20, 0, &mut told);
        town.start(&["dan", "eve"]);
        town.stage_joins("ada", &["dan"]);
        let (node, id) = (town.node("ada"), town.plan("ada", 1).id);
        town.plan("bob", 1);
        let commit = town.spawn(async move { node.commit(id).await });
        town.run_for(Duration::from_micros(2_000 + seed * 700));
        town.chapter("ada hears nobody, and nobody dan");
        for (one, other) in [("ada", "bob"), ("ada", "cyd"), ("ada", "dan")] {
            town.cut(one, other);
        }
        town.cut("bob", "dan");
        town.cut("cyd", "dan");
        town.run_for(Duration::from_secs(20));
        drop(commit);
        town.chapter("the others decide a ring without them");
        let node = town.node("bob");
        town.ask("a clear", async move { node.admin(AdminRequest::Clear).await });
        let (node, address) = (town.node("eve"), town.node("bob").address().to_owned());
        let _ = town.ask("a join", async move { node.join(&address).await });
        town.run_for(Duration::from_secs(2));
        let node = town.node("bob");
        if let Ok(plan) = town.ask("a plan", async move { node.plan().await }) {
            let node = town.node("bob");
            let _ = town.ask("a commit", async move { node.commit(plan.id).await });
        }
        town.links(|network| network.heal_all());
        town.run_for(Duration::from_secs(60));
        let node = town.node("bob");
        let members = town.ask("members", async move { node.members().await }).unwrap().members;
        if members.iter().any(|row| row.node.as_str() == "dan@sim") {
            let_in += 1;
        } else {
            left_out += 1;
            assert!(is_alone(&mut town, "dan"), "seed {seed}: dan is nowhere");
        }
        town.settle();
        assert_readable_at(&mut town, "bob", &told);
    });
    let is_whole = std::env::var("TANODB_SEED").is_err();
    assert!(!is_whole || (let_in > 0 && left_out > 0), "{let_in} let in, {left_out} left out");
}

/// What the joiner says does not arrive at its contact, or what it is told does not arrive at the joiner. It
/// learns of its ring all the same, from others, and soon. (M93)
#[test]
fn a_joiner_learns_of_its_ring_over_one_way_links() {
    play("a_joiner_learns_of_its_ring", |seed| {
        let mut town = members(settings(seed), "ada", &["bob", "cyd"]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..20, 0, &mut told);
        town.start(&["dan"]);
        town.stage_joins("ada", &["dan"]);
        let shown = town.plan("ada", 1).id;
        town.plan("bob", 1);
        let epoch_now = epoch(&mut town, "ada") + 1;
        let node = town.node("ada");
        drop(town.spawn(async move { node.commit(shown).await }));
        town.run_until_seen("a member follows the ring", |seen| {
            matches!(&seen.event, Observed::RingAdopted { epoch, .. } if epoch.0 == epoch_now)
        });
        let (from, to) = if seed % 2 == 0 { ("ada", "dan") } else { ("dan", "ada") };
        town.links(|network| network.cut_one_way(from, to));
        let began = town.elapsed();
        town.run_until("dan follows the ring", |town| epoch(town, "dan") == epoch_now);
        let took = town.elapsed() - began;
        assert!(took < Duration::from_secs(30), "seed {seed}: it took {took:?}");
        town.heal("ada", "dan");
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

/// The disk of a member is full when a ring is to be kept there. Nothing moves by a ring that was not kept, and
/// when there is room again everything does. (M87)
#[test]
fn a_full_disk_delays_a_ring_and_loses_nothing() {
    play("a_full_disk_delays_a_ring", |seed| {
        let mut town = members(settings(seed), "ada", &["bob"]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..20, 0, &mut told);
        town.start(&["cyd"]);
        town.stage_joins("ada", &["cyd"]);
        let (node, id) = (town.node("ada"), town.plan("ada", 1).id);
        let commit = town.spawn(async move { node.commit(id).await });
        town.run_for(Duration::from_micros(seed * 300));
        let full = if seed % 2 == 0 { "bob" } else { "ada" };
        town.disk(full).unwrap().fill();
        town.run_for(Duration::from_secs(15));
        town.disk(full).unwrap().free();
        town.run_for(Duration::from_secs(15));
        drop(commit);
        if epoch(&mut town, "ada") == 2 {
            let (node, id) = (town.node("ada"), town.plan("ada", 1).id);
            town.ask("a commit", async move { node.commit(id).await }).unwrap();
        }
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

/// A member is away for a minute. The others make no rings of it. (M90)
#[test]
fn a_member_that_is_away_makes_no_rings() {
    play("a_member_that_is_away", |seed| {
        let mut town = members(settings(seed), "ada", &["bob", "cyd"]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..20, 0, &mut told);
        let before = epoch(&mut town, "ada");
        town.cut("ada", "cyd");
        town.cut("bob", "cyd");
        town.run_for(Duration::from_secs(60));
        for name in ["ada", "bob", "cyd"] {
            assert_eq!(epoch(&mut town, name), before);
        }
        town.links(|network| network.heal_all());
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

/// The connections of the transfers to a joiner break again and again, for a minute. In the end it owns what the
/// ring gave it. (M41)
#[test]
fn a_joiner_whose_transfers_fail_for_long_is_a_member_in_the_end() {
    play("a_joiner_whose_transfers_fail", |seed| {
        let mut town = members(settings(seed), "ada", &[]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..60, 0, &mut told);
        town.join("ada", &["bob"]);
        until_some_is(&mut town, "Sending");
        let rng = town.rng("resets");
        for _ in 0..40 {
            town.links(|network| network.reset("ada", "bob"));
            town.run_for(Duration::from_millis(rng.below(4_000)));
        }
        town.settle();
        assert_all_is_well(&mut town, &told);
    });
}

/// Two operators plan, commit, clear and join through whichever node comes to mind, in an order that the seed
/// chooses. Whatever is refused and whatever is done, nothing is lost. (M18)
#[test]
fn consoles_that_say_anything_in_any_order_lose_nothing() {
    play("consoles_that_say_anything", |seed| {
        let mut town = members(settings(seed), "ada", &["bob"]);
        let mut told = Told::new();
        put_all(&mut town, "ada", 0..40, 0, &mut told);
        let rng = town.rng("consoles");
        let (mut joiners, mut shown) = (vec!["dan", "cyd"], Vec::new());
        for step in 0..30 {
            let console = if rng.below(2) == 0 { "ada" } else { "bob" };
            let node = town.node(console);
            match rng.below(5) {
                0 => {
                    let Some(joiner) = joiners.pop() else { continue };
                    town.start(&[joiner]);
                    town.stage_joins(console, &[joiner]);
                }
                1 => {
                    let plan = town.ask("a plan", async move { node.plan().await });
                    shown.extend(plan.ok().map(|plan| plan.id));
                }
                2 | 3 => {
                    let Some(id) = shown.last().copied() else { continue };
                    let _refused = town.ask("a commit", async move { node.commit(id).await });
                }
                _ => {
                    town.ask("a clear", async move { node.admin(AdminRequest::Clear).await });
                }
            }
            put_all(&mut town, "ada", 0..8, step, &mut told);
            town.run_for(Duration::from_millis(rng.below(300)));
        }
        town.chapter("what is staged in the end is committed");
        let node = town.node("ada");
        town.run_for(Duration::from_secs(5));
        if let Ok(plan) = plan(&mut town) {
            let _refused = town.ask("a commit", async move { node.commit(plan).await });
        }
        town.run_for(Duration::from_secs(60));
        for name in ["ada", "bob"] {
            assert_readable_at(&mut town, name, &told);
        }
    });
}

/// Nodes that host no type of vnodes make a cluster, and nothing waits for anything. (M26)
#[test]
fn a_cluster_without_any_vnodes_settles() {
    play("a_cluster_without_any_vnodes", |seed| {
        let mut town = members(ClusterSettings::new(seed, Vec::new), "ada", &["bob"]);
        town.join("bob", &["cyd"]);
        town.settle();
        for name in ["ada", "bob", "cyd"] {
            let node = town.node(name);
            let report = town.ask("transfers", async move { node.transfers().await }).unwrap();
            assert!(report.waiting.is_empty() && report.active.is_empty(), "{report:?}");
        }
        town.assert_rings_agree();
    });
}

/// A node that holds items of its own is not let in: they would be discarded, or surface where nobody put them.
/// Both clusters stay what they are. (L19)
#[test]
fn a_node_that_holds_items_of_its_own_is_not_let_in() {
    play("a_node_that_holds_items", |seed| {
        let mut town = members(settings(seed), "ada", &[]);
        let (mut at_ada, mut at_bob) = (Told::new(), Told::new());
        put_all(&mut town, "ada", 0..20, 0, &mut at_ada);
        town.start(&["bob"]);
        put_all(&mut town, "bob", 20..21 + seed, 0, &mut at_bob);
        let (node, address) = (town.node("bob"), town.node("ada").address().to_owned());
        let refusal = town.ask("a join", async move { node.join(&address).await }).unwrap_err();
        let why = "joining would discard them";
        assert!(refusal.reason.contains(why), "seed {seed}: {refusal}");
        assert_readable_at(&mut town, "ada", &at_ada);
        assert_readable_at(&mut town, "bob", &at_bob);
    });
}
