//! What a client does while time passes.

use std::cell::RefCell;
use std::rc::Rc;

/// Something a client does while time passes.
pub struct Pending<T> {
    result: Rc<RefCell<Option<T>>>,
}

impl<T> Pending<T> {
    /// A task's result to come, and what is to be run for it.
    pub(super) fn of(task: impl Future<Output = T>) -> (Self, impl Future<Output = ()>) {
        let result = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&result);
        let run = async move {
            let done = task.await;
            *slot.borrow_mut() = Some(done);
        };
        (Self { result }, run)
    }

    /// Its result, once, if it has ended.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.result.borrow_mut().take()
    }

    /// Whether it has ended and its result was not taken.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.result.borrow().is_some()
    }
}
