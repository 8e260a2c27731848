//! Where the work of `Async` answers runs: off the arbiter, on a bounded pool.
//!
//! In the simulator, and where there is nothing to gain from threads, the work runs where it is asked for,
//! after the present turn.

use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

/// Pieces of work that may wait for a thread.
const QUEUE: usize = 1_024;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of workers. Clones share it.
#[derive(Clone)]
pub enum Workers {
    /// On this thread, one turn later.
    Here,
    /// On threads of their own.
    Threads(Arc<mpsc::SyncSender<Job>>),
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Here => "Here",
            Self::Threads(_) => "Threads",
        })
    }
}

/// The work was not done: all workers are busy and the queue is full, or the work panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WorkFailed {
    /// Nothing was started.
    #[error("all workers are busy and {QUEUE} pieces of work wait")]
    Full,
    /// It was started and did not end.
    #[error("the work ended without a result")]
    Panicked,
}

impl Workers {
    /// A pool of `count` threads. They end when the last clone of the pool is gone and the queue is empty.
    ///
    /// # Errors
    ///
    /// The system's error if a thread cannot be started.
    pub fn threads(count: usize) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::sync_channel::<Job>(QUEUE);
        let jobs = Arc::new(std::sync::Mutex::new(jobs));
        for number in 0..count.max(1) {
            let jobs = Arc::clone(&jobs);
            let builder = std::thread::Builder::new().name(format!("worker-{number}"));
            #[expect(clippy::disallowed_methods, reason = "the one place that starts workers")]
            builder.spawn(move || run_jobs(&jobs))?;
        }
        Ok(Self::Threads(Arc::new(queue)))
    }

    /// Runs a piece of work and gives its result.
    ///
    /// # Errors
    ///
    /// [`WorkFailed`] says whether it was started.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkFailed> {
        let (done, result) = oneshot::channel();
        match self {
            Self::Here => {
                tokio::task::yield_now().await;
                return Ok(work());
            }
            Self::Threads(queue) => {
                let job: Job = Box::new(move || {
                    let _ = done.send(work());
                });
                queue.try_send(job).map_err(|_| WorkFailed::Full)?;
            }
        }
        result.await.map_err(|_| WorkFailed::Panicked)
    }
}

fn run_jobs(jobs: &std::sync::Mutex<mpsc::Receiver<Job>>) {
    loop {
        let next = match jobs.lock() {
            Ok(jobs) => jobs.recv(),
            Err(_) => return,
        };
        let Ok(job) = next else { return };
        // A panic is told by the dropped result; the thread goes on.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_gives_its_result_here_and_on_threads() {
        assert_eq!(Workers::Here.run(|| 1 + 1).await, Ok(2));
        assert_eq!(Workers::threads(2).unwrap().run(|| 1 + 2).await, Ok(3));
    }

    #[tokio::test]
    async fn a_panic_is_told_and_the_pool_goes_on() {
        let pool = Workers::threads(1).unwrap();
        let failed = pool.run(|| assert_eq!(1, 2, "a piece of work that fails")).await;
        assert_eq!(failed, Err(WorkFailed::Panicked));
        assert_eq!(pool.run(|| 4).await, Ok(4));
    }
}
