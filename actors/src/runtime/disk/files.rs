//! The file operations behind [`super::FolderDisk`], done on its thread.
//!
//! A record `ring` is the file `ring`; the version before is `ring.1`, one being written `ring.new`, one
//! set aside `ring.damaged`. A dot cannot occur in a record's name, so no record can look like these.
//!
//! Writing goes: all bytes into `.new` and synced; the old file linked as `.1`; `.new` renamed over the
//! old name; the folder synced. At every instant the record's name leads to a whole file. Many records
//! share one sync of the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DiskError, RECORD_BYTES_MAX, Version, check_name};

/// The folder of one node, claimed.
pub(super) struct Files {
    path: PathBuf,
    /// Open for syncing.
    folder: File,
    /// Records whose last change ended in doubt. See [`DiskError::Uncertain`].
    distrusted: BTreeSet<String>,
    /// Held as long as this value lives.
    _claim: File,
}

impl Files {
    /// Takes over a folder that is claimed already. Removes what an interrupted write left.
    pub(super) fn open(path: PathBuf, claim: File) -> io::Result<Self> {
        for entry in fs::read_dir(&path)? {
            let file = entry?.path();
            if file.extension().is_some_and(|suffix| suffix == "new") {
                fs::remove_file(&file)?;
            }
        }
        let folder = File::open(&path)?;
        folder.sync_all()?;
        Ok(Self { path, folder, distrusted: BTreeSet::new(), _claim: claim })
    }

    fn newest(&self, record: &str) -> PathBuf {
        self.path.join(record)
    }

    fn suffixed(&self, record: &str, suffix: &str) -> PathBuf {
        self.path.join(format!("{record}.{suffix}"))
    }

    pub(super) fn place_of(folder: &Path, record: &str, version: Version) -> PathBuf {
        match version {
            Version::Newest => folder.join(record),
            Version::Previous => folder.join(format!("{record}.1")),
        }
    }

    /// Writes a group of records with one sync of the folder, and answers for each.
    pub(super) fn write_all(
        &mut self,
        group: &BTreeMap<String, Vec<u8>>,
    ) -> BTreeMap<String, Result<(), DiskError>> {
        let mut outcomes: BTreeMap<_, _> =
            group.iter().map(|(name, bytes)| (name.clone(), self.write_new(name, bytes))).collect();
        for (record, outcome) in outcomes.iter_mut().filter(|(_, outcome)| outcome.is_ok()) {
            *outcome = self.swap(record).map_err(|why| uncertain(record, "renaming", why));
        }
        let synced = self.folder.sync_all().map_err(Arc::new);
        for (record, outcome) in &mut outcomes {
            if let (Ok(()), Err(why)) = (&outcome, &synced) {
                let (record, why) = (record.clone(), Arc::clone(why));
                *outcome = Err(DiskError::Uncertain { record, step: "syncing the folder", why });
            }
            self.note(record, outcome);
        }
        outcomes
    }

    fn write_new(&self, record: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.trusted(record)?;
        let path = self.suffixed(record, "new");
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(bytes)?;
            Ok(file)
        });
        match written {
            Ok(file) => file.sync_all().map_err(|why| uncertain(record, "syncing", why)),
            Err(why) => {
                // Without effect on the record; what is left here the next write overwrites.
                let _ = fs::remove_file(&path);
                Err(DiskError::NotWritten { record: record.to_owned(), why: Arc::new(why) })
            }
        }
    }

    fn swap(&self, record: &str) -> io::Result<()> {
        let (newest, previous) = (self.newest(record), self.suffixed(record, "1"));
        if newest.try_exists()? {
            // Only now: a previous version without a newest one outlives the next write.
            forget(&previous)?;
            if fs::hard_link(&newest, &previous).is_err() {
                // A file system without links: for an instant only the previous version has a name.
                fs::rename(&newest, &previous)?;
            }
        }
        fs::rename(self.suffixed(record, "new"), newest)
    }

    pub(super) fn remove(&mut self, record: &str) -> Result<(), DiskError> {
        self.trusted(record)?;
        let outcome = self.remove_files(record).map_err(|why| uncertain(record, "removing", why));
        self.note(record, &outcome);
        outcome
    }

    /// The older files go first and for good: left alone they would look like a value to fall back to.
    fn remove_files(&self, record: &str) -> io::Result<()> {
        forget(&self.suffixed(record, "1"))?;
        forget(&self.suffixed(record, "damaged"))?;
        self.folder.sync_all()?;
        forget(&self.newest(record))?;
        self.folder.sync_all()
    }

    pub(super) fn set_aside(&mut self, record: &str) -> Result<(), DiskError> {
        self.trusted(record)?;
        let outcome = match fs::rename(self.newest(record), self.suffixed(record, "damaged")) {
            Ok(()) => self.folder.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        let outcome = outcome.map_err(|why| uncertain(record, "setting aside", why));
        self.note(record, &outcome);
        outcome
    }

    pub(super) fn read(
        &self,
        record: &str,
        version: Version,
    ) -> Result<Option<Vec<u8>>, DiskError> {
        self.trusted(record)?;
        let path = Self::place_of(&self.path, record, version);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&path, error)),
        };
        let bytes = file.metadata().map_err(|error| unreadable(&path, error))?.len();
        let limit = u64::try_from(RECORD_BYTES_MAX).unwrap_or(u64::MAX);
        if bytes > limit {
            return Err(DiskError::TooLarge { record: record.to_owned(), bytes });
        }
        let mut content = Vec::new();
        file.take(limit).read_to_end(&mut content).map_err(|error| unreadable(&path, error))?;
        Ok(Some(content))
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<String>, DiskError> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(&self.path).map_err(|error| unreadable(&self.path, error))? {
            let name = entry.map_err(|error| unreadable(&self.path, error))?.file_name();
            let Some(name) = name.to_str() else { continue };
            let record = name.strip_suffix(".1").unwrap_or(name);
            if record.starts_with(prefix) && check_name(record).is_ok() {
                found.insert(record.to_owned());
            }
        }
        Ok(found.into_iter().collect())
    }

    fn trusted(&self, record: &str) -> Result<(), DiskError> {
        if self.distrusted.contains(record) {
            return Err(DiskError::Distrusted(record.to_owned()));
        }
        Ok(())
    }

    fn note(&mut self, record: &str, outcome: &Result<(), DiskError>) {
        if let Err(error @ DiskError::Uncertain { .. }) = outcome {
            log::error!(record; "{error}");
            self.distrusted.insert(record.to_owned());
        }
    }
}

/// Removes a file that need not be there.
fn forget(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn uncertain(record: &str, step: &'static str, why: io::Error) -> DiskError {
    DiskError::Uncertain { record: record.to_owned(), step, why: Arc::new(why) }
}

fn unreadable(path: &Path, why: io::Error) -> DiskError {
    DiskError::Unreadable { place: path.display().to_string(), why: Arc::new(why) }
}
