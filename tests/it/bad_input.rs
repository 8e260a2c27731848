//! Bad input of operators and peers: a clear reason, a next step, the right exit code, and nothing is lost.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::Duration;

use tanodb::client::Options;
use tanodb::config::setting::RING_SIZE;
use tanodb_actors::protocol::hash::RingSize;
use tanodb_actors::protocol::id::{ClusterId, Epoch, Incarnation, NodeId, NodeName};
use tanodb_actors::protocol::ring::RingDigest;
use tanodb_actors::runtime::network::connection::{frame, parse};
use tanodb_actors::wire::frame::{Frame, decode, encode};
use tanodb_actors::wire::message::{Hello, Introduction, PROTOCOL_VERSION, Purpose, Refusal, kind};

use crate::cluster::{BUCKET, Cluster};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tanodb");

fn tanodb(words: &[&str]) -> Output {
    Command::new(PROGRAM).args(words).output().expect("the program starts")
}

/// Asserts that a command was refused with these words, a next step and exit code 1.
#[track_caller]
fn assert_refused(output: &Output, reason: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(reason), "'{reason}' is said, not: {said}");
    assert!(said.contains("next: "), "a next step is named: {said}");
}

/// Asserts that a node serves, and still has what was stored before.
async fn assert_unharmed(cluster: &Cluster, number: usize) {
    let options = Options::default();
    let value = cluster.client(number).get(BUCKET, b"kept", &options).await.expect("it serves");
    assert_eq!(value.as_deref(), Some(b"value".as_slice()));
}

async fn with_a_value(nodes: usize) -> Cluster {
    let mut cluster = Cluster::empty(64, &[]);
    cluster.start(nodes).await;
    cluster.client(0).put(BUCKET, b"kept", "value", &Options::default()).await.expect("stored");
    cluster
}

#[actix_rt::test]
async fn joins_that_make_no_sense_are_refused_and_change_nothing() {
    let cluster = with_a_value(2).await;
    let (one, two) = (cluster.address(0).to_string(), cluster.address(1).to_string());
    let join =
        |contact: &str, joiner: &str| tanodb(&["cluster", "join", contact, "--node", joiner]);
    assert_refused(&join(&two, &two), "cannot join itself");
    assert_refused(&join("127.0.0.1:1", &two), "is not reachable!");
    assert_refused(&join(&two, &one), "This node holds");
    assert!(join(&one, &two).status.success(), "a join that makes sense is staged");
    assert_refused(&join(&one, &two), "joining a cluster already");
    assert_unharmed(&cluster, 0).await;
}

#[actix_rt::test]
async fn another_ring_size_is_refused_with_both_sizes() {
    let cluster = with_a_value(1).await;
    let mut other = Cluster::empty(32, &[]);
    other.start(2).await;
    let (one, other_one) = (cluster.address(0).to_string(), other.address(1).to_string());
    let refused = tanodb(&["cluster", "join", &one, "--node", &other_one]);
    assert_refused(&refused, "has a different ring_creation_size (64, this node has 32)");
    assert_unharmed(&cluster, 0).await;
}

#[actix_rt::test]
async fn a_commit_needs_the_plan_that_was_read() {
    let cluster = with_a_value(3).await;
    let address = |number| cluster.address(number).to_string();
    let one = address(0);
    let join = |joiner: &str| tanodb(&["cluster", "join", &one, "--node", joiner]);
    assert!(join(&address(1)).status.success());
    assert_refused(&tanodb(&["cluster", "commit", "--node", &one]), "You must verify the plan");
    assert!(tanodb(&["cluster", "plan", "--node", &one]).status.success());
    assert!(join(&address(2)).status.success());
    assert_refused(&tanodb(&["cluster", "commit", "--node", &one]), "The plan has changed.");
    let table = cluster.members(0).await;
    assert!(!table.pending, "nothing was applied");
    assert_unharmed(&cluster, 0).await;
}

