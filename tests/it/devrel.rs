//! Development nodes with the real program: the tutorial by hand.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of development nodes; they are stopped whatever becomes of the test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs a command, and gives back its exit code and what it said on both outputs.
    fn run(&self, words: &str) -> (Option<i32>, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_tanodb"))
            .args(words.split(' '))
            .arg("--dir")
            .arg(self.path())
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn ok(&self, words: &str) -> String {
        let (code, said, complaint) = self.run(words);
        assert_eq!(code, Some(0), "{words}: {said}{complaint}");
        said
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.run("devrel stop");
    }
}

/// Put a value, add nodes, and read it back through a new one.
#[test]
fn the_tutorial_can_be_followed_by_hand() {
    let folder = Folder(tempfile::tempdir().expect("a folder"));
    folder.ok("devrel start 1 --ring-size 16");
    let one = "--node tanodb1@127.0.0.1";
    assert!(folder.ok(&format!("ping {one}")).starts_with("pong from 'tanodb1@127.0.0.1'"));
    folder.ok(&format!("put bucket-1 key-1 forty-two {one}"));

    folder.ok("devrel start 3 --ring-size 16");
    let staged = folder.ok("devrel join");
    assert_eq!(staged.matches("Success: staged join request").count(), 2, "{staged}");
    assert!(folder.ok("devrel join").contains("All nodes that run are members or staged"));
    let plan = folder.ok(&format!("cluster plan {one}"));
    assert!(plan.contains("NOTE: Applying these changes will result in 1 cluster transition"));
    let id = plan.lines().find_map(|line| line.strip_prefix("Plan ")).expect("the plan has an id");
    let id = id.split(' ').next().expect("a word");

    let (code, _, complaint) = folder.run(&format!("cluster commit --plan 0000000000000000 {one}"));
    assert_eq!(code, Some(1), "{complaint}");
    assert_eq!(complaint.lines().count(), 2, "{complaint}");
    let committed = folder.ok(&format!("cluster commit --plan {id} {one}"));
    assert_eq!(committed, "Cluster changes committed\n");

    let began = Instant::now();
    while !folder.ok(&format!("ring-status {one}")).contains("No pending changes.") {
        assert!(began.elapsed() < PATIENCE, "{}", folder.ok(&format!("transfers {one}")));
    }
    assert_eq!(folder.ok("get bucket-1 key-1 --node tanodb3@127.0.0.1"), "forty-two");
    let (code, said, complaint) = folder.run(&format!("get bucket-1 no-such-key {one}"));
    assert_eq!((code, said.as_str()), (Some(1), ""), "{complaint}");
    folder.ok(&format!("delete bucket-1 key-1 {one}"));
    assert_eq!(folder.run(&format!("get bucket-1 key-1 {one}")).0, Some(1));

    folder.ok("devrel stop");
    folder.ok("devrel clean");
    assert!(!folder.path().exists());
}
