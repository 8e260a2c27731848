//! The records of a simulated disk, and what may become of them when a change fails or is cut short.
//!
//! Owns: versions, faults that wait for their request, and their count. It knows no time: [`super::queue`]
//! says when.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::runtime::disk::{DiskError, Version};
use crate::runtime::rng::Rng;

/// How a change of a record fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WriteFailure {
    /// [`DiskError::NotWritten`]: the old value stands.
    NotWritten,
    /// [`DiskError::Uncertain`]: the old or the new value stands, as drawn, and is drawn again when the
    /// power goes before the disk is opened again.
    Uncertain,
}

/// What has happened to a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskFaults {
    /// Changes that failed with [`DiskError::NotWritten`], also for want of room.
    pub not_written: u64,
    /// Changes that failed with [`DiskError::Uncertain`].
    pub uncertain: u64,
    /// Readings and listings that failed.
    pub unreadable: u64,
    /// Requests that were served while the disk was slow.
    pub slowed: u64,
    /// Changes that a kill or a power cut has lost before they began.
    pub lost: u64,
    /// Changes that a kill or a power cut found under way.
    pub interrupted: u64,
    /// Those of them that left a torn newest version.
    pub torn: u64,
    /// Versions that rotted.
    pub rotten: u64,
    /// Times the disk was wiped.
    pub wiped: u64,
}

impl DiskFaults {
    /// The counts of two disks together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            not_written: self.not_written + other.not_written,
            uncertain: self.uncertain + other.uncertain,
            unreadable: self.unreadable + other.unreadable,
            slowed: self.slowed + other.slowed,
            lost: self.lost + other.lost,
            interrupted: self.interrupted + other.interrupted,
            torn: self.torn + other.torn,
            rotten: self.rotten + other.rotten,
            wiped: self.wiped + other.wiped,
        }
    }
}

/// What is to become of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Write(Vec<u8>),
    Remove,
    SetAside,
}

/// A record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Versions {
    newest: Option<Vec<u8>>,
    previous: Option<Vec<u8>>,
}

impl Versions {
    pub(super) fn get(self, version: Version) -> Option<Vec<u8>> {
        match version {
            Version::Newest => self.newest,
            Version::Previous => self.previous,
        }
    }

    fn after(&self, change: Change) -> Self {
        match change {
            Change::Write(bytes) => {
                let previous = self.newest.clone().or_else(|| self.previous.clone());
                Self { newest: Some(bytes), previous }
            }
            Change::Remove => Self::default(),
            Change::SetAside => Self { newest: None, previous: self.previous.clone() },
        }
    }

    /// What stands half-way through, and can be seen after a power cut.
    fn half_way(&self, change: &Change, rng: &Rng) -> Option<Self> {
        match (change, &self.newest) {
            // Torn only over an old value: a record that never was can be torn away whole.
            (Change::Write(bytes), Some(old)) => {
                Some(Self { newest: Some(torn(bytes, rng)), previous: Some(old.clone()) })
            }
            (Change::Remove, Some(_)) if self.previous.is_some() => {
                Some(Self { newest: self.newest.clone(), previous: None })
            }
            (Change::Write(_) | Change::Remove | Change::SetAside, _) => None,
        }
    }
}

/// The beginning of what was written, then what was on the disk before.
fn torn(bytes: &[u8], rng: &Rng) -> Vec<u8> {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let kept = usize::try_from(rng.below(length)).unwrap_or(0);
    let mut left: Vec<u8> = bytes.iter().copied().take(kept).collect();
    if rng.below(2) == 0 {
        left.extend(rng.next_u64().to_le_bytes());
    }
    left
}

/// Requests of certain records that are to fail.
#[derive(Debug, Clone)]
struct Planned<Failure> {
    prefix: String,
    left: u32,
    failure: Failure,
}

/// Takes one failure that is planned for this record.
fn take<Failure: Copy>(plans: &mut Vec<Planned<Failure>>, record: &str) -> Option<Failure> {
    let plan = plans.iter_mut().find(|plan| record.starts_with(&plan.prefix))?;
    plan.left -= 1;
    let failure = plan.failure;
    plans.retain(|plan| plan.left > 0);
    Some(failure)
}

#[derive(Debug)]
pub(super) struct Platter {
    rng: Rng,
    records: BTreeMap<String, Versions>,
    /// Records whose last change ended in doubt, with what a power cut may make of them.
    in_doubt: BTreeMap<String, [Versions; 2]>,
    may_tear: bool,
    is_full: bool,
    writes_to_fail: Vec<Planned<WriteFailure>>,
    reads_to_fail: Vec<Planned<()>>,
    faults: DiskFaults,
}

