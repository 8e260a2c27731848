//! One gossiper among probes, and then fifty of them on a network that loses nothing.

use std::sync::Arc;

use actix::Addr;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::protocol::gossip::{Gossip, Held};
use crate::protocol::id::{Epoch, Partition, Token, VnodeRef, VnodeType};
use crate::runtime::network::testing::{name_of, node, paused_env, probe, ring};

mod crowd;

fn tokens(numbers: impl IntoIterator<Item = u32>) -> Part {
    let row = |number| {
        let vnode_type = VnodeType::new("kv").unwrap();
        let vnode = VnodeRef { vnode_type, partition: Partition(number % 8) };
        let token = Token { epoch: Epoch(1), hop: number };
        (vnode, Held { token, holder: node("ada", 1) })
    };
    Part { tokens: numbers.into_iter().map(row).collect(), ..Part::empty(ring().cluster()) }
}

/// Ada's gossiper, with the test in the place of everybody else.
struct Scene {
    env: Env,
    gossiper: Addr<Gossiper>,
    told: UnboundedReceiver<TellPeer>,
    asked: UnboundedReceiver<AskPeer>,
    wanted: UnboundedReceiver<GossipWanted>,
    arrived: UnboundedReceiver<GossipArrived>,
    knows: Gossip,
}

impl Scene {
    async fn with_peers(count: usize) -> Self {
        let (env, _network) = paused_env("ada");
        let ((tell_peer, told), (ask_peer, asked)) = (probe(), probe());
        let ((to_wanted, wanted), (to_arrived, arrived)) = (probe(), probe());
        let tell = GossiperTells { tell_peer, ask_peer, wanted: to_wanted, arrived: to_arrived };
        let timers = Timers::start(&env);
        let gossiper = Gossiper::alone(env.clone(), timers, tell).start();
        let up = (0..count).map(|number| name_of(&format!("n{number:02}"))).chain([name_of("ada")]);
        gossiper.send(LivenessChanged(Arc::new(up.collect()))).await.unwrap();
        let knows = Gossip::new(name_of("ada"), ring());
        Self { env, gossiper, told, asked, wanted, arrived, knows }
    }

    /// Answers in the place of the ring manager.
    async fn give(&mut self) {
        let GossipWanted { theirs, reply } = self.wanted.recv().await.unwrap();
        let digest = self.knows.digest();
        let nothing = Part::empty(digest.cluster);
        let missing = theirs.map_or(nothing, |theirs| self.knows.parts_missing(&theirs));
        reply.answer(Some(GossipGiven { digest, missing }));
    }

    fn told(&mut self) -> Vec<(NodeName, Part)> {
        let told = std::iter::from_fn(|| self.told.try_recv().ok());
        told.map(|TellPeer { to, message }| {
            let PeerMessage::Gossip(part) = message else { panic!("only news are pushed") };
            (to, *part)
        })
        .collect()
    }

    fn digest_arrives(&self, digest: GossipDigest) -> Answer<PeerMessage> {
        let (reply, answer) = reply(PeerMessage::Pong);
        let (from, digest) = (name_of("n00"), Box::new(digest));
        self.gossiper.do_send(DigestArrived { from, digest, reply });
        answer
    }
}

const MOMENT: Duration = Duration::from_millis(5);

#[actix::test]
async fn a_burst_of_news_is_one_message_to_each() {
    let mut scene = Scene::with_peers(3).await;
    for number in 0..100 {
        scene.gossiper.do_send(Spread(tokens([number])));
    }
    scene.env.clock.sleep(MOMENT).await;
    let expected = tokens(0..100);
    let names = ["n00", "n01", "n02"].map(name_of);
    assert_eq!(scene.told(), names.map(|name| (name, expected.clone())));
}

#[actix::test]
async fn nobody_is_pushed_to_more_than_twenty_times_a_second_and_nothing_is_left_out() {
    let mut scene = Scene::with_peers(1).await;
    for number in 0..500 {
        scene.env.clock.sleep_until(Moment(2_000 * u64::from(number))).await;
        scene.gossiper.do_send(Spread(tokens([number])));
    }
    scene.env.clock.sleep(PUSH_PAUSE).await;
    let told = scene.told();
    assert!((19..=21).contains(&told.len()), "{}", told.len());
    let mut joined = tokens([]);
    for (_, part) in told {
        joined.absorb(part);
    }
    assert_eq!(joined, tokens(0..500));
}

