//! `tanodb node`: settings, logs, the ready line, and the end with the starter. The node itself is run by
//! whoever is given to [`run`].

use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use super::OnReady;
use super::arguments::NodeArguments;
use crate::config::{NodeConfig, Sources};
use crate::failure::Failure;
use crate::launch::READY;
use crate::launch::process::ProcessId;
use crate::logging;

/// How long a node may take to stop in order once its starter is gone.
const ORDERLY_WITHIN: Duration = Duration::from_secs(10);

/// Runs a node until it is told to stop.
pub(super) fn run(
    arguments: NodeArguments,
    run_node: impl FnOnce(NodeConfig, OnReady) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let config = NodeConfig::load(Sources {
        flags: arguments.flags.0,
        variables: std::env::vars_os().collect(),
        file: arguments.config,
    })?;
    logging::start();
    if config.settings().stdin_guard {
        end_with_starter()?;
    }
    run_node(config, Box::new(announce))
}

/// Whoever started the node reads this line, and knows the port if it was 0.
fn announce(address: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{READY}{address}").and_then(|()| out.flush()) {
        log::warn!(address, error:%; "the ready line could not be printed");
    }
}

/// Stops the node in order when standard input closes, and for good if that takes too long.
fn end_with_starter() -> Result<(), Failure> {
    let guard = || {
        let mut bytes = [0; 64];
        // What is written there means nothing; an error is an end, too.
        while io::stdin().lock().read(&mut bytes).is_ok_and(|count| count > 0) {}
        log::info!("standard input closed: the starter is gone, stopping");
        if let Err(error) = ProcessId::of(std::process::id()).terminate() {
            log::warn!(error:%; "the node could not be told to stop");
        }
        thread::sleep(ORDERLY_WITHIN);
        std::process::exit(1);
    };
    let started = thread::Builder::new().name("stdin guard".to_owned()).spawn(guard);
    let next = "start fewer processes";
    started.map(drop).map_err(|error| Failure::failed(format!("no thread: {error}"), next))
}
