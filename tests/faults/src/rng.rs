//! Random numbers from a seed, the same on every machine: a run is repeated by its seed.

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }

    /// Puts these into a random order.
    pub fn shuffle<T>(&mut self, these: &mut [T]) {
        for last in (1..these.len()).rev() {
            let other = self.below(last as u64 + 1);
            these.swap(last, usize::try_from(other).unwrap_or(0));
        }
    }
}

/// The seed of this run: the environment's, or `default`.
///
/// # Panics
/// When the variable holds no number.
#[must_use]
pub fn seed(default: u64) -> u64 {
    match std::env::var("HV_VSS_FAULTS_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("HV_VSS_FAULTS_SEED = \"{text}\" is no number")),
        Err(_) => default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
        let numbers = |seed| {
            let mut rng = Rng::new(seed);
            (0..8).map(|_| rng.number()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }

    #[test]
    fn shuffling_loses_nothing() {
        let mut these: Vec<u32> = (0..100).collect();
        Rng::new(3).shuffle(&mut these);
        assert_ne!(these, (0..100).collect::<Vec<_>>());
        these.sort_unstable();
        assert_eq!(these, (0..100).collect::<Vec<_>>());
    }
}
