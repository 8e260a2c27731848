//! Records in a folder of the file system.
//!
//! Owns: the claim on the folder, the queue, and the one thread of its own that the runtime has, since a
//! sync may take seconds and an arbiter must not wait for it. The file operations stand in
//! [`super::files`].

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::files::Files;
use super::{Disk, DiskError, Version, check_name, check_write};
use crate::protocol::id::NodeName;
use crate::runtime::transport::BoxFuture;

/// Requests that wait for the thread; further ones are refused. Enough for a record of every vnode a
/// large node holds, at once.
const QUEUE_MAX: usize = 16_384;

/// Writes that share one sync of the folder. Bounds how long the first of them waits for its answer.
const GROUP_MAX: usize = 256;

/// The file whose lock is the claim. Upper case: no record can have this name.
const CLAIM_FILE: &str = "LOCK";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another node runs on it. Nothing was changed.
    #[error("{folder} is in use by {holder}; give each node a folder of its own")]
    Held {
        /// The folder.
        folder: String,
        /// Process and node, as the holder wrote them down.
        holder: String,
    },
    /// The system refused. At most the folder was made.
    #[error("cannot use {folder}: {why}")]
    Unusable {
        /// The folder.
        folder: String,
        /// What the system said.
        why: io::Error,
    },
}

type Answer = oneshot::Sender<Result<(), DiskError>>;

enum Request {
    /// Apart from the others, because writes are grouped.
    Write {
        record: String,
        bytes: Vec<u8>,
        answer: Answer,
    },
    /// Anything else, with its answer inside.
    Do(Box<dyn FnOnce(&mut Files) + Send>),
    Close {
        answer: Answer,
    },
}

/// A [`Disk`] in a folder. Clones share the claim, which ends with the last of them or with
/// [`FolderDisk::close`].
#[derive(Debug, Clone)]
pub struct FolderDisk {
    path: Arc<Path>,
    queue: mpsc::Sender<Request>,
}

impl FolderDisk {
    /// Makes the folder if need be and claims it for this node. Blocks: call it before the actors run.
    ///
    /// # Errors
    ///
    /// [`OpenError::Held`] when another node, in this process or another, has the folder open.
    pub fn open(path: &Path, node: &NodeName) -> Result<Self, OpenError> {
        let unusable = |why| OpenError::Unusable { folder: path.display().to_string(), why };
        let path = std::path::absolute(path).map_err(unusable)?;
        make_folder(&path).map_err(unusable)?;
        let claim = claim(&path, node)?;
        let files = Files::open(path.clone(), claim).map_err(unusable)?;
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        start_thread(files, requests).map_err(unusable)?;
        Ok(Self { path: path.into(), queue })
    }

    /// Gives the folder back once all earlier requests are answered. Later ones, of any clone, fail with
    /// [`DiskError::Closed`].
    ///
    /// # Errors
    ///
    /// [`DiskError::Closed`] when it is closed already, [`DiskError::Busy`] when it is not closed.
    pub fn close(&self) -> BoxFuture<Result<(), DiskError>> {
        self.ask(Ok(()), |answer| Request::Close { answer })
    }

    /// Queues what `make` makes; the future waits for the answer.
    fn ask<T: Send + 'static>(
        &self,
        checked: Result<(), DiskError>,
        make: impl FnOnce(oneshot::Sender<Result<T, DiskError>>) -> Request,
    ) -> BoxFuture<Result<T, DiskError>> {
        let (answer, answered) = oneshot::channel();
        let queued = checked.and_then(|()| {
            self.queue.try_send(make(answer)).map_err(|refused| match refused {
                TrySendError::Full(_) => DiskError::Busy { waiting: QUEUE_MAX },
                TrySendError::Closed(_) => DiskError::Closed,
            })
        });
        Box::pin(async move {
            queued?;
            answered.await.map_err(|_gone| DiskError::Closed)?
        })
    }

    fn run<T: Send + 'static>(
        &self,
        checked: Result<(), DiskError>,
        work: impl FnOnce(&mut Files) -> Result<T, DiskError> + Send + 'static,
    ) -> BoxFuture<Result<T, DiskError>> {
        self.ask(checked, |answer| {
            Request::Do(Box::new(move |files| {
                // An answer nobody waits for is no error: the caller gave up, the work is done.
                let _ = answer.send(work(files));
            }))
        })
    }
}

