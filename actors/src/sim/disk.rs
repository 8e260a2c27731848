//! A node's disk in the simulator: slow in virtual time, full or failing when told to, and without what
//! was not yet durable when the power goes.
//!
//! Owns: the handle, the order and the time of requests. What a record is while it changes, and which
//! fault hits it, stand in `platter`. Nothing runs in the background: every look at the disk first does
//! what was due until then, so that a request is served although nobody waits for it.
//!
//! A disk must be made and used inside the runtime whose clock it follows.

mod platter;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

pub use platter::{DiskFaults, WriteFailure};

use self::platter::Change;
use self::queue::{Queue, Work};
use crate::runtime::disk::{Disk, DiskError, Version, check_name, check_write};
use crate::runtime::rng::Rng;
use crate::runtime::transport::BoxFuture;

/// A simulated [`Disk`].
///
/// It is made open. After [`SimDisk::kill`], [`SimDisk::power_off`] or [`SimDisk::wipe`] every request
/// answers [`DiskError::Closed`], and only the handle that [`SimDisk::reopen`] returns makes requests
/// again: what is left of an earlier life of the node cannot write into a later one. Faults can be set
/// through any handle, and stay over a restart.
#[derive(Debug, Clone)]
pub struct SimDisk {
    name: Arc<str>,
    opening: u64,
    queue: Arc<Mutex<Queue>>,
}

impl SimDisk {
    /// An empty disk, open. `name` begins the places it reports; `rng` is for its draws alone.
    #[must_use]
    pub fn new(name: &str, rng: Rng) -> Self {
        let queue = Queue::new(rng);
        Self { name: name.into(), opening: queue.opening(), queue: Arc::new(Mutex::new(queue)) }
    }

    /// Opens the disk for the next life of the node. Records that were in doubt can be used again. If it
    /// was open, the node that had it is taken for killed.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let opening = self.queue().open();
        Self { name: Arc::clone(&self.name), opening, queue: Arc::clone(&self.queue) }
    }

    /// The process ends, the system lives on: of the requests under way each is done or not, whole; those
    /// behind them are lost.
    pub fn kill(&self) {
        self.queue().close(false);
    }

    /// The machine stops: of the requests under way each is done, not done or (a write over a value, unless
    /// [`SimDisk::set_tearing`] says no) torn; those behind them are lost. What ended in
    /// [`DiskError::Uncertain`] is decided once more. What was answered with success stays.
    pub fn power_off(&self) {
        self.queue().close(true);
    }

    /// Another disk, empty and without faults, is put in its place. Closes this one.
    pub fn wipe(&self) {
        self.queue().wipe();
    }

    /// Whether a power cut may leave a record's newest version torn, with the old value as the previous
    /// one. At first it may. [`Disk::write`] promises better; control records must survive it anyway.
    pub fn set_tearing(&self, may_tear: bool) {
        self.queue().platter().set_tearing(may_tear);
    }

    /// Adds this to the time of each group of requests that begins from here on. Zero makes it quick again.
    pub fn set_slow(&self, by: Duration) {
        self.queue().set_slow(by);
    }

    /// The next `count` changes of records whose names begin with `prefix` fail so, counted as they are
    /// served. Calls add up.
    pub fn fail_writes(&self, prefix: &str, count: u32, failure: WriteFailure) {
        self.queue().platter().fail_writes(prefix, count, failure);
    }

    /// The next `count` readings of records whose names begin with `prefix`, and listings below it, fail
    /// with [`DiskError::Unreadable`].
    pub fn fail_reads(&self, prefix: &str, count: u32) {
        self.queue().platter().fail_reads(prefix, count);
    }

    /// From here on there is no room: writes fail with [`DiskError::NotWritten`]. Removing works.
    pub fn fill(&self) {
        self.queue().platter().set_full(true);
    }

    /// There is room again.
    pub fn free(&self) {
        self.queue().platter().set_full(false);
    }

    /// Takes back all faults that were set and have not happened yet; the disk is quick and has room.
    pub fn mend(&self) {
        let mut queue = self.queue();
        queue.set_slow(Duration::ZERO);
        queue.platter().mend();
    }

    /// Changes one byte of a version at rest. False if there is none to change.
    pub fn rot(&self, record: &str, version: Version) -> bool {
        self.queue().rot(record, version)
    }

    /// What stands in a record, at no cost in time and in spite of all faults. For checks.
    #[must_use]
    pub fn peek(&self, record: &str, version: Version) -> Option<Vec<u8>> {
        self.queue().platter().versions(record).get(version)
    }

    /// What has happened to this disk since it was made, also before it was wiped.
    #[must_use]
    pub fn faults(&self) -> DiskFaults {
        self.queue().platter().faults()
    }

    /// The queue, after all that was due.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.serve_until(Instant::now());
        queue
    }

    /// Makes a request now; the future waits for its answer.
    fn ask<T: Send + 'static>(
        &self,
        checked: Result<(), DiskError>,
        make: impl FnOnce(oneshot::Sender<Result<T, DiskError>>) -> Work,
    ) -> BoxFuture<Result<T, DiskError>> {
        let (answer, mut answered) = oneshot::channel();
        let queued = checked
            .and_then(|()| self.queue().request(self.opening, Instant::now(), || make(answer)));
        let disk = self.clone();
        Box::pin(async move {
            queued?;
            loop {
                let waited = match disk.next_end() {
                    Some(end) => timeout_at(end, &mut answered).await,
                    // Nothing is under way, so this request is not either: answered, or lost.
                    None => Ok((&mut answered).await),
                };
                if let Ok(heard) = waited {
                    return heard.map_err(|_lost| DiskError::Closed)?;
                }
            }
        })
    }

    fn next_end(&self) -> Option<Instant> {
        self.queue().next_end()
    }

    fn change(
        &self,
        checked: Result<(), DiskError>,
        record: &str,
        change: Change,
    ) -> BoxFuture<Result<(), DiskError>> {
        let record = record.to_owned();
        self.ask(checked, |answer| Work::Change { record, change, answer })
    }
}

impl Disk for SimDisk {
    fn write(&self, record: &str, bytes: Vec<u8>) -> BoxFuture<Result<(), DiskError>> {
        self.change(check_write(record, &bytes), record, Change::Write(bytes))
    }

    fn read(
        &self,
        record: &str,
        version: Version,
    ) -> BoxFuture<Result<Option<Vec<u8>>, DiskError>> {
        let (name, place) = (record.to_owned(), self.place_of(record, version));
        self.ask(check_name(record), |answer| {
            Work::Look(Box::new(move |platter| {
                // An answer nobody waits for is no error: who asked has given up.
                let _ = answer.send(platter.read(&name, version, place));
            }))
        })
    }

    fn remove(&self, record: &str) -> BoxFuture<Result<(), DiskError>> {
        self.change(check_name(record), record, Change::Remove)
    }

    fn set_aside(&self, record: &str) -> BoxFuture<Result<(), DiskError>> {
        self.change(check_name(record), record, Change::SetAside)
    }

    fn list(&self, prefix: &str) -> BoxFuture<Result<Vec<String>, DiskError>> {
        let (prefix, place) = (prefix.to_owned(), self.name.to_string());
        self.ask(Ok(()), |answer| {
            Work::Look(Box::new(move |platter| {
                let _ = answer.send(platter.list(&prefix, place));
            }))
        })
    }

    fn place_of(&self, record: &str, version: Version) -> String {
        match version {
            Version::Newest => format!("{}/{record}", self.name),
            Version::Previous => format!("{}/{record}.1", self.name),
        }
    }
}
