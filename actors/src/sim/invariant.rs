//! The promises, one file each, checked against what nodes tell while they work and when all is at rest.

use super::failure::Failure;
use super::trace::Seen;

/// One promise.
pub trait Invariant {
    /// Its name, as the design and the table of invariants have it.
    fn name(&self) -> &'static str;

    /// A node told something. To be cheap: it is asked after every step.
    ///
    /// # Errors
    ///
    /// What was seen that must not be.
    fn saw(&mut self, seen: &Seen) -> Result<(), String>;

    /// A node's process ended, by order or by accident.
    fn ended(&mut self, node: &str) {
        let _ = node;
    }

    /// How often the promise could have been broken so far. A run in which that is 0 says nothing about it.
    fn exercised(&self) -> u64;
}

/// The promises of one run.
#[derive(Default)]
pub struct Invariants {
    all: Vec<Box<dyn Invariant>>,
}

impl Invariants {
    /// One more promise to check from now on.
    pub fn add(&mut self, invariant: Box<dyn Invariant>) {
        self.all.push(invariant);
    }

    /// How often each was tried.
    pub fn exercised(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.all.iter().map(|invariant| (invariant.name(), invariant.exercised()))
    }

    pub(super) fn saw(&mut self, seen: &Seen) -> Result<(), Failure> {
        for invariant in &mut self.all {
            let name = invariant.name();
            invariant.saw(seen).map_err(|what| Failure::Broken { invariant: name, what })?;
        }
        Ok(())
    }

    pub(super) fn ended(&mut self, node: &str) {
        for invariant in &mut self.all {
            invariant.ended(node);
        }
    }
}
