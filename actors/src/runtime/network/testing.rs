//! What tests of the network share: a network in memory, probes, and three members.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use actix::dev::ToEnvelope;
use actix::{Actor, Context, Handler, Message, Recipient};
use tokio::sync::mpsc;

use super::connection::{Connection, ConnectionLimits, frame, parse};
use crate::protocol::hash::RingSize;
use crate::protocol::id::{ClusterId, Incarnation, NodeId, NodeName, VoterId};
use crate::protocol::ring::{Member, Ring};
use crate::runtime::env::{Env, testing};
use crate::runtime::message::DoorRules;
use crate::runtime::transport::{BoxFuture, BoxIo, Listener, Transport};
use crate::wire::message::{Hello, Introduction, Welcome, kind};

type Caller = (BoxIo, String);

/// Doors by address, and pipes between them.
#[derive(Default)]
pub(crate) struct MemoryNetwork {
    doors: Mutex<BTreeMap<String, mpsc::UnboundedSender<Caller>>>,
}

impl Transport for MemoryNetwork {
    fn connect(&self, to: &str) -> BoxFuture<io::Result<BoxIo>> {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, format!("nobody at {to}"));
        let (near, far) = tokio::io::duplex(64 * 1024);
        let doors = self.doors.lock().unwrap();
        let knocked = match doors.get(to) {
            Some(door) => door.send((Box::new(far), "somewhere".to_owned())).is_ok(),
            None => false,
        };
        let outcome = if knocked { Ok(Box::new(near) as BoxIo) } else { Err(refused) };
        Box::pin(async move { outcome })
    }

    fn bind(&self, at: &str) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        let (sender, callers) = mpsc::unbounded_channel();
        let mut doors = self.doors.lock().unwrap();
        let taken = doors.get(at).is_some_and(|door| !door.is_closed());
        let outcome = if taken {
            Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{at} is taken")))
        } else {
            doors.insert(at.to_owned(), sender);
            let callers = Arc::new(tokio::sync::Mutex::new(callers));
            Ok(Box::new(MemoryDoor { address: at.to_owned(), callers }) as Box<dyn Listener>)
        };
        Box::pin(async move { outcome })
    }
}

struct MemoryDoor {
    address: String,
    callers: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Caller>>>,
}

impl Listener for MemoryDoor {
    fn local_address(&self) -> String {
        self.address.clone()
    }

    fn accept(&mut self) -> BoxFuture<io::Result<(BoxIo, String)>> {
        let callers = Arc::clone(&self.callers);
        Box::pin(async move {
            let mut callers = callers.lock().await;
            callers.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
        })
    }
}

/// An actor that passes on what it hears.
pub(crate) struct Probe<M>(mpsc::UnboundedSender<M>);

impl<M: 'static + Unpin> Actor for Probe<M> {
    type Context = Context<Self>;
}

impl<M: Message<Result = ()> + Send + Unpin + 'static> Handler<M> for Probe<M> {
    type Result = ();

    fn handle(&mut self, message: M, _: &mut Context<Self>) {
        let _ = self.0.send(message);
    }
}

/// A probe, and what it hears.
pub(crate) fn probe<M>() -> (Recipient<M>, mpsc::UnboundedReceiver<M>)
where
    M: Message<Result = ()> + Send + Unpin + 'static,
    Context<Probe<M>>: ToEnvelope<Probe<M>, M>,
{
    let (sender, heard) = mpsc::unbounded_channel();
    (Probe(sender).start().recipient(), heard)
}

/// Node `name@here` in its life of this boot.
pub(crate) fn node(name: &str, boot: u64) -> NodeId {
    NodeId { name: name_of(name), incarnation: Incarnation { boot, nonce: 7 } }
}

/// `name@here`.
pub(crate) fn name_of(name: &str) -> NodeName {
    NodeName::new(&format!("{name}@here")).unwrap()
}

/// The ring of Ada, Bob and Cyd in their first lives.
pub(crate) fn ring() -> Arc<Ring> {
    let member = || Member::valid(node("ada", 1).incarnation, VoterId(1));
    let size = RingSize::new(8).unwrap();
    let first = Ring::founded(ClusterId(1), size, name_of("ada"), member());
    let members = ["ada", "bob", "cyd"].map(|name| (name_of(name), member())).into();
    Arc::new(first.successor(members, &vec![name_of("ada"); 8]).unwrap())
}

/// What a node of that ring says of itself. Its address is its name.
pub(crate) fn introduction(node: NodeId) -> Introduction {
    let ring = ring();
    Introduction {
        address: node.name.host().to_owned(),
        node,
        cluster: ring.cluster(),
        epoch: ring.epoch(),
        ring: ring.digest(),
        ring_size: ring.size(),
    }
}

/// The rules of a member of that ring.
pub(crate) fn rules(name: &str) -> DoorRules {
    let me = introduction(node(name, 1));
    DoorRules { me, ring: ring(), staged: BTreeSet::new(), joining: false, ready: true }
}

/// A node on the network in memory, in paused time. Once a test.
pub(crate) fn paused_env(name: &str) -> (Env, Arc<MemoryNetwork>) {
    tokio::time::pause();
    let network = Arc::new(MemoryNetwork::default());
    let env = testing::env(name_of(name).as_str(), 1);
    (Env { transport: Arc::clone(&network) as Arc<dyn Transport>, ..env }, network)
}

/// The next one who connects, and the hello they said.
pub(crate) async fn next_caller(door: &mut Box<dyn Listener>) -> (Connection, Hello) {
    let (io, peer) = door.accept().await.unwrap();
    let mut connection = Connection::over(io, peer, ConnectionLimits::default());
    let hello = connection.reader.next().await.unwrap().unwrap();
    assert_eq!(hello.kind, kind::HELLO);
    (connection, parse(&hello).unwrap())
}

/// Lets the next caller in, as this node.
pub(crate) async fn welcome_next(door: &mut Box<dyn Listener>, me: NodeId) -> Connection {
    let (connection, _) = next_caller(door).await;
    let welcome = Welcome { from: introduction(me) };
    connection.writer.try_send(frame(kind::WELCOME, 0, &welcome)).unwrap();
    connection
}
