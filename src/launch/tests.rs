//! Processes are real; a script stands in for the program.

use std::time::Duration;

use super::process::ProcessId;
use super::wait::{Seen, TimedOut, wait_for};
use super::*;

/// Long enough for a process to start on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A script that takes the arguments of `tanodb node`.
pub(crate) fn stand_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/node")
}

fn launch(folder: &Path, name: &str, life: Life) -> Launch {
    Launch {
        program: stand_in(),
        name: NodeName::new(name).unwrap(),
        listen: "127.0.0.1:7650".parse().unwrap(),
        data_dir: folder.join("data"),
        log: folder.join("log"),
        settings: vec![(&setting::RING_SIZE, "8".to_owned())],
        life,
    }
}

async fn until_ready(node: &Started) -> Result<HostPort, TimedOut> {
    wait_for("the node is ready", PATIENCE, async || {
        Ok(match node.address().unwrap() {
            Some(address) => Seen::Yes(address),
            None => Seen::NotYet(String::new()),
        })
    })
    .await
}

async fn until_ended(node: &mut Started) -> Result<ExitStatus, TimedOut> {
    wait_for("the node has ended", PATIENCE, async || {
        Ok(match node.ended().unwrap() {
            Some(status) => Seen::Yes(status),
            None => Seen::NotYet(String::new()),
        })
    })
    .await
}

#[actix_rt::test]
async fn a_node_that_lives_with_its_starter_ends_when_it_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = launch(folder.path(), "ready@h", Life::WithStarter).start().unwrap();
    assert_eq!(until_ready(&node).await.unwrap().to_string(), "127.0.0.1:7650");
    assert_eq!(node.ended().unwrap(), None);
    node.let_go();
    assert!(until_ended(&mut node).await.unwrap().success());
}

#[actix_rt::test]
async fn a_node_that_lives_by_itself_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = launch(folder.path(), "ready@h", Life::ByItself).start().unwrap();
    until_ready(&node).await.unwrap();
    node.let_go();
    assert!(ProcessId::of(node.pid()).is_running());
    ProcessId::of(node.pid()).terminate().unwrap();
    until_ended(&mut node).await.unwrap();
}

#[actix_rt::test]
async fn what_an_earlier_process_said_does_not_make_a_later_one_ready() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("log"), "listening on 127.0.0.1:1\n").unwrap();
    let mut node = launch(folder.path(), "dead@h", Life::WithStarter).start().unwrap();
    assert!(!until_ended(&mut node).await.unwrap().success());
    assert_eq!(node.address().unwrap(), None);
    let said = last_lines(node.log(), 1).unwrap();
    assert_eq!(said, ["00:00:00.000 [error] cannot start: the disk is full"]);
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut launch = launch(folder.path(), "ready@h", Life::WithStarter);
    launch.program = folder.path().join("no-such-program");
    assert!(launch.start().is_err());
}

#[test]
fn a_node_gets_its_settings_as_flags() {
    let arguments = launch(Path::new("f"), "a@h", Life::WithStarter).arguments();
    let arguments: Vec<_> = arguments.iter().map(|text| text.to_str().unwrap()).collect();
    assert_eq!(
        arguments.join(" "),
        "node --name a@h --listen 127.0.0.1:7650 --data-dir f/data --ring-size 8 --stdin-guard"
    );
}
