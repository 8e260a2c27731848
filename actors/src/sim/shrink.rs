//! The search for the smallest plan of a run that still fails.
//!
//! Owns: which smaller plans are tried and in which order. What a plan is and how it is run is the caller's
//! business ([`Shrinks`]). The search is a function of the plan and of what fails: no clock, no chance.

#[cfg(test)]
mod tests;

/// A plan made of lists of parts (faults, operations) and of numbers that can be lower (the size of the
/// cluster).
pub trait Shrinks: Clone {
    /// How many parts each of its lists has. The lists are shrunk in this order.
    fn lengths(&self) -> Vec<usize>;

    /// The plan with only these parts of one list: positions in it, ascending. The other lists and the
    /// numbers stay.
    #[must_use]
    fn keeping(&self, list: usize, kept: &[usize]) -> Self;

    /// The plan with one of its numbers lower, in each way that is worth a run; the boldest first. Each
    /// must be smaller than this plan, so that the search ends.
    fn lowered(&self) -> Vec<Self>;
}

/// What a search has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk<Plan> {
    /// The smallest plan that was found to fail.
    pub plan: Plan,
    /// Runs that it took.
    pub runs: usize,
    /// Whether no part can be left out and no number lowered, each alone. If not, the budget was spent.
    pub is_minimal: bool,
}

/// The plan does not fail when it is run again: the run depends on more than its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the plan does not fail again, so the run depends on more than its plan")]
pub struct NotRepeated;

/// Makes a failing plan smaller until nothing more can be left out, or `budget` runs are spent.
///
/// `fails` runs a plan and says whether it fails in the way that is looked for; it should not take another
/// failure for it. Each list is shrunk by delta debugging (halves, then finer pieces, each alone and all
/// but it, down to single parts), then the numbers are lowered, and all again until nothing changes: what is
/// not needed in one list is often seen only when another is short.
/// Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002, `ddmin`; without
/// its subsets where they were complements before.
///
/// # Errors
///
/// [`NotRepeated`], after one run.
pub fn shrink<Plan: Shrinks>(
    plan: Plan,
    fails: impl FnMut(&Plan) -> bool,
    budget: usize,
) -> Result<Shrunk<Plan>, NotRepeated> {
    let mut search = Search { fails, runs: 0, budget };
    if search.fails(&plan) != Some(true) {
        return Err(NotRepeated);
    }
    let mut plan = plan;
    loop {
        match search.round(&mut plan) {
            Some(true) => {}
            Some(false) => return Ok(Shrunk { plan, runs: search.runs, is_minimal: true }),
            None => return Ok(Shrunk { plan, runs: search.runs, is_minimal: false }),
        }
    }
}

struct Search<Fails> {
    fails: Fails,
    runs: usize,
    budget: usize,
}

/// Answers with nothing when the budget is spent; `plan` is then as small as was found.
impl<Fails> Search<Fails> {
    fn fails<Plan>(&mut self, plan: &Plan) -> Option<bool>
    where
        Fails: FnMut(&Plan) -> bool,
    {
        // The first run is needed to know anything at all.
        if self.runs >= self.budget.max(1) {
            return None;
        }
        self.runs += 1;
        Some((self.fails)(plan))
    }

    /// Shrinks everything once. Whether anything has become smaller.
    fn round<Plan: Shrinks>(&mut self, plan: &mut Plan) -> Option<bool>
    where
        Fails: FnMut(&Plan) -> bool,
    {
        let mut is_smaller = false;
        for list in 0..plan.lengths().len() {
            is_smaller |= self.shrink_list(plan, list)?;
        }
        while let Some(lower) = self.first_failing(plan.lowered())? {
            *plan = lower;
            is_smaller = true;
        }
        Some(is_smaller)
    }

    fn shrink_list<Plan: Shrinks>(&mut self, plan: &mut Plan, list: usize) -> Option<bool>
    where
        Fails: FnMut(&Plan) -> bool,
    {
        let mut is_smaller = false;
        let mut pieces = 1;
        loop {
            let length = plan.lengths().get(list).copied().unwrap_or(0);
            if length == 0 {
                return Some(is_smaller);
            }
            pieces = pieces.min(length);
            match self.first_failing(without_pieces(plan, list, length, pieces))? {
                Some(smaller) => {
                    let left = smaller.lengths().get(list).copied().unwrap_or(0);
                    // One piece is left: it is cut in halves anew. Else the others keep their size.
                    pieces = if 2 * left <= length { 2 } else { pieces - 1 };
                    *plan = smaller;
                    is_smaller = true;
                }
                None if pieces >= length => return Some(is_smaller),
                None => pieces *= 2,
            }
        }
    }

    fn first_failing<Plan>(
        &mut self,
        candidates: impl IntoIterator<Item = Plan>,
    ) -> Option<Option<Plan>>
    where
        Fails: FnMut(&Plan) -> bool,
    {
        for candidate in candidates {
            if self.fails(&candidate)? {
                return Some(Some(candidate));
            }
        }
        Some(None)
    }
}

/// A list cut in so many pieces: first each piece alone, then all but each. Lazily: most are never built.
fn without_pieces<Plan: Shrinks>(
    plan: &Plan,
    list: usize,
    length: usize,
    pieces: usize,
) -> impl Iterator<Item = Plan> {
    let piece = move |number: usize| (number * length / pieces)..((number + 1) * length / pieces);
    let keeping = move |is_kept: &dyn Fn(usize) -> bool| {
        let kept: Vec<usize> = (0..length).filter(|position| is_kept(*position)).collect();
        plan.keeping(list, &kept)
    };
    // One piece alone is the plan itself, and one of two is all but the other.
    let alone = (0..pieces).filter(move |_| pieces > 2);
    let alone = alone.map(move |number| keeping(&|position| piece(number).contains(&position)));
    let others =
        (0..pieces).map(move |number| keeping(&|position| !piece(number).contains(&position)));
    alone.chain(others)
}
