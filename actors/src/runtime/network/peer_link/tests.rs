//! One link through the front: [`Peers`], and a far end that the test plays.

use actix::{Actor, Addr};
use tokio::sync::mpsc::UnboundedReceiver;

use super::conversation::SILENT_MAX;
use super::*;
use crate::protocol::id::ClusterId;
use crate::runtime::message::{AddressesChanged, AskPeer, DoorRulesChanged, TellPeer};
use crate::runtime::network::NO_ANSWER;
use crate::runtime::network::connection::{frame, parse};
use crate::runtime::network::peers::Peers;
use crate::runtime::network::testing::{
    MemoryNetwork, introduction, name_of, next_caller, node, paused_env, probe, rules, welcome_next,
};
use crate::runtime::reply::{Answer, reply};
use crate::runtime::transport::{Listener, Transport};
use crate::wire::frame::Frame;
use crate::wire::message::{Outcome, kind};

/// Ada, with a link to Bob.
struct Scene {
    env: Env,
    network: Arc<MemoryNetwork>,
    peers: Addr<Peers>,
    heard: UnboundedReceiver<PeerHeard>,
    lost: UnboundedReceiver<PeerLost>,
    other_life: UnboundedReceiver<OtherLifeSeen>,
    nobody: UnboundedReceiver<NobodyListens>,
}

impl Scene {
    fn of_ada() -> Self {
        let (env, network) = paused_env("ada");
        let ((to_heard, heard), (to_lost, lost)) = (probe(), probe());
        let (to_other_life, other_life) = probe();
        let (to_nobody, nobody) = probe();
        let tell = LinkTells {
            heard: to_heard,
            lost: to_lost,
            other_life: to_other_life,
            nobody: to_nobody,
        };
        let peers = Peers::without_links(env.clone(), Arc::new(rules("ada")), tell).start();
        let scene = Self { env, network, peers, heard, lost, other_life, nobody };
        scene.bob_listens_at("bob:1");
        scene
    }

    fn bob_listens_at(&self, address: &str) {
        let addresses = [(name_of("bob"), address.to_owned()), (name_of("ada"), "ada:1".into())];
        self.peers.do_send(AddressesChanged(addresses.into()));
    }

    /// Waits are rounded up to whole milliseconds of the runtime's clock, not of the node's.
    #[track_caller]
    fn assert_about(&self, millis: u64) {
        let now = self.env.clock.now().0 / 1_000;
        assert!((millis..millis + 2).contains(&now), "{now} ms have passed, not {millis}");
    }

    async fn bobs_door(&self) -> Box<dyn Listener> {
        self.network.bind("bob:1").await.unwrap()
    }

