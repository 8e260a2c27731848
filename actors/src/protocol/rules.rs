//! By which rules a protocol value decides: those of the shipped protocol, whole.
//!
//! A build for mutation tests (`--cfg tanodb_mutants`) can have one rule broken, or two that cover for each
//! other, to see that the tests notice. There the default is what the process was started with (`broken.rs`), so
//! that any test can be seen to fail. In every other build a [`Rules`] has no content and nothing asks it.

#[cfg(tanodb_mutants)]
pub use super::mutant::Mutant;

/// The rules a node decides by, from its settings down to each protocol value.
#[cfg_attr(not(tanodb_mutants), derive(Default))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rules {
    #[cfg(tanodb_mutants)]
    broken: [Option<Mutant>; 2],
}

#[cfg(tanodb_mutants)]
impl Default for Rules {
    fn default() -> Self {
        crate::broken::rules()
    }
}

#[cfg(tanodb_mutants)]
impl Rules {
    /// The shipped protocol, whatever this process was started with.
    #[must_use]
    pub fn whole() -> Self {
        Self { broken: [None; 2] }
    }

    /// The protocol with one rule broken.
    #[must_use]
    pub fn broken_by(mutant: Mutant) -> Self {
        Self { broken: [Some(mutant), None] }
    }

    /// The protocol with two rules broken that cover for each other.
    #[must_use]
    pub fn broken_by_both(first: Mutant, second: Mutant) -> Self {
        Self { broken: [Some(first), Some(second)] }
    }

    /// Whether this rule is broken.
    #[must_use]
    pub fn breaks(self, mutant: Mutant) -> bool {
        self.broken.contains(&Some(mutant))
    }

    /// What is broken.
    pub fn mutants(self) -> impl Iterator<Item = Mutant> {
        self.broken.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(not(tanodb_mutants))]
    #[test]
    fn the_shipped_rules_are_nothing_but_a_name() {
        assert_eq!(size_of::<super::Rules>(), 0);
    }

    #[cfg(tanodb_mutants)]
    #[test]
    fn only_the_chosen_mutants_break_a_rule() {
        use super::{Mutant, Rules};

        let [first, second, third, ..] = Mutant::ALL else { panic!("three at least") };
        let both = Rules::broken_by_both(*first, *second);
        assert!(both.breaks(*first) && both.breaks(*second) && !both.breaks(*third));
        assert!(Mutant::ALL.iter().all(|mutant| !Rules::whole().breaks(*mutant)));
    }
}
