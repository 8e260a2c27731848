//! Disks that do not do what they should.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::runtime::disk::{DiskError, Version};
use crate::runtime::transport::BoxFuture;

/// A disk that refuses to write while it is full.
#[derive(Clone, Default)]
pub(super) struct FullDisk {
    inner: MemoryDisk,
    is_full: Arc<AtomicBool>,
}

impl FullDisk {
    pub(super) fn fill(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }
}

impl Disk for FullDisk {
    fn write(&self, record: &str, bytes: Vec<u8>) -> BoxFuture<Result<(), DiskError>> {
        if self.is_full.load(Ordering::Relaxed) {
            let why = Arc::new(ErrorKind::StorageFull.into());
            let error = DiskError::NotWritten { record: record.to_owned(), why };
            return Box::pin(std::future::ready(Err(error)));
        }
        self.inner.write(record, bytes)
    }

    fn read(
        &self,
        record: &str,
        version: Version,
    ) -> BoxFuture<Result<Option<Vec<u8>>, DiskError>> {
        self.inner.read(record, version)
    }

    fn remove(&self, record: &str) -> BoxFuture<Result<(), DiskError>> {
        self.inner.remove(record)
    }

    fn set_aside(&self, record: &str) -> BoxFuture<Result<(), DiskError>> {
        self.inner.set_aside(record)
    }

    fn list(&self, prefix: &str) -> BoxFuture<Result<Vec<String>, DiskError>> {
        self.inner.list(prefix)
    }

    fn place_of(&self, record: &str, version: Version) -> String {
        self.inner.place_of(record, version)
    }
}

/// A disk whose writes never end.
pub(super) struct SlowDisk(pub(super) MemoryDisk);

impl Disk for SlowDisk {
    fn write(&self, _: &str, _: Vec<u8>) -> BoxFuture<Result<(), DiskError>> {
        Box::pin(std::future::pending())
    }

    fn read(
        &self,
        record: &str,
        version: Version,
    ) -> BoxFuture<Result<Option<Vec<u8>>, DiskError>> {
        self.0.read(record, version)
    }

    fn remove(&self, record: &str) -> BoxFuture<Result<(), DiskError>> {
        self.0.remove(record)
    }

    fn set_aside(&self, record: &str) -> BoxFuture<Result<(), DiskError>> {
        self.0.set_aside(record)
    }

    fn list(&self, prefix: &str) -> BoxFuture<Result<Vec<String>, DiskError>> {
        self.0.list(prefix)
    }

    fn place_of(&self, record: &str, version: Version) -> String {
        self.0.place_of(record, version)
    }
}
