//! The latest of a value, and those who follow it: one sets it, many are told that there is a newer one.
//!
//! Followers are woken in the order in which they began to wait. The channel of this kind that comes with tokio
//! wakes them in an order of its own, which differs from run to run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

struct Kept<T> {
    value: T,
    version: u64,
    is_closed: bool,
}

struct Shared<T> {
    kept: Mutex<Kept<T>>,
    changed: Notify,
}

impl<T> Shared<T> {
    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, how: impl FnOnce(&mut Kept<T>)) {
        how(&mut self.kept());
        self.changed.notify_waiters();
    }
}

/// Sets the value. Followers learn of its end.
pub(crate) struct Latest<T>(Arc<Shared<T>>);

impl<T> Latest<T> {
    pub(crate) fn new(value: T) -> Self {
        let kept = Mutex::new(Kept { value, version: 0, is_closed: false });
        Self(Arc::new(Shared { kept, changed: Notify::new() }))
    }

    pub(crate) fn set(&self, value: T) {
        self.0.change(|kept| {
            kept.value = value;
            kept.version += 1;
        });
    }

    /// A follower that has seen what is there now.
    pub(crate) fn follow(&self) -> Follower<T> {
        let seen = self.0.kept().version;
        Follower { shared: Arc::clone(&self.0), seen }
    }
}

impl<T> Drop for Latest<T> {
    fn drop(&mut self) {
        self.0.change(|kept| kept.is_closed = true);
    }
}

/// Nobody sets the value any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// Is told when there is a newer value than it has seen.
pub(crate) struct Follower<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl<T> Clone for Follower<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T: Clone> Follower<T> {
    /// The value. Whether it has been seen stays as it is.
    pub(crate) fn current(&self) -> T {
        self.shared.kept().value.clone()
    }

    /// The value, which counts as seen now.
    pub(crate) fn take(&mut self) -> T {
        let kept = self.shared.kept();
        self.seen = kept.version;
        kept.value.clone()
    }

    /// Waits for a value that was not seen; it counts as seen then. What is dropped before its end has seen
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`Closed`]: there will be none.
    pub(crate) async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            {
                let kept = self.shared.kept();
                if kept.version != self.seen {
                    self.seen = kept.version;
                    return Ok(());
                }
                if kept.is_closed {
                    return Err(Closed);
                }
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[tokio::test]
    async fn a_follower_learns_of_every_change_it_has_not_seen_and_of_the_end() {
        let latest = Latest::new(1);
        let mut follower = latest.follow();
        latest.set(2);
        latest.set(3);
        assert_eq!(follower.changed().await, Ok(()));
        assert_eq!(follower.current(), 3);
        latest.set(4);
        assert_eq!(follower.take(), 4);
        drop(latest);
        assert_eq!(follower.changed().await, Err(Closed), "4 was seen");
        assert_eq!(follower.current(), 4);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn followers_are_woken_in_the_order_in_which_they_wait() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let latest = Latest::new(0);
                let woken = Rc::new(RefCell::new(Vec::new()));
                let tasks: Vec<_> = (0..20)
                    .map(|number| {
                        let (mut follower, woken) = (latest.follow(), Rc::clone(&woken));
                        tokio::task::spawn_local(async move {
                            follower.changed().await.unwrap();
                            woken.borrow_mut().push(number);
                        })
                    })
                    .collect();
                tokio::task::yield_now().await;
                latest.set(1);
                for task in tasks {
                    task.await.unwrap();
                }
                assert_eq!(*woken.borrow(), (0..20).collect::<Vec<_>>());
            })
            .await;
    }
}
