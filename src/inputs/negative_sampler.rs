//! Draws the negatives of a sampled softmax, on the host.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::inputs::{Negative, Negatives};
use crate::options::check_classes;
use crate::reference::sampled_softmax::{expected_count, expected_unique_count, log_uniform_prob};
use crate::reference::sampling::philox4x32;
use crate::shape::Shape;
use crate::targets::{RowTarget, Targets};

/// Draws the negatives of a [`SampledSoftmax`](crate::SampledSoftmax) on the host, with how often each class is expected among
/// them. Random numbers are those of Philox 4×32-10: the same seed and step give the same negatives.
///
/// ```
/// use xent::{NegativeSampler, SampledSoftmaxInputs, Targets};
///
/// let targets = Targets::Classes(&[3, 5]);
/// let drawn = NegativeSampler::log_uniform(10)?.without_replacement().draw(1, 4, 42, 0)?;
/// let log_counts = drawn.log_counts(targets);
/// let inputs = SampledSoftmaxInputs::new(targets, &log_counts, drawn.negatives());
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct NegativeSampler {
    classes: usize,
    distribution: Distribution,
    is_unique: bool,
}

#[derive(Clone, Debug)]
enum Distribution {
    LogUniform,
    Given(Arc<Given>),
}

/// Weights of classes, and their sums up to each class, itself included.
#[derive(Debug)]
struct Given {
    weights: Vec<f64>,
    sums: Vec<f64>,
    /// The last class with a weight above 0, and the number of such classes.
    last: usize,
    possible: usize,
}

impl NegativeSampler {
    /// Log-uniform (Zipf's law): class k has probability ln((k + 2) / (k + 1)) / ln(classes + 1). For classes sorted by falling
    /// frequency, as the tokens of a vocabulary or the items of a catalogue.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for `classes` outside 1 to 2^31.
    pub fn log_uniform(classes: usize) -> Result<Self> {
        check_classes(classes)?;
        Ok(Self { classes, distribution: Distribution::LogUniform, is_unique: false })
    }

    /// In proportion to a weight for each class (classes,), such as how often each occurs, or that to the power of 0.75. A class
    /// of weight 0 is never drawn, and must not be a target whose count is asked for.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a weight that is negative or not finite, for weights whose sum is 0, and for a number of
    /// classes outside 1 to 2^31.
    pub fn of_weights(weights: &[f32]) -> Result<Self> {
        check_classes(weights.len())?;
        crate::inputs::check_weights("weights", Some(weights), weights.len())?;
        let weights: Vec<f64> = weights.iter().copied().map(f64::from).collect();
        let sums: Vec<f64> = weights
            .iter()
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let Some(last) = weights.iter().rposition(|&weight| weight > 0.0) else {
            return Err(Error::option("weights: their sum", 0.0, "above 0"));
        };
        let possible = weights.iter().filter(|&&weight| weight > 0.0).count();
        let given = Given { weights, sums, last, possible };
        let classes = given.weights.len();
        Ok(Self { classes, distribution: Distribution::Given(Arc::new(given)), is_unique: false })
    }

    /// Draws each class at most once: a class that was drawn already is drawn again, until there are enough.
    pub fn without_replacement(self) -> Self {
        Self { is_unique: true, ..self }
    }

    /// How many classes there are in all.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The probability of a class in one draw. 0 for one that is none.
    pub fn prob(&self, class: usize) -> f64 {
        match &self.distribution {
            Distribution::LogUniform => log_uniform_prob(class, self.classes),
            Distribution::Given(given) => {
                given.weights.get(class).map_or(0.0, |weight| weight / given.sums[given.last])
            }
        }
    }

    /// Draws `sets` sets of `count` negatives: one set for all rows of a batch, or one for each row. `step` is the number of the
    /// training step, so that each has draws of its own.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] without replacement, if `count` is above the number of classes that can be drawn, or if so many
    /// are not found in 64 draws for each class and each negative, because some classes are too rare.
    pub fn draw(&self, sets: usize, count: usize, seed: u64, step: u64) -> Result<DrawnNegatives> {
        let possible = match &self.distribution {
            Distribution::LogUniform => self.classes,
            Distribution::Given(given) => given.possible,
        };
        if self.is_unique && count > possible {
            let needed = "without replacement, at most the number of classes that can be drawn";
            return Err(Error::option("count", count as f64, needed));
        }
        let most = 64 * (self.classes as u64 + count as u64);
        let (mut negatives, mut tries) = (Vec::new(), Vec::new());
        for set in 0..sets {
            let mut draws = Draws::new(seed, step, set);
            let mut seen = HashSet::new();
            let start = negatives.len();
            while negatives.len() - start < count {
                if draws.made >= most && self.is_unique {
                    let needed = "without replacement, fewer, because some classes are too rare";
                    return Err(Error::option("count", count as f64, needed));
                }
                let class = self.class_at(draws.next());
                if !self.is_unique || seen.insert(class) {
                    negatives.push(Negative::new(class as u32, 0.0));
                }
            }
            tries.push(draws.made);
        }
        let mut drawn = DrawnNegatives { sampler: self.clone(), negatives, count, tries };
        for at in 0..drawn.negatives.len() {
            let class = drawn.negatives[at].class as usize;
            drawn.negatives[at].log_count = drawn.log_count(at / count, class) as f32;
        }
        Ok(drawn)
    }

