//! Links and sessions together, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use bytes::Bytes;

use super::listener::{Listener, SessionTells, open};
use super::peers::{LinkTells, Peers};
use super::testing::{name_of, node, probe, rules};
use crate::runtime::env::testing;
use crate::runtime::message::{AddressesChanged, AskPeer, PeerError, PeerHeard};
use crate::runtime::reply::reply;
use crate::wire::message::{Outcome, PeerMessage};

#[actix::test]
async fn two_members_talk_over_tcp_in_large_and_small_messages() {
    let (ada, bob) = (testing::env("ada@here", 1), testing::env("bob@here", 2));
    let ((to_asked, mut asked), (to_heard, mut heard_by_ada)) = (probe(), probe());
    let tell = SessionTells {
        asked: to_asked,
        client: probe().0,
        transfer: probe().0,
        heard: to_heard,
        other_life: probe().0,
    };
    let door = open(&ada, "127.0.0.1:0").await.unwrap();
    let address = door.local_address();
    let _listener = Listener::behind(door, &ada, Arc::new(rules("ada")), tell).start();

    let (to_heard, mut heard_by_bob) = probe();
    let tell =
        LinkTells { heard: to_heard, lost: probe().0, other_life: probe().0, nobody: probe().0 };
    let peers = Peers::without_links(bob.clone(), Arc::new(rules("bob")), tell).start();
    peers.do_send(AddressesChanged([(name_of("ada"), address)].into()));

    let sizes = [0, 10, 5_000_000, 1_000, 20_000];
    let mut answers = Vec::new();
    // The first request must not give up on a slow machine before the link is there.
    let PeerHeard(from) = heard_by_bob.recv().await.unwrap();
    assert_eq!(from.node, node("ada", 1));
    for size in sizes {
        let (reply, answer) = reply(Err(PeerError::Lost));
        let message = PeerMessage::Outcome(Outcome::Done { reply: vec![7; size].into() });
        let deadline = bob.clock.now().plus(Duration::from_secs(60));
        peers.do_send(AskPeer { to: name_of("ada"), message, deadline, reply });
        answers.push(answer);
    }
    for _ in sizes {
        let request = asked.recv().await.unwrap();
        assert_eq!(request.from.node, node("bob", 1));
        request.reply.answer(request.message);
    }
    for (size, answer) in sizes.into_iter().zip(answers) {
        let expected = Outcome::Done { reply: Bytes::from(vec![7; size]) };
        assert_eq!(answer.await, Ok(PeerMessage::Outcome(expected)));
    }
    assert_eq!(heard_by_ada.recv().await.unwrap().0.node, node("bob", 1));
}
