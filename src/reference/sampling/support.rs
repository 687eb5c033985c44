//! The classes of a row that the steps of sampling leave, and their weights: by a full sort of the row.

use std::cmp::Ordering;

use crate::element::Element;
use crate::flags::Flags;
use crate::options::{Sampling, Step, StepOrder, share_of_32_bits};
use crate::reference::sampling::{Purpose, row_words};

/// What a row's tokens are drawn from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Support {
    /// Weights (cols,): exp((x − max) / T) in fixed point, rounded down, where max is the largest logit that is left.
    /// There are 46 bits behind the point for up to 2^18 − 1 classes, and one fewer for each doubling, so that the sum
    /// of all weights fits into 64 bits. 0 for classes that were left out.
    pub weights: Vec<u64>,
    /// Log-probabilities (cols,), −∞ for classes that were left out.
    pub log_probs: Vec<f64>,
    /// Whether no token can be drawn, and why.
    pub flags: Flags,
}

impl Support {
    /// How many classes are left.
    pub fn kept(&self) -> u32 {
        self.log_probs.iter().filter(|log_p| log_p.is_finite()).count() as u32
    }

    /// The sum of the weights.
    pub fn total(&self) -> u64 {
        self.weights.iter().sum()
    }

    /// The point of a draw, below the sum of the weights: a random number of 64 bits (the first two words of
    /// [`row_words`], the low one first) times the sum, divided by 2^64.
    pub fn point(&self, sampling: &Sampling, draw: u32) -> u64 {
        let [low, high, ..] = row_words(sampling.seed, sampling.counter, draw, Purpose::Draw, 0);
        let uniform = u64::from(high) << 32 | u64::from(low);
        ((u128::from(uniform) * u128::from(self.total())) >> 64) as u64
    }

    /// The class at a point: the first, in the order of classes, at which the cumulative sum of the weights exceeds it.
    /// A class of weight 0 is never drawn.
    pub fn draw(&self, point: u64) -> Option<usize> {
        let mut sum = 0;
        self.weights.iter().position(|weight| {
            sum += weight;
            sum > point
        })
    }
}

/// The bits behind the point of the weights in a row of this many classes.
pub(super) fn fraction_bits(cols: usize) -> u32 {
    (cols as u64).leading_zeros().min(46)
}

/// The classes that are left of one row of logits (cols,), and their weights.
///
/// Classes are in the order of falling logits, and of rising index among equals; −0 equals +0. A class whose logit is
/// −∞ is never in the support. A NaN or +∞ among the logits, or only −∞, leaves nothing, and the flags say so.
pub fn support_row<E: Element>(row: &[E], sampling: &Sampling, order: StepOrder) -> Support {
    let mut support = Support {
        weights: vec![0; row.len()],
        log_probs: vec![f64::NEG_INFINITY; row.len()],
        flags: flags(row),
    };
    if support.flags.is_empty() && !row.is_empty() && sampling.check().is_ok() {
        let (alive, temperature) = Chain::new(row, sampling, order).run();
        let scores: Vec<f64> = row.iter().map(|x| x.to_f64()).collect();
        let max = alive.iter().map(|&class| scores[class]).fold(f64::NEG_INFINITY, f64::max);
        let one = 2f64.powi(fraction_bits(row.len()) as i32);
        let score = |class: usize| (scores[class] - max) / temperature;
        for &class in &alive {
            support.weights[class] = (score(class).exp() * one) as u64;
        }
        let log_sum = (support.total() as f64 / one).ln();
        for &class in &alive {
            support.log_probs[class] = score(class) - log_sum;
        }
    }
    support
}

fn flags<E: Element>(row: &[E]) -> Flags {
    let has = |is: fn(f64) -> bool| row.iter().any(|x| is(x.to_f64()));
    if has(f64::is_nan) {
        Flags::NAN_LOGIT
    } else if has(|x| x == f64::INFINITY) {
        Flags::INFINITE_LOGIT
    } else if !has(f64::is_finite) {
        Flags::MASKED_ROW
    } else {
        Flags::empty()
    }
}

