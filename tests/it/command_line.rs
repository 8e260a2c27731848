//! The program as a shell sees it: words in, text and exit code out. No node is needed.

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

fn tanodb() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tanodb"));
    command.stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    tanodb().args(words).output().expect("the program starts")
}

/// Help, mistakes on the command line, and mistakes in settings, word by word.
///
/// `TRYCMD=overwrite cargo test --test it` writes down what is said now.
#[test]
fn help_and_mistakes_read_as_they_are_written_down() {
    trycmd::TestCases::new().case("tests/it/cases/*.trycmd");
}

#[test]
fn data_goes_to_standard_output_and_failures_to_standard_error() {
    let help = run(&["--help"]);
    assert!(help.status.success() && help.stderr.is_empty() && !help.stdout.is_empty());

    let mistake = run(&["cluster", "plann"]);
    assert_eq!(mistake.status.code(), Some(2));
    assert!(mistake.stdout.is_empty());
    let said = String::from_utf8_lossy(&mistake.stderr);
    assert_eq!(said.lines().count(), 2, "one reason and one next step: {said}");
}

#[test]
fn every_shell_gets_a_script_with_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell]);
        assert!(script.status.success(), "{shell}");
        let text = String::from_utf8_lossy(&script.stdout);
        for command in ["devrel", "member-status", "partitions", "ring-size"] {
            assert!(text.contains(command), "{shell} does not complete {command}");
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = tanodb()
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // The script is longer than a pipe holds, so the program is still writing when the reader goes.
    let mut first = [0; 16];
    child.stdout.take().expect("it is piped").read_exact(&mut first).expect("it says something");
    let mut said = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut said).expect("it is text");
    assert_eq!(said, "");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_value_that_is_too_long_is_refused_before_anybody_is_asked() {
    let mut child = tanodb()
        .args(["put", "b", "k", "-", "--node", "127.0.0.1:1"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("it is piped");
    // The program stops reading after 8 MiB and a byte, and ends; then nobody reads the rest.
    while input.write_all(&[b'x'; 1 << 16]).is_ok() {}
    drop(input);
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(2), "{}", String::from_utf8_lossy(&ended.stderr));
}
