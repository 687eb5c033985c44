//! The share of each class in a row's target.

use crate::options::CrossEntropyOptions;
use crate::targets::RowTarget;

/// The factors of each class's `ℓ_j = −ln p_j` in a row's loss, in two parts. A class that is not part of the target
/// has exactly 0, whatever its weight is.
pub(super) struct Shares {
    /// `(1 − ε)·w_j·q_j` (cols,): the target's own part. NaN throughout if one of its probabilities is NaN or infinite.
    pub own: Vec<f64>,
    /// `(ε / C)·w_j` (cols,): the label smoothing part.
    pub smoothing: Vec<f64>,
    /// The class, if the target is a class index. Focal loss is only for these.
    pub class: Option<usize>,
    /// Whether each class has its own probability.
    pub is_soft: bool,
}

impl Shares {
    /// `None` if the target names a class outside 0..cols, or if a class that it uses has a weight that is negative,
    /// NaN or infinite. Such a row has a NaN loss and no gradient. Soft targets and label smoothing use every class.
    pub fn new(
        target: &RowTarget<'_>,
        class_weights: Option<&[f32]>,
        cols: usize,
        options: &CrossEntropyOptions,
    ) -> Option<Self> {
        let epsilon = f64::from(options.label_smoothing);
        let in_range = |index: i64| usize::try_from(index).ok().filter(|&class| class < cols);
        // q_j, and whether the target uses w_j.
        let mut probs = vec![0.0; cols];
        let mut uses = vec![epsilon > 0.0; cols];
        let mut class = None;
        match target {
            RowTarget::Class(index) => {
                let named = in_range(*index)?;
                (probs[named], uses[named], class) = (1.0, true, Some(named));
            }
            RowTarget::Soft(of_class) => {
                uses.fill(true);
                for (class, prob) in probs.iter_mut().enumerate() {
                    *prob = of_class.get(class).map_or(f64::NAN, |&q| f64::from(q));
                }
            }
            RowTarget::Sparse { indices, probs: entries } => {
                let named = |&(_, &index): &(usize, &i32)| index != options.ignore_index;
                for (at, &index) in indices.iter().enumerate().filter(named) {
                    let named = in_range(index.into())?;
                    probs[named] += entries.get(at).map_or(f64::NAN, |&prob| f64::from(prob));
                    uses[named] = true;
                }
            }
        }

        let weight = |class: usize| match class_weights {
            Some(weights) => weights.get(class).map_or(f64::NAN, |&w| f64::from(w)),
            None => 1.0,
        };
        let is_valid = |weight: f64| weight >= 0.0 && weight.is_finite();
        if (0..cols).any(|class| uses[class] && !is_valid(weight(class))) {
            return None;
        }
        let mut own: Vec<f64> =
            (0..cols).map(|class| product(probs[class], (1.0 - epsilon) * weight(class))).collect();
        if probs.iter().any(|q| !q.is_finite()) {
            own.fill(f64::NAN);
        }
        let smoothing = (0..cols).map(|class| product(epsilon / cols as f64, weight(class))).collect();
        Some(Self { own, smoothing, class, is_soft: matches!(target, RowTarget::Soft(_)) })
    }

    /// The sum of both parts for each class (cols,).
    pub fn all(&self) -> Vec<f64> {
        self.own.iter().zip(&self.smoothing).map(|(own, smoothing)| own + smoothing).collect()
    }

    /// Whether one of the target's probabilities is NaN or infinite.
    pub fn are_nan(&self) -> bool {
        self.own.iter().any(|share| share.is_nan())
    }
}

/// factor · value, where a factor of 0 removes the term: 0 · ∞ = 0.
pub(super) fn product(factor: f64, value: f64) -> f64 {
    if factor == 0.0 { 0.0 } else { factor * value }
}
