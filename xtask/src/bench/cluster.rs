//! A cluster of node processes on this machine: started, joined, watched, and gone with this value.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tanodb::client::{Client, ClientError};
use tanodb::config::address::HostPort;
use tanodb::launch::wait::{Seen, TimedOut, wait_for};
use tanodb::launch::{Launch, Life, Started};
use tanodb_actors::protocol::hash::RingSize;
use tanodb_actors::protocol::id::{Epoch, NameError, NodeName};
use tanodb_actors::wire::admin::{
    AdminAnswer, AdminRefusal, AdminRequest, PartitionTable, PlanShown, RingReport, TransferReport,
};
use tempfile::TempDir;

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long a node may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How long staged joins may take to show in the plan.
const STAGED_WITHIN: Duration = Duration::from_secs(15);

/// How long all transfers together may take.
const SETTLED_WITHIN: Duration = Duration::from_secs(600);

/// How often somebody looks whether all has settled: often enough to time a move of nothing.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Why the nodes did not do what they were asked to.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A process cannot be started or looked after.
    #[error("a node cannot be started: {0}")]
    Io(#[from] io::Error),
    /// A node cannot have this name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A process has ended.
    #[error("'{node}' ended: {status}")]
    Ended {
        /// Whose.
        node: NodeName,
        /// How.
        status: ExitStatus,
    },
    /// A node did not answer what it was asked.
    #[error("the node answered something else than {0}")]
    Unexpected(&'static str),
    /// A node refused.
    #[error("refused: {}; {}", .0.reason, .0.hint)]
    Refused(AdminRefusal),
    /// A node did not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Something did not come about in time.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

/// Some nodes, of which the first was there first.
pub struct Cluster {
    program: PathBuf,
    first: Member,
    others: Vec<Member>,
    folder: TempDir,
}

/// A node, its process, and a client that asks it alone.
struct Member {
    process: Process,
    address: HostPort,
    client: Client,
}

/// A process that ends with this value, whatever becomes of the measurement.
struct Process(Started);

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended by itself need not be killed.
        self.0.kill().ok();
    }
}

impl Cluster {
    /// Starts one node of this program.
    ///
    /// # Errors
    ///
    /// [`ClusterError`]: it does not serve in time.
    pub async fn of_one(program: &Path) -> Result<Self, ClusterError> {
        let folder = tempfile::Builder::new().prefix("tanodb-bench-").tempdir()?;
        let first = Member::start(program, folder.path(), 1).await?;
        Ok(Self { program: program.to_owned(), first, others: Vec::new(), folder })
    }

    /// A client of the first node.
    pub fn first_client(&self) -> &Client {
        &self.first.client
    }

    /// The first node.
    pub fn first_name(&self) -> &NodeName {
        self.first.process.0.name()
    }

    /// Starts `count` more nodes, has them join, and shows the plan.
    ///
    /// # Errors
    ///
    /// [`ClusterError`]: a node does not serve, or the joins are not staged in time.
    pub async fn plan_joins(&mut self, count: usize) -> Result<Box<PlanShown>, ClusterError> {
        for joiner in 0..count {
            let member = Member::start(&self.program, self.folder.path(), joiner + 2).await?;
            let contact = self.first.address.to_string();
            member.ask(AdminRequest::Join { contact }).await?;
            self.others.push(member);
        }
        wait_for("the plan has every join", STAGED_WITHIN, async || {
            let AdminAnswer::Plan(plan) = self.first.ask(AdminRequest::Plan).await? else {
                return Err(ClusterError::Unexpected("a plan"));
            };
            let staged = plan.changes.len();
            Ok(if staged == count { Seen::Yes(plan) } else { Seen::NotYet(staged.to_string()) })
        })
        .await
    }