/// The classes that are left, in order.
struct Chain<'a> {
    alive: Vec<usize>,
    scores: Vec<f64>,
    max: f64,
    one: f64,
    temperature: f64,
    sampling: &'a Sampling,
    order: StepOrder,
}

impl<'a> Chain<'a> {
    fn new<E: Element>(row: &[E], sampling: &'a Sampling, order: StepOrder) -> Self {
        let scores: Vec<f64> = row.iter().map(|x| x.to_f64()).collect();
        let mut alive: Vec<usize> = (0..row.len()).filter(|&class| scores[class].is_finite()).collect();
        // The sort is stable.
        alive.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap_or(Ordering::Equal));
        let max = scores[alive[0]];
        Self {
            alive,
            scores,
            max,
            one: 2f64.powi(fraction_bits(row.len()) as i32),
            temperature: f64::from(order.truncation_temperature(sampling.temperature)),
            sampling,
            order,
        }
    }

    /// The classes that are left in the end, and the temperature of the draw.
    fn run(mut self) -> (Vec<usize>, f64) {
        if self.sampling.is_greedy() {
            self.alive.truncate(1);
            return (self.alive, 1.0);
        }
        for step in self.order.steps().into_iter().filter(|&step| self.sampling.has(step)) {
            self.leave_out(step);
        }
        (self.alive, f64::from(self.sampling.temperature))
    }

    fn leave_out(&mut self, step: Step) {
        let Sampling { top_k, top_p, min_p, typical_p, top_n_sigma, epsilon, eta, .. } = *self.sampling;
        let keep = match step {
            Step::TopNSigma => self.within(-f64::from(top_n_sigma) * self.deviation()),
            Step::TopK => top_k,
            Step::TopP => prefix(&self.weights(&self.alive), top_p),
            Step::MinP => {
                let least = min_p_threshold(self.max, self.temperature, min_p);
                self.count(|class| self.scores[class] >= least)
            }
            Step::Typical => return self.keep_typical(typical_p),
            Step::Epsilon => self.within(self.distance(f64::from(epsilon).ln())),
            Step::Eta => {
                let ln = f64::from(eta).ln();
                self.within(self.distance(ln.min(0.5 * ln - self.entropy())))
            }
            Step::Xtc => return self.leave_out_top_choices(),
        };
        self.alive.truncate(keep.max(self.sampling.min_keep));
    }

    fn score(&self, class: usize) -> f64 {
        (self.scores[class] - self.max) / self.temperature
    }

    fn weights(&self, classes: &[usize]) -> Vec<u64> {
        classes.iter().map(|&class| (self.score(class).exp() * self.one) as u64).collect()
    }

    /// ln Σ exp((x − max) / T) over the classes that are left.
    fn log_sum(&self) -> f64 {
        (self.weights(&self.alive).iter().sum::<u64>() as f64 / self.one).ln()
    }

    /// How far from the largest logit that of a class with this log-probability is: at most 0, unless none is so probable.
    fn distance(&self, log_p: f64) -> f64 {
        self.temperature * (log_p + self.log_sum())
    }

    /// How many classes have a logit at least this far up, seen from the largest. (A sum with the largest would be rounded.)
    fn within(&self, distance: f64) -> usize {
        self.count(|class| self.scores[class] - self.max >= distance)
    }

    fn count(&self, is_kept: impl Fn(usize) -> bool) -> usize {
        self.alive.iter().filter(|&&class| is_kept(class)).count()
    }

    /// The entropy of the classes that are left. (p·ln p is 0 at p = 0.)
    fn entropy(&self) -> f64 {
        let log_sum = self.log_sum();
        let log_probs = self.alive.iter().map(|&class| self.score(class) - log_sum);
        -log_probs.map(|log_p| if log_p < -700.0 { 0.0 } else { log_p * log_p.exp() }).sum::<f64>()
    }

    /// The standard deviation of the logits, divided by their number.
    fn deviation(&self) -> f64 {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let distances: Vec<f64> = self.alive.iter().map(|&class| self.scores[class] - self.max).collect();
        let center = mean(&distances);
        mean(&distances.iter().map(|x| (x - center).powi(2)).collect::<Vec<_>>()).sqrt()
    }

    fn keep_typical(&mut self, share: f32) {
        let (entropy, log_sum) = (self.entropy(), self.log_sum());
        let distance = |class: usize| (log_sum - self.score(class) - entropy).abs();
        let mut typical = self.alive.clone();
        typical.sort_by(|&a, &b| {
            distance(a).partial_cmp(&distance(b)).unwrap_or(Ordering::Equal).then(a.cmp(&b))
        });
        typical.truncate(prefix(&self.weights(&typical), share).max(self.sampling.min_keep));
        let mut is_typical = vec![false; self.scores.len()];
        typical.iter().for_each(|&class| is_typical[class] = true);
        self.alive.retain(|&class| is_typical[class]);
    }

    fn leave_out_top_choices(&mut self) {
        if !applies_xtc(self.sampling) {
            return;
        }
        let choices = self.within(self.distance(f64::from(self.sampling.xtc_threshold).ln()));
        if choices >= 2 && self.alive.len() - (choices - 1) >= self.sampling.min_keep {
            self.alive.drain(..choices - 1);
        }
    }
}