impl Disk for FolderDisk {
    fn write(&self, record: &str, bytes: Vec<u8>) -> BoxFuture<Result<(), DiskError>> {
        let name = record.to_owned();
        self.ask(check_write(record, &bytes), |answer| Request::Write {
            record: name,
            bytes,
            answer,
        })
    }

    fn read(
        &self,
        record: &str,
        version: Version,
    ) -> BoxFuture<Result<Option<Vec<u8>>, DiskError>> {
        let name = record.to_owned();
        self.run(check_name(record), move |files| files.read(&name, version))
    }

    fn remove(&self, record: &str) -> BoxFuture<Result<(), DiskError>> {
        let name = record.to_owned();
        self.run(check_name(record), move |files| files.remove(&name))
    }

    fn set_aside(&self, record: &str) -> BoxFuture<Result<(), DiskError>> {
        let name = record.to_owned();
        self.run(check_name(record), move |files| files.set_aside(&name))
    }

    fn list(&self, prefix: &str) -> BoxFuture<Result<Vec<String>, DiskError>> {
        let prefix = prefix.to_owned();
        self.run(Ok(()), move |files| files.list(&prefix))
    }

    fn place_of(&self, record: &str, version: Version) -> String {
        Files::place_of(&self.path, record, version).display().to_string()
    }
}

/// Makes the folder and those above it, each durable in its parent.
fn make_folder(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(path)?;
    for parent in missing.iter().filter_map(|folder| folder.parent()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Locks the claim file and writes the holder into it. The system frees the lock when the process ends,
/// however it ends.
fn claim(path: &Path, node: &NodeName) -> Result<File, OpenError> {
    let folder = || path.display().to_string();
    let unusable = |why| OpenError::Unusable { folder: folder(), why };
    let mut options = File::options();
    let claim_path = path.join(CLAIM_FILE);
    let opened = options.read(true).write(true).create(true).truncate(false).open(claim_path);
    let mut file = opened.map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::Held { folder: folder(), holder: holder(&mut file) });
        }
        Err(TryLockError::Error(why)) => return Err(unusable(why)),
    }
    let text = format!("process {}, node {node}\n", std::process::id());
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(unusable)?;
    Ok(file)
}

/// Who wrote the claim file. A holder that has only now locked it may not have written yet.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(1_024).read_to_string(&mut text);
    match (read, text.trim()) {
        (Ok(_), named) if !named.is_empty() => named.to_owned(),
        (Ok(_) | Err(_), _) => "another process".to_owned(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one thread of the runtime's own")]
fn start_thread(files: Files, requests: mpsc::Receiver<Request>) -> io::Result<()> {
    // Not joined: it ends when the last handle is dropped, and nobody has to wait for that.
    std::thread::Builder::new().name("tanodb-disk".into()).spawn(|| serve(files, requests))?;
    Ok(())
}

/// Serves requests in their order until the disk is closed or its last handle is gone. Writes wait for
/// the writes that are queued behind them, and for nothing else.
fn serve(mut files: Files, mut requests: mpsc::Receiver<Request>) {
    let mut group = Group::default();
    while let Some(first) = requests.blocking_recv() {
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Write { record, bytes, answer } => {
                    group.add(&mut files, record, bytes, answer);
                }
                Request::Do(work) => {
                    group.write(&mut files);
                    work(&mut files);
                }
                Request::Close { answer } => {
                    group.write(&mut files);
                    // The claim first: who closes may want to open again.
                    drop((requests, files));
                    let _ = answer.send(Ok(()));
                    return;
                }
            }
            next = requests.try_recv().ok();
        }
        group.write(&mut files);
    }
}

/// Writes of different records that will share one sync.
#[derive(Default)]
struct Group {
    values: BTreeMap<String, Vec<u8>>,
    answers: BTreeMap<String, Answer>,
}

impl Group {
    fn add(&mut self, files: &mut Files, record: String, bytes: Vec<u8>, answer: Answer) {
        if self.answers.contains_key(&record) || self.answers.len() >= GROUP_MAX {
            self.write(files);
        }
        self.values.insert(record.clone(), bytes);
        self.answers.insert(record, answer);
    }

    fn write(&mut self, files: &mut Files) {
        if self.values.is_empty() {
            return;
        }
        let mut outcomes = files.write_all(&std::mem::take(&mut self.values));
        for (record, answer) in std::mem::take(&mut self.answers) {
            if let Some(outcome) = outcomes.remove(&record) {
                let _ = answer.send(outcome);
            }
        }
    }
}
