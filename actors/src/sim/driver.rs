//! The driver: one paused runtime on this thread, one set of tasks for each node, and the order in which they
//! run, drawn from the seed.
//!
//! Time stands still while anything can run, and leaps to the next timer when nothing can. A node's tasks are
//! polled only when one of them was woken. Between two polls the driver lets its user look: at what the nodes
//! told, and whether to stop.
//!
//! Not its business: what a node is, what the network does, what is checked.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::runtime::{EnterGuard, Runtime};
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::failure::Failure;
use super::panics::PanicWatch;
use crate::runtime::rng::Rng;

/// Polls at one instant of virtual time before the run counts as a livelock: something wakes itself, or two
/// actors one another, without end.
pub const POLLS_AT_AN_INSTANT_MAX: u64 = 200_000;

/// A set of tasks: a node in one life, or the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HomeId(pub u64);

/// What the user of the driver says between two polls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Go on.
    On,
    /// Return now, before anything else runs.
    Stop,
    /// The run has failed.
    Failed(Failure),
}

/// Why the driver returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// The time is up.
    Elapsed,
    /// The user said so.
    Stopped,
}

/// Who can run.
#[derive(Default)]
struct Ready {
    /// In their order, each once.
    homes: Vec<HomeId>,
    driver: Option<Waker>,
}

impl Ready {
    fn add(&mut self, home: HomeId) {
        if let Err(place) = self.homes.binary_search(&home) {
            self.homes.insert(place, home);
        }
    }
}

/// Wakes one home.
struct HomeWaker {
    home: HomeId,
    ready: Arc<Mutex<Ready>>,
}

