//! The whole story against a cluster that is made up, with real processes that do nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use tanodb_actors::protocol::id::{
    ClusterId, Epoch, Incarnation, NodeName, Partition, TransferId, VnodeType,
};
use tanodb_actors::protocol::plan::PlanId;
use tanodb_actors::protocol::ring::MemberStatus;
use tanodb_actors::wire::admin::{
    ActiveRow, AdminAnswer, AdminRequest, ChangeShown, MemberRow, MemberTable, PartitionRow,
    PendingMove, PlanShown, Pong, RingReport, TransferCount, TransferReport,
};

use super::checks::REPLICAS;
use super::*;
use crate::config::address::HostPort;
use crate::contact::{Item, Talk};
use crate::output::OWNED;

/// What all nodes of the made-up cluster know.
struct Town {
    size: RingSize,
    /// Node number of each partition's holder, and of its owner after the plan.
    holders: Vec<u8>,
    owners: Vec<u8>,
    staged: Vec<NodeName>,
    epoch: Epoch,
    values: BTreeMap<(String, String), Vec<u8>>,
    /// Called with the number of partitions that have yet to move, each time somebody looks.
    on_look: Box<dyn FnMut(usize)>,
    /// This key is answered wrongly.
    forgotten: Option<&'static str>,
}

#[derive(Clone)]
struct MadeUp(Rc<RefCell<Town>>);

struct MadeUpNode {
    town: MadeUp,
    number: u8,
}

fn node(number: u8) -> NodeName {
    NodeName::new(&format!("tanodb{number}@127.0.0.1")).unwrap()
}

fn kv() -> VnodeType {
    VnodeType::new("tanodb_vnode").unwrap()
}

fn a_town() -> Town {
    let size = RingSize::new(8).unwrap();
    Town {
        size,
        holders: vec![1; 8],
        owners: vec![1, 2, 3, 1, 2, 3, 1, 2],
        staged: vec![],
        epoch: Epoch(1),
        values: BTreeMap::new(),
        on_look: Box::new(|_| {}),
        forgotten: None,
    }
}

impl Town {
    fn index(&self, partition: usize) -> tanodb_actors::protocol::hash::RingHash {
        self.size.index_of(Partition(u32::try_from(partition).unwrap()))
    }

    fn pending(&self) -> Vec<usize> {
        let differs = |place: &usize| self.holders[*place] != self.owners[*place];
        if self.epoch == Epoch(1) { vec![] } else { (0..8).filter(differs).collect() }
    }

    fn members(&self) -> MemberTable {
        let count = |of: &[u8], number| u32::try_from(of.iter().filter(|n| **n == number).count());
        let member = |number| MemberRow {
            node: node(number),
            status: MemberStatus::Valid,
            holds: count(&self.holders, number).unwrap(),
            will_hold: count(&self.owners, number).unwrap(),
            up: true,
            incarnation: Incarnation { boot: 1, nonce: 1 },
        };
        let members = (1..=3).map(member).collect();
        let pending = !self.pending().is_empty();
        MemberTable { epoch: self.epoch, ring_size: self.size, members, pending }
    }

    fn plan(&self) -> PlanShown {
        let changes = self.staged.iter().map(|node| ChangeShown {
            action: "join".to_owned(),
            node: node.clone(),
            void: None,
        });
        let to = |target, count| TransferCount { source: node(1), target: node(target), count };
        PlanShown {
            id: PlanId(7),
            base: self.epoch,
            changes: changes.collect(),
            after: self.members(),
            replicas_distinct: false,
            transfers: vec![to(2, 3), to(3, 2)],
            transfers_min: 5,
            verdict: "optimal".to_owned(),
        }
    }

    fn ring(&mut self, asked: u8) -> RingReport {
        let pending = self.pending();
        (self.on_look)(pending.len());
        if asked == 1
            && let Some(next) = pending.first()
        {
            self.holders[*next] = self.owners[*next];
        }
        let pending = pending.into_iter().map(|place| PendingMove {
            vnode_type: kv(),
            partition: self.index(place),
            holder: node(self.holders[place]),
            next: node(self.owners[place]),
        });
        RingReport {
            node: node(asked),
            cluster: ClusterId(1),
            epoch: self.epoch,
            ring_size: self.size,
            not_seen_by: vec![],
            pending: pending.collect(),
            unreachable: vec![],
        }
    }

