//! Sessions through the front: Ada's [`Listener`], and whoever connects is played by the test.

use actix::{Actor, Addr};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::protocol::id::ClusterId;
use crate::runtime::message::DoorRulesChanged;
use crate::runtime::network::dial::{DialError, dial};
use crate::runtime::network::listener::{ListenError, Listener, SESSIONS_MAX, open};
use crate::runtime::network::testing::{introduction, name_of, node, paused_env, probe, rules};
use crate::wire::admin::{AdminAnswer, AdminRequest, Effect};
use crate::wire::message::{Outcome, PROTOCOL_VERSION};

/// Ada behind her door.
struct Scene {
    env: Env,
    listener: Addr<Listener>,
    asked: UnboundedReceiver<PeerAsked>,
    client: UnboundedReceiver<ClientAsked>,
    transfer: UnboundedReceiver<TransferArrived>,
    heard: UnboundedReceiver<PeerHeard>,
    other_life: UnboundedReceiver<OtherLifeSeen>,
}

impl Scene {
    async fn of_ada() -> Self {
        let (env, _network) = paused_env("ada");
        let ((to_asked, asked), (to_client, client)) = (probe(), probe());
        let ((to_transfer, transfer), (to_heard, heard)) = (probe(), probe());
        let (to_other_life, other_life) = probe();
        let tell = SessionTells {
            asked: to_asked,
            client: to_client,
            transfer: to_transfer,
            heard: to_heard,
            other_life: to_other_life,
        };
        let door = open(&env, "ada:1").await.unwrap();
        let listener = Listener::behind(door, &env, Arc::new(rules("ada")), tell).start();
        Self { env, listener, asked, client, transfer, heard, other_life }
    }

    async fn connect(&self, purpose: Purpose, from: &str) -> Connection {
        self.try_connect(purpose, introduction(node(from, 1))).await.unwrap()
    }

    async fn try_connect(
        &self,
        purpose: Purpose,
        from: Introduction,
    ) -> Result<Connection, DialError> {
        let (protocol, to) = (PROTOCOL_VERSION, Some(name_of("ada")));
        let hello = Hello { purpose, protocol, from: Some(from), to };
        let (connection, welcome) =
            dial(&self.env, "ada:1", &hello, ConnectionLimits::default()).await?;
        assert_eq!(welcome.from, rules("ada").me);
        Ok(connection)
    }

    /// A connection on which nothing was said.
    async fn connect_without_a_word(&self) -> Connection {
        let io = self.env.transport.connect("ada:1").await.unwrap();
        Connection::over(io, "ada".to_owned(), ConnectionLimits::default())
    }
}

fn ask<M: Request>(connection: &Connection, id: u64, message: &M) {
    connection.writer.try_send(frame(M::ASKS, id, message)).unwrap();
}

async fn next_answer<M: Request>(connection: &mut Connection) -> (u64, M) {
    let arrived = connection.reader.next().await.unwrap().unwrap();
    assert_eq!(arrived.kind, M::ANSWERS);
    (arrived.id, parse(&arrived).unwrap())
}

async fn next_refusal(connection: &mut Connection) -> Refusal {
    let arrived = connection.reader.next().await.unwrap().unwrap();
    assert_eq!(arrived.kind, kind::REFUSAL);
    assert_eq!(connection.reader.next().await.unwrap(), None, "it is closed");
    parse(&arrived).unwrap()
}

async fn is_closed(connection: &mut Connection) -> bool {
    matches!(connection.reader.next().await, Ok(None))
}

#[actix::test]
async fn a_members_request_is_answered_under_its_number() {
    let mut scene = Scene::of_ada().await;
    let mut bob = scene.connect(Purpose::Member, "bob").await;
    ask(&bob, 7, &PeerMessage::FetchRing);
    ask(&bob, 8, &PeerMessage::FetchRing);
    let first = scene.asked.recv().await.unwrap();
    let second = scene.asked.recv().await.unwrap();
    assert_eq!(first.from, introduction(node("bob", 1)));
    second.reply.answer(PeerMessage::Outcome(Outcome::Busy));
    assert_eq!(next_answer(&mut bob).await, (8, PeerMessage::Outcome(Outcome::Busy)));
    first.reply.answer(PeerMessage::Outcome(Outcome::Retry));
    assert_eq!(next_answer(&mut bob).await, (7, PeerMessage::Outcome(Outcome::Retry)));
}

#[actix::test]
async fn a_ping_is_answered_without_the_router_and_news_not_at_all() {
    let mut scene = Scene::of_ada().await;
    let mut bob = scene.connect(Purpose::Member, "bob").await;
    ask(&bob, NO_ANSWER, &PeerMessage::FetchRing);
    scene.asked.recv().await.unwrap().reply.answer(PeerMessage::Pong);
    ask(&bob, 9, &PeerMessage::Ping);
    assert_eq!(next_answer(&mut bob).await, (9, PeerMessage::Pong));
    assert!(scene.asked.try_recv().is_err());
}

