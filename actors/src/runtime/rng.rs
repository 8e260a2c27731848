//! The node's randomness: one seeded generator, handed out.
//!
//! The seed comes from outside. The node program draws it from the operating system, the simulator
//! from the seed of the run. Not for secrets: 64 bits of seed can be guessed.

use std::sync::{Arc, Mutex, PoisonError};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng};
use xxhash_rust::xxh3::xxh3_64;

/// A handle on a seeded generator. Clones draw from the same stream; [`Rng::fork`] gives another.
///
/// `ChaCha` with 8 rounds: its stream is fixed by a specification, so a seed means the same run in every
/// version of the crate.
#[derive(Debug, Clone)]
pub struct Rng {
    key: [u8; 32],
    stream: Arc<Mutex<ChaCha8Rng>>,
}

impl Rng {
    /// A generator whose draws follow from `seed` alone.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut key = [0; 32];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut key);
        Self::from_key(key)
    }

    fn from_key(key: [u8; 32]) -> Self {
        Self { key, stream: Arc::new(Mutex::new(ChaCha8Rng::from_seed(key))) }
    }

    /// A generator of its own for one purpose. Depends on this one's seed and `label`, not on what was
    /// drawn so far: a new purpose does not change what the others draw. The same label again gives the
    /// same draws again.
    #[must_use]
    pub fn fork(&self, label: &str) -> Self {
        let mut branch = ChaCha8Rng::from_seed(self.key);
        // Stream 0 is the one this handle itself draws from.
        branch.set_stream(xxh3_64(label.as_bytes()) | 1);
        let mut key = [0; 32];
        branch.fill_bytes(&mut key);
        Self::from_key(key)
    }

    /// The next 64 random bits.
    #[must_use]
    pub fn next_u64(&self) -> u64 {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    /// A number from 0 to `bound - 1`, each equally likely. 0 for a bound of 0, so that a place in an
    /// empty list is looked up and not found.
    ///
    /// Source: Lemire, "Fast Random Integer Generation in an Interval", 2019.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            let (high, low) = ((product >> 64) as u64, product as u64);
            // 2^64 mod bound values are drawn again; without that the low results would be likelier. There are
            // less of them than `bound`, so that it is seldom divided.
            if low >= bound || low >= bound.wrapping_neg().checked_rem(bound).unwrap_or(0) {
                return high;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(rng: &Rng) -> Vec<u64> {
        (0..4).map(|_| rng.next_u64()).collect()
    }

    #[test]
    fn a_seed_repeats_in_every_version() {
        assert_eq!(draws(&Rng::seeded(7)), draws(&Rng::seeded(7)));
        assert_ne!(draws(&Rng::seeded(7)), draws(&Rng::seeded(8)));
        assert_eq!(Rng::seeded(1).next_u64(), GOLDEN, "old seeds would mean other runs");
    }

    const GOLDEN: u64 = 4_161_021_452_045_807_583;

    #[test]
    fn a_fork_depends_on_its_label_and_not_on_earlier_draws() {
        let rng = Rng::seeded(7);
        let before = draws(&rng.fork("claim"));
        let _ = draws(&rng);
        assert_eq!(draws(&rng.fork("claim")), before);
        assert_ne!(draws(&rng.fork("gossip")), before);
        assert_ne!(draws(&Rng::seeded(8).fork("claim")), before);
    }

    #[test]
    fn clones_share_one_stream() {
        let (shared, alone) = (Rng::seeded(7), Rng::seeded(7));
        let pair = [shared.clone().next_u64(), shared.next_u64()];
        assert_eq!(pair, [alone.next_u64(), alone.next_u64()]);
    }

    #[test]
    fn every_number_below_the_bound_comes_and_none_above() {
        let rng = Rng::seeded(3);
        let mut seen = [0_u32; 5];
        for _ in 0..5_000 {
            seen[usize::try_from(rng.below(5)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| (850..1_150).contains(&count)), "{seen:?}");
        assert_eq!((rng.below(1), rng.below(0)), (0, 0));
    }
}
