//! The graph of what a checker has explored, for a question it cannot answer: is an end reachable from everywhere?
//!
//! A model tells the graph which state is being expanded and which states its steps lead to. Afterwards the
//! graph is walked backwards from the ends, along those steps only that happen by themselves once nothing
//! goes wrong any more. A state that this walk does not reach can never end.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

/// A state's number, in the order of discovery.
type Number = u32;

/// What is known of the states of one run. A clone shows the same.
#[derive(Clone)]
pub(crate) struct Graph {
    known: Option<Arc<Mutex<Known>>>,
}

#[derive(Default)]
struct Known {
    numbers: HashMap<u64, Number>,
    prints: Vec<u64>,
    /// Whence each state was first reached; the first state from itself.
    parents: Vec<Number>,
    ends: Vec<Number>,
    /// Steps that happen by themselves, from and to.
    steps: Vec<(Number, Number)>,
    current: Number,
}

impl Known {
    fn number(&mut self, print: u64) -> Number {
        let next = Number::try_from(self.prints.len()).unwrap_or(Number::MAX);
        let parent = self.current;
        let (prints, parents) = (&mut self.prints, &mut self.parents);
        *self.numbers.entry(print).or_insert_with(|| {
            prints.push(print);
            parents.push(if next == 0 { 0 } else { parent });
            next
        })
    }
}

/// The print of a state. Two states with one print are taken for one; of 10 million states that happens to any
/// two with a chance of 1 in 300,000.
pub(crate) fn print_of(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// What the backward walk found.
pub(crate) struct Ends {
    /// States that are ends.
    pub(crate) ends: usize,
    /// States from which no end is reachable.
    pub(crate) stuck: usize,
    /// The prints of a shortest way to the first of those.
    pub(crate) way: Vec<u64>,
}

impl Graph {
    /// A graph that remembers.
    pub(crate) fn recording() -> Self {
        Self { known: Some(Arc::default()) }
    }

    /// A graph that forgets, where nobody will ask.
    pub(crate) fn forgetting() -> Self {
        Self { known: None }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Known) -> T) -> Option<T> {
        let known = self.known.as_ref()?;
        Some(f(&mut known.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The steps that follow start from this state.
    pub(crate) fn visit(&self, state: &impl Hash, is_end: impl FnOnce() -> bool) {
        self.with(|known| {
            let number = known.number(print_of(state));
            known.current = number;
            if is_end() {
                known.ends.push(number);
            }
        });
    }

    /// A step leads to this state.
    pub(crate) fn step(&self, to: &impl Hash, is_progress: bool) {
        self.with(|known| {
            let to = known.number(print_of(to));
            if is_progress {
                known.steps.push((known.current, to));
            }
        });
    }

    /// Walks backwards from all ends.
    pub(crate) fn ends(&self) -> Option<Ends> {
        self.with(|known| {
            let backward = Backward::of(known);
            let mut reaches = vec![false; known.prints.len()];
            let mut open = known.ends.clone();
            let mut ends = 0;
            for end in &known.ends {
                if let Some(mark @ false) = reaches.get_mut(*end as usize) {
                    *mark = true;
                    ends += 1;
                }
            }
            while let Some(state) = open.pop() {
                for from in backward.leading_to(state) {
                    if let Some(mark @ false) = reaches.get_mut(*from as usize) {
                        *mark = true;
                        open.push(*from);
                    }
                }
            }
            let stuck = reaches.iter().filter(|reaches| !**reaches).count();
            let first = reaches.iter().position(|reaches| !reaches);
            Ends { ends, stuck, way: first.map(|first| way_to(known, first)).unwrap_or_default() }
        })
    }
}

fn way_to(known: &Known, state: usize) -> Vec<u64> {
    let mut way = Vec::new();
    let mut at = state;
    while let (Some(print), Some(parent)) = (known.prints.get(at), known.parents.get(at)) {
        way.push(*print);
        if *parent as usize == at {
            break;
        }
        at = *parent as usize;
    }
    way.reverse();
    way
}

/// The steps, ordered by where they lead.
struct Backward {
    begins: Vec<u32>,
    from: Vec<Number>,
}

impl Backward {
    fn of(known: &Known) -> Self {
        let mut steps: Vec<(Number, Number)> =
            known.steps.iter().map(|(from, to)| (*to, *from)).collect();
        steps.sort_unstable();
        steps.dedup();
        let mut begins = Vec::with_capacity(known.prints.len() + 1);
        for (place, (to, _)) in steps.iter().enumerate() {
            while begins.len() <= *to as usize {
                begins.push(u32::try_from(place).unwrap_or(u32::MAX));
            }
        }
        let end = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        begins.resize(known.prints.len() + 1, end);
        Self { begins, from: steps.into_iter().map(|(_, from)| from).collect() }
    }

    fn leading_to(&self, state: Number) -> &[Number] {
        let place = state as usize;
        let ends = self.begins.get(place).zip(self.begins.get(place + 1));
        ends.and_then(|(begin, end)| self.from.get(*begin as usize..*end as usize))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_state_that_leads_to_no_end_is_found_with_the_way_to_it() {
        let graph = Graph::recording();
        let steps: BTreeMap<u8, &[(u8, bool)]> =
            [(0, &[(1, true), (2, false)][..]), (1, &[]), (2, &[(3, true)]), (3, &[(2, true)])]
                .into();
        for (from, to) in steps {
            graph.visit(&from, || from == 1);
            for (to, is_progress) in to {
                graph.step(to, *is_progress);
            }
        }
        let found = graph.ends().unwrap();
        assert_eq!((found.ends, found.stuck), (1, 2));
        assert_eq!(found.way, [print_of(&0_u8), print_of(&2_u8)]);
    }

    #[test]
    fn a_step_that_may_fail_to_happen_leads_nowhere() {
        let graph = Graph::recording();
        graph.visit(&0_u8, || false);
        graph.step(&1_u8, false);
        graph.visit(&1_u8, || true);
        assert_eq!(graph.ends().unwrap().stuck, 1);
    }
}