    /// The class at a point of [0, 1).
    fn class_at(&self, point: f64) -> usize {
        match &self.distribution {
            // The inverse of the sum of the probabilities up to class k, ln(k + 2) / ln(classes + 1).
            Distribution::LogUniform => {
                let end = (point * (self.classes as f64 + 1.0).ln()).exp();
                (end as usize).clamp(1, self.classes) - 1
            }
            // A class of weight 0 has the sum of the one before, which is the first that exceeds the point.
            Distribution::Given(given) => {
                let point = point * given.sums[given.last];
                given.sums.partition_point(|&sum| sum <= point).min(given.last)
            }
        }
    }
}

/// The uniform numbers of one set.
struct Draws {
    counter: [u32; 3],
    key: [u32; 2],
    made: u64,
}

impl Draws {
    fn new(seed: u64, step: u64, set: usize) -> Self {
        let halves = |value: u64| [value as u32, (value >> 32) as u32];
        let ([low, high], [step_low, step_high]) = (halves(seed), halves(step));
        // Other numbers than those that draw tokens with the same seed.
        Self { counter: [set as u32, step_low, step_high], key: [low, high ^ 0x6e65_6761], made: 0 }
    }

    /// 53 bits, as a number in [0, 1).
    fn next(&mut self) -> f64 {
        let [set, low, high] = self.counter;
        let words = philox4x32([(self.made / 2) as u32, set, low, high], self.key);
        let at = (self.made % 2) as usize * 2;
        self.made += 1;
        let bits = u64::from(words[at]) << 32 | u64::from(words[at + 1]);
        (bits >> 11) as f64 * 2f64.powi(-53)
    }
}

/// Negatives that a [`NegativeSampler`] has drawn.
#[derive(Clone, Debug)]
pub struct DrawnNegatives {
    sampler: NegativeSampler,
    negatives: Vec<Negative>,
    count: usize,
    tries: Vec<u64>,
}

