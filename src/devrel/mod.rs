//! Development nodes: `tanodb1@127.0.0.1` and so on, as processes in the background.
//!
//! What was started stands in [`folder`], so that a later command finds it again. Decides nothing about
//! the cluster; joins are staged by the nodes.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tanodb_actors::protocol::id::NodeName;
use tanodb_actors::wire::admin::{AdminAnswer, AdminRequest};

use crate::config::address::HostPort;
use crate::config::setting::Setting;
use crate::contact::{Connect, ask, connect_to, unexpected};
use crate::failure::Failure;
use crate::launch::process::ProcessId;
use crate::launch::wait::{Seen, wait_for};
use crate::launch::{Launch, Life, Started, last_lines};

pub mod folder;

use folder::DevelopmentNode;

/// Where the first node listens; the others behind it.
const FIRST_PORT: u16 = 7650;

/// How long a node may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long a node may take to stop in order.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// Lines of a log that are shown when a node does not start.
const LAST_LINES: usize = 5;

/// What to start, and with what.
#[derive(Debug, Clone)]
pub struct Start {
    /// The folder of the nodes.
    pub folder: PathBuf,
    /// The `tanodb` program.
    pub program: PathBuf,
    /// How many nodes there are to be.
    pub count: u8,
    /// Settings of new nodes.
    pub settings: Vec<(&'static Setting, String)>,
}

/// Starts those of the first `count` nodes that do not run, and waits until they serve.
///
/// # Errors
///
/// A node does not start. Those that this call had started are stopped again.
pub async fn start(start: &Start) -> Result<(), Failure> {
    let mut started = Vec::new();
    let done = start_missing(start, &mut started).await;
    if done.is_err() {
        for node in &mut started {
            // One that has ended already cannot be killed, and need not be.
            node.kill().ok();
        }
    }
    done
}

async fn start_missing(start: &Start, started: &mut Vec<Started>) -> Result<(), Failure> {
    for number in 1..=start.count {
        let name = name(number)?;
        let known = folder::find(&start.folder, &name);
        if known.as_ref().is_some_and(DevelopmentNode::is_running) {
            continue;
        }
        let listen = free_address(number, known.map(|node| node.address));
        started.push(start_one(start, &name, listen)?);
    }
    for node in started.iter_mut() {
        let address = until_ready(node).await?;
        remember(start, node, address)?;
    }
    Ok(())
}

fn name(number: u8) -> Result<NodeName, Failure> {
    NodeName::new(&format!("tanodb{number}@127.0.0.1"))
        .map_err(|error| Failure::failed(error.to_string(), "start fewer nodes"))
}

fn start_one(start: &Start, name: &NodeName, listen: HostPort) -> Result<Started, Failure> {
    let next = "look at the folder named by --dir";
    let failed = |error| Failure::failed(format!("'{name}' cannot be started: {error}"), next);
    std::fs::create_dir_all(folder::of(&start.folder, name)).map_err(failed)?;
    let launch = Launch {
        program: start.program.clone(),
        name: name.clone(),
        listen: listen.clone(),
        data_dir: folder::data(&start.folder, name),
        log: folder::log(&start.folder, name),
        settings: start.settings.clone(),
        life: Life::ByItself,
    };
    let node = launch.start().map_err(failed)?;
    // Written before it is ready, so that it can be stopped even if this command is cut short.
    remember(start, &node, listen)?;
    Ok(node)
}

fn remember(start: &Start, node: &Started, address: HostPort) -> Result<(), Failure> {
    let (name, process) = (node.name().clone(), ProcessId::of(node.pid()));
    folder::write(&start.folder, &DevelopmentNode { name, address, process }).map_err(|error| {
        let reason = format!("{}: {error}", start.folder.display());
        Failure::failed(reason, "make the folder named by --dir writable")
    })
}

/// The node's own port, the one it had last, or any that is free.
fn free_address(number: u8, last: Option<HostPort>) -> HostPort {
    let own = HostPort::loopback(FIRST_PORT + u16::from(number) - 1);
    let is_free = |address: &HostPort| TcpListener::bind(address.to_string()).is_ok();
    let candidates = last.into_iter().filter(|address| address.port() != 0).chain([own]);
    candidates.into_iter().find(is_free).unwrap_or_else(|| HostPort::loopback(0))
}

async fn until_ready(node: &mut Started) -> Result<HostPort, Failure> {
    let condition = format!("'{}' listens", node.name());
    let ready = wait_for(&condition, READY_WITHIN, async || {
        let seen = node.address().and_then(|address| Ok((address, node.ended()?)));
        match seen {
            Ok((Some(address), None)) => Ok(Seen::Yes(address)),
            Ok((None, None)) => Ok(Seen::NotYet(String::new())),
            Ok((_, Some(status))) => {
                let reason = format!("'{}' ended as it started: {status}", node.name());
                Err(Failure::failed(reason, ""))
            }
            Err(error) => Err(Failure::failed(format!("{}: {error}", node.log().display()), "")),
        }
    })
    .await;
    ready.map_err(|failure| {
        let details = last_lines(node.log(), LAST_LINES).unwrap_or_default();
        let next = format!("mend what {} says, then start again", node.log().display());
        Failure { next, ..failure.with(details) }
    })
}

/// Stages the joins of all nodes that run and are not members, to the cluster of the first that runs.
/// Gives back each new node with the member that staged it, and the first failure.
///
/// # Errors
///
/// Nobody runs, or the first node does not say who is a member. Nothing was staged.
pub async fn join(
    network: &impl Connect,
    dir: &Path,
    deadline: Duration,
) -> Result<(Vec<(NodeName, NodeName)>, Option<Failure>), Failure> {
    let running: Vec<_> = all(dir)?.into_iter().filter(DevelopmentNode::is_running).collect();
    let Some((contact, others)) = running.split_first() else {
        let reason = format!("no node of {} runs", dir.display());
        return Err(Failure::failed(reason, "tanodb devrel start 3"));
    };
    let mut asked = connect_to(network, &contact.name, &contact.address, deadline).await?;
    let answer = ask(&mut asked, AdminRequest::MemberStatus, deadline).await?;
    let AdminAnswer::MemberStatus(table) = answer else {
        return Err(unexpected("who is a member").of_a_read());
    };
    let mut staged = Vec::new();
    let mut failed = None;
    for node in others {
        if table.members.iter().any(|member| member.node == node.name) {
            continue;
        }
        match join_one(network, node, contact, deadline).await {
            Ok(names) => staged.push(names),
            Err(failure) => {
                failed.get_or_insert(failure);
            }
        }
    }
    Ok((staged, failed))
}

async fn join_one(
    network: &impl Connect,
    node: &DevelopmentNode,
    contact: &DevelopmentNode,
    deadline: Duration,
) -> Result<(NodeName, NodeName), Failure> {
    let mut asked = connect_to(network, &node.name, &node.address, deadline).await?;
    let request = AdminRequest::Join { contact: contact.address.to_string() };
    let answer = ask(&mut asked, request, deadline).await?;
    let AdminAnswer::JoinStaged { node, contact } = answer else {
        return Err(unexpected("a join"));
    };
    Ok((node, contact))
}

/// All nodes that were ever started here.
///
/// # Errors
///
/// The folder cannot be read.
pub fn all(dir: &Path) -> Result<Vec<DevelopmentNode>, Failure> {
    folder::all(dir).map_err(|error| {
        let reason = format!("{}: {error}", dir.display());
        Failure::failed(reason, "name the folder of the nodes with --dir")
    })
}

/// The end of a node's log. The node may be named by what stands before the `@`.
///
/// # Errors
///
/// There is no such node, or its log cannot be read.
pub fn logs(dir: &Path, node: &str, lines: usize) -> Result<String, Failure> {
    let nodes = all(dir)?;
    let is_meant = |known: &&DevelopmentNode| {
        let name = known.name.as_str();
        name == node || name.split('@').next() == Some(node)
    };
    let Some(known) = nodes.iter().find(is_meant) else {
        let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
        let reason = format!("{} has no node '{node}', only [{}]", dir.display(), names.join(", "));
        return Err(Failure::failed(reason, "tanodb devrel status"));
    };
    let log = folder::log(dir, &known.name);
    let lines = last_lines(&log, lines).map_err(|error| {
        Failure::failed(format!("{}: {error}", log.display()), "tanodb devrel status")
    })?;
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

/// Tells all nodes to stop, and waits until they have.
///
/// # Errors
///
/// Some still run; they are named.
pub async fn stop(dir: &Path) -> Result<(), Failure> {
    let nodes = all(dir)?;
    for node in &nodes {
        node.process.terminate().map_err(|error| {
            let reason = format!("'{}' (pid {}): {error}", node.name, node.process.pid);
            Failure::failed(reason, "stop the process as the user who started it")
        })?;
    }
    wait_for("all nodes have stopped", STOPPED_WITHIN, async || {
        let left = still_running(&nodes);
        Ok::<_, Failure>(if left.is_empty() { Seen::Yes(()) } else { Seen::NotYet(left) })
    })
    .await
    .map_err(|failure| {
        let next = format!("kill -9 what still runs: {}", still_running(&nodes));
        Failure { next, ..failure }
    })
}

/// Removes what nodes left behind, their data included.
///
/// # Errors
///
/// Some run, and nothing was removed; or something could not be removed.
pub fn clean(dir: &Path) -> Result<(), Failure> {
    let nodes = all(dir)?;
    let left = still_running(&nodes);
    if !left.is_empty() {
        return Err(Failure::failed(format!("still running: {left}"), "tanodb devrel stop"));
    }
    folder::remove(dir, &nodes).map_err(|error| {
        Failure::failed(format!("{}: {error}", dir.display()), "remove the folder yourself")
    })
}

fn still_running(nodes: &[DevelopmentNode]) -> String {
    let running = nodes.iter().filter(|node| node.is_running());
    let named = running.map(|node| format!("'{}' (pid {})", node.name, node.process.pid));
    named.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