impl Platter {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            rng,
            records: BTreeMap::new(),
            in_doubt: BTreeMap::new(),
            may_tear: true,
            is_full: false,
            writes_to_fail: Vec::new(),
            reads_to_fail: Vec::new(),
            faults: DiskFaults::default(),
        }
    }

    pub(super) fn faults(&self) -> DiskFaults {
        self.faults
    }

    pub(super) fn versions(&self, record: &str) -> Versions {
        self.records.get(record).cloned().unwrap_or_default()
    }

    pub(super) fn set_tearing(&mut self, may_tear: bool) {
        self.may_tear = may_tear;
    }

    pub(super) fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    pub(super) fn fail_writes(&mut self, prefix: &str, count: u32, failure: WriteFailure) {
        plan(&mut self.writes_to_fail, prefix, count, failure);
    }

    pub(super) fn fail_reads(&mut self, prefix: &str, count: u32) {
        plan(&mut self.reads_to_fail, prefix, count, ());
    }

    pub(super) fn mend(&mut self) {
        self.is_full = false;
        self.writes_to_fail.clear();
        self.reads_to_fail.clear();
    }

    pub(super) fn wipe(&mut self) {
        self.mend();
        self.records.clear();
        self.in_doubt.clear();
        self.faults.wiped += 1;
    }

    pub(super) fn count_slow(&mut self, requests: usize) {
        self.faults.slowed += u64::try_from(requests).unwrap_or(u64::MAX);
    }

    pub(super) fn count_lost(&mut self) {
        self.faults.lost += 1;
    }

    /// Changes a record, or fails as planned.
    pub(super) fn change(&mut self, record: &str, change: Change) -> Result<(), DiskError> {
        self.trusted(record)?;
        let no_room = self.is_full && matches!(change, Change::Write(_));
        let planned = take(&mut self.writes_to_fail, record);
        let why = |kind: io::ErrorKind| Arc::new(io::Error::from(kind));
        match planned {
            Some(WriteFailure::Uncertain) => {
                self.leave_in_doubt(record, change);
                let why = why(io::ErrorKind::Other);
                Err(DiskError::Uncertain { record: record.to_owned(), step: "syncing", why })
            }
            Some(WriteFailure::NotWritten) => {
                self.faults.not_written += 1;
                let why = why(io::ErrorKind::Other);
                Err(DiskError::NotWritten { record: record.to_owned(), why })
            }
            None if no_room => {
                self.faults.not_written += 1;
                let why = why(io::ErrorKind::StorageFull);
                Err(DiskError::NotWritten { record: record.to_owned(), why })
            }
            None => {
                let versions = self.versions(record).after(change);
                self.put(record, versions);
                Ok(())
            }
        }
    }

    fn leave_in_doubt(&mut self, record: &str, change: Change) {
        self.faults.uncertain += 1;
        let before = self.versions(record);
        let after = before.after(change);
        let shown = if self.rng.below(2) == 0 { &before } else { &after };
        self.put(record, shown.clone());
        self.in_doubt.insert(record.to_owned(), [before, after]);
    }

    /// A change that was under way when the process ended or the power went.
    pub(super) fn interrupt(&mut self, record: &str, change: Change, by_power_cut: bool) {
        // It would have been refused: nothing was done for it.
        if self.trusted(record).is_err() {
            return;
        }
        self.faults.interrupted += 1;
        let before = self.versions(record);
        let tears = matches!(change, Change::Write(_));
        let half_way = before
            .half_way(&change, &self.rng)
            .filter(|_| if tears { by_power_cut && self.may_tear } else { true });
        let stands = match (self.rng.below(2 + u64::from(half_way.is_some())), half_way) {
            (0, _) => before,
            (1, _) | (_, None) => before.after(change),
            (_, Some(half_way)) => {
                self.faults.torn += u64::from(tears);
                half_way
            }
        };
        self.put(record, stands);
    }

    /// The power went: what was in doubt may be the other value now.
    pub(super) fn decide_doubts(&mut self) {
        for (record, [before, after]) in self.in_doubt.clone() {
            let stands = if self.rng.below(2) == 0 { before } else { after };
            self.put(&record, stands);
        }
    }

    /// The disk was opened again: what stands is what stands.
    pub(super) fn trust_again(&mut self) {
        self.in_doubt.clear();
    }

    pub(super) fn read(
        &mut self,
        record: &str,
        version: Version,
        place: String,
    ) -> Result<Option<Vec<u8>>, DiskError> {
        self.trusted(record)?;
        self.readable(record, place)?;
        Ok(self.versions(record).get(version))
    }

    pub(super) fn list(&mut self, prefix: &str, place: String) -> Result<Vec<String>, DiskError> {
        self.readable(prefix, place)?;
        Ok(self.records.keys().filter(|name| name.starts_with(prefix)).cloned().collect())
    }

    /// Changes one byte; `place` says which.
    pub(super) fn rot(&mut self, record: &str, version: Version, place: u64) -> bool {
        let versions = self.records.get_mut(record);
        let bytes = versions.and_then(|versions| match version {
            Version::Newest => versions.newest.as_mut(),
            Version::Previous => versions.previous.as_mut(),
        });
        let byte = bytes.and_then(|bytes| {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            bytes.get_mut(usize::try_from(place.checked_rem(length)?).ok()?)
        });
        let Some(byte) = byte else { return false };
        *byte ^= 0x55;
        self.faults.rotten += 1;
        true
    }

    fn readable(&mut self, asked: &str, place: String) -> Result<(), DiskError> {
        if take(&mut self.reads_to_fail, asked).is_some() {
            self.faults.unreadable += 1;
            let why = Arc::new(io::Error::from(io::ErrorKind::Other));
            return Err(DiskError::Unreadable { place, why });
        }
        Ok(())
    }

    fn trusted(&self, record: &str) -> Result<(), DiskError> {
        if self.in_doubt.contains_key(record) {
            return Err(DiskError::Distrusted(record.to_owned()));
        }
        Ok(())
    }

    fn put(&mut self, record: &str, versions: Versions) {
        if versions == Versions::default() {
            self.records.remove(record);
        } else {
            self.records.insert(record.to_owned(), versions);
        }
    }
}

fn plan<Failure>(plans: &mut Vec<Planned<Failure>>, prefix: &str, left: u32, failure: Failure) {
    if left > 0 {
        plans.push(Planned { prefix: prefix.to_owned(), left, failure });
    }
}
