//! Commands about the development nodes, and how their answers are printed.

use std::path::{Path, PathBuf};

use tanodb_actors::protocol::id::NodeName;

use super::arguments::{Common, Devrel, Format};
use super::print;
use crate::config::setting;
use crate::contact::Connect;
use crate::devrel::{self, Start, folder};
use crate::failure::Failure;
use crate::output::{self, Align, Columns, json, quoted};

/// Carries out a `devrel` command, and prints what came of it.
pub(super) async fn devrel(
    network: &impl Connect,
    common: &Common,
    command: Devrel,
) -> Result<(), Failure> {
    let dir = &common.dir;
    let text = match command {
        Devrel::Start { count, ring_size } => {
            let ring_size = ring_size.map(|size| (&setting::RING_SIZE, size.to_string()));
            let settings = ring_size.into_iter().collect();
            let start = Start { folder: absolute(dir)?, program: program()?, count, settings };
            devrel::start(&start).await?;
            status(common)?
        }
        Devrel::Join => {
            let (staged, failed) = devrel::join(network, dir, common.timeout).await?;
            let text = match common.output {
                Format::Json => json::devrel_joins(&staged),
                Format::Table if staged.is_empty() && failed.is_none() => {
                    "All nodes that run are members or staged\n".to_owned()
                }
                Format::Table => staged
                    .iter()
                    .map(|(node, contact)| output::join_staged(node, contact))
                    .collect(),
            };
            print(text.as_bytes())?;
            return failed.map_or(Ok(()), Err);
        }
        Devrel::Status => status(common)?,
        Devrel::Logs { which, lines } => devrel::logs(dir, &which, lines)?,
        Devrel::Stop => {
            devrel::stop(dir).await?;
            status(common)?
        }
        Devrel::Clean => {
            devrel::clean(dir)?;
            status(common)?
        }
    };
    print(text.as_bytes())
}

fn status(common: &Common) -> Result<String, Failure> {
    let nodes = devrel::all(&common.dir)?;
    let log = |name: &NodeName| folder::log(&common.dir, name).display().to_string();
    if common.output == Format::Json {
        let node = |node: folder::DevelopmentNode| json::DevrelNode {
            address: node.address.to_string(),
            pid: node.is_running().then_some(node.process.pid),
            log: log(&node.name),
            node: node.name,
        };
        return Ok(json::devrel(&nodes.into_iter().map(node).collect::<Vec<_>>()));
    }
    if nodes.is_empty() {
        return Ok(format!("No development nodes in {}\n", common.dir.display()));
    }
    let left = Align::Left;
    let mut columns = Columns::new(&[
        ("Node", left),
        ("Address", left),
        ("Process", Align::Right),
        ("State", left),
        ("Log", left),
    ]);
    for node in nodes {
        let (process, state) = match node.is_running() {
            true => (node.process.pid.to_string(), "running"),
            false => ("-".to_owned(), "stopped"),
        };
        columns.row([
            quoted(&node.name),
            node.address.to_string(),
            process,
            state.to_owned(),
            log(&node.name),
        ]);
    }
    Ok(columns.render())
}

/// The program that runs this.
///
/// # Errors
///
/// The system does not tell where it is.
pub(super) fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| {
        Failure::failed(
            format!("this program's own file is not known: {error}"),
            "start it by its full path",
        )
    })
}

fn absolute(dir: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(dir)
        .map_err(|error| Failure::usage(format!("--dir: {error}"), "name a folder"))
}
