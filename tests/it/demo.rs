//! The demo with real nodes: its numbers, and what is left of it when somebody or something dies.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than the demo ever takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A demo whose temporary files go to a folder of its own.
struct Demo {
    child: Child,
    /// What it says, until somebody else reads it.
    says: Option<BufReader<ChildStdout>>,
    temporary: tempfile::TempDir,
}

impl Demo {
    fn start(words: &[&str]) -> Self {
        let temporary = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_tanodb"))
            .arg("demo")
            .args(words)
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let says = child.stdout.take().map(BufReader::new);
        Self { child, says, temporary }
    }

    /// Reads what the demo says, up to a line.
    fn until_it_says(&mut self, is_it: impl Fn(&str) -> bool) {
        let mut lines = self.says.take().expect("nobody else reads it");
        let (mut said, mut line) = (String::new(), String::new());
        while !is_it(&line) {
            said += &line;
            line.clear();
            if lines.read_line(&mut line).expect("it is text") == 0 {
                panic!("it ended instead:\n{said}\n{}", self.complaint());
            }
        }
        self.says = Some(lines);
    }

    /// What the demo says from here on, until it ends.
    fn rest(&mut self) -> String {
        let mut rest = String::new();
        let says = self.says.as_mut().expect("nobody else reads it");
        says.read_to_string(&mut rest).expect("it is text");
        rest
    }

    /// What the demo says on standard error until it ends.
    fn complaint(&mut self) -> String {
        let mut complaint = String::new();
        let stderr = self.child.stderr.as_mut().expect("it is piped");
        stderr.read_to_string(&mut complaint).expect("it is text");
        complaint
    }

    /// Processes of its nodes that still run, with their command lines.
    fn nodes(&self) -> Vec<(u32, String)> {
        nodes_below(self.temporary.path())
    }
}

/// Node processes whose data is below a folder, whoever their parent is by now.
fn nodes_below(folder: &Path) -> Vec<(u32, String)> {
    let folder = folder.to_str().expect("it is text");
    let command = |pid: u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (line.contains(" node ") && line.contains(folder)).then_some((pid, line))
    };
    let entries = fs::read_dir("/proc").expect("it is Linux");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(command).collect()
}

fn first_node_listens(line: &str) -> bool {
    line.starts_with("'tanodb1@127.0.0.1' listens")
}

fn signal(pid: u32, name: &str) {
    let done = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(done.expect("kill starts").success());
}

fn until_no_node_is_left(folder: &Path) {
    let began = Instant::now();
    while !nodes_below(folder).is_empty() {
        assert!(began.elapsed() < PATIENCE, "still there: {:?}", nodes_below(folder));
        std::thread::yield_now();
    }
}

#[test]
fn the_tutorials_numbers_come_out_and_nothing_is_left_behind() {
    let mut demo = Demo::start(&[]);
    let temporary = demo.temporary.path().to_owned();
    let (said, complaint) = (demo.rest(), demo.complaint());
    assert!(demo.child.wait().expect("it ends").success(), "{said}\n{complaint}");
    for line in [
        "valid     100.0%     34.4%    'tanodb1@127.0.0.1'\n",
        "valid       0.0%     32.8%    'tanodb2@127.0.0.1'\n",
        "valid       0.0%     32.8%    'tanodb3@127.0.0.1'\n",
        "WARNING: Not all replicas will be on distinct nodes\n",
        "Transfers resulting from cluster changes: 42\n",
        "  21 transfers from 'tanodb1@127.0.0.1' to 'tanodb2@127.0.0.1'\n",
        "  21 transfers from 'tanodb1@127.0.0.1' to 'tanodb3@127.0.0.1'\n",
        "42 partitions moved with ",
        "valid      34.4%      --      'tanodb1@127.0.0.1'\n",
        "100 values read through 'tanodb1@127.0.0.1'\n",
        "100 values read through 'tanodb3@127.0.0.1'\n",
        "All of it held.",
    ] {
        assert!(said.contains(line), "{line:?} is missing in\n{said}");
    }
    assert_eq!(nodes_below(&temporary), []);
    assert_eq!(fs::read_dir(&temporary).expect("a folder").count(), 0, "files are left behind");
}

#[test]
fn a_node_killed_in_the_transfer_phase_is_named_with_what_is_lost() {
    let mut demo = Demo::start(&["--buckets", "10", "--keys", "50"]);
    // Some partitions have moved and most have not: `7 of 42 partitions moved; 2 active, 33 waiting`.
    let has_begun = |line: &str| {
        let moved = line.split_once(" of 42 partitions moved");
        moved.is_some_and(|(moved, _)| moved.parse::<u32>().is_ok_and(|moved| moved > 0))
    };
    // The phase is short: whoever is killed in it is looked up before.
    demo.until_it_says(|line| line.starts_with("'tanodb3@127.0.0.1' listens"));
    let nodes = demo.nodes();
    let (pid, _) = nodes.iter().find(|(_, line)| line.contains("tanodb2@")).expect("it runs");
    let killed = i32::try_from(*pid).ok().and_then(Pid::from_raw).expect("a process");
    demo.until_it_says(has_begun);
    kill_process(killed, Signal::KILL).expect("it runs");
    let (said, complaint) = (demo.rest(), demo.complaint());
    assert_eq!(demo.child.wait().expect("it ends").code(), Some(1), "{said}\n{complaint}");
    assert!(complaint.starts_with("error: 'tanodb2@127.0.0.1' ended"), "{complaint}");
    assert!(complaint.contains("lost with it: "), "{complaint}");
    assert!(complaint.contains("why: "), "{complaint}");
    until_no_node_is_left(demo.temporary.path());
}

#[test]
fn no_node_outlives_a_demo_that_is_killed() {
    let mut demo = Demo::start(&[]);
    demo.until_it_says(first_node_listens);
    signal(demo.child.id(), "-KILL");
    demo.child.wait().expect("it ends");
    until_no_node_is_left(demo.temporary.path());
}

#[test]
fn an_interrupted_demo_stops_its_nodes_first() {
    let mut demo = Demo::start(&["--buckets", "30", "--keys", "100"]);
    demo.until_it_says(first_node_listens);
    signal(demo.child.id(), "-INT");
    assert_eq!(demo.child.wait().expect("it ends").code(), Some(1));
    assert_eq!(demo.nodes(), []);
}
