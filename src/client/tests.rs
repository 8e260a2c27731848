//! A client against small servers in this process, over real connections.

use std::io;

use futures_util::{SinkExt, StreamExt};
use tanodb_actors::protocol::hash::{RingSize, key_hash};
use tanodb_actors::protocol::id::{ClusterId, Dot, Epoch, Incarnation, NodeId, NodeName, Stamp};
use tanodb_actors::protocol::ring::RingDigest;
use tanodb_actors::runtime::codec::FrameCodec;
use tanodb_actors::runtime::network::connection::{frame, parse};
use tanodb_actors::wire::message::{Hello, Purpose, Refusal, Welcome, kind};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::codec::Framed;

use super::*;

mod calls;
mod failures;
mod real_node;

/// What a server does with a message.
enum Act {
    Answer(ClientMessage),
    Silence,
    HangUp,
}

/// How a server greets.
enum Greeting {
    Welcome,
    Refuse(Refusal),
    Http,
}

/// A server that does what a script says, until it is dropped or killed.
struct Server {
    address: String,
    /// Each message with the number of its connection, from 1.
    heard: mpsc::UnboundedReceiver<(usize, ClientMessage)>,
    accepting: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Script = Arc<dyn Fn(&ClientMessage) -> Act + Send + Sync>;

impl Server {
    async fn start(script: impl Fn(&ClientMessage) -> Act + Send + Sync + 'static) -> Self {
        Self::greeting(Arc::new(Greeting::Welcome), script).await
    }

    async fn greeting(
        greeting: Arc<Greeting>,
        script: impl Fn(&ClientMessage) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (hearing, heard) = mpsc::unbounded_channel();
        let script: Script = Arc::new(script);
        let accepting = tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut connections = JoinSet::new();
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                number += 1;
                let (greeting, script) = (Arc::clone(&greeting), Arc::clone(&script));
                connections.spawn(serve(stream, greeting, script, number, hearing.clone()));
            }
        });
        Self { address, heard, accepting: accepting.abort_handle() }
    }

    async fn next(&mut self) -> (usize, ClientMessage) {
        self.heard.recv().await.unwrap()
    }

    async fn next_command(&mut self) -> Command {
        let (_, message) = self.next().await;
        let ClientMessage::Command(command) = message else { panic!("{message:?}") };
        *command
    }

    /// As a process that is killed: its connections end.
    fn kill(&self) {
        self.accepting.abort();
    }
}

async fn serve(
    stream: TcpStream,
    greeting: Arc<Greeting>,
    script: Script,
    number: usize,
    hearing: mpsc::UnboundedSender<(usize, ClientMessage)>,
) -> io::Result<()> {
    if let Greeting::Http = *greeting {
        let mut stream = stream;
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await?;
        return Ok(());
    }
    let mut frames = Framed::new(stream, FrameCodec::default());
    let hello = frames.next().await.unwrap().unwrap();
    let hello: Hello = parse(&hello).unwrap();
    assert_eq!((hello.purpose, hello.from), (Purpose::Client, None));
    let answer = match &*greeting {
        Greeting::Refuse(refusal) => frame(kind::REFUSAL, 0, refusal),
        Greeting::Welcome | Greeting::Http => frame(kind::WELCOME, 0, &Welcome { from: me() }),
    };
    frames.send(answer).await.unwrap();
    while let Some(Ok(asked)) = frames.next().await {
        let message: ClientMessage = parse(&asked).unwrap();
        let act = script(&message);
        let _ = hearing.send((number, message));
        match act {
            Act::Answer(answer) => {
                frames.send(frame(kind::CLIENT_ANSWER, asked.id, &answer)).await.unwrap();
            }
            Act::Silence => {}
            Act::HangUp => return Ok(()),
        }
    }
    Ok(())
}

fn name() -> NodeName {
    NodeName::new("ada@here").unwrap()
}

fn me() -> Introduction {
    Introduction {
        node: NodeId { name: name(), incarnation: Incarnation { boot: 1, nonce: 1 } },
        address: "127.0.0.1:1".to_owned(),
        cluster: ClusterId(1),
        epoch: Epoch(1),
        ring: RingDigest(1),
        ring_size: RingSize::new(64).unwrap(),
    }
}

/// The answer that a quorum was met with this reply.
fn met(reply: &KvReply) -> Act {
    let reply = rmp_serde::to_vec_named(reply).unwrap().into();
    let answer = CommandAnswer::Met { reply, strict: true };
    Act::Answer(ClientMessage::CommandAnswer(Box::new(answer)))
}

fn failed(error: CommandError) -> Act {
    Act::Answer(ClientMessage::CommandAnswer(Box::new(CommandAnswer::Failed(error))))
}

fn overloaded() -> CommandError {
    CommandError::Overloaded { node: name(), limit: 7 }
}

/// A record whose value is the key that was asked for.
fn key_as_value(message: &ClientMessage) -> KvReply {
    let ClientMessage::Command(command) = message else { panic!("{message:?}") };
    let asked: KvCommand = rmp_serde::from_slice(&command.command).unwrap();
    KvReply::Found(Record {
        stamp: Stamp { millis: 1, logical: 2 },
        dot: Dot { minter: 3, counter: 4 },
        content: Content::Live(asked.name().1.clone()),
    })
}

fn within(deadline: Duration) -> Options {
    Options { deadline, ..Options::default() }
}

/// For calls that are to run into their deadlines.
const SHORT: Duration = Duration::from_millis(80);

/// An address at which nobody listens, as long as the socket is kept.
fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}
