//! Ada watches Bob and Cyd in virtual time.

use std::time::Duration;

use actix::Addr;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::runtime::network::testing::{
    introduction, name_of, node, paused_env, probe, ring, rules,
};

struct Scene {
    env: Env,
    watcher: Addr<Watcher>,
    liveness: UnboundedReceiver<LivenessChanged>,
    incarnation: UnboundedReceiver<IncarnationSeen>,
}

impl Scene {
    async fn of_ada() -> Self {
        let (env, _network) = paused_env("ada");
        let timers = Timers::start(&env);
        let (to_liveness, liveness) = probe();
        let (to_incarnation, incarnation) = probe();
        let tell = WatcherTells { liveness: vec![to_liveness], incarnation: vec![to_incarnation] };
        let watcher = Watcher::of_nobody(env.clone(), timers, Heartbeats::default(), tell).start();
        let mut scene = Self { env, watcher, liveness, incarnation };
        scene.assert_next_up(&["ada"]).await;
        scene.watcher.send(RingChanged(ring())).await.unwrap();
        scene
    }

    async fn assert_next_up(&mut self, names: &[&str]) {
        let LivenessChanged(up) = self.liveness.recv().await.unwrap();
        let up: Vec<&str> = up.iter().map(NodeName::as_str).collect();
        let expected: Vec<String> = names.iter().map(|name| format!("{name}@here")).collect();
        assert_eq!(up, expected);
    }

    async fn hears(&self, name: &str, boot: u64) {
        self.watcher.send(PeerHeard(introduction(node(name, boot)))).await.unwrap();
    }

    async fn loses(&self, name: &str) {
        let lost = PeerLost { node: name_of(name), reason: "it broke".to_owned() };
        self.watcher.send(lost).await.unwrap();
    }

    fn millis(&self) -> u64 {
        self.env.clock.now().0 / 1_000
    }
}

/// What is reported of a life: who, and where it says that it listens.
fn met(name: &str, boot: u64) -> IncarnationSeen {
    let Introduction { node, address, .. } = introduction(node(name, boot));
    IncarnationSeen { node, address }
}

#[actix::test]
async fn a_member_is_up_from_its_first_frame_until_its_silence() {
    let mut scene = Scene::of_ada().await;
    scene.hears("bob", 1).await;
    scene.assert_next_up(&["ada", "bob"]).await;
    for second in [1, 2, 3] {
        scene.env.clock.sleep_until(Moment(second * 1_000_000)).await;
        scene.hears("bob", 1).await;
    }
    scene.assert_next_up(&["ada"]).await;
    assert!((6_000..6_010).contains(&scene.millis()), "{}", scene.millis());
}

#[actix::test]
async fn a_lost_link_makes_a_member_down_sooner_than_silence() {
    let mut scene = Scene::of_ada().await;
    for name in ["bob", "cyd"] {
        scene.hears(name, 1).await;
    }
    scene.loses("cyd").await;
    scene.assert_next_up(&["ada", "bob"]).await;
    scene.assert_next_up(&["ada", "bob", "cyd"]).await;
    scene.assert_next_up(&["ada", "bob"]).await;
    assert!((500..510).contains(&scene.millis()), "{}", scene.millis());
}

#[actix::test]
async fn nobody_is_told_while_nothing_changes() {
    let mut scene = Scene::of_ada().await;
    for _ in 0..10 {
        scene.hears("bob", 1).await;
        scene.loses("bob").await;
        scene.env.clock.sleep(Duration::from_millis(100)).await;
    }
    scene.assert_next_up(&["ada", "bob"]).await;
    assert!(scene.liveness.try_recv().is_err());
}

#[actix::test]
async fn a_staged_node_is_watched_until_it_is_neither_staged_nor_a_member() {
    let mut scene = Scene::of_ada().await;
    scene.hears("dan", 1).await;
    let mut changed = rules("ada");
    changed.staged = [node("dan", 1)].into();
    scene.watcher.send(DoorRulesChanged(Arc::new(changed))).await.unwrap();
    scene.hears("dan", 1).await;
    scene.assert_next_up(&["ada", "dan"]).await;
    scene.watcher.send(DoorRulesChanged(Arc::new(rules("ada")))).await.unwrap();
    scene.assert_next_up(&["ada"]).await;
    assert_eq!(scene.incarnation.recv().await.unwrap(), met("dan", 1));
}

#[actix::test]
async fn each_life_of_a_member_is_reported_once_whether_it_was_let_in_or_not() {
    let mut scene = Scene::of_ada().await;
    scene.hears("bob", 1).await;
    scene.hears("bob", 1).await;
    for _ in 0..3 {
        let refused = OtherLifeSeen(introduction(node("bob", 2)));
        scene.watcher.send(refused).await.unwrap();
    }
    scene.hears("bob", 2).await;
    scene.watcher.send(OtherLifeSeen(introduction(node("dan", 1)))).await.unwrap();
    let seen: Vec<IncarnationSeen> =
        std::iter::from_fn(|| scene.incarnation.try_recv().ok()).collect();
    assert_eq!(seen, [met("bob", 1), met("bob", 2)]);
}
