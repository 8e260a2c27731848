//! What several runs of one measurement say: the median, and how far apart they were.

use std::fmt;

use serde::Serialize;

/// Lowest, middle and highest of some figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    /// Of figures in any order. Of an even number, the median is the higher of the two in the middle; of
    /// none, everything is "not a number".
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let at = |place: usize| figures.get(place).copied().unwrap_or(f64::NAN);
        let last = figures.len().saturating_sub(1);
        Self { low: at(0), median: at(figures.len() / 2), high: at(last) }
    }
}

impl fmt::Display for Spread {
    /// `median (low..high)`, with as many digits as asked for; the median alone where nothing differs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Self { low, median, high } = self;
        write!(f, "{median:.digits$}")?;
        if low < high {
            write!(f, " ({low:.digits$}..{high:.digits$})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_median_and_extremes_in_any_order_of_the_runs() {
        let seconds = Spread::of(vec![4.0, 1.0, 2.0]);
        assert_eq!(format!("{seconds:.1}"), "2.0 (1.0..4.0)");
    }

    #[test]
    fn one_run_has_no_spread() {
        assert_eq!(format!("{:.1}", Spread::of(vec![3.0])), "3.0");
    }
}