/// Whether XTC applies to a row: by the first word of [`row_words`], for the row's first draw.
pub(crate) fn applies_xtc(sampling: &Sampling) -> bool {
    let [word, ..] = row_words(sampling.seed, sampling.counter, sampling.first_draw, Purpose::Xtc, 0);
    sampling.has(Step::Xtc) && f64::from(word) < f64::from(sampling.xtc_probability) * 2f64.powi(32)
}

/// The length of the shortest prefix of these weights whose sum is at least a share of the sum of all. A weight is in
/// it if the sum of those before it is below that.
fn prefix(weights: &[u64], share: f32) -> usize {
    let all: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    let wanted = (all * u128::from(share_of_32_bits(share))).div_ceil(1 << 32);
    let mut ahead = 0;
    let is_in = |&&weight: &&u64| {
        let is_in = ahead < wanted;
        ahead += u128::from(weight);
        is_in
    };
    weights.iter().take_while(is_in).count().max(1)
}

/// The least logit that min-p keeps: x_max + T·ln m, with one addition in f32, so that the same classes are kept
/// everywhere. In halves, because the sum may be beyond f32.
fn min_p_threshold(max: f64, temperature: f64, min_p: f32) -> f64 {
    let half = 0.5 * max as f32 + half_min_p_gap(temperature, min_p);
    2.0 * f64::from(half.max(0.5 * f32::MIN))
}