#[actix_rt::test]
async fn an_unknown_name_is_refused() {
    let cluster = with_a_value(1).await;
    let name = cluster.name(0).to_string();
    let refused = tanodb(&["ping", "--node", "nobody@127.0.0.1", "--dir", "no-such-folder"]);
    assert_ne!(refused.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("nobody@127.0.0.1"), "not {name}");
    assert_unharmed(&cluster, 0).await;
}

#[actix_rt::test]
async fn a_port_and_a_folder_belong_to_one_node() {
    let cluster = with_a_value(1).await;
    let address = cluster.address(0).to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().to_str().expect("a path in UTF-8");
    let second = tanodb(&["node", "--listen", &address, "--data-dir", own]);
    assert_refused(&second, "another process listens on");
    let held = cluster.data_dir(0);
    let held = held.to_str().expect("a path in UTF-8");
    let second = tanodb(&["node", "--listen", "127.0.0.1:0", "--data-dir", held]);
    assert_refused(&second, "is in use by");
    assert_unharmed(&cluster, 0).await;
}

/// Sends bytes to a node and returns what it sends before it closes.
fn tell(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the node listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    stream.write_all(bytes).expect("the node reads");
    let mut said = Vec::new();
    // A node that resets the connection has said enough.
    let _ = stream.read_to_end(&mut said);
    said
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    encode(frame, &mut bytes).expect("a frame of ordinary length");
    bytes.to_vec()
}

fn refusal(said: &[u8]) -> Option<Refusal> {
    let mut bytes = bytes::BytesMut::from(said);
    let frame = decode(&mut bytes, 1 << 20).ok().flatten()?;
    (frame.kind == kind::REFUSAL).then(|| parse(&frame).expect("a refusal"))
}

fn stranger() -> Introduction {
    let name = NodeName::new("stranger@127.0.0.1").expect("a name");
    Introduction {
        node: NodeId { name, incarnation: Incarnation { boot: 1, nonce: 1 } },
        address: "127.0.0.1:1".to_owned(),
        cluster: ClusterId(1),
        epoch: Epoch(1),
        ring: RingDigest(1),
        ring_size: RingSize::new(64).expect("a legal size"),
    }
}

#[actix_rt::test]
async fn garbage_and_frames_that_are_too_long_end_their_connection_only() {
    let cluster = with_a_value(1).await;
    let address = cluster.address(0).to_string();
    tell(&address, &[0x5a; 4_096]);
    let mut oversized = bytes_of(&Frame { kind: kind::HELLO, id: 0, body: vec![0; 64].into() });
    oversized[0..4].copy_from_slice(&u32::MAX.to_be_bytes());
    tell(&address, &oversized);
    let long = Frame { kind: kind::HELLO, id: 0, body: vec![0; 1 << 20].into() };
    tell(&address, &bytes_of(&long));
    assert_unharmed(&cluster, 0).await;
}

#[actix_rt::test]
async fn peers_of_another_version_or_cluster_are_told_so() {
    let cluster = with_a_value(1).await;
    let address = cluster.address(0).to_string();
    let hello = |protocol, purpose| Hello { purpose, protocol, from: Some(stranger()), to: None };
    let later = frame(kind::HELLO, 0, &hello(PROTOCOL_VERSION + 1, Purpose::Client));
    let refused = refusal(&tell(&address, &bytes_of(&later)));
    assert!(matches!(refused, Some(Refusal::OtherProtocol { .. })), "{refused:?}");
    let foreign = frame(kind::HELLO, 0, &hello(PROTOCOL_VERSION, Purpose::Member));
    let refused = refusal(&tell(&address, &bytes_of(&foreign)));
    assert!(matches!(refused, Some(Refusal::OtherCluster { .. })), "{refused:?}");
    assert_unharmed(&cluster, 0).await;
}

#[test]
fn an_illegal_ring_size_names_the_nearest_legal_ones() {
    let refused = tanodb(&["node", "--ring-size", "100", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("96") && said.contains("128"), "{said}");
    assert_ne!(refused.status.code(), Some(0));
    assert_eq!(RING_SIZE.flag(), "ring-size");
}
