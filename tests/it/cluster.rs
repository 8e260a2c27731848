//! Clusters of real node processes on free ports, with their files in a temporary folder.
//!
//! A cluster that goes out of scope kills its processes. If the test's own process is killed, the closed
//! standard input ends them, and a paused one goes on first.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use tanodb::client::{Client, ClientSettings, Options};
use tanodb::config::address::HostPort;
use tanodb::config::setting::{RING_SIZE, Setting};
use tanodb::launch::wait::{Seen, TimedOut, wait_for};
use tanodb::launch::{Launch, Life, Started, last_lines};
use tanodb_actors::protocol::id::NodeName;
use tanodb_actors::wire::admin::{
    AdminAnswer, AdminRequest, MemberTable, PartitionTable, PlanShown, TransferReport,
};

/// Longer than any single step takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Writes and reads of many keys that are under way at once.
const AT_ONCE: usize = 32;

/// Lines of each log that a failed test shows.
const LAST_WORDS: usize = 25;

/// Node processes, numbered from 0 in the order of their start.
pub struct Cluster {
    folder: tempfile::TempDir,
    ring_size: u32,
    settings: Vec<(&'static Setting, String)>,
    nodes: Vec<Process>,
}

struct Process {
    started: Started,
    address: HostPort,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: String,
}

/// The bucket of all entries.
pub const BUCKET: &[u8] = b"bucket";

/// `count` entries whose values have at least `bytes` bytes.
pub fn entries(count: usize, bytes: usize) -> Vec<Entry> {
    let filler = "v".repeat(bytes);
    let entry = |number| Entry {
        key: format!("key-{number}"),
        value: format!("value of key-{number} {filler}"),
    };
    (0..count).map(entry).collect()
}

impl Cluster {
    /// No node yet; those to come have rings of `ring_size` and these settings.
    pub fn empty(ring_size: u32, settings: &[(&'static Setting, &str)]) -> Self {
        let settings = settings.iter().map(|(setting, value)| (*setting, (*value).to_owned()));
        let folder = tempfile::Builder::new().prefix("tanodb-it-").tempdir().expect("a folder");
        Self { folder, ring_size, settings: settings.collect(), nodes: Vec::new() }
    }

    /// `count` nodes that are one cluster in which nothing moves any more.
    pub async fn settled(
        count: usize,
        ring_size: u32,
        settings: &[(&'static Setting, &str)],
    ) -> Self {
        let mut cluster = Self::empty(ring_size, settings);
        cluster.start(count).await;
        for joiner in 1..count {
            cluster.join(joiner, 0).await;
        }
        cluster.commit(0, count).await;
        cluster.until_settled(0).await;
        cluster
    }

    fn launch(&self, number: usize) -> Launch {
        let name = NodeName::new(&format!("tanodb{}@127.0.0.1", number + 1)).expect("a name");
        let size = (&RING_SIZE, self.ring_size.to_string());
        Launch {
            program: PathBuf::from(env!("CARGO_BIN_EXE_tanodb")),
            listen: HostPort::loopback(0),
            data_dir: self.data_dir(number),
            log: self.folder.path().join(format!("{name}.log")),
            settings: [size].into_iter().chain(self.settings.iter().cloned()).collect(),
            life: Life::WithStarter,
            name,
        }
    }

    /// Starts `count` more nodes, each alone in a cluster of its own.
    pub async fn start(&mut self, count: usize) {
        let first = self.nodes.len();
        for number in first..first + count {
            let started = self.launch(number).start().expect("the program starts");
            self.nodes.push(Process { started, address: HostPort::loopback(0) });
        }
        for number in first..first + count {
            self.nodes[number].address = self.until_listening(number).await;
        }
    }

    /// Starts a node that was killed again, from its folder.
    pub async fn restart(&mut self, number: usize) {
        let started = self.launch(number).start().expect("the program starts");
        self.nodes[number].started = started;
        self.nodes[number].address = self.until_listening(number).await;
    }

    async fn until_listening(&mut self, number: usize) -> HostPort {
        let node = &mut self.nodes[number].started;
        until(&format!("{} listens", node.name()), async || {
            let ended = node.ended().expect("the system tells");
            assert_eq!(ended, None, "it ended: {:?}", last_lines(node.log(), LAST_WORDS));
            node.address().expect("the log can be read").ok_or("not yet")
        })
        .await
    }

    /// Kills a process without any warning, and waits until it is gone.
    pub fn kill(&mut self, number: usize) {
        self.nodes[number].started.kill().expect("it can be killed");
    }

    /// A brake for a process. It is not pulled yet.
    pub fn brake(&self, number: usize) -> Brake {
        Brake::at(self.nodes[number].started.pid())
    }

    /// Where a node keeps its files.
    pub fn data_dir(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("tanodb{}@127.0.0.1", number + 1))
    }

    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    pub fn name(&self, number: usize) -> &NodeName {
        self.nodes[number].started.name()
    }

    pub fn address(&self, number: usize) -> &HostPort {
        &self.nodes[number].address
    }

    /// All that a node has logged.
    pub fn log(&self, number: usize) -> String {
        let log = std::fs::read(self.nodes[number].started.log()).expect("the log can be read");
        String::from_utf8(log).expect("it is text")
    }

    /// A client of one node.
    pub fn client(&self, number: usize) -> Client {
        self.client_of(&[number])
    }

    /// A client of these nodes, which it asks in turn.
    pub fn client_of(&self, numbers: &[usize]) -> Client {
        let addresses = numbers.iter().map(|number| self.address(*number).to_string());
        let settings = ClientSettings { connections_per_node: 1, ..ClientSettings::default() };
        Client::with_settings(addresses, settings).expect("a client")
    }

    /// Asks for administration.
    pub async fn ask(&self, number: usize, request: AdminRequest) -> AdminAnswer {
        let asked = self.client(number).admin(request, ANSWER_WITHIN).await;
        asked.unwrap_or_else(|error| panic!("{} does not answer: {error}", self.name(number)))
    }

    pub async fn members(&self, number: usize) -> MemberTable {
        let AdminAnswer::MemberStatus(table) = self.ask(number, AdminRequest::MemberStatus).await
        else {
            panic!("no members")
        };
        table
    }

    pub async fn transfers(&self, number: usize) -> TransferReport {
        let AdminAnswer::Transfers(report) = self.ask(number, AdminRequest::Transfers).await else {
            panic!("no transfers")
        };
        *report
    }

    pub async fn partitions(&self, number: usize) -> PartitionTable {
        let AdminAnswer::Partitions(table) = self.ask(number, AdminRequest::Partitions).await
        else {
            panic!("no partitions")
        };
        table
    }

    /// Stages the join of a node.
    pub async fn join(&self, joiner: usize, contact: usize) {
        let contact = self.address(contact).to_string();
        let answer = self.ask(joiner, AdminRequest::Join { contact }).await;
        assert!(matches!(answer, AdminAnswer::JoinStaged { .. }), "{answer:?}");
    }

    /// Plans as soon as all staged joins have arrived, so that there will be `members`, and commits.
    pub async fn commit(&self, number: usize, members: usize) -> PlanShown {
        let plan = until("a plan with every staged join", async || {
            let answer = self.ask(number, AdminRequest::Plan).await;
            let AdminAnswer::Plan(plan) = answer else { return Err(answer) };
            if plan.after.members.len() == members {
                Ok(*plan)
            } else {
                Err(AdminAnswer::Plan(plan))
            }
        })
        .await;
        let answer = self.ask(number, AdminRequest::Commit { plan: Some(plan.id) }).await;
        let AdminAnswer::Committed { epoch } = answer else { panic!("{answer:?}") };
        assert_eq!(self.members(number).await.epoch, epoch, "whoever says so knows the new ring");
        plan
    }

    /// Waits until nothing moves or waits any more and every old copy is deleted.
    pub async fn until_settled(&self, number: usize) {
        until("nothing moves", async || {
            let members = self.members(number).await;
            if members.pending { Err(members) } else { Ok(()) }
        })
        .await;
        until("every node holds what it owns and nothing else", async || {
            let table = self.partitions(number).await;
            let mut others = table.rows.iter().filter(|row| row.container != "owned");
            match others.next() {
                Some(row) => Err(format!("{row:?}")),
                None if !table.silent.is_empty() => Err(format!("{:?} silent", table.silent)),
                None => Ok(()),
            }
        })
        .await;
    }

    /// Stores all of these through one node, each acknowledged by two of three replicas.
    pub async fn put_all(&self, number: usize, entries: &[Entry]) {
        let (client, options) = (self.client(number), Options::default());
        let put = async |entry: &Entry| {
            let (key, value) = (entry.key.as_bytes(), entry.value.clone());
            let stored = client.put(BUCKET, key, value, &options).await;
            stored.unwrap_or_else(|error| panic!("{} is not stored: {error}", entry.key));
        };
        futures_util::stream::iter(entries).for_each_concurrent(AT_ONCE, put).await;
    }

    /// Reads all of these, each through one of the nodes in turn; each must be what was stored.
    pub async fn must_have_all(&self, numbers: &[usize], entries: &[Entry]) {
        let complaints = self.complaints(numbers, entries, &Options::default()).await;
        assert_eq!(complaints, [""; 0]);
    }

    /// The same, with all that is not what was stored.
    pub async fn complaints(
        &self,
        numbers: &[usize],
        entries: &[Entry],
        options: &Options,
    ) -> Vec<String> {
        let clients: Vec<Client> = numbers.iter().map(|number| self.client(*number)).collect();
        let read = async |(place, entry): (usize, &Entry)| {
            let asked = place % numbers.len();
            let found = clients[asked].get(BUCKET, entry.key.as_bytes(), options).await;
            match found {
                Ok(Some(value)) if value == entry.value.as_bytes() => None,
                other => {
                    let node = self.name(numbers[asked]);
                    Some(format!("{} through {node}: {}", entry.key, in_short(&other)))
                }
            }
        };
        let reads = futures_util::stream::iter(entries.iter().enumerate()).map(read);
        reads.buffer_unordered(AT_ONCE).filter_map(async |complaint| complaint).collect().await
    }
}

/// What was found, without a long value.
fn in_short(found: &impl Debug) -> String {
    format!("{found:.100?}").chars().take(300).collect()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // One that has ended cannot be killed, and need not be.
            node.started.kill().ok();
        }
        if std::thread::panicking() {
            let mut out = std::io::stderr().lock();
            for node in &self.nodes {
                let words = last_lines(node.started.log(), LAST_WORDS).unwrap_or_default();
                writeln!(out, "{} said last:\n{}", node.started.name(), words.join("\n")).ok();
            }
        }
    }
}

/// Stops a process in the middle of whatever it does. It goes on when this goes out of scope, or when the
/// test's own process ends: another process waits for that.
pub struct Brake {
    node: Pid,
    guard: Child,
}

impl Brake {
    fn at(pid: u32) -> Self {
        let node = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process");
        let mut guard = Command::new("sh")
            .args(["-c", "echo ready; read line; kill -CONT $1", "guard", &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let said = BufReader::new(guard.stdout.as_mut().expect("it is piped")).lines().next();
        assert_eq!(said.expect("it says something").expect("it is text"), "ready");
        Self { node, guard }
    }

    /// From now on the process does nothing.
    pub fn pull(&self) {
        kill_process(self.node, Signal::STOP).expect("it runs");
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // A process that was killed meanwhile needs nothing.
        self.guard.wait().ok();
    }
}

/// Waits until a look answers with `Ok`; says what it saw last if that takes too long.
pub async fn until<T, E: Debug>(what: &str, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let waited: Result<T, TimedOut> = wait_for(what, PATIENCE, async || {
        Ok(match look().await {
            Ok(seen) => Seen::Yes(seen),
            Err(state) => Seen::NotYet(format!("{state:?}")),
        })
    })
    .await;
    waited.unwrap_or_else(|error| panic!("{error}"))
}
