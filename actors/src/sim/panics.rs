//! Panics of simulated tasks. The runtime catches a task's panic and goes on, so a run would pass although a
//! handler fell over.
//!
//! A panic hook is the only place that hears of all of them, and it is the process's. It is installed once and
//! passes everything on to the hook before it; for threads that watch, it also notes the message.

use std::collections::BTreeMap;
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, ThreadId};

/// The first panic of each thread that watches, if it had one. Threads do not see one another's.
static NOTED: Mutex<BTreeMap<u64, Option<String>>> = Mutex::new(BTreeMap::new());
/// Panics of all threads that watch: who sees it unchanged has nothing to look up.
static COUNTED: AtomicU64 = AtomicU64::new(0);
static INSTALLED: Once = Once::new();

fn noted() -> MutexGuard<'static, BTreeMap<u64, Option<String>>> {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Thread ids have no order; their numbers do.
fn number_of(thread: ThreadId) -> u64 {
    let text = format!("{thread:?}");
    text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

/// Watches this thread until it is dropped.
pub(super) struct PanicWatch {
    thread: u64,
    is_expected: bool,
    counted: u64,
}

impl PanicWatch {
    pub(super) fn of_this_thread() -> Self {
        INSTALLED.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                note(info);
                before(info);
            }));
        });
        let thread = number_of(thread::current().id());
        noted().insert(thread, None);
        Self { thread, is_expected: false, counted: COUNTED.load(Ordering::Acquire) }
    }

    /// Panics are a part of the run from now on.
    pub(super) fn expect(&mut self) {
        self.is_expected = true;
    }

    /// The first panic since the last call.
    pub(super) fn take(&mut self) -> Option<String> {
        let counted = COUNTED.load(Ordering::Acquire);
        if counted == self.counted {
            return None;
        }
        self.counted = counted;
        let noted = noted().get_mut(&self.thread).and_then(Option::take);
        noted.filter(|_| !self.is_expected)
    }
}

impl Drop for PanicWatch {
    fn drop(&mut self) {
        noted().remove(&self.thread);
    }
}

fn note(info: &PanicHookInfo<'_>) {
    let thread = number_of(thread::current().id());
    if let Some(first) = noted().get_mut(&thread) {
        first.get_or_insert_with(|| info.to_string());
        COUNTED.fetch_add(1, Ordering::AcqRel);
    }
}