#[actix::test]
async fn a_request_nobody_answers_may_have_been_carried_out() {
    let mut scene = Scene::of_ada().await;
    let no_introduction =
        Hello { purpose: Purpose::Client, protocol: PROTOCOL_VERSION, from: None, to: None };
    let limits = ConnectionLimits::default();
    let (mut client, _) = dial(&scene.env, "ada:1", &no_introduction, limits).await.unwrap();
    ask(&client, 3, &ClientMessage::Admin(Box::new(AdminRequest::Plan)));
    drop(scene.client.recv().await.unwrap());
    let (3, ClientMessage::AdminAnswer(answer)) = next_answer(&mut client).await else {
        panic!("an administrator is answered as one")
    };
    let AdminAnswer::Refused(refusal) = *answer else { panic!("it was not carried out for sure") };
    assert_eq!(refusal.effect, Effect::Unknown);
}

#[actix::test]
async fn a_joiner_may_fetch_the_ring_and_nothing_more() {
    let mut scene = Scene::of_ada().await;
    let mut dan = scene.connect(Purpose::Join, "dan").await;
    ask(&dan, 1, &PeerMessage::ReportRequest(crate::wire::admin::ReportRequest::Transfers));
    let (1, PeerMessage::NotUnderstood { .. }) = next_answer(&mut dan).await else {
        panic!("a joiner gets no report")
    };
    ask(&dan, 2, &PeerMessage::FetchRing);
    assert_eq!(scene.asked.recv().await.unwrap().message, PeerMessage::FetchRing);
    assert!(scene.heard.try_recv().is_err(), "it is no member");
}

#[actix::test]
async fn a_transfers_connection_is_handed_over_whole() {
    let mut scene = Scene::of_ada().await;
    let bob = scene.connect(Purpose::Transfer, "bob").await;
    let sent = Frame { kind: kind::PART, id: 1, body: vec![1; HELLO_BYTES_MAX + 1].into() };
    bob.writer.try_send(sent.clone()).unwrap();
    let mut arrived = scene.transfer.recv().await.unwrap();
    assert_eq!(arrived.from.node, node("bob", 1));
    assert_eq!(arrived.connection.reader.next().await.unwrap(), Some(sent));
}

#[actix::test]
async fn what_is_no_hello_is_refused_and_others_are_still_served() {
    let mut scene = Scene::of_ada().await;
    let mut bob = scene.connect(Purpose::Member, "bob").await;

    let mut rude = scene.connect_without_a_word().await;
    ask(&rude, 1, &PeerMessage::FetchRing);
    assert!(matches!(next_refusal(&mut rude).await, Refusal::Malformed { .. }));

    let mut long = scene.connect_without_a_word().await;
    let body = vec![0; HELLO_BYTES_MAX + 1].into();
    long.writer.try_send(Frame { kind: kind::HELLO, id: 0, body }).unwrap();
    assert!(matches!(next_refusal(&mut long).await, Refusal::Malformed { .. }));

    let mut stranger = scene.env.transport.connect("ada:1").await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut stranger = Connection::over(stranger, String::new(), ConnectionLimits::default());
    assert!(matches!(next_refusal(&mut stranger).await, Refusal::Malformed { .. }));

    ask(&bob, 1, &PeerMessage::Ping);
    assert_eq!(next_answer(&mut bob).await, (1, PeerMessage::Pong));
    assert!(scene.asked.try_recv().is_err());
}

#[actix::test]
async fn whoever_says_nothing_is_not_kept() {
    let scene = Scene::of_ada().await;
    let mut nobody = scene.connect_without_a_word().await;
    assert!(is_closed(&mut nobody).await);
    let waited = scene.env.clock.now().since(Moment::START);
    assert!(waited >= HELLO_WITHIN && waited < HELLO_WITHIN * 2);

    let mut bob = scene.connect(Purpose::Member, "bob").await;
    assert!(is_closed(&mut bob).await);
    assert!(scene.env.clock.now().since(Moment::START) >= HELLO_WITHIN + MEMBER_SILENT_MAX);
}

#[actix::test]
async fn whoever_waits_for_an_answer_may_be_silent() {
    let mut scene = Scene::of_ada().await;
    let mut bob = scene.connect(Purpose::Member, "bob").await;
    ask(&bob, 1, &PeerMessage::FetchRing);
    let asked = scene.asked.recv().await.unwrap();
    scene.env.clock.sleep(3 * MEMBER_SILENT_MAX).await;
    asked.reply.answer(PeerMessage::Pong);
    assert_eq!(next_answer(&mut bob).await, (1, PeerMessage::Pong));
}