/// Half of T·ln m.
pub(crate) fn half_min_p_gap(temperature: f64, min_p: f32) -> f32 {
    (0.5 * temperature * f64::from(min_p).ln()).max(f64::from(f32::MIN)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits whose probabilities are these, to rounding.
    fn logits(probs: &[f64]) -> Vec<f32> {
        probs.iter().map(|p| p.ln() as f32).collect()
    }

    fn kept_in(row: &[f32], sampling: Sampling, order: StepOrder) -> Vec<usize> {
        let support = support_row(row, &sampling, order);
        (0..row.len()).filter(|&class| support.log_probs[class].is_finite()).collect()
    }

    fn kept(row: &[f32], sampling: Sampling) -> Vec<usize> {
        kept_in(row, sampling, StepOrder::HuggingFace)
    }

    const PLAIN: fn() -> Sampling = Sampling::default;

    /// Exact weights: the sums of decimal probabilities depend on rounding.
    #[test]
    fn the_class_that_crosses_p_is_in() {
        assert_eq!(prefix(&[4, 2, 2, 1, 1], 0.5), 2);
        assert_eq!(prefix(&[1, 1, 1, 1], 0.5), 2);
        assert_eq!(prefix(&[1, 1, 1, 1], 0.500_000_06), 3);
        // 0.8 is a little above 8/10 in f32, and 0.8 minus one step a little below.
        assert_eq!(prefix(&[5, 3, 1, 1], 0.8), 3);
        assert_eq!(prefix(&[5, 3, 1, 1], 0.799_999_95), 2);
        assert_eq!(prefix(&[5, 3, 1, 1], 0.0), 1);
        assert_eq!(prefix(&[u64::MAX / 2, u64::MAX / 2], 0.999_999_94), 2);
    }

    #[test]
    fn each_truncation() {
        let quarter = logits(&[0.25; 4]);
        assert_eq!(kept(&quarter, Sampling { top_p: 0.5, ..PLAIN() }), [0, 1]);
        assert_eq!(kept(&quarter, Sampling { top_k: 3, ..PLAIN() }), [0, 1, 2]);
        assert_eq!(kept(&quarter, Sampling { min_p: 1.0, ..PLAIN() }), [0, 1, 2, 3]);
        let row = logits(&[0.1, 0.35, 0.3, 0.25]);
        assert_eq!(kept(&row, Sampling { min_p: 0.8, ..PLAIN() }), [1, 2]);
        assert_eq!(kept(&row, Sampling { epsilon: 0.2, ..PLAIN() }), [1, 2, 3]);
        assert_eq!(kept(&row, Sampling { epsilon: 0.9, ..PLAIN() }), [1]);
        assert_eq!(kept(&row, Sampling { epsilon: 0.9, min_keep: 3, ..PLAIN() }), [1, 2, 3]);
        assert_eq!(kept(&row, Sampling { top_p: 0.0, ..PLAIN() }), [1]);
        assert_eq!(kept(&row, Sampling { top_k: 9, ..PLAIN() }).len(), 4);
        assert_eq!(kept(&[4.0, 2.5, 2.0, 0.0], Sampling { top_n_sigma: 1.0, ..PLAIN() }), [0]);
        assert_eq!(kept(&[4.0, 2.5, 2.0, 0.0], Sampling { top_n_sigma: 1.1, ..PLAIN() }), [0, 1]);
        // √ε·e^−H with H = 1.3: 0.086 < ε.
        let eta = |eta| kept(&row, Sampling { eta, ..PLAIN() }).len();
        assert_eq!((eta(0.1), eta(0.3), eta(0.9)), (4, 3, 2));
    }

    #[test]
    fn typical_classes() {
        let row = logits(&[0.5, 0.25, 0.125, 0.0625, 0.0625]);
        for (typical_p, expected) in
            [(0.2, &[1][..]), (0.2499, &[1]), (0.9, &[0, 1, 2, 3]), (0.95, &[0, 1, 2, 3, 4]), (0.0, &[1])]
        {
            assert_eq!(kept(&row, Sampling { typical_p, ..PLAIN() }), expected, "{typical_p}");
        }
    }

    #[test]
    fn top_choices_are_left_out() {
        let row = logits(&[0.1, 0.4, 0.3, 0.2]);
        let xtc = |xtc_threshold| Sampling { xtc_probability: 1.0, xtc_threshold, ..PLAIN() };
        assert_eq!(kept(&row, xtc(0.25)), [0, 2, 3]);
        assert_eq!(kept(&row, xtc(0.35)), [0, 1, 2, 3]);
        assert_eq!(kept(&row, xtc(0.01)), [0]);
        assert_eq!(kept(&row, Sampling { min_keep: 2, ..xtc(0.01) }), [0, 1, 2, 3]);
        assert_eq!(kept(&row, xtc(0.6)), [0, 1, 2, 3]);
        let applied = (0..1000).filter(|&counter| {
            let sampling = Sampling { xtc_probability: 0.3, counter, ..xtc(0.25) };
            kept(&row, sampling) == [0, 2, 3]
        });
        // 300 ± 5 deviations of 14.5.
        assert!((228..372).contains(&applied.count()));
    }

    #[test]
    fn orders_differ() {
        let (row, sampling) = ([3.0, 2.0, 1.0], Sampling { temperature: 0.5, top_p: 0.8, ..PLAIN() });
        assert_eq!(kept_in(&row, sampling, StepOrder::HuggingFace), [0]);
        assert_eq!(kept_in(&row, sampling, StepOrder::LlamaCpp), [0, 1]);
        // Top-k first, then p of what is left.
        let row = logits(&[0.35, 0.3, 0.2, 0.15]);
        assert_eq!(kept(&row, Sampling { top_k: 2, top_p: 0.52, ..PLAIN() }), [0]);
        // Min-p first makes the nucleus smaller.
        let row = logits(&[0.4, 0.3, 0.2, 0.1]);
        let sampling = Sampling { min_p: 0.7, top_p: 0.45, ..PLAIN() };
        assert_eq!(kept_in(&row, sampling, StepOrder::HuggingFace), [0, 1]);
        assert_eq!(kept_in(&row, sampling, StepOrder::Vllm), [0]);
    }

    #[test]
    fn special_rows_leave_nothing() {
        let inf = f32::INFINITY;
        for (row, flags) in [
            (vec![1.0, f32::NAN, inf], Flags::NAN_LOGIT),
            (vec![1.0, inf], Flags::INFINITE_LOGIT),
            (vec![-inf, -inf], Flags::MASKED_ROW),
        ] {
            for sampling in [PLAIN(), Sampling::greedy()] {
                let support = support_row(&row, &sampling, StepOrder::default());
                assert_eq!((support.kept(), support.flags, support.draw(0)), (0, flags, None));
            }
        }
        assert_eq!(kept(&[-inf, 1.0, -inf, 0.0], Sampling { top_k: 3, ..PLAIN() }), [1, 3]);
        assert_eq!(kept(&[-0.0, 0.0], Sampling::greedy()), [0]);
        assert_eq!(kept(&[1.0, 2.0, 2.0], Sampling { top_k: 1, ..Sampling::greedy() }), [1]);
        assert_eq!(kept(&[1.0], Sampling { top_p: -1.0, ..PLAIN() }), [] as [usize; 0]);
        assert_eq!(support_row::<f32>(&[], &PLAIN(), StepOrder::default()).kept(), 0);
    }

    #[test]
    fn weights_and_their_sum() {
        assert_eq!([1, 1000, (1 << 18) - 1, 1 << 18, 1 << 23].map(fraction_bits), [46, 46, 46, 45, 40]);
        let support = support_row(&[0.0f32, 0.0], &PLAIN(), StepOrder::default());
        assert_eq!(support.weights, [1 << 46; 2]);
        assert_eq!([0, (1 << 46) - 1, 1 << 46].map(|point| support.draw(point)), [Some(0), Some(0), Some(1)]);
        // The most classes for each number of bits, all with the largest weight.
        for cols in [(1 << 18) - 1, 1 << 18, (1 << 19) - 1] {
            let support = support_row(&vec![1.0f32; cols], &PLAIN(), StepOrder::default());
            let total: u128 = support.weights.iter().map(|&weight| u128::from(weight)).sum();
            assert_eq!(u128::from(support.total()), total);
        }
        // The largest logit that is left has the largest weight, however far it is below one that was left out.
        let sampling = Sampling { temperature: 0.01, xtc_probability: 1.0, xtc_threshold: 1e-5, ..PLAIN() };
        let support = support_row(&[0.0f32, -9.0], &sampling, StepOrder::LlamaCpp);
        assert_eq!(support.weights, [0, 1 << 46]);
    }
}