#[actix::test]
async fn in_a_large_cluster_a_few_are_told_and_not_always_the_same() {
    let mut scene = Scene::with_peers(100).await;
    let mut choices = BTreeSet::new();
    for number in 0..10 {
        scene.gossiper.do_send(PassOn(tokens([number])));
        scene.env.clock.sleep(PUSH_PAUSE * 2).await;
        let told: BTreeSet<NodeName> = scene.told().into_iter().map(|(name, _)| name).collect();
        assert_eq!(told.len(), 10, "3 + log2 of 128");
        choices.insert(told);
    }
    assert!(choices.len() > 8);
}

#[actix::test]
async fn in_a_small_cluster_what_was_heard_is_not_told_again() {
    let mut scene = Scene::with_peers(TOLD_DIRECTLY_MAX).await;
    scene.gossiper.do_send(PassOn(tokens([1])));
    scene.env.clock.sleep(MOMENT).await;
    assert_eq!(scene.told(), []);
}

#[actix::test]
async fn once_a_second_somebody_is_asked_and_what_comes_back_is_handed_on() {
    let mut scene = Scene::with_peers(2).await;
    for second in 1..=5 {
        scene.give().await;
        let ask = scene.asked.recv().await.unwrap();
        assert!(scene.env.clock.now() <= Moment(second * 1_010_000));
        assert_eq!(ask.message, PeerMessage::GossipDigest(Box::new(scene.knows.digest())));
        let part = if second == 3 { tokens([7]) } else { tokens([]) };
        ask.reply.answer(Ok(PeerMessage::Gossip(Box::new(part))));
        if second == 3 {
            let GossipArrived { from, part } = scene.arrived.recv().await.unwrap();
            assert_eq!((from, part), (ask.to, tokens([7])));
        }
    }
    assert!(scene.arrived.try_recv().is_err(), "nothing is no news");
}

#[actix::test]
async fn a_node_alone_asks_nobody() {
    let mut scene = Scene::with_peers(0).await;
    scene.gossiper.do_send(Spread(tokens([1])));
    scene.env.clock.sleep(TURN * 5).await;
    assert_eq!(scene.told(), []);
    assert!(scene.wanted.try_recv().is_err());
}

#[actix::test]
async fn who_asks_gets_what_it_lacks_and_is_asked_in_turn_but_not_over_and_over() {
    let mut scene = Scene::with_peers(1).await;
    let other = Gossip::new(name_of("bob"), ring());
    let digest = other.digest();
    assert_ne!(digest, scene.knows.digest(), "each has seen its own ring");
    for round in 0..3 {
        let answer = scene.digest_arrives(digest.clone());
        scene.give().await;
        let missing = scene.knows.parts_missing(&digest);
        assert_eq!(answer.await, PeerMessage::Gossip(Box::new(missing)));
        assert_eq!(scene.asked.try_recv().is_ok(), round == 0);
    }
}

#[actix::test]
async fn who_knows_the_same_is_not_asked() {
    let mut scene = Scene::with_peers(1).await;
    let answer = scene.digest_arrives(scene.knows.digest());
    scene.give().await;
    assert_eq!(answer.await, PeerMessage::Gossip(Box::new(tokens([]))));
    assert!(scene.asked.try_recv().is_err());
}

#[test]
fn some_are_different_ones_and_each_as_often_as_any_other() {
    let rng = Rng::seeded(5);
    let members: Vec<NodeName> = (0..20).map(|number| name_of(&format!("n{number:02}"))).collect();
    let mut times: BTreeMap<NodeName, usize> = BTreeMap::new();
    for _ in 0..2_000 {
        let some: BTreeSet<NodeName> = some_of(members.clone(), 5, &rng).into_iter().collect();
        assert_eq!(some.len(), 5);
        for name in some {
            *times.entry(name).or_default() += 1;
        }
    }
    assert_eq!(times.len(), 20);
    assert!(times.values().all(|times| (400..600).contains(times)), "{times:?}");
    assert_eq!(some_of(members.clone(), 20, &rng).len(), 20);
}