    /// Commits the plan. The time from the request until nothing is left to move and every transfer has
    /// ended, by the word of every node.
    ///
    /// # Errors
    ///
    /// [`ClusterError`]: the commit is refused, or not all has settled in time.
    pub async fn time_to_settle(&self, plan: &PlanShown) -> Result<Duration, ClusterError> {
        let began = Instant::now();
        let commit = AdminRequest::Commit { plan: Some(plan.id) };
        let AdminAnswer::Committed { epoch } = self.first.ask(commit).await? else {
            return Err(ClusterError::Unexpected("a commit"));
        };
        while let Some(left) = self.left(epoch).await? {
            if began.elapsed() > SETTLED_WITHIN {
                let condition = "nothing is left to move".to_owned();
                let (waited, last) = (SETTLED_WITHIN, Some(left));
                return Err(TimedOut { condition, waited, last }.into());
            }
            actix_rt::time::sleep(LOOK_EVERY).await;
        }
        Ok(began.elapsed())
    }

    /// What is still to be done. Asks the others only when the first node knows of nothing.
    async fn left(&self, epoch: Epoch) -> Result<Option<String>, ClusterError> {
        for member in [&self.first].into_iter().chain(&self.others) {
            let ring = member.ring().await?;
            let unseen = ring.not_seen_by.len();
            if ring.epoch < epoch || !ring.pending.is_empty() || unseen > 0 {
                let (node, pending) = (&ring.node, ring.pending.len());
                let at = ring.epoch;
                return Ok(Some(format!("{node} has {at}, {pending} pending, {unseen} not seen")));
            }
        }
        let report = self.first.transfers().await?;
        let (active, waiting) = (report.active.len(), report.waiting.len());
        let is_done = active + waiting + report.silent.len() == 0;
        Ok(if is_done { None } else { Some(format!("{active} active, {waiting} waiting")) })
    }

    /// Partitions of the ring.
    ///
    /// # Errors
    ///
    /// [`ClusterError`]: the first node does not answer.
    pub async fn ring_size(&self) -> Result<RingSize, ClusterError> {
        Ok(self.first.ring().await?.ring_size)
    }

    /// What every node holds.
    ///
    /// # Errors
    ///
    /// [`ClusterError`]: a node does not answer.
    pub async fn partitions(&self) -> Result<PartitionTable, ClusterError> {
        let AdminAnswer::Partitions(table) = self.first.ask(AdminRequest::Partitions).await? else {
            return Err(ClusterError::Unexpected("partitions"));
        };
        let is_whole = table.silent.is_empty();
        if is_whole { Ok(table) } else { Err(ClusterError::Unexpected("what every node holds")) }
    }
}

impl Member {
    async fn start(program: &Path, folder: &Path, number: usize) -> Result<Self, ClusterError> {
        let name = NodeName::new(&format!("tanodb{number}@127.0.0.1"))?;
        let launch = Launch {
            program: program.to_owned(),
            listen: HostPort::loopback(0),
            data_dir: folder.join(name.as_str()),
            log: folder.join(format!("{name}.log")),
            settings: Vec::new(),
            life: Life::WithStarter,
            name,
        };
        let mut process = Process(launch.start()?);
        let address = wait_for("the node listens", READY_WITHIN, async || {
            if let Some(status) = process.0.ended()? {
                return Err(ClusterError::Ended { node: process.0.name().clone(), status });
            }
            Ok(match process.0.address()? {
                Some(address) => Seen::Yes(address),
                None => Seen::NotYet("nothing".to_owned()),
            })
        })
        .await?;
        let client = Client::new([address.to_string()])?;
        Ok(Self { process, address, client })
    }

    async fn ring(&self) -> Result<RingReport, ClusterError> {
        let AdminAnswer::RingStatus(report) = self.ask(AdminRequest::RingStatus).await? else {
            return Err(ClusterError::Unexpected("a ring"));
        };
        Ok(*report)
    }

    async fn transfers(&self) -> Result<TransferReport, ClusterError> {
        let AdminAnswer::Transfers(report) = self.ask(AdminRequest::Transfers).await? else {
            return Err(ClusterError::Unexpected("transfers"));
        };
        Ok(*report)
    }

    async fn ask(&self, request: AdminRequest) -> Result<AdminAnswer, ClusterError> {
        let answer = self.client.admin(request, ANSWER_WITHIN).await?;
        if let AdminAnswer::Refused(refusal) = answer {
            return Err(ClusterError::Refused(refusal));
        }
        Ok(answer)
    }
}
