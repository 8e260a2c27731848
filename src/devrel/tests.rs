//! Processes are real, with a script in place of the program; the cluster is scripted.

use tanodb_actors::protocol::hash::RingSize;
use tanodb_actors::protocol::id::{Epoch, Incarnation};
use tanodb_actors::protocol::ring::MemberStatus;
use tanodb_actors::wire::admin::{MemberRow, MemberTable};

use super::*;
use crate::contact::scripted::Stage;
use crate::launch::tests::stand_in;

/// Development nodes that are stopped whatever becomes of the test.
struct Nodes(tempfile::TempDir);

impl Nodes {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    async fn start(&self, count: u8) -> Result<(), Failure> {
        let (folder, program) = (self.path().to_owned(), stand_in());
        start(&Start { folder, program, count, settings: Vec::new() }).await
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in all(self.path()).unwrap_or_default() {
            node.process.terminate().ok();
        }
    }
}

#[actix_rt::test]
async fn a_later_start_adds_nodes_and_leaves_those_that_run_alone() {
    let nodes = Nodes::new();
    nodes.start(1).await.unwrap();
    let first = all(nodes.path()).unwrap();
    nodes.start(3).await.unwrap();
    let three = all(nodes.path()).unwrap();
    assert_eq!(three.len(), 3);
    assert_eq!(three.first(), first.first());
    assert!(three.iter().all(DevelopmentNode::is_running));
    assert!(clean(nodes.path()).unwrap_err().reason.contains("still running"));
    stop(nodes.path()).await.unwrap();
    assert!(!all(nodes.path()).unwrap().iter().any(DevelopmentNode::is_running));
    clean(nodes.path()).unwrap();
    assert!(!nodes.path().exists());
}

#[actix_rt::test]
async fn a_node_whose_process_is_gone_is_started_again() {
    let nodes = Nodes::new();
    let name = name(1).unwrap();
    // The number belongs to this test, which began at another time.
    let process = ProcessId { pid: std::process::id(), began: Some(1) };
    let stale = DevelopmentNode { name, address: HostPort::loopback(0), process };
    folder::write(nodes.path(), &stale).unwrap();
    assert!(!stale.is_running());
    nodes.start(1).await.unwrap();
    assert!(all(nodes.path()).unwrap()[0].is_running());
}

#[actix_rt::test]
async fn logs_are_found_by_the_short_name() {
    let nodes = Nodes::new();
    nodes.start(1).await.unwrap();
    assert!(logs(nodes.path(), "tanodb1", 1).unwrap().starts_with("listening on "));
    assert!(logs(nodes.path(), "tanodb1@127.0.0.1", 9).is_ok());
    let refused = logs(nodes.path(), "tanodb7", 1).unwrap_err();
    assert!(refused.reason.contains("only [tanodb1@127.0.0.1]"), "{refused}");
}

#[actix_rt::test]
async fn without_nodes_there_is_nothing_to_join() {
    let folder = tempfile::tempdir().unwrap();
    let refused = join(&Stage::default(), folder.path(), READY_WITHIN).await.unwrap_err();
    assert!(refused.next.contains("devrel start"), "{refused:?}");
}

/// Node 2 is a member already, node 3 is not.
#[actix_rt::test]
async fn only_those_that_are_not_members_are_staged() {
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=3 {
        let (name, address) = (name(number).unwrap(), HostPort::loopback(number.into()));
        let process = ProcessId::of(std::process::id());
        folder::write(folder.path(), &DevelopmentNode { name, address, process }).unwrap();
    }
    let (one, two, three) = (name(1).unwrap(), name(2).unwrap(), name(3).unwrap());
    let member = |node: &NodeName| MemberRow {
        node: node.clone(),
        status: MemberStatus::Valid,
        holds: 4,
        will_hold: 4,
        up: true,
        incarnation: Incarnation { boot: 1, nonce: 1 },
    };
    let table = MemberTable {
        epoch: Epoch(2),
        ring_size: RingSize::new(8).unwrap(),
        members: vec![member(&one), member(&two)],
        pending: false,
    };
    let staged = AdminAnswer::JoinStaged { node: three.clone(), contact: one.clone() };
    let stage = Stage::default()
        .with("127.0.0.1:1", one.as_str(), vec![Ok(AdminAnswer::MemberStatus(table))])
        .with("127.0.0.1:2", two.as_str(), vec![])
        .with("127.0.0.1:3", three.as_str(), vec![Ok(staged)]);
    let joined = join(&stage, folder.path(), READY_WITHIN).await.unwrap();
    assert_eq!(joined, (vec![(three, one)], None));
    assert_eq!(stage.asked("127.0.0.1:2"), []);
    let contact = "127.0.0.1:1".to_owned();
    assert_eq!(stage.asked("127.0.0.1:3"), [AdminRequest::Join { contact }]);
}
