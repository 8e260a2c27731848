//! One coordinator among probes, in virtual time.

use actix::dev::ToEnvelope;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::*;
use crate::protocol::gossip::Held;
use crate::protocol::hash::{RingHash, RingSize};
use crate::protocol::id::{
    ClusterId, Epoch, Incarnation, NodeName, OpId, Partition, Token, VnodeRef, VoterId,
};
use crate::protocol::ring::{Member, Ring};
use crate::protocol::stamp::COUNTER_BLOCK;
use crate::runtime::disk::{Disk, MemoryDisk};
use crate::runtime::env::testing;
use crate::runtime::message::PeerError;
use crate::runtime::reply::{Answer, reply};
use crate::runtime::vnode::Class;
use crate::runtime::vnode::raw::RawVnode;
use crate::wire::message::{Command, CommandError, Envelope, Execute, Hint, Outcome, PeerMessage};

fn node(name: &str) -> NodeName {
    NodeName::new(&format!("{name}@here")).unwrap()
}

fn incarnation() -> Incarnation {
    Incarnation { boot: 1, nonce: 1 }
}

fn id(name: &str) -> NodeId {
    NodeId { name: node(name), incarnation: incarnation() }
}

fn held(name: &str, hop: u32) -> Held {
    Held { token: Token { epoch: Epoch(1), hop }, holder: id(name) }
}

fn vnode(partition: u32) -> VnodeRef {
    VnodeRef { vnode_type: VnodeType::new("pairs").unwrap(), partition: Partition(partition) }
}

/// Ada, bob, cyd and dan own partitions 1, 2, 3, 4 of 8, and so on; hash 0 belongs to 1, 2 and 3.
fn ring() -> Arc<Ring> {
    let names = ["ada", "bob", "cyd", "dan"];
    let member = Member::valid(incarnation(), VoterId(1));
    let size = RingSize::new(8).unwrap();
    let founded = Ring::founded(ClusterId(1), size, node("ada"), member.clone());
    let members = names.map(|name| (node(name), member.clone())).into();
    let owners: Vec<NodeName> = (0..8).map(|number| node(names[(number + 3) % 4])).collect();
    Arc::new(founded.successor(members, &owners).unwrap())
}

/// A type whose replies are joined to one.
struct Joined {
    name: VnodeType,
    class: Class,
}

impl VnodeKind for Joined {
    fn name(&self) -> &VnodeType {
        &self.name
    }

    fn class(&self) -> Class {
        self.class
    }

    fn open(&self, _: Partition, _: &Env) -> Box<dyn RawVnode> {
        unreachable!("a coordinator opens nothing")
    }

    fn combine(&self, replies: Vec<Bytes>) -> Bytes {
        assert!(!replies.iter().any(|reply| reply == "poison"), "this panic belongs to the test");
        replies.join(&b' ').into()
    }

    fn is_read(&self, reply: &Bytes) -> bool {
        reply.starts_with(b"stored:")
    }
}

/// One attempt of the coordinator.
struct Asked {
    to: NodeName,
    envelope: Envelope,
    token: Token,
    as_stand_in: bool,
    reply: Owed,
}

/// How an attempt is answered.
enum Owed {
    Here(Reply<Outcome>),
    Peer(Reply<Result<PeerMessage, PeerError>>),
}

/// Everybody around the coordinator.
struct Probe(mpsc::UnboundedSender<Asked>);

impl Probe {
    fn was_asked(&self, to: NodeName, what: Result<Execute, Hint>, reply: Owed) {
        let (envelope, token, as_stand_in) = match what {
            Ok(execute) => (execute.envelope, execute.token, false),
            Err(hint) => (hint.envelope, hint.token, true),
        };
        let _ = self.0.send(Asked { to, envelope, token, as_stand_in, reply });
    }
}

impl Actor for Probe {
    type Context = Context<Self>;
}

impl Handler<ExecuteHere> for Probe {
    type Result = ();

    fn handle(&mut self, here: ExecuteHere, _: &mut Context<Self>) {
        self.was_asked(node("ada"), Ok(here.execute), Owed::Here(here.reply));
    }
}

impl Handler<HintHere> for Probe {
    type Result = ();

    fn handle(&mut self, here: HintHere, _: &mut Context<Self>) {
        self.was_asked(node("ada"), Err(here.hint), Owed::Here(here.reply));
    }
}

impl Handler<AskPeer> for Probe {
    type Result = ();

    fn handle(&mut self, ask: AskPeer, _: &mut Context<Self>) {
        let what = if let PeerMessage::Execute(execute) = ask.message {
            Ok(*execute)
        } else if let PeerMessage::Hint(hint) = ask.message {
            Err(*hint)
        } else {
            panic!("{:?}", ask.message)
        };
        self.was_asked(ask.to, what, Owed::Peer(ask.reply));
    }
}

impl Asked {
    /// Who was asked for what: `ada 1`, or `dan* 2` for a stand-in.
    fn shown(&self) -> String {
        let name = self.to.as_str().trim_end_matches("@here");
        let star = if self.as_stand_in { "*" } else { "" };
        format!("{name}{star} {}", self.envelope.vnode.partition.0)
    }

