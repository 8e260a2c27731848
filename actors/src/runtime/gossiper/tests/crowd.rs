//! Fifty members whose gossipers talk to each other.

use actix::dev::ToEnvelope;

use super::*;
use crate::protocol::hash::RingSize;
use crate::protocol::id::{ClusterId, Incarnation, VoterId};
use crate::protocol::ring::{Member, Ring};

/// Who is reached under which name.
#[derive(Clone, Default)]
struct Crowd(std::rc::Rc<std::cell::RefCell<BTreeMap<NodeName, Contact>>>);

#[derive(Clone)]
struct Contact {
    keeper: Addr<Keeper>,
    gossiper: Addr<Gossiper>,
}

/// A ring manager that knows gossip and nothing else, and the links.
struct Keeper {
    me: NodeName,
    knows: Gossip,
    crowd: Crowd,
    /// Messages that it received.
    received: usize,
}

impl Keeper {
    fn contact(&self, name: &NodeName) -> Contact {
        self.crowd.0.borrow()[name].clone()
    }
}

impl Actor for Keeper {
    type Context = Context<Self>;
}

impl Handler<GossipWanted> for Keeper {
    type Result = ();

    fn handle(&mut self, GossipWanted { theirs, reply }: GossipWanted, _: &mut Context<Self>) {
        let digest = self.knows.digest();
        let nothing = Part::empty(digest.cluster);
        let missing = theirs.map_or(nothing, |theirs| self.knows.parts_missing(&theirs));
        reply.answer(Some(GossipGiven { digest, missing }));
    }
}

impl Handler<GossipArrived> for Keeper {
    type Result = ();

    fn handle(&mut self, arrived: GossipArrived, _: &mut Context<Self>) {
        self.received += 1;
        let news = self.knows.merge(&arrived.part).unwrap();
        if !news.is_empty() {
            self.contact(&self.me).gossiper.do_send(PassOn(self.knows.part_of(&news)));
        }
    }
}

impl Handler<TellPeer> for Keeper {
    type Result = ();

    fn handle(&mut self, TellPeer { to, message }: TellPeer, _: &mut Context<Self>) {
        let PeerMessage::Gossip(part) = message else { panic!("only news are pushed") };
        let from = self.me.clone();
        self.contact(&to).keeper.do_send(GossipArrived { from, part: *part });
    }
}

impl Handler<AskPeer> for Keeper {
    type Result = ();

    fn handle(&mut self, ask: AskPeer, ctx: &mut Context<Self>) {
        let PeerMessage::GossipDigest(digest) = ask.message else {
            panic!("only digests are asked")
        };
        let (reply, answer) = reply(PeerMessage::Pong);
        let from = self.me.clone();
        self.contact(&ask.to).gossiper.do_send(DigestArrived { from, digest, reply });
        ctx.spawn(async move { ask.reply.answer(Ok(answer.await)) }.into_actor(self));
    }
}

/// Asks a keeper what it knows, and how many messages it received.
#[derive(Message)]
#[rtype(result = "(Gossip, usize)")]
struct Peek;

impl Handler<Peek> for Keeper {
    type Result = actix::MessageResult<Peek>;

    fn handle(&mut self, _: Peek, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult((self.knows.clone(), self.received))
    }
}

/// Has a keeper find out something for itself, and spread it or not.
#[derive(Message)]
#[rtype(result = "()")]
struct Learn {
    part: Part,
    spreads: bool,
}

impl Handler<Learn> for Keeper {
    type Result = ();

    fn handle(&mut self, Learn { part, spreads }: Learn, _: &mut Context<Self>) {
        let news = self.knows.merge(&part).unwrap();
        if spreads {
            self.contact(&self.me).gossiper.do_send(Spread(self.knows.part_of(&news)));
        }
    }
}

fn to<M>(keeper: &Addr<Keeper>) -> Recipient<M>
where
    M: Message<Result = ()> + Send + 'static,
    Keeper: Handler<M>,
    Context<Keeper>: ToEnvelope<Keeper, M>,
{
    keeper.clone().recipient()
}

async fn a_crowd_of(count: usize) -> (Env, Vec<Contact>) {
    let (env, _network) = paused_env("n00");
    let names: Vec<NodeName> = (0..count).map(|number| name_of(&format!("n{number:02}"))).collect();
    let member = || Member::valid(Incarnation { boot: 1, nonce: 7 }, VoterId(1));
    let size = RingSize::new(64).unwrap();
    let first = Ring::founded(ClusterId(1), size, names[0].clone(), member());
    let members = names.iter().map(|name| (name.clone(), member())).collect();
    let ring = Arc::new(first.successor(members, &vec![names[0].clone(); 64]).unwrap());
    let (crowd, timers) = (Crowd::default(), Timers::start(&env));
    for me in &names {
        let knows = Gossip::new(me.clone(), Arc::clone(&ring));
        let keeper = Keeper { me: me.clone(), knows, crowd: crowd.clone(), received: 0 }.start();
        let tell = GossiperTells {
            tell_peer: to(&keeper),
            ask_peer: to(&keeper),
            wanted: to(&keeper),
            arrived: to(&keeper),
        };
        let env = Env { node: me.clone(), rng: env.rng.fork(me.as_str()), ..env.clone() };
        let gossiper = Gossiper::alone(env, timers.clone(), tell).start();
        gossiper.send(LivenessChanged(Arc::new(names.iter().cloned().collect()))).await.unwrap();
        crowd.0.borrow_mut().insert(me.clone(), Contact { keeper, gossiper });
    }
    let contacts = crowd.0.borrow().values().cloned().collect();
    (env, contacts)
}

/// How many know that token, and how many messages were received.
async fn census(contacts: &[Contact], number: u32) -> (usize, usize) {
    let (mut knowing, mut messages) = (0, 0);
    for Contact { keeper, .. } in contacts {
        let (knows, received) = keeper.send(Peek).await.unwrap();
        let wanted = tokens([number]);
        let (vnode, held) = wanted.tokens.iter().next().unwrap();
        knowing += usize::from(knows.tokens().get(vnode) == Some(held));
        messages += received;
    }
    (knowing, messages)
}

#[actix::test]
async fn news_that_are_spread_reach_fifty_members_within_a_tenth_of_a_second() {
    let (env, contacts) = a_crowd_of(50).await;
    env.clock.sleep(TURN * 10).await;
    let (_, before) = census(&contacts, 9).await;
    contacts[7].keeper.do_send(Learn { part: tokens([9]), spreads: true });
    env.clock.sleep(Duration::from_millis(100)).await;
    let (knowing, after) = census(&contacts, 9).await;
    assert_eq!(knowing, 50);
    assert!(after - before <= 50 * told_at_once(49), "{} messages", after - before);
}

#[actix::test]
async fn what_nobody_spread_reaches_fifty_members_within_ten_seconds() {
    let (env, contacts) = a_crowd_of(50).await;
    env.clock.sleep(TURN * 10).await;
    contacts[7].keeper.do_send(Learn { part: tokens([9]), spreads: false });
    env.clock.sleep(TURN * 10).await;
    let (knowing, before) = census(&contacts, 9).await;
    assert_eq!(knowing, 50);
    env.clock.sleep(TURN * 10).await;
    let (_, after) = census(&contacts, 9).await;
    assert_eq!(after, before, "those who know the same have nothing to tell");
}