    fn partitions(&self) -> PartitionTable {
        let objects = |place: usize| {
            let has = |(bucket, key): &&(String, String)| {
                let hash =
                    tanodb_actors::protocol::hash::key_hash(bucket.as_bytes(), key.as_bytes());
                let mut replicas =
                    self.size.walk(self.size.partition_of(hash)).take(REPLICAS.into());
                replicas.any(|replica| self.size.index_of(replica) == self.index(place))
            };
            u64::try_from(self.values.keys().filter(has).count()).unwrap()
        };
        let row = |place: usize| PartitionRow {
            vnode_type: kv(),
            partition: self.index(place),
            node: node(self.holders[place]),
            container: OWNED.to_owned(),
            token: None,
            objects: objects(place),
            bytes: 0,
            state: "Owner".to_owned(),
        };
        PartitionTable { rows: (0..8).map(row).collect(), silent: vec![] }
    }

    fn transfers(&self) -> TransferReport {
        let active = self.pending().first().map(|place| ActiveRow {
            transfer: TransferId { nonce: 1, number: 1 },
            kind: "ownership".to_owned(),
            vnode_type: kv(),
            partition: self.index(*place),
            source: node(1),
            target: node(self.owners[*place]),
            started_ms: 0,
            running_ms: 1,
            idle_ms: None,
            objects_total: 1,
            bytes_total: 1,
            objects_sent: 0,
            bytes_sent: 0,
            state: "Sending".to_owned(),
            why: None,
        });
        let active = active.into_iter().collect();
        TransferReport { down: vec![], silent: vec![], waiting: vec![], active, ended: vec![] }
    }
}

impl Connect for MadeUp {
    type Node = MadeUpNode;

    async fn connect(&self, address: &HostPort, _: Duration) -> Result<MadeUpNode, Failure> {
        // The stand-in says that it listens on the port of its number.
        Ok(MadeUpNode { town: self.clone(), number: u8::try_from(address.port()).unwrap() })
    }
}

impl Talk for MadeUpNode {
    async fn admin(&mut self, request: AdminRequest, _: Duration) -> Result<AdminAnswer, Failure> {
        let mut town = self.town.0.borrow_mut();
        Ok(match request {
            AdminRequest::Ping => AdminAnswer::Pong(Pong {
                node: node(self.number),
                cluster: ClusterId(1),
                epoch: town.epoch,
                partition: town.index(0),
            }),
            AdminRequest::Join { .. } => {
                town.staged.push(node(self.number));
                AdminAnswer::JoinStaged { node: node(self.number), contact: node(1) }
            }
            AdminRequest::Plan => AdminAnswer::Plan(Box::new(town.plan())),
            AdminRequest::Commit { plan } => {
                assert_eq!(plan, Some(PlanId(7)), "the plan that was shown");
                town.epoch = Epoch(2);
                AdminAnswer::Committed { epoch: Epoch(2) }
            }
            AdminRequest::MemberStatus => AdminAnswer::MemberStatus(town.members()),
            AdminRequest::RingStatus => AdminAnswer::RingStatus(Box::new(town.ring(self.number))),
            AdminRequest::Partitions => AdminAnswer::Partitions(town.partitions()),
            AdminRequest::Transfers => AdminAnswer::Transfers(Box::new(town.transfers())),
            AdminRequest::Clear | AdminRequest::Resolve { .. } => {
                return Err(Failure::failed("the demo never asks this", ""));
            }
        })
    }

    async fn put(&mut self, item: &Item, value: &[u8], _: Duration) -> Result<(), Failure> {
        let key = (item.bucket.clone(), item.key.clone());
        self.town.0.borrow_mut().values.insert(key, value.to_vec());
        Ok(())
    }

    async fn get(&mut self, item: &Item, _: Duration) -> Result<Option<Vec<u8>>, Failure> {
        let town = self.town.0.borrow();
        if town.forgotten == Some(item.key.as_str()) {
            return Ok(None);
        }
        Ok(town.values.get(&(item.bucket.clone(), item.key.clone())).cloned())
    }