#[actix::test]
async fn a_body_that_cannot_be_read_is_answered_and_the_session_goes_on() {
    let scene = Scene::of_ada().await;
    let mut bob = scene.connect(Purpose::Member, "bob").await;
    bob.writer.try_send(frame(kind::PEER, 4, &"a message of a later version")).unwrap();
    let (4, PeerMessage::NotUnderstood { .. }) = next_answer(&mut bob).await else {
        panic!("it cannot be understood")
    };
    ask(&bob, 5, &PeerMessage::Ping);
    assert_eq!(next_answer(&mut bob).await, (5, PeerMessage::Pong));
}

#[actix::test]
async fn a_frame_that_does_not_belong_here_ends_the_session() {
    let scene = Scene::of_ada().await;
    let mut bob = scene.connect(Purpose::Member, "bob").await;
    bob.writer.try_send(frame(kind::CLIENT, 1, &0)).unwrap();
    assert!(matches!(next_refusal(&mut bob).await, Refusal::Malformed { .. }));
}

#[actix::test]
async fn no_more_is_read_while_too_much_is_under_way() {
    let mut scene = Scene::of_ada().await;
    let mut bob = scene.connect(Purpose::Member, "bob").await;
    for id in 1..=UNDER_WAY_MAX as u64 + 1 {
        bob.writer.send(frame(kind::PEER, id, &PeerMessage::FetchRing)).await.unwrap();
    }
    let mut under_way = Vec::new();
    for _ in 0..UNDER_WAY_MAX {
        under_way.push(scene.asked.recv().await.unwrap());
    }
    scene.env.clock.sleep(Duration::from_secs(1)).await;
    assert!(scene.asked.try_recv().is_err());

    under_way.pop().unwrap().reply.answer(PeerMessage::Pong);
    assert_eq!(next_answer(&mut bob).await, (UNDER_WAY_MAX as u64, PeerMessage::Pong));
    scene.asked.recv().await.unwrap();
}

#[actix::test]
async fn a_member_is_heard_with_each_frame_but_ten_times_a_second_at_most() {
    let mut scene = Scene::of_ada().await;
    let bob = scene.connect(Purpose::Member, "bob").await;
    for millis in 0..1_000 {
        scene.env.clock.sleep_until(Moment(millis * 1_000)).await;
        ask(&bob, NO_ANSWER, &PeerMessage::Ping);
    }
    let heard: Vec<PeerHeard> = std::iter::from_fn(|| scene.heard.try_recv().ok()).collect();
    assert!((9..=11).contains(&heard.len()), "{}", heard.len());
    assert!(heard.iter().all(|heard| heard.0.node == node("bob", 1)));
}

#[actix::test]
async fn an_earlier_life_of_a_member_is_refused_and_reported_and_a_stranger_only_refused() {
    let mut scene = Scene::of_ada().await;
    for who in [node("dan", 1), node("bob", 0)] {
        let refused = scene.try_connect(Purpose::Member, introduction(who.clone())).await;
        let Err(DialError::Refused(refusal)) = refused else { panic!("{who} must not come in") };
        assert_eq!(refusal, Refusal::NotListed { node: name_of("ada"), who });
    }
    assert_eq!(scene.other_life.recv().await.unwrap().0.node, node("bob", 0));
    assert!(scene.other_life.try_recv().is_err());
    assert!(scene.heard.try_recv().is_err());
}

#[actix::test]
async fn a_member_that_does_not_belong_here_any_more_is_told_and_a_client_stays() {
    let scene = Scene::of_ada().await;
    let mut bob = scene.connect(Purpose::Member, "bob").await;
    let mut client = scene.connect(Purpose::Client, "bob").await;
    let mut changed = rules("ada");
    changed.me.cluster = ClusterId(2);
    scene.listener.do_send(DoorRulesChanged(Arc::new(changed)));
    assert!(matches!(next_refusal(&mut bob).await, Refusal::OtherCluster { .. }));
    client.writer.try_send(frame(kind::CLIENT, 1, &0)).unwrap();
    let (1, ClientMessage::NotUnderstood { .. }) = next_answer(&mut client).await else {
        panic!("the client is still served")
    };
}

#[actix::test]
async fn the_door_closes_with_its_actor() {
    let scene = Scene::of_ada().await;
    let mut bob = scene.connect(Purpose::Member, "bob").await;
    assert!(matches!(open(&scene.env, "ada:1").await, Err(ListenError::InUse { .. })));
    drop(scene.listener);
    assert!(is_closed(&mut bob).await);
    assert!(open(&scene.env, "ada:1").await.is_ok());
}

#[actix::test]
async fn one_connection_too_many_is_closed_until_another_has_gone() {
    let scene = Scene::of_ada().await;
    let mut open = Vec::new();
    for _ in 0..SESSIONS_MAX {
        open.push(scene.connect(Purpose::Client, "bob").await);
    }
    let one_more = scene.try_connect(Purpose::Client, introduction(node("bob", 1))).await;
    assert!(one_more.is_err());
    drop(open.pop());
    scene.env.clock.sleep(Duration::from_millis(1)).await;
    scene.connect(Purpose::Client, "bob").await;
}
