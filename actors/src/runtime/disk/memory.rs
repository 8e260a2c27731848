//! Records in memory, for tests and examples. Gone with the last handle.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskError, Version, check_name, check_write};
use crate::runtime::transport::BoxFuture;

#[derive(Debug, Default)]
struct Versions {
    newest: Option<Vec<u8>>,
    previous: Option<Vec<u8>>,
}

/// A [`Disk`] that forgets. Clones share the records, so a clone that is kept over a restart of a node
/// in one process plays the part of its folder.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    records: Arc<Mutex<BTreeMap<String, Versions>>>,
}

impl MemoryDisk {
    fn records(&self) -> MutexGuard<'_, BTreeMap<String, Versions>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the records if the check went well; the answer is ready at once.
    fn now<T: Send + 'static>(
        &self,
        checked: Result<(), DiskError>,
        work: impl FnOnce(&mut BTreeMap<String, Versions>) -> T,
    ) -> BoxFuture<Result<T, DiskError>> {
        Box::pin(ready(checked.map(|()| work(&mut self.records()))))
    }
}

impl Disk for MemoryDisk {
    fn write(&self, record: &str, bytes: Vec<u8>) -> BoxFuture<Result<(), DiskError>> {
        self.now(check_write(record, &bytes), |records| {
            let versions = records.entry(record.to_owned()).or_default();
            if let Some(old) = versions.newest.replace(bytes) {
                versions.previous = Some(old);
            }
        })
    }

    fn read(
        &self,
        record: &str,
        version: Version,
    ) -> BoxFuture<Result<Option<Vec<u8>>, DiskError>> {
        self.now(check_name(record), |records| {
            records.get(record).and_then(|versions| match version {
                Version::Newest => versions.newest.clone(),
                Version::Previous => versions.previous.clone(),
            })
        })
    }

    fn remove(&self, record: &str) -> BoxFuture<Result<(), DiskError>> {
        self.now(check_name(record), |records| {
            records.remove(record);
        })
    }

    fn set_aside(&self, record: &str) -> BoxFuture<Result<(), DiskError>> {
        self.now(check_name(record), |records| {
            if let Some(versions) = records.get_mut(record) {
                versions.newest = None;
            }
        })
    }

    fn list(&self, prefix: &str) -> BoxFuture<Result<Vec<String>, DiskError>> {
        self.now(Ok(()), |records| {
            let kept =
                |versions: &Versions| versions.newest.is_some() || versions.previous.is_some();
            let found = records.iter().filter(|(name, at)| name.starts_with(prefix) && kept(at));
            found.map(|(name, _)| name.clone()).collect()
        })
    }

    fn place_of(&self, record: &str, version: Version) -> String {
        match version {
            Version::Newest => format!("{record} (in memory)"),
            Version::Previous => format!("{record}.1 (in memory)"),
        }
    }
}