    async fn delete(&mut self, _: &Item, _: Duration) -> Result<bool, Failure> {
        Err(Failure::failed("the demo never deletes", ""))
    }
}

/// A folder with a link to the stand-in, which can be ended from outside.
fn mortal_program() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mortal"), "").unwrap();
    let stand_in = crate::launch::tests::stand_in();
    std::os::unix::fs::symlink(stand_in, folder.path().join("node")).unwrap();
    folder
}

async fn show(town: Town, folder: &Path) -> (Result<(), Failure>, String) {
    let options = Options { nodes: 3, ring_size: town.size, buckets: 10, keys: 10 };
    let mut out = Vec::new();
    let network = MadeUp(Rc::new(RefCell::new(town)));
    let done = run(&network, folder.join("node"), options, &mut out).await;
    (done, String::from_utf8(out).unwrap())
}

/// Removes the logs a failed demo keeps, whose place its last line tells.
fn remove_kept(failure: &Failure) {
    let (_, kept) = failure.next.split_once("logs in ").unwrap();
    assert!(Path::new(kept).join("tanodb1@127.0.0.1.log").exists(), "{kept}");
    std::fs::remove_dir_all(kept).unwrap();
}

#[actix_rt::test]
async fn the_story_is_told_to_its_end() {
    let folder = mortal_program();
    let (done, text) = show(a_town(), folder.path()).await;
    assert_eq!(done, Ok(()), "{text}");
    for said in [
        "put 100 values: 10 buckets x 10 keys, 3 replicas each\n",
        "the last is [{bucket,<<\"bucket-10\">>},{key,<<\"key-10\">>}]\n",
        "Success: staged join request for 'tanodb3@127.0.0.1' to 'tanodb1@127.0.0.1'\n",
        "Transfers resulting from cluster changes: 5\n",
        "Cluster changes committed\n",
        "valid      37.5%      --      'tanodb1@127.0.0.1'\n",
        "\n5 partitions moved with ",
        "every old copy is deleted at its source\n",
        "100 values read through 'tanodb3@127.0.0.1'\n",
        "All of it held. Done in ",
    ] {
        assert!(text.contains(said), "{said:?} is missing in\n{text}");
    }
}

#[actix_rt::test]
async fn a_node_that_is_killed_while_partitions_move_is_named_with_what_is_lost() {
    let folder = mortal_program();
    let end = folder.path().join("end-tanodb1@127.0.0.1");
    let mut town = a_town();
    // With three partitions to go, the first node dies; nothing moves from then on.
    town.on_look = Box::new(move |pending| {
        if pending == 3 {
            std::fs::write(&end, "").unwrap();
        }
    });
    let began = Instant::now();
    let (done, text) = show(town, folder.path()).await;
    let failure = done.unwrap_err();
    let told = failure.details.join("\n");
    assert!(failure.reason.starts_with("'tanodb1@127.0.0.1' ended in the middle"), "{failure:?}");
    assert!(failure.reason.contains("signal: 9"), "{failure:?}");
    assert!(told.contains("lost with it: "), "{told}");
    assert!(told.contains("why: these nodes keep their data in memory"), "{told}");
    assert!(told.contains("'tanodb2@127.0.0.1' (pid ") && told.contains("said last: "), "{told}");
    assert!(!text.contains("All of it held"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(30), "it did not wait in vain");
    remove_kept(&failure);
}

#[actix_rt::test]
async fn a_value_that_does_not_come_back_is_a_failure() {
    let folder = mortal_program();
    let mut town = a_town();
    town.forgotten = Some("key-7");
    let (done, _) = show(town, folder.path()).await;
    let failure = done.unwrap_err();
    assert_eq!(failure.reason, "10 values not what was put, through 'tanodb1@127.0.0.1'");
    assert!(failure.details.contains(&"bucket-1 key-7: does not exist".to_owned()), "{failure:?}");
    remove_kept(&failure);
}

#[actix_rt::test]
async fn a_plan_that_is_not_kept_is_a_failure() {
    let folder = mortal_program();
    let mut town = a_town();
    town.owners[0] = 2;
    let (done, _) = show(town, folder.path()).await;
    let failure = done.unwrap_err();
    assert_eq!(failure.reason, "the plan said 5 transfers, but 6 were made");
    remove_kept(&failure);
}
