//! `Answered`: every request ends by its deadline, with a value or a typed error. Whoever plays the client notes
//! when a request begins and when it ends.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::rest::{Account, Judged};
use crate::sim::failure::Failure;

/// The invariant's name.
pub(super) const NAME: &str = "Answered";

/// No node has a command whose client waits, or whose replicas are still asked.
pub(super) fn at_rest(judged: &Judged<'_>) -> Result<u64, String> {
    let busy = |account: &&&Account| account.requests.waiting + account.requests.tails > 0;
    match judged.accounts.iter().find(busy) {
        Some(busy) => Err(format!("{} still has requests: {:?}", busy.name, busy.requests)),
        None => Ok(judged.accounts.iter().map(|it| it.requests.met + it.requests.failed).sum()),
    }
}

/// How late an answer may be: timers tick in milliseconds.
const LATE_MAX: Duration = Duration::from_millis(10);

struct Open {
    what: String,
    node: String,
    until: Instant,
    /// Whether its node was stopped meanwhile, and could not keep time.
    is_excused: bool,
}

#[derive(Default)]
struct Kept {
    open: BTreeMap<u64, Open>,
    begun: u64,
    ended: u64,
    paused: BTreeSet<String>,
    broken: Option<String>,
}

/// The requests of all clients of a cluster. Clones are the same one.
#[derive(Clone, Default)]
pub struct Requests(Rc<RefCell<Kept>>);

/// One request whose answer has not come.
#[must_use = "say when it has ended"]
pub struct OpenRequest {
    requests: Requests,
    number: u64,
}

impl Requests {
    /// A client asks a node something, now. To be called inside the runtime: in a client's task.
    pub fn begun(&self, node: &str, what: &str, deadline: Duration) -> OpenRequest {
        let mut kept = self.0.borrow_mut();
        kept.begun += 1;
        let number = kept.begun;
        let open = Open {
            what: what.to_owned(),
            node: node.to_owned(),
            until: Instant::now() + deadline,
            is_excused: kept.paused.contains(node),
        };
        kept.open.insert(number, open);
        OpenRequest { requests: self.clone(), number }
    }

    /// Requests whose answer has come.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.0.borrow().ended
    }

    /// Requests whose answer has not come.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.borrow().open.len()
    }

    /// A node stops, and does not know how long for.
    pub(in crate::sim) fn paused(&self, node: &str) {
        let mut kept = self.0.borrow_mut();
        kept.paused.insert(node.to_owned());
        for open in kept.open.values_mut().filter(|open| open.node == node) {
            open.is_excused = true;
        }
    }

    pub(in crate::sim) fn resumed(&self, node: &str) {
        self.0.borrow_mut().paused.remove(node);
    }

    /// Whether any answer has come late.
    pub(in crate::sim) fn check(&self) -> Result<(), Failure> {
        match &self.0.borrow().broken {
            Some(what) => Err(Failure::Broken { invariant: NAME, what: what.clone() }),
            None => Ok(()),
        }
    }

    /// The same, or whether one that is overdue has not come at all.
    pub(super) fn check_all(&self, now: Instant) -> Result<(), Failure> {
        self.check()?;
        let kept = self.0.borrow();
        match kept.open.values().find(|open| !open.is_excused && open.until + LATE_MAX < now) {
            Some(Open { what, node, .. }) => {
                let what = format!("{node} has never answered: {what}");
                Err(Failure::Broken { invariant: NAME, what })
            }
            None => Ok(()),
        }
    }
}

impl OpenRequest {
    /// The answer has come, now.
    pub fn ended(self) {
        let mut kept = self.requests.0.borrow_mut();
        let Some(open) = kept.open.remove(&self.number) else { return };
        kept.ended += 1;
        let late = Instant::now().duration_since(open.until);
        if late > LATE_MAX && !open.is_excused {
            let Open { what, node, .. } = open;
            kept.broken.get_or_insert(format!("{node} answers {late:?} too late: {what}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_time_is_one() {
        let requests = Requests::default();
        let asked = requests.begun("ada", "a put", SECOND);
        assert_eq!(requests.open(), 1);
        tokio::time::advance(SECOND).await;
        asked.ended();
        assert_eq!((requests.open(), requests.answered()), (0, 1));
        assert_eq!(requests.check_all(Instant::now()), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_is_told_by_its_node_and_question() {
        let requests = Requests::default();
        let asked = requests.begun("ada", "a put", SECOND);
        tokio::time::advance(SECOND * 2).await;
        asked.ended();
        let what = "ada answers 1s too late: a put".to_owned();
        assert_eq!(requests.check(), Err(Failure::Broken { invariant: NAME, what }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_is_told_once_it_is_overdue() {
        let requests = Requests::default();
        let asked = requests.begun("ada", "a put", SECOND);
        assert_eq!(requests.check_all(Instant::now()), Ok(()));
        tokio::time::advance(SECOND * 2).await;
        drop(asked);
        assert!(requests.check_all(Instant::now()).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_was_stopped_could_not_keep_time() {
        let requests = Requests::default();
        let asked = requests.begun("ada", "a put", SECOND);
        let other = requests.begun("bob", "a get", SECOND);
        requests.paused("ada");
        let during = requests.begun("ada", "a get", SECOND);
        tokio::time::advance(SECOND * 2).await;
        requests.resumed("ada");
        asked.ended();
        during.ended();
        assert_eq!(requests.check(), Ok(()));
        other.ended();
        assert!(requests.check().is_err(), "bob was not stopped");
    }
}
