//! What the coordinator does not take on.

use super::disks::{FullDisk, SlowDisk};
use super::numbers::RESERVE_AGAIN;
use super::*;

async fn refusal(scene: &Scene, command: Command) -> String {
    failure(scene.run(command).await).to_string()
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_not_legal_is_refused_before_anything_is_sent() {
    play(async {
        let mut scene = Scene::serving().await;
        let counters = VnodeType::new("counters").unwrap();
        let long = Bytes::from(vec![0; 16 * 1024 * 1024 + 1]);
        let illegal = [
            (Command { n: 0, ..command(1) }, "a key has 1 to 16 replicas, not 0"),
            (command(4), "1 to 3 of 3 replicas can be needed, not 4"),
            (Command { n: 9, ..command(1) }, "9 different partitions must be asked, not 8"),
            (Command { deadline_ms: 0, ..command(1) }, "a deadline is 1 to 600000 ms, not 0"),
            (Command { deadline_ms: 600_001, ..command(1) }, "1 to 600000 ms, not 600001"),
            (Command { command: long, ..command(1) }, "at most 16777216 bytes, not 16777217"),
            (Command { vnode_type: counters, ..command(1) }, "keeps one copy: n must be 1, not 3"),
            (
                Command { vnode_type: VnodeType::new("sets").unwrap(), ..command(1) },
                "this node hosts no vnode type 'sets'",
            ),
        ];
        let count = illegal.len() as u64;
        for (command, expected) in illegal {
            let refused = refusal(&scene, command).await;
            assert!(refused.contains(expected), "{refused}");
        }
        assert!(scene.asked.try_recv().is_err(), "nothing was sent");
        assert_eq!(scene.report().await.refused, count);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_serve_says_what_it_waits_for() {
    play(async {
        let env = testing::env("ada@here", 1);
        let scene = Scene::starting(env, CoordinatorLimits::default());
        let text = "ada@here does not serve yet: the node is starting";
        assert_eq!(refusal(&scene, command(1)).await, text);
        scene.hears(ServingChanged { waits_for: None }).await;
        let text = "ada@here does not serve yet: it has no ring yet";
        assert_eq!(refusal(&scene, command(1)).await, text);
        scene.told_everything().await;
        scene.hears(ServingChanged { waits_for: Some("it leaves".to_owned()) }).await;
        assert_eq!(refusal(&scene, command(1)).await, "ada@here does not serve yet: it leaves");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn commands_under_way_end_when_the_node_changes_its_cluster() {
    play(async {
        let mut scene = Scene::serving().await;
        let answer = scene.run(command(2));
        let [first, second, third] = scene.next_are(["ada 1", "bob 2", "cyd 3"]).await;
        first.executes("ok");
        assert_eq!(scene.report().await.waiting, 1);
        let member = Member::valid(incarnation(), VoterId(1));
        let size = RingSize::new(8).unwrap();
        let other = Ring::founded(ClusterId(2), size, node("ada"), member);
        scene.hears(RingChanged(Arc::new(other))).await;
        let failure = failure(answer.await);
        assert!(
            matches!(failure, CommandError::QuorumNotMet { ok: 1, may_have_been_stored: true, .. }),
            "{failure}"
        );
        second.executes("ok");
        third.executes("ok");
        let report = scene.report().await;
        assert_eq!((report.waiting, report.tails), (0, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn too_many_commands_are_refused_at_once() {
    play(async {
        let limits = CoordinatorLimits { requests: 2, ..CoordinatorLimits::default() };
        let mut scene = Scene::serving_within(limits).await;
        let answers = [scene.run(command(1)), scene.run(command(1))];
        let text = "ada@here has 2 commands under way and takes no more; try again";
        assert_eq!(refusal(&scene, command(1)).await, text);
        scene.next().await.executes("ok");
        let [first, _second] = answers;
        assert_eq!(first.await, met("ok", true));
        let _third = scene.run(command(1));
        assert_eq!(scene.report().await.waiting, 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn tails_give_way_to_newer_commands() {
    play(async {
        let bytes = command(1).command.len();
        let limits = CoordinatorLimits { requests: 4, bytes: 2 * bytes };
        let mut scene = Scene::serving_within(limits).await;
        let mut silent = Vec::new();
        for _ in 0..3 {
            let answer = scene.run(command(1));
            scene.next().await.executes("ok");
            silent.push((scene.next().await, scene.next().await));
            assert_eq!(answer.await, met("ok", true));
        }
        let report = scene.report().await;
        assert_eq!((report.tails, report.tails_dropped, report.late), (2, 1, 0));
        let (bob, _cyd) = silent.remove(0);
        bob.executes("of the tail that was dropped");
        let _waiting = [scene.run(command(1)), scene.run(command(1))];
        assert!(refusal(&scene, command(1)).await.contains("takes no more"), "no bytes are left");
        let report = scene.report().await;
        assert_eq!((report.tails, report.waiting, report.late), (0, 2, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_number_is_used_before_it_is_on_disk_nor_twice() {
    play(async {
        let disk = FullDisk::default();
        disk.fill(true);
        let env = Env { disk: Arc::new(disk.clone()), ..testing::env("ada@here", 1) };
        let mut scene = Scene::starting(env.clone(), CoordinatorLimits::default());
        scene.told_everything().await;
        let text = "ada@here does not serve yet: its disk has not reserved numbers for commands";
        assert_eq!(refusal(&scene, command(1)).await, text);

        disk.fill(false);
        scene.env.clock.sleep(2 * RESERVE_AGAIN).await;
        let _answer = scene.run(command(1));
        assert_eq!(scene.next().await.envelope.dot.counter, 1);

        let mut restarted = Scene::starting(env, CoordinatorLimits::default());
        restarted.told_everything().await;
        restarted.env.clock.sleep(RESERVE_AGAIN).await;
        let _answer = restarted.run(command(1));
        assert_eq!(restarted.next().await.envelope.dot.counter, COUNTER_BLOCK + 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_comes_before_the_first_numbers_waits_for_them() {
    play(async {
        let scene = Scene::starting(testing::env("ada@here", 1), CoordinatorLimits::default());
        // Nothing has run since the actor was made: the record is still to be read.
        scene.coordinator.do_send(RingChanged(ring()));
        let up = ["ada", "bob", "cyd"].map(node).into();
        scene.coordinator.do_send(LivenessChanged(Arc::new(up)));
        scene.coordinator.do_send(ServingChanged { waits_for: None });
        let (answer, mut scene) = (scene.run(command(1)), scene);
        scene.next().await.executes("ok");
        assert_eq!(answer.await, met("ok", true));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_command_does_not_wait_long_for_a_disk_that_is_silent() {
    play(async {
        let disk = SlowDisk(MemoryDisk::default());
        let env = Env { disk: Arc::new(disk), ..testing::env("ada@here", 1) };
        let scene = Scene::starting(env, CoordinatorLimits::default());
        scene.told_everything().await;
        let text = "ada@here does not serve yet: its disk has not reserved numbers for commands";
        for (deadline_ms, expected_ms) in [(300, 300), (60_000, 1_000)] {
            let before = scene.env.clock.now();
            assert_eq!(refusal(&scene, Command { deadline_ms, ..command(1) }).await, text);
            let waited = scene.env.clock.now().since(before).as_millis();
            assert!((expected_ms..expected_ms + 5).contains(&waited), "{waited}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn numbers_do_not_run_out_between_blocks() {
    play(async {
        let mut scene = Scene::serving().await;
        scene.env.clock.sleep(RESERVE_AGAIN).await;
        for expected in 1..=COUNTER_BLOCK + 10 {
            let answer = scene.run(command(1));
            let first = scene.next().await;
            assert_eq!(first.envelope.dot.counter, expected);
            first.executes("ok");
            assert_eq!(answer.await, met("ok", true));
            scene.next().await.executes("ok");
            scene.next().await.executes("ok");
        }
        let report = scene.report().await;
        assert_eq!((report.met, report.waiting), (COUNTER_BLOCK + 10, 0));
    })
    .await;
}
