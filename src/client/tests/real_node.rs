//! The client, the coordinator and the key/value vnode together, over one node.

use tanodb_actors::runtime::arbiters::Arbiters;
use tanodb_actors::runtime::clock::Clock;
use tanodb_actors::runtime::disk::MemoryDisk;
use tanodb_actors::runtime::env::Env;
use tanodb_actors::runtime::items::MemoryEngine;
use tanodb_actors::runtime::node::{Node, NodeSettings};
use tanodb_actors::runtime::observe::Watched;
use tanodb_actors::runtime::rng::Rng;
use tanodb_actors::runtime::tcp::Tcp;
use tanodb_actors::runtime::vnode::kind::{ItemsKind, VnodeKind};

use super::*;
use crate::kv::KvVnode;

async fn a_node() -> Node {
    let env = Env {
        node: name(),
        transport: Arc::new(Tcp),
        arbiters: Arbiters::Here,
        rng: Rng::seeded(1),
        clock: Clock::real(),
        disk: Arc::new(MemoryDisk::default()),
        watched: Watched::by_nobody(),
    };
    let settings = NodeSettings { ring_size: RingSize::new(8).unwrap(), ..NodeSettings::default() };
    let engine = || Box::new(MemoryEngine::default());
    let kind: Arc<dyn VnodeKind> =
        ItemsKind::<KvVnode>::new(vnode_type(), Arc::new(move |_| engine()));
    Node::start(env, settings, vec![kind]).await.unwrap()
}

#[actix::test]
async fn a_node_stores_reads_and_deletes_what_a_client_asks() {
    let node = a_node().await;
    let client = Client::new([node.address()]).unwrap();
    let options = Options::default();
    assert_eq!(client.ping(options.deadline).await.unwrap().node, name());
    assert_eq!(client.get(b"bucket-1", b"key-1", &options).await.unwrap(), None);

    client.put(b"bucket-1", b"key-1", "first", &options).await.unwrap();
    client.put(b"bucket-1", b"key-1", "second", &options).await.unwrap();
    let value = client.get(b"bucket-1", b"key-1", &options).await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"second"[..]));

    assert!(client.delete(b"bucket-1", b"key-1", &options).await.unwrap());
    assert!(!client.delete(b"bucket-1", b"key-1", &options).await.unwrap());
    assert_eq!(client.get(b"bucket-1", b"key-1", &options).await.unwrap(), None);

    let all = Options { n: 9, ..options };
    let error = client.get(b"bucket-1", b"key-1", &all).await.unwrap_err();
    assert_eq!(error.to_string(), "9 different partitions must be asked, not 8");
    let report = node.requests().await;
    assert_eq!((report.met, report.failed, report.refused, report.waiting), (7, 0, 1, 0));
}