impl DrawnNegatives {
    /// The negatives as a loss takes them: shared if there is one set, and per row otherwise.
    pub fn negatives(&self) -> Negatives<'_> {
        if self.tries.len() == 1 {
            Negatives::Shared(&self.negatives)
        } else {
            Negatives::PerRow(&self.negatives)
        }
    }

    /// The negatives (sets, count), for a buffer of your own, and to look up their weights.
    pub fn values(&self) -> &[Negative] {
        &self.negatives
    }

    /// How many draws each set took (sets,): `count`, or more without replacement.
    pub fn tries(&self) -> &[u64] {
        &self.tries
    }

    /// The logarithm of how often a class is expected among the negatives of a set: of P·count, and without replacement of
    /// 1 − (1 − P)^tries. −∞ for a class that cannot be drawn.
    ///
    /// # Panics
    /// If `set` is not in 0..sets.
    pub fn log_count(&self, set: usize, class: usize) -> f64 {
        let (prob, tries) = (self.sampler.prob(class), self.tries[set]);
        if self.sampler.is_unique {
            expected_unique_count(prob, tries).ln()
        } else {
            expected_count(prob, self.count).ln()
        }
    }

    /// [`log_count`](Self::log_count) of each row's own class (rows,), in f32. 0 for a target that is no class, such as one that
    /// leaves its row out.
    pub fn log_counts<'t>(&self, targets: impl Into<Targets<'t>>) -> Vec<f32> {
        let targets = targets.into();
        let Some(rows) = targets.indices().map(|indices| indices.len()) else { return Vec::new() };
        let of_row = |row| {
            let RowTarget::Class(class) = targets.row(Shape::new(rows, 1), row) else { return 0.0 };
            let class = usize::try_from(class).ok().filter(|&class| class < self.sampler.classes);
            let set = if self.tries.len() == 1 { 0 } else { row.min(self.tries.len().saturating_sub(1)) };
            class.filter(|_| !self.tries.is_empty()).map_or(0.0, |class| self.log_count(set, class) as f32)
        };
        (0..rows).map(of_row).collect()
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    fn classes(drawn: &DrawnNegatives) -> Vec<u32> {
        drawn.values().iter().map(|negative| negative.class).collect()
    }

    #[test]
    fn worked_counts() {
        let sampler = NegativeSampler::log_uniform(10).expect("a sampler");
        let drawn = sampler.draw(1, 5, 1, 0).expect("negatives");
        assert_abs_diff_eq!(drawn.log_count(0, 0).exp(), 1.445324132, epsilon = 1e-9);
        let drawn = sampler.without_replacement().draw(3, 5, 1, 0).expect("negatives");
        for (set, &tries) in drawn.tries().iter().enumerate() {
            let expected = 1.0 - (1.0 - 0.289064826f64).powi(tries as i32);
            assert_abs_diff_eq!(drawn.log_count(set, 0).exp(), expected, epsilon = 1e-9);
        }
    }

    /// Each class is drawn as often as its probability says, within five standard deviations.
    #[test]
    fn frequencies() {
        let weights = [0.0, 3.0, 1.0, 0.0, 0.5, 1e-3, 0.0];
        for sampler in [NegativeSampler::log_uniform(7), NegativeSampler::of_weights(&weights)] {
            let sampler = sampler.expect("a sampler");
            let draws = 200_000;
            let drawn = sampler.draw(2, draws / 2, 5, 3).expect("negatives");
            let probs: Vec<f64> = (0..7).map(|class| sampler.prob(class)).collect();
            assert_abs_diff_eq!(probs.iter().sum::<f64>(), 1.0, epsilon = 1e-12);
            for (class, prob) in probs.iter().enumerate() {
                let found = classes(&drawn).iter().filter(|&&found| found as usize == class).count() as f64;
                let expected = prob * draws as f64;
                let slack = 5.0 * (expected * (1.0 - prob)).sqrt();
                assert!((found - expected).abs() <= slack, "{class}: {found}, {expected} ± {slack}");
            }
            assert_eq!(sampler.prob(7), 0.0);
        }
    }

    /// How often a class is in a set without replacement, beside the count that is told.
    #[test]
    fn counts_without_replacement() {
        let sampler = NegativeSampler::log_uniform(20).expect("a sampler").without_replacement();
        let sets = 20_000;
        let drawn = sampler.draw(sets, 6, 9, 0).expect("negatives");
        for set in classes(&drawn).chunks(6) {
            assert_eq!(set.iter().collect::<HashSet<_>>().len(), 6, "{set:?}");
        }
        for class in 0..20 {
            let found = classes(&drawn).iter().filter(|&&found| found as usize == class).count() as f64;
            let told: f64 = (0..sets).map(|set| drawn.log_count(set, class).exp()).sum();
            assert!((found / told - 1.0).abs() < 0.08, "{class}: {found}, {told}");
        }
    }

    #[test]
    fn seeds_steps_and_sets() {
        let sampler = NegativeSampler::log_uniform(1_000_000).expect("a sampler");
        let of = |seed, step| classes(&sampler.draw(2, 50, seed, step).expect("negatives"));
        assert_eq!(of(1, 2), of(1, 2));
        let all = [of(1, 2), of(1, 3), of(2, 2), of(1 << 32, 2), of(1, 2 << 32)];
        for (i, a) in all.iter().enumerate() {
            assert_ne!(a[..50], a[50..]);
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn edges_and_errors() {
        let one = NegativeSampler::of_weights(&[0.0, 2.0]).expect("a sampler");
        let drawn = one.clone().without_replacement().draw(1, 1, 0, 0).expect("a negative");
        assert_eq!(drawn.values(), [Negative::new(1, 0.0)]);
        assert_eq!(one.draw(1, 0, 0, 0).expect("none").values(), []);
        assert_eq!(one.draw(0, 3, 0, 0).expect("none").log_counts(&[1]), [0.0]);
        assert_eq!(drawn.log_counts(&[1, -100, 7, 0]), [0.0, 0.0, 0.0, f32::NEG_INFINITY]);
        let option = |error: Option<Error>| match error {
            Some(Error::InvalidOption { option, .. }) => option,
            other => panic!("{other:?}"),
        };
        assert_eq!(option(one.without_replacement().draw(1, 2, 0, 0).err()), "count");
        let rare = NegativeSampler::of_weights(&[1.0, 1e-30]).expect("a sampler").without_replacement();
        assert_eq!(option(rare.draw(1, 2, 0, 0).err()), "count");
        assert_eq!(option(NegativeSampler::log_uniform(0).err()), "classes");
        assert_eq!(option(NegativeSampler::of_weights(&[]).err()), "classes");
        assert_eq!(option(NegativeSampler::of_weights(&[0.0; 3]).err()), "weights: their sum");
        assert_eq!(option(NegativeSampler::of_weights(&[1.0, -1.0]).err()), "weights");
        assert_eq!(option(NegativeSampler::of_weights(&[1.0, f32::NAN]).err()), "weights");
    }
}
