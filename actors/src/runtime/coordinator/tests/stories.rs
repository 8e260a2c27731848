//! What becomes of a command.

use std::time::Duration;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_command_is_minted_once_and_runs_at_all_replicas() {
    play(async {
        let mut scene = Scene::serving().await;
        let answer = scene.run(command(2));
        let [here, bob, cyd] = scene.next_are(["ada 1", "bob 2", "cyd 3"]).await;
        let (first, second) = (here.envelope.clone(), bob.envelope.clone());
        assert_eq!((first.op, first.stamp, first.dot), (second.op, second.stamp, second.dot));
        assert_eq!((first.deadline_ms, &second.command[..]), (4_980, &b"a command"[..]));
        cyd.executes("from-cyd");
        here.executes("from-ada");
        assert_eq!(answer.await, met("from-ada from-cyd", true));
        assert_eq!(scene.report().await.tails, 1, "bob was not heard");
        bob.executes("late");

        let answer = scene.run(command(1));
        let next = scene.next().await;
        assert!(next.envelope.stamp > first.stamp && next.envelope.dot > first.dot);
        next.executes("again");
        assert_eq!(answer.await, met("again", true));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_clients_operation_id_is_kept() {
    play(async {
        let mut scene = Scene::serving().await;
        let op = OpId { minter: 7, counter: 8 };
        let _answer = scene.run(Command { op: Some(op), ..command(1) });
        assert_eq!(scene.next().await.envelope.op, op);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_moved_replica_is_found_and_later_commands_know_it() {
    play(async {
        let mut scene = Scene::serving().await;
        let answer = scene.run(command(3));
        let [here, bob, cyd] = scene.next_are(["ada 1", "bob 2", "cyd 3"]).await;
        let moved = held("dan", 4);
        bob.says(Outcome::Moved { token: moved.token, holder: moved.holder.clone() });
        let [dan] = scene.next_are(["dan 2"]).await;
        assert_eq!(dan.token, moved.token);
        for asked in [here, dan, cyd] {
            asked.executes("ok");
        }
        assert_eq!(answer.await, met("ok ok ok", true));
        let report = scene.report().await;
        assert_eq!((report.moved, report.retries, report.met), (1, 1, 1));

        let _answer = scene.run(command(3));
        scene.next_are(["ada 1", "dan 2", "cyd 3"]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_keeps_a_hint_for_a_node_that_is_down() {
    play(async {
        let mut scene = Scene::serving().await;
        scene.up(&["ada", "cyd", "dan"]).await;
        let answer = scene.run(command(3));
        for asked in scene.next_are(["ada 1", "dan* 2", "cyd 3"]).await {
            asked.executes("ok");
        }
        assert_eq!(answer.await, met("ok ok ok", false));
        let report = scene.report().await;
        assert_eq!((report.hints, report.met_sloppily), (1, 1));

        scene.up(&["ada", "cyd"]).await;
        let _answer = scene.run(command(3));
        scene.next_are(["ada 1", "ada* 2", "cyd 3"]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_down_is_replaced_at_once() {
    play(async {
        let mut scene = Scene::serving().await;
        let answer = scene.run(command(3));
        let [here, bob, cyd] = scene.next_are(["ada 1", "bob 2", "cyd 3"]).await;
        scene.up(&["ada", "cyd", "dan"]).await;
        let [dan] = scene.next_are(["dan* 2"]).await;
        for asked in [here, cyd, dan] {
            asked.executes("ok");
        }
        assert_eq!(answer.await, met("ok ok ok", false));
        drop(bob);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_replica_is_asked_again_after_a_pause() {
    play(async {
        let mut scene = Scene::serving().await;
        let _answer = scene.run(command(3));
        let [here, bob, _cyd] = scene.next_are(["ada 1", "bob 2", "cyd 3"]).await;
        let before = scene.env.clock.now();
        here.says(Outcome::Busy);
        let [here] = scene.next_are(["ada 1"]).await;
        let pause = scene.env.clock.now().since(before);
        assert!((2..=6).contains(&pause.as_millis()), "{pause:?}");

        drop((here, bob));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_higher_token_ends_a_pause() {
    play(async {
        let mut scene = Scene::serving().await;
        let _answer = scene.run(command(3));
        let [_here, bob, _cyd] = scene.next_are(["ada 1", "bob 2", "cyd 3"]).await;
        bob.says(Outcome::Retry);
        scene.env.clock.sleep(Duration::from_millis(1)).await;
        let before = scene.env.clock.now();
        scene.hears(TokensLearned(Arc::new(vec![(vnode(2), held("dan", 1))]))).await;
        let [_dan] = scene.next_are(["dan 2"]).await;
        assert_eq!(scene.env.clock.now(), before, "it is asked at once");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_deadline_with_what_is_known() {
    play(async {
        let mut scene = Scene::serving().await;
        let before = scene.env.clock.now();
        let answer = scene.run(command(2));
        let [here, _bob, _cyd] = scene.next_are(["ada 1", "bob 2", "cyd 3"]).await;
        here.executes("ok");
        let told = failure(answer.await);
        let CommandError::DeadlinePassed { ok: 1, needed: 2, may_have_been_stored: true, failures } =
            told
        else {
            panic!("{told:?}")
        };
        let silent: Vec<&str> = failures.iter().map(|one| one.node.as_str()).collect();
        assert_eq!(silent, ["bob@here", "cyd@here"]);
        let waited = scene.env.clock.now().since(before);
        assert!(waited >= Duration::from_secs(5) && waited < Duration::from_millis(5_010));
        let report = scene.report().await;
        assert_eq!((report.waiting, report.tails, report.failed), (0, 0, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_dropped_is_a_failure_that_may_have_run() {
    play(async {
        let mut scene = Scene::serving().await;
        let single =
            Command { vnode_type: VnodeType::new("counters").unwrap(), n: 1, ..command(1) };
        let answer = scene.run(single);
        drop(scene.next_are(["ada 1"]).await);
        let text = "0 of 1 needed replicas answered \
                    (ada@here: stopped: whoever should have executed it is gone)";
        assert_eq!(failure(answer.await).to_string(), text);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_on_the_way_is_asked_for_again() {
    play(async {
        let mut scene = Scene::serving().await;
        let answer = scene.run(command(3));
        let [here, bob, cyd] = scene.next_are(["ada 1", "bob 2", "cyd 3"]).await;
        let op = bob.envelope.op;
        bob.fails(PeerError::Lost);
        let [bob] = scene.next_are(["bob 2"]).await;
        assert_eq!(bob.envelope.op, op);
        drop(bob);
        let [bob] = scene.next_are(["bob 2"]).await;
        bob.fails(PeerError::NotSent("no link".to_owned()));
        let [bob] = scene.next_are(["bob 2"]).await;
        for asked in [here, bob, cyd] {
            asked.executes("ok");
        }
        assert_eq!(answer.await, met("ok ok ok", true));
        assert_eq!(scene.report().await.retries, 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_author_that_panics_over_replies_fails_its_own_command_only() {
    play(async {
        let mut scene = Scene::serving().await;
        let answer = scene.run(command(1));
        scene.next().await.executes("poison");
        let told = failure(answer.await);
        let CommandError::QuorumNotMet { may_have_been_stored: true, failures, .. } = told else {
            panic!("{told:?}")
        };
        assert_eq!(failures[0].reason, "'pairs' panicked over the replies");
        let answer = scene.run(command(1));
        scene.next_are(["bob 2", "cyd 3"]).await;
        scene.next().await.executes("well");
        assert_eq!(answer.await, met("well", true));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stamp_that_was_seen_is_below_all_later_ones() {
    play(async {
        let mut scene = Scene::serving().await;
        let seen = Stamp { millis: scene.env.clock.wall_millis() + 9_000, logical: 5 };
        scene.hears(StampSeen(seen)).await;
        let _answer = scene.run(command(1));
        assert!(scene.next().await.envelope.stamp > seen);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_overtaken_is_the_same_write_with_a_higher_stamp() {
    play(async {
        let mut scene = Scene::serving().await;
        let answer = scene.run(command(2));
        let [here, bob, cyd] = scene.next_are(["ada 1", "bob 2", "cyd 3"]).await;
        let (first, wall_millis) = (here.envelope.clone(), scene.env.clock.wall_millis());
        let held = Stamp { millis: wall_millis + 9_000, logical: 5 };
        here.executes("ok");
        bob.says(Outcome::Overtaken { stamp: held });
        let [here, bob, late] = scene.next_are(["ada 1", "bob 2", "cyd 3"]).await;
        let anew = bob.envelope.clone();
        assert_eq!((anew.op, anew.dot), (first.op, first.dot));
        assert_eq!(anew.stamp, Stamp { logical: 6, ..held });
        cyd.executes("under the old stamp");
        bob.executes("ok");
        here.executes("ok");
        assert_eq!(answer.await, met("ok ok", true));
        assert_eq!((scene.report().await.restamped, scene.report().await.met), (1, 1));
        drop(late);

        let _answer = scene.run(command(1));
        assert!(scene.next().await.envelope.stamp > anew.stamp, "the clock has moved on");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_far_ahead_overtakes_one_write_and_not_the_clock() {
    play(async {
        let mut scene = Scene::serving().await;
        let _answer = scene.run(command(2));
        let [_here, bob, _cyd] = scene.next_are(["ada 1", "bob 2", "cyd 3"]).await;
        let wall_millis = scene.env.clock.wall_millis();
        let held = Stamp { millis: wall_millis + 60_000, logical: 5 };
        bob.says(Outcome::Overtaken { stamp: held });
        let [here, ..] = scene.next_are(["ada 1", "bob 2", "cyd 3"]).await;
        assert_eq!(here.envelope.stamp, Stamp { logical: 6, ..held });

        let _answer = scene.run(command(1));
        assert!(scene.next().await.envelope.stamp.millis < wall_millis + 10_000);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_stand_ins_read_waits_for_the_owner_that_is_up() {
    play(async {
        let mut scene = Scene::serving().await;
        scene.up(&["ada", "dan"]).await;
        let answer = scene.run(command(2));
        let [owner, one, other] = scene.next_are(["ada 1", "dan* 2", "dan* 3"]).await;
        for stand_in in [one, other] {
            stand_in.executes("stored:nothing");
        }
        scene.env.clock.sleep(Duration::from_millis(100)).await;
        assert_eq!(scene.report().await.waiting, 1, "the owner may know more");
        owner.executes("stored:something");
        let all = "stored:something stored:nothing stored:nothing";
        assert_eq!(answer.await, met(all, false));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_comes_before_the_first_links_waits_for_them() {
    play(async {
        for all_come in [true, false] {
            let mut scene =
                Scene::starting(testing::env("ada@here", 1), CoordinatorLimits::default());
            scene.hears(RingChanged(ring())).await;
            scene.up(&["ada"]).await;
            scene.hears(ServingChanged { waits_for: None }).await;
            let answer = scene.run(Command { owners_needed: 2, ..command(2) });
            scene.env.clock.sleep(Duration::from_millis(500)).await;
            assert!(scene.asked.try_recv().is_err(), "they are about to come");
            if all_come {
                scene.up(&["ada", "bob", "cyd", "dan"]).await;
                for asked in scene.next_are(["ada 1", "bob 2", "cyd 3"]).await {
                    asked.executes("ok");
                }
                assert_eq!(answer.await, met("ok ok", true));
            } else {
                assert!(matches!(failure(answer.await), CommandError::QuorumNotMet { ok: 0, .. }));
                let waited = scene.env.clock.now();
                assert!(waited.since(Moment::START) < Duration::from_millis(1_600));
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_ought_to_own_a_partition_is_asked_while_no_token_is_known() {
    play(async {
        let mut scene = Scene::serving().await;
        let counters = VnodeType::new("counters").unwrap();
        let _answer = scene.run(Command { vnode_type: counters, n: 1, ..command(1) });
        let [here] = scene.next_are(["ada 1"]).await;
        assert_eq!(here.token, Token::minted(Epoch(0)));
    })
    .await;
}