    fn ask(&self, within: Duration) -> Answer<Result<PeerMessage, PeerError>> {
        let (reply, answer) = reply(Err(PeerError::Lost));
        let deadline = self.env.clock.now().plus(within);
        let message = PeerMessage::FetchRing;
        self.peers.do_send(AskPeer { to: name_of("bob"), message, deadline, reply });
        answer
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// The next request that is not a ping; pings are answered.
async fn next_request(connection: &mut Connection) -> Option<Frame> {
    while let Ok(Some(frame)) = connection.reader.next().await {
        if parse::<PeerMessage>(&frame).unwrap() != PeerMessage::Ping {
            return Some(frame);
        }
        answer(connection, frame.id, &PeerMessage::Pong);
    }
    None
}

fn answer(connection: &Connection, id: u64, message: &PeerMessage) {
    connection.writer.try_send(frame(kind::PEER_ANSWER, id, message)).unwrap();
}

#[actix::test]
async fn a_request_waits_for_the_first_connection_and_gets_its_answer() {
    let scene = Scene::of_ada();
    let mut door = scene.bobs_door().await;
    let answered = scene.ask(SECOND);
    let mut bob = welcome_next(&mut door, node("bob", 1)).await;
    let request = next_request(&mut bob).await.unwrap();
    assert_ne!(request.id, NO_ANSWER);
    answer(&bob, request.id, &PeerMessage::Outcome(Outcome::Busy));
    assert_eq!(answered.await, Ok(PeerMessage::Outcome(Outcome::Busy)));
}

#[actix::test]
async fn the_hello_names_both_and_the_purpose() {
    let scene = Scene::of_ada();
    let mut door = scene.bobs_door().await;
    let (_connection, hello) = next_caller(&mut door).await;
    assert_eq!(hello.purpose, Purpose::Member);
    assert_eq!(hello.from, Some(introduction(node("ada", 1))));
    assert_eq!(hello.to, Some(name_of("bob")));
}

#[actix::test]
async fn answers_find_their_requests_in_any_order() {
    let scene = Scene::of_ada();
    let mut door = scene.bobs_door().await;
    let (first, second) = (scene.ask(SECOND), scene.ask(SECOND));
    let mut bob = welcome_next(&mut door, node("bob", 1)).await;
    let ids = [next_request(&mut bob).await.unwrap().id, next_request(&mut bob).await.unwrap().id];
    answer(&bob, ids[1], &PeerMessage::Outcome(Outcome::Retry));
    answer(&bob, ids[0], &PeerMessage::Outcome(Outcome::Busy));
    assert_eq!(first.await, Ok(PeerMessage::Outcome(Outcome::Busy)));
    assert_eq!(second.await, Ok(PeerMessage::Outcome(Outcome::Retry)));
}

#[actix::test]
async fn a_request_nobody_answers_ends_at_its_deadline_and_the_link_goes_on() {
    let scene = Scene::of_ada();
    let mut door = scene.bobs_door().await;
    let late = scene.ask(SECOND);
    let mut bob = welcome_next(&mut door, node("bob", 1)).await;
    let request = next_request(&mut bob).await.unwrap();
    let outcome = tokio::select! {
        biased;
        outcome = late => outcome,
        _ = next_request(&mut bob) => unreachable!("nothing else is asked"),
    };
    assert_eq!(outcome, Err(PeerError::DeadlinePassed));
    scene.assert_about(1_000);

    answer(&bob, request.id, &PeerMessage::Pong);
    let answered = scene.ask(SECOND);
    let request = next_request(&mut bob).await.unwrap();
    answer(&bob, request.id, &PeerMessage::Pong);
    assert_eq!(answered.await, Ok(PeerMessage::Pong));
}

#[actix::test]
async fn a_request_under_way_is_lost_with_its_connection_and_a_new_one_is_made() {
    let mut scene = Scene::of_ada();
    let mut door = scene.bobs_door().await;
    let asked = scene.ask(SECOND);
    let mut bob = welcome_next(&mut door, node("bob", 1)).await;
    next_request(&mut bob).await.unwrap();
    drop(bob);
    assert_eq!(asked.await, Err(PeerError::Lost));
    assert_eq!(scene.lost.recv().await.unwrap().node, name_of("bob"));
    welcome_next(&mut door, node("bob", 1)).await;
    scene.heard.recv().await.unwrap();
}

#[actix::test]
async fn what_the_peer_cannot_have_seen_is_told_from_what_it_may_have() {
    let scene = Scene::of_ada();
    let mut door = scene.bobs_door().await;
    let (reply, cut_off) = reply(Err(PeerError::Lost));
    let seen = scene.ask(SECOND);
    let mut bob = welcome_next(&mut door, node("bob", 1)).await;
    next_request(&mut bob).await.unwrap();
    // More than the pipe holds, so that its end and the request behind it stay with Ada.
    let detail = "x".repeat(200_000);
    let message = PeerMessage::NotUnderstood { detail };
    let (to, deadline) = (name_of("bob"), scene.env.clock.now().plus(SECOND));
    scene.peers.do_send(AskPeer { to, message, deadline, reply });
    let behind = scene.ask(SECOND);
    scene.env.clock.sleep(Duration::from_millis(10)).await;
    drop(bob);
    assert_eq!(seen.await, Err(PeerError::Lost));
    assert!(matches!(cut_off.await, Err(PeerError::NotSent(_))));
    assert!(matches!(behind.await, Err(PeerError::NotSent(_))));
}

#[actix::test]
async fn without_a_connection_requests_are_refused_at_once_with_the_reason() {
    let mut scene = Scene::of_ada();
    scene.lost.recv().await.unwrap();
    let before = scene.env.clock.now();
    let refused = scene.ask(SECOND).await;
    assert_eq!(refused, Err(PeerError::NotSent("nobody at bob:1".to_owned())));
    assert_eq!(scene.env.clock.now(), before);
}

#[actix::test]
async fn the_first_request_does_not_wait_longer_than_a_fifth_of_a_second() {
    let scene = Scene::of_ada();
    let _door_nobody_answers = scene.bobs_door().await;
    let (long, short) = (scene.ask(SECOND), scene.ask(Duration::from_millis(50)));
    assert!(matches!(short.await, Err(PeerError::NotSent(_))));
    scene.assert_about(50);
    assert!(matches!(long.await, Err(PeerError::NotSent(_))));
    scene.assert_about(200);
}

#[actix::test]
async fn attempts_come_at_growing_pauses_up_to_two_seconds() {
    let mut scene = Scene::of_ada();
    let mut at = Vec::new();
    for _ in 0..10 {
        scene.lost.recv().await.unwrap();
        at.push(scene.env.clock.now());
    }
    let pauses: Vec<Duration> = at.windows(2).map(|two| two[1].since(two[0])).collect();
    for (nth, pause) in (0..).zip(&pauses) {
        let due = (PAUSE_MIN * 2_u32.pow(nth)).min(PAUSE_MAX);
        let tick = Duration::from_millis(1);
        assert!(*pause >= due / 2 && *pause <= due + tick, "pause {nth} is {pause:?}");
    }
}

#[actix::test]
async fn a_refusal_is_handed_to_those_who_ask() {
    let mut scene = Scene::of_ada();
    let mut door = scene.bobs_door().await;
    let (bob, _) = next_caller(&mut door).await;
    let refusal = Refusal::NotReady { node: name_of("bob") };
    bob.writer.try_send(frame(kind::REFUSAL, 0, &refusal)).unwrap();
    scene.lost.recv().await.unwrap();
    assert_eq!(scene.ask(SECOND).await, Err(PeerError::Refused(refusal)));
}

#[actix::test]
async fn a_member_that_answers_in_an_earlier_life_is_reported_and_not_talked_to() {
    let mut scene = Scene::of_ada();
    let mut door = scene.bobs_door().await;
    let mut bob = welcome_next(&mut door, node("bob", 0)).await;
    assert_eq!(scene.other_life.recv().await.unwrap().0.node, node("bob", 0));
    assert!(matches!(scene.ask(SECOND).await, Err(PeerError::Refused(Refusal::NotListed { .. }))));
    assert_eq!(next_request(&mut bob).await, None);
    assert!(scene.heard.try_recv().is_err());
}

#[actix::test]
async fn a_member_whose_process_has_ended_is_told_from_one_that_is_silent() {
    let mut scene = Scene::of_ada();
    assert_eq!(scene.nobody.recv().await.unwrap().0, name_of("bob"), "nobody is behind the door");
}

#[actix::test]
async fn an_idle_link_is_heard_twice_a_second() {
    let mut scene = Scene::of_ada();
    let mut door = scene.bobs_door().await;
    let mut bob = welcome_next(&mut door, node("bob", 1)).await;
    actix_rt::spawn(async move { next_request(&mut bob).await });
    scene.env.clock.sleep_until(Moment(10_100_000)).await;
    let times = std::iter::from_fn(|| scene.heard.try_recv().ok()).count();
    assert_eq!(times, 21, "the welcome and twenty pings");
}

#[actix::test]
async fn a_busy_link_reports_its_peer_no_more_than_ten_times_a_second() {
    let mut scene = Scene::of_ada();
    let mut door = scene.bobs_door().await;
    let bob = welcome_next(&mut door, node("bob", 1)).await;
    for millis in 0..1_000 {
        scene.env.clock.sleep_until(Moment(millis * 1_000)).await;
        answer(&bob, millis, &PeerMessage::Pong);
    }
    let times = std::iter::from_fn(|| scene.heard.try_recv().ok()).count();
    assert!((9..=11).contains(&times), "{times}");
}

#[actix::test]
async fn a_silent_peer_is_given_up() {
    let mut scene = Scene::of_ada();
    let mut door = scene.bobs_door().await;
    let _bob = welcome_next(&mut door, node("bob", 1)).await;
    let asked = scene.ask(60 * SECOND);
    scene.lost.recv().await.unwrap();
    let silence = scene.env.clock.now().since(Moment::START);
    assert!(silence >= SILENT_MAX && silence < SILENT_MAX + SECOND / 10, "{silence:?}");
    assert_eq!(asked.await, Err(PeerError::Lost));
}

#[actix::test]
async fn a_member_without_an_address_has_no_link_and_its_last_news_still_leaves() {
    let scene = Scene::of_ada();
    let mut door = scene.bobs_door().await;
    let mut bob = welcome_next(&mut door, node("bob", 1)).await;
    let asked = scene.ask(SECOND);
    assert_ne!(next_request(&mut bob).await.unwrap().id, NO_ANSWER);
    scene.peers.do_send(TellPeer { to: name_of("bob"), message: PeerMessage::FetchRing });
    scene.peers.do_send(AddressesChanged([].into()));
    assert_eq!(next_request(&mut bob).await.unwrap().id, NO_ANSWER);
    assert_eq!(next_request(&mut bob).await, None);
    assert_eq!(asked.await, Err(PeerError::Lost));
    assert!(matches!(scene.ask(SECOND).await, Err(PeerError::NotSent(_))));
}

#[actix::test]
async fn a_new_address_is_dialled_and_the_old_link_ends() {
    let scene = Scene::of_ada();
    let mut old_door = scene.bobs_door().await;
    let mut bob = welcome_next(&mut old_door, node("bob", 1)).await;
    let mut new_door = scene.network.bind("bob:2").await.unwrap();
    scene.bob_listens_at("bob:2");
    assert_eq!(next_request(&mut bob).await, None);
    let mut bob = welcome_next(&mut new_door, node("bob", 1)).await;
    scene.bob_listens_at("bob:2");
    let _answered = scene.ask(SECOND);
    assert!(next_request(&mut bob).await.is_some(), "the same address again changes nothing");
}

#[actix::test]
async fn a_node_that_changes_its_cluster_says_hello_again() {
    let scene = Scene::of_ada();
    let mut door = scene.bobs_door().await;
    let mut bob = welcome_next(&mut door, node("bob", 1)).await;
    let mut changed = rules("ada");
    changed.me.cluster = ClusterId(2);
    scene.peers.do_send(DoorRulesChanged(Arc::new(changed)));
    assert_eq!(next_request(&mut bob).await, None);
    let (_, hello) = next_caller(&mut door).await;
    assert_eq!(hello.from.unwrap().cluster, ClusterId(2));
}
