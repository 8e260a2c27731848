//! The folder of the development nodes: one folder for each, with a file that says what was started.
//!
//! ```text
//! devrel/tanodb1@127.0.0.1/node.json    name, address, process
//! devrel/tanodb1@127.0.0.1/tanodb.log   what it printed
//! devrel/tanodb1@127.0.0.1/data/        its own files
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tanodb_actors::protocol::id::NodeName;

use crate::config::address::HostPort;
use crate::launch::process::ProcessId;

const STATE: &str = "node.json";
const LOG: &str = "tanodb.log";
const DATA: &str = "data";

/// A development node as its file describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevelopmentNode {
    /// Its name.
    pub name: NodeName,
    /// Where it listens, or listened when it ran.
    pub address: HostPort,
    /// Its process, or what was its process.
    pub process: ProcessId,
}

impl DevelopmentNode {
    /// Whether the process that was started still runs. Another one that has its number now does not
    /// count.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }
}

/// A node's own folder.
#[must_use]
pub fn of(folder: &Path, name: &NodeName) -> PathBuf {
    folder.join(name.as_str())
}

/// A node's log.
#[must_use]
pub fn log(folder: &Path, name: &NodeName) -> PathBuf {
    of(folder, name).join(LOG)
}

/// Where a node keeps its own files.
#[must_use]
pub fn data(folder: &Path, name: &NodeName) -> PathBuf {
    of(folder, name).join(DATA)
}

/// The node of this name, if the folder has one with a file that can be read.
#[must_use]
pub fn find(folder: &Path, name: &NodeName) -> Option<DevelopmentNode> {
    read(&of(folder, name)).filter(|node| node.name == *name)
}

/// All nodes, in the order of their numbers.
///
/// # Errors
///
/// The folder is there but cannot be read.
pub fn all(folder: &Path) -> io::Result<Vec<DevelopmentNode>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut nodes = Vec::new();
    for entry in entries {
        nodes.extend(read(&entry?.path()));
    }
    // tanodb2 before tanodb10.
    nodes.sort_by_key(|node| (node.name.as_str().len(), node.name.clone()));
    Ok(nodes)
}

/// Writes a node's file, whole or not at all.
///
/// # Errors
///
/// The old file stands.
pub fn write(folder: &Path, node: &DevelopmentNode) -> io::Result<()> {
    let own = of(folder, &node.name);
    fs::create_dir_all(&own)?;
    let text = serde_json::to_string_pretty(node).map_err(io::Error::other)?;
    let unfinished = own.join(format!("{STATE}.new"));
    fs::write(&unfinished, text + "\n")?;
    fs::rename(unfinished, own.join(STATE))
}

/// Removes the folders of these nodes, and the folder itself if nothing else is in it.
///
/// # Errors
///
/// What could not be removed is still there.
pub fn remove(folder: &Path, nodes: &[DevelopmentNode]) -> io::Result<()> {
    for node in nodes {
        fs::remove_dir_all(of(folder, &node.name))?;
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed,
    }
}

fn read(own: &Path) -> Option<DevelopmentNode> {
    serde_json::from_str(&fs::read_to_string(own.join(STATE)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u32) -> DevelopmentNode {
        DevelopmentNode {
            name: NodeName::new(&format!("tanodb{number}@127.0.0.1")).unwrap(),
            address: HostPort::loopback(7650),
            process: ProcessId { pid: 1, began: Some(1) },
        }
    }

    #[test]
    fn nodes_are_found_as_they_were_written_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        for number in [10, 2, 1] {
            write(folder.path(), &node(number)).unwrap();
        }
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        assert_eq!(all(folder.path()).unwrap(), [node(1), node(2), node(10)]);
        assert_eq!(find(folder.path(), &node(2).name), Some(node(2)));
        assert_eq!(find(folder.path(), &node(3).name), None);
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_nodes() {
        assert_eq!(all(Path::new("no/such/folder")).unwrap(), []);
    }

    #[test]
    fn only_what_nodes_left_behind_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("devrel");
        write(&dir, &node(1)).unwrap();
        fs::write(dir.join("notes.txt"), "mine").unwrap();
        remove(&dir, &all(&dir).unwrap()).unwrap();
        assert!(dir.join("notes.txt").exists() && all(&dir).unwrap().is_empty());

        fs::remove_file(dir.join("notes.txt")).unwrap();
        remove(&dir, &[]).unwrap();
        assert!(!dir.exists());
        remove(&dir, &[]).unwrap();
    }
}