fn locked(ready: &Mutex<Ready>) -> MutexGuard<'_, Ready> {
    ready.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wake for HomeWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let driver = {
            let mut ready = locked(&self.ready);
            ready.add(self.home);
            ready.driver.take()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

/// All that were opened, by their numbers.
#[derive(Default)]
struct Homes(Vec<Option<Home>>);

impl Homes {
    /// The first has number 1.
    fn place(home: HomeId) -> usize {
        usize::try_from(home.0).unwrap_or(usize::MAX).wrapping_sub(1)
    }

    fn get(&self, home: HomeId) -> Option<&Home> {
        self.0.get(Self::place(home))?.as_ref()
    }

    fn get_mut(&mut self, home: HomeId) -> Option<&mut Home> {
        self.0.get_mut(Self::place(home))?.as_mut()
    }

    fn remove(&mut self, home: HomeId) -> Option<Home> {
        self.0.get_mut(Self::place(home))?.take()
    }
}

struct Home {
    tasks: Pin<Box<LocalSet>>,
    waker: Waker,
    is_paused: bool,
}

/// See the module.
pub struct Driver {
    // Dropped before the runtime: tasks may look at its clock when they end.
    homes: Homes,
    ready: Arc<Mutex<Ready>>,
    runtime: Option<Runtime>,
    rng: Rng,
    opened: u64,
    polls: u64,
    panics: PanicWatch,
    instant: (Instant, u64),
}

impl Driver {
    /// A driver whose choices follow from `rng`. No home is open.
    ///
    /// # Panics
    ///
    /// The system has no room for a runtime.
    #[must_use]
    #[expect(clippy::expect_used, reason = "without a runtime there is no simulation to report on")]
    pub fn new(rng: Rng) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime needs no more than memory");
        let started = {
            let _inside = runtime.enter();
            Instant::now()
        };
        let mut driver = Self {
            homes: Homes::default(),
            ready: Arc::default(),
            runtime: Some(runtime),
            rng,
            opened: 0,
            polls: 0,
            panics: PanicWatch::of_this_thread(),
            instant: (started, 0),
        };
        // The first timers of a runtime are off by what its start took; a millisecond later they are not.
        let settled = driver.run_until(started + Duration::from_millis(1), &mut || Look::On);
        debug_assert!(settled.is_ok(), "nothing runs yet");
        driver
    }

    fn runtime(&self) -> &Runtime {
        let Some(runtime) = &self.runtime else {
            unreachable!("it is there until the driver ends")
        };
        runtime
    }

    /// Enters the runtime, so that its clock is read and not the real one.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime().enter()
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        let _inside = self.enter();
        Instant::now()
    }

    /// Polls so far, over all homes.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.polls
    }

    /// Panics of this thread from now on are expected, and do not end the run.
    pub fn expect_panics(&mut self) {
        self.panics.expect();
    }

    /// Opens a home with one task in it.
    pub fn open(&mut self, first: impl Future<Output = ()> + 'static) -> HomeId {
        self.opened += 1;
        let home = HomeId(self.opened);
        let tasks = LocalSet::new();
        tasks.spawn_local(first);
        let waker = Waker::from(Arc::new(HomeWaker { home, ready: Arc::clone(&self.ready) }));
        self.homes.0.push(Some(Home { tasks: Box::pin(tasks), waker, is_paused: false }));
        self.wake(home);
        home
    }

    /// Starts another task in a home. False if it is closed.
    pub fn spawn(&mut self, home: HomeId, task: impl Future<Output = ()> + 'static) -> bool {
        let _inside = self.enter();
        let Some(at) = self.homes.get(home) else { return false };
        at.tasks.spawn_local(task);
        self.wake(home);
        true
    }

    /// Drops all tasks of a home, at this instant. Nothing of them runs on, but what they drop is told.
    pub fn close(&mut self, home: HomeId) {
        let Some(closed) = self.homes.remove(home) else { return };
        // Inside, so that what is dropped sees the virtual time.
        let _inside = self.enter();
        drop(closed);
    }

    /// Stops polling a home, as if its process were stopped or its machine had frozen. What it is sent waits.
    pub fn pause(&mut self, home: HomeId) {
        if let Some(home) = self.homes.get_mut(home) {
            home.is_paused = true;
        }
    }

    /// Polls a home again.
    pub fn resume(&mut self, home: HomeId) {
        if let Some(at) = self.homes.get_mut(home) {
            at.is_paused = false;
            self.wake(home);
        }
    }

    fn wake(&self, home: HomeId) {
        locked(&self.ready).add(home);
    }

    /// Lets time pass until `deadline`, or until `look` says otherwise. `look` is asked after every poll.
    ///
    /// # Errors
    ///
    /// [`Failure`]: a task panicked, the run does not come to rest at one instant, or `look` said so.
    pub fn run_until(
        &mut self,
        deadline: Instant,
        look: &mut dyn FnMut() -> Look,
    ) -> Result<Returned, Failure> {
        let Some(runtime) = self.runtime.take() else { unreachable!("runs do not nest") };
        let result = runtime.block_on(async {
            let mut sleep = pin!(tokio::time::sleep_until(deadline));
            poll_fn(|cx| {
                if let Some(ended) = self.poll_homes(cx, look) {
                    return Poll::Ready(ended);
                }
                // Only when nothing else can run: what is due at the deadline has its turn first.
                sleep.as_mut().poll(cx).map(|()| Ok(Returned::Elapsed))
            })
            .await
        });
        self.runtime = Some(runtime);
        result
    }

    /// Polls whoever can run, in drawn order, until nobody can.
    fn poll_homes(
        &mut self,
        cx: &mut Context<'_>,
        look: &mut dyn FnMut() -> Look,
    ) -> Option<Result<Returned, Failure>> {
        // Time stands still until nobody can run.
        let now = Instant::now();
        loop {
            let chosen = self.choose(cx.waker())?;
            let polled = self.poll_home(chosen, now);
            if let Err(failure) = polled {
                return Some(Err(failure));
            }
            match look() {
                Look::On => {}
                Look::Stop => return Some(Ok(Returned::Stopped)),
                Look::Failed(failure) => return Some(Err(failure)),
            }
        }
    }

    /// One of those that can run, each equally likely.
    fn choose(&self, driver: &Waker) -> Option<HomeId> {
        let mut ready = locked(&self.ready);
        let homes = &self.homes;
        let can_run =
            |(_, home): &(usize, &HomeId)| homes.get(**home).is_some_and(|home| !home.is_paused);
        let count = ready.homes.iter().enumerate().filter(can_run).count();
        let nth = match count {
            0 | 1 => 0,
            _ => usize::try_from(self.rng.below(count as u64)).unwrap_or(0),
        };
        let chosen = ready.homes.iter().enumerate().filter(can_run).nth(nth);
        match chosen.map(|(place, _)| place) {
            Some(place) => Some(ready.homes.remove(place)),
            None => {
                ready.driver = Some(driver.clone());
                None
            }
        }
    }

    fn poll_home(&mut self, chosen: HomeId, now: Instant) -> Result<(), Failure> {
        self.polls += 1;
        let polls_before = if self.instant.0 == now { self.instant.1 } else { 0 };
        self.instant = (now, polls_before + 1);
        if polls_before > POLLS_AT_AN_INSTANT_MAX {
            return Err(Failure::Livelock { polls: polls_before });
        }
        let Some(home) = self.homes.get_mut(chosen) else { return Ok(()) };
        let mut cx = Context::from_waker(&home.waker);
        // A home that has no task left stays open: more may be spawned.
        let _ = home.tasks.as_mut().poll(&mut cx);
        match self.panics.take() {
            Some(message) => Err(Failure::Panicked { message }),
            None => Ok(()),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let homes = std::mem::take(&mut self.homes);
        let Some(runtime) = self.runtime.take() else { return };
        {
            let _inside = runtime.enter();
            drop(homes);
        }
        drop(runtime);
    }
}

#[cfg(test)]
mod tests;