    fn says(self, outcome: Outcome) {
        match self.reply {
            Owed::Here(reply) => reply.answer(outcome),
            Owed::Peer(reply) => reply.answer(Ok(PeerMessage::Outcome(outcome))),
        }
    }

    fn executes(self, reply: &'static str) {
        self.says(Outcome::Done { reply: Bytes::from_static(reply.as_bytes()) });
    }

    fn fails(self, error: PeerError) {
        match self.reply {
            Owed::Peer(reply) => reply.answer(Err(error)),
            Owed::Here(_) => panic!("this is no peer"),
        }
    }
}

struct Scene {
    env: Env,
    coordinator: Addr<Coordinator>,
    asked: mpsc::UnboundedReceiver<Asked>,
}

impl Scene {
    /// A coordinator on ada that has just started.
    fn starting(env: Env, limits: CoordinatorLimits) -> Self {
        let (sender, asked) = mpsc::unbounded_channel();
        let probe = Probe(sender).start();
        let links = CoordinatorLinks {
            execute_here: probe.clone().recipient(),
            hint_here: probe.clone().recipient(),
            ask_peer: probe.recipient(),
        };
        let kind = |name, class| -> Arc<dyn VnodeKind> {
            Arc::new(Joined { name: VnodeType::new(name).unwrap(), class })
        };
        let kinds = vec![kind("pairs", Class::Merged), kind("counters", Class::Single)];
        let timers = Timers::start(&env);
        let coordinator = Coordinator::starting(&env, &timers, id("ada"), links, kinds);
        let coordinator = coordinator.with_limits(limits).start();
        Self { env, coordinator, asked }
    }

    /// One that serves: it knows the ring, everybody's token, and that everybody is up.
    async fn serving() -> Self {
        Self::serving_within(CoordinatorLimits::default()).await
    }

    async fn serving_within(limits: CoordinatorLimits) -> Self {
        let scene = Self::starting(testing::env("ada@here", 1), limits);
        scene.told_everything().await;
        scene
    }

    async fn told_everything(&self) {
        let ring = ring();
        let held = |(partition, name): (Partition, &NodeName)| {
            let holder = NodeId { name: name.clone(), incarnation: incarnation() };
            (vnode(partition.0), Held { token: Token::minted(Epoch(1)), holder })
        };
        self.hears(TokensLearned(Arc::new(ring.owners().map(held).collect()))).await;
        self.hears(RingChanged(ring)).await;
        self.up(&["ada", "bob", "cyd", "dan"]).await;
        self.hears(ServingChanged { waits_for: None }).await;
    }

    async fn hears<M>(&self, message: M)
    where
        M: Message<Result = ()> + Send + 'static,
        Coordinator: Handler<M>,
        Context<Coordinator>: ToEnvelope<Coordinator, M>,
    {
        self.coordinator.send(message).await.unwrap();
    }

    async fn up(&self, names: &[&str]) {
        let up = names.iter().map(|name| node(name)).collect();
        self.hears(LivenessChanged(Arc::new(up))).await;
    }

    fn run(&self, command: Command) -> Answer<CommandAnswer> {
        let dropped = CommandError::Illegal { reason: "the reply was dropped".to_owned() };
        let (reply, answer) = reply(CommandAnswer::Failed(dropped));
        self.coordinator.do_send(RunCommand { command, reply });
        answer
    }

    async fn next(&mut self) -> Asked {
        self.asked.recv().await.unwrap()
    }

    /// The next ones, in order.
    async fn next_are<const N: usize>(&mut self, expected: [&str; N]) -> [Asked; N] {
        let mut asked = Vec::new();
        for _ in 0..N {
            asked.push(self.next().await);
        }
        let shown: Vec<String> = asked.iter().map(Asked::shown).collect();
        assert_eq!(shown, expected);
        asked.try_into().unwrap_or_else(|_| panic!("{N} were asked"))
    }

    async fn report(&self) -> CoordinatorReport {
        self.coordinator.send(ObserveCoordinator).await.unwrap()
    }
}

/// Hash 0, n = 3.
fn command(needed: u8) -> Command {
    Command {
        vnode_type: VnodeType::new("pairs").unwrap(),
        hash: RingHash([0; 20]),
        n: 3,
        needed,
        owners_needed: 0,
        deadline_ms: 5_000,
        op: None,
        command: Bytes::from_static(b"a command"),
    }
}

fn met(reply: &'static str, strict: bool) -> CommandAnswer {
    CommandAnswer::Met { reply: Bytes::from_static(reply.as_bytes()), strict }
}

fn failure(answer: CommandAnswer) -> CommandError {
    match answer {
        CommandAnswer::Failed(error) => error,
        CommandAnswer::Met { .. } => panic!("{answer:?}"),
    }
}

async fn play(story: impl Future<Output = ()>) {
    LocalSet::new().run_until(story).await;
}

mod disks;
mod limits;
mod stories;
