//! Conformal prediction: sets of classes that hold the right one as often as was asked for.

use crate::error::{Error, Result};
use crate::results::RowResult;
use crate::row_fields::RowFields;

/// How little a class conforms to a row's probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConformalScore {
    /// 1 − p: least ambiguous classifiers (Sadinle, Lei and Wasserman 2019). The smallest sets on average.
    Lac,
    /// The class's probability plus those of the classes ahead of it: adaptive prediction sets, without randomisation
    /// (Romano, Sesia and Candès 2020). Larger sets for harder rows.
    Aps,
}

impl ConformalScore {
    /// The fields of a row's results that [`of`](Self::of) needs.
    pub const FIELDS: RowFields = RowFields::TARGET_PROB.union(RowFields::MASS_AHEAD);

    /// The score of a row's target, from results with [`FIELDS`](Self::FIELDS). `None` for a row that is left out, and
    /// for one without probabilities (a logit is NaN or +∞, or all are −∞).
    pub fn of(self, row: &RowResult) -> Option<f64> {
        if row.is_left_out() {
            return None;
        }
        let score = self.of_class(row.target_prob, row.mass_ahead.into());
        (!score.is_nan()).then_some(score)
    }

    /// The score of a class with this probability, and this mass of the classes ahead of it.
    fn of_class(self, prob: f32, ahead: f64) -> f64 {
        let prob = f64::from(prob);
        match self {
            // In f32, 1 − p would lose the digits of a small p.
            Self::Lac => 1.0 - prob,
            // All classes together have a mass of 1, and a sum of f32 probabilities only nearly.
            Self::Aps if ahead + prob > 1.0 - Self::ROUNDING => 1.0,
            Self::Aps => ahead + prob,
        }
    }

    /// What rounding may take from, or add to, the sum of all probabilities of a row.
    const ROUNDING: f64 = 2e-6;
}

/// A threshold on scores: of rows like those that it was fitted on, the set of the classes whose score is at most the
/// threshold holds the right class with at least the wanted probability (split conformal prediction; Vovk, Gammerman and
/// Shafer 2005, Angelopoulos and Bates 2021).
///
/// ```
/// use xent::eval::calibrate::{Conformal, ConformalScore};
///
/// // The probabilities of five held-out rows' targets were 0.6, 0.4, 0.25, 0.7 and 0.3.
/// let scores = [0.4, 0.6, 0.75, 0.3, 0.7];
/// let conformal = Conformal::fit(ConformalScore::Lac, (3, 5), scores.to_vec())?;
/// assert_eq!((conformal.rank, conformal.threshold), (4, 0.7));
/// // The probabilities of another row, the largest first: 0.48 and 0.32 are in the set.
/// assert_eq!(conformal.set_size([0.48, 0.32, 0.2]), 2);
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Conformal {
    /// The score that it is about.
    pub score: ConformalScore,
    /// The largest score in a set; +∞ if there were too few rows for the wanted coverage. Then every class is in.
    pub threshold: f64,
    /// The rows that it was fitted on.
    pub rows: usize,
    /// The threshold's place among their scores, from 1: ⌈(rows + 1) · coverage⌉.
    pub rank: usize,
    /// Whether a row's largest class is in its set even if its score is above the threshold. Default: no, so that sets
    /// may be empty.
    pub keeps_top: bool,
}

impl Conformal {
    /// The threshold for this coverage, a ratio of two integers such as (9, 10), from the scores of held-out rows'
    /// targets. Reorders nothing but its own copy: it keeps no scores.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a coverage that is not above 0 and below 1; [`Error::NoRowCounts`] without scores.
    pub fn fit(score: ConformalScore, coverage: (u64, u64), mut scores: Vec<f64>) -> Result<Self> {
        let (wanted, of) = coverage;
        if wanted == 0 || wanted >= of {
            return Err(Error::option("coverage", wanted as f64 / of as f64, "above 0 and below 1"));
        }
        let rows = scores.len();
        if rows == 0 {
            return Err(Error::NoRowCounts { rows });
        }
        let rank = ((rows as u128 + 1) * u128::from(wanted)).div_ceil(u128::from(of));
        let rank = usize::try_from(rank).unwrap_or(usize::MAX);
        let threshold = match rank {
            rank if rank > rows => f64::INFINITY,
            rank => *scores.select_nth_unstable_by(rank - 1, f64::total_cmp).1,
        };
        Ok(Self { score, threshold, rows, rank, keeps_top: false })
    }

    /// Keeps the largest class of each row in its set.
    pub fn keeping_top(self) -> Self {
        Self { keeps_top: true, ..self }
    }

    /// Whether a class with this score is in the set.
    pub fn includes(&self, score: f64) -> bool {
        score <= self.threshold
    }

    /// How many classes are in a row's set, given its probabilities, the largest first, such as
    /// [`TopK`](crate::TopK) gives. They are the first ones. If all that were given are in, there may be more: see
    /// [`whole_set_size`](Self::whole_set_size).
    pub fn set_size(&self, probs: impl IntoIterator<Item = f32>) -> usize {
        let mut ahead = 0.0f64;
        let in_set = probs.into_iter().take_while(|&prob| {
            let score = self.score.of_class(prob, ahead);
            ahead += f64::from(prob);
            self.includes(score)
        });
        in_set.count().max(usize::from(self.keeps_top))
    }

    /// How many classes are in a row's set, given the probabilities of all its classes in any order, which it changes.
    /// This sorts nothing: it halves the classes among which the last one of the set is, so that the time grows with their
    /// number.
    pub fn whole_set_size(&self, probs: &mut [f32]) -> usize {
        let least = usize::from(self.keeps_top && !probs.is_empty());
        let (mut rest, mut found, mut ahead) = (probs, 0, 0.0f64);
        // Every class that is ahead of `rest` is in the set, and no class behind it is.
        while !rest.is_empty() {
            let (first, last, _) = rest.select_nth_unstable_by(rest.len() / 2, |a, b| b.total_cmp(a));
            let before_last = ahead + first.iter().map(|&prob| f64::from(prob)).sum::<f64>();
            let (last, half) = (*last, rest.len() / 2);
            if self.includes(self.score.of_class(last, before_last)) {
                (found, ahead) = (found + half + 1, before_last + f64::from(last));
                rest = &mut rest[half + 1..];
            } else {
                rest = &mut rest[..half];
            }
        }
        found.max(least)
    }
}

/// What sets are worth on other rows than those that the threshold was fitted on. Parts of a batch combine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coverage {
    /// Rows with a target whose score is known.
    pub rows: u64,
    /// Those whose set holds the target.
    pub covered: u64,
    /// Rows whose set was counted.
    pub sets: u64,
    /// Σ of the sets' sizes.
    pub classes: u64,
    /// The size of the largest set.
    pub largest: usize,
    /// How many sets are empty.
    pub empty: u64,
    /// Sets that may be larger than they were counted: all the probabilities given were in.
    pub cut: u64,
}

impl Coverage {
    /// Adds the target of a row.
    pub fn add_target(&mut self, conformal: &Conformal, score: f64, is_top: bool) {
        self.rows += 1;
        self.covered += u64::from(conformal.includes(score) || (conformal.keeps_top && is_top));
    }

    /// Adds the set of a row of `cols` classes, from its largest probabilities.
    pub fn add_set(&mut self, conformal: &Conformal, probs: &[f32], cols: usize) {
        let size = conformal.set_size(probs.iter().copied());
        self.add_size(size);
        self.cut += u64::from(size == probs.len() && size < cols);
    }

    /// Adds the set of a row, by its size.
    pub fn add_size(&mut self, size: usize) {
        self.sets += 1;
        self.classes += size as u64;
        self.largest = self.largest.max(size);
        self.empty += u64::from(size == 0);
    }

    /// The share of rows whose set holds the target; `None` without rows.
    pub fn coverage(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.covered as f64 / self.rows as f64)
    }

    /// The mean size of a set; `None` without sets.
    pub fn mean_size(&self) -> Option<f64> {
        (self.sets > 0).then(|| self.classes as f64 / self.sets as f64)
    }

    /// The rows of both.
    pub fn combine(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            covered: self.covered + other.covered,
            sets: self.sets + other.sets,
            classes: self.classes + other.classes,
            largest: self.largest.max(other.largest),
            empty: self.empty + other.empty,
            cut: self.cut + other.cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::ConformalScore::{Aps, Lac};
    use super::*;
    use crate::options::CrossEntropyOptions;
    use crate::reference::row_readouts;

    /// The results of a row with these probabilities.
    fn result(probs: &[f32], target: usize) -> RowResult {
        let logits: Vec<f32> = probs.iter().map(|p| p.ln()).collect();
        let readouts = row_readouts(&logits, Some(target), &CrossEntropyOptions::default());
        RowResult {
            target_prob: readouts.target_prob as f32,
            mass_ahead: readouts.mass_ahead as f32,
            ..RowResult::default()
        }
    }

    fn falling(mut probs: Vec<f32>) -> Vec<f32> {
        probs.sort_by(|a, b| b.total_cmp(a));
        probs
    }

    #[test]
    fn thresholds_worked_by_hand() {
        let rows = [[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.4, 0.35, 0.25], [0.7, 0.2, 0.1], [0.45, 0.3, 0.25]];
        let fit = |score: ConformalScore, coverage| {
            let of_row = |(probs, target): (&[f32; 3], usize)| score.of(&result(probs, target)).unwrap();
            let scores: Vec<f64> = rows.iter().zip([0, 1, 2, 0, 1]).map(of_row).collect();
            let expected = match score {
                Lac => [0.4, 0.6, 0.75, 0.3, 0.7],
                Aps => [0.6, 0.9, 1.0, 0.7, 0.75],
            };
            assert!(scores.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{scores:?}");
            Conformal::fit(score, coverage, scores)
        };
        let (lac, aps) = (fit(Lac, (3, 5)).unwrap(), fit(Aps, (3, 5)).unwrap());
        assert_eq!((lac.rank, aps.rank), (4, 4));
        assert!((lac.threshold - 0.7).abs() < 1e-6 && (aps.threshold - 0.9).abs() < 1e-6);
        assert_eq!([lac, aps].map(|of| of.set_size([0.48, 0.32, 0.2])), [2, 2]);
        assert_eq!([aps, aps.keeping_top()].map(|of| of.set_size([0.95, 0.03, 0.02])), [0, 1]);
        // Too few rows: every class is in.
        let all = fit(Lac, (9, 10)).unwrap();
        assert_eq!((all.rank, all.threshold, all.set_size([0.9, 0.1, 0.0])), (6, f64::INFINITY, 3));
        for coverage in [(0, 10), (10, 10), (11, 10), (0, 0)] {
            assert!(matches!(fit(Lac, coverage), Err(Error::InvalidOption { option: "coverage", .. })));
        }
        assert_eq!(Conformal::fit(Lac, (1, 2), vec![]), Err(Error::NoRowCounts { rows: 0 }));
        let nan = RowResult { target_prob: f32::NAN, mass_ahead: f32::NAN, ..RowResult::default() };
        assert_eq!([Lac, Aps].map(|score| score.of(&nan)), [None, None]);
    }

    /// The score of the last class is 1, whatever rounding has made of the sum; and of two small probabilities, the smaller
    /// one's class conforms less.
    #[test]
    fn scores_near_one_are_not_lost_in_rounding() {
        let probs = [0.4f32, 0.3, 0.2, 0.1];
        let sum = probs.iter().map(|&p| f64::from(p)).sum::<f64>();
        assert_ne!(sum, 1.0);
        let all = Conformal { score: Aps, threshold: 1.0, rows: 9, rank: 9, keeps_top: false };
        for scale in [1.0f32 - 1e-7, 1.0, 1.0 + 2e-7] {
            let mut probs = probs.map(|p| p * scale);
            assert_eq!((all.set_size(probs), all.whole_set_size(&mut probs)), (4, 4), "{scale}");
        }
        let last = Aps.of(&result(&probs, 3));
        assert_eq!(last, Some(1.0));
        let threshold = Lac.of(&result(&[1.0 - 1.7e-5, 1.7e-5], 1)).unwrap();
        let of_two = Conformal { score: Lac, threshold, ..all };
        assert_eq!([1.68e-5, 1.72e-5].map(|p| of_two.set_size([p])), [0, 1]);
    }

    /// The size of a whole row's set is that of its sorted probabilities, in rows of every length and with ties.
    #[test]
    fn whole_sets_need_no_sort() {
        let mut random = StdRng::seed_from_u64(8);
        for cols in [0, 1, 2, 3, 7, 64, 1500] {
            for threshold in [0.0, 0.3, 0.9, 0.999, 1.0, f64::INFINITY] {
                for score in [Lac, Aps] {
                    // Multiples of a power of two, so that sums are exact in any order.
                    let mut probs: Vec<f32> =
                        (0..cols).map(|_| random.random_range(0..9) as f32 / 8192.0).collect();
                    let conformal = Conformal { score, threshold, rows: 9, rank: 9, keeps_top: false };
                    let sorted = conformal.set_size(falling(probs.clone()));
                    assert_eq!(conformal.whole_set_size(&mut probs), sorted, "{cols} {conformal:?}");
                    let kept = conformal.keeping_top().whole_set_size(&mut probs);
                    assert_eq!(kept, sorted.max(usize::from(cols > 0)));
                }
            }
        }
    }

    /// Over many draws of held-out rows and others, the share that is covered is the one asked for, within what a binomial
    /// allows: rank / (n + 1) on average.
    #[test]
    fn other_rows_are_covered_as_often_as_asked_for() {
        let mut random = StdRng::seed_from_u64(5);
        // Rows of ten classes, whose targets are drawn from their probabilities.
        let mut draw = || {
            let weights: Vec<f32> = (0..10).map(|_| random.random_range(-3.0f32..3.0).exp()).collect();
            let sum: f32 = weights.iter().sum();
            let mut at: f32 = random.random_range(0.0..1.0);
            let probs: Vec<f32> = weights.iter().map(|weight| weight / sum).collect();
            let target = probs.iter().position(|p| {
                at -= p;
                at < 0.0
            });
            (probs, target.unwrap_or(9))
        };
        for score in [Lac, Aps] {
            for coverage in [(1, 2), (9, 10), (99, 100)] {
                let mut of = || {
                    let (probs, target) = draw();
                    (score.of(&result(&probs, target)).unwrap(), probs, target)
                };
                let (mut found, rounds) = (Coverage::default(), 200);
                for _ in 0..rounds {
                    let conformal =
                        Conformal::fit(score, coverage, (0..199).map(|_| of().0).collect()).unwrap();
                    let mut part = Coverage::default();
                    for _ in 0..20 {
                        let (target_score, probs, target) = of();
                        part.add_target(&conformal, target_score, false);
                        let probs = falling(probs);
                        let in_set = conformal.set_size(probs.iter().copied());
                        part.add_set(&conformal, &probs, 10);
                        assert!(in_set <= 10 && target < 10);
                    }
                    found = found.combine(part);
                }
                let wanted = coverage.0 as f64 / coverage.1 as f64;
                let rows = found.rows as f64;
                assert_eq!((found.rows, found.sets), (rounds * 20, rounds * 20));
                // Five deviations, of the rows and of the thresholds.
                let deviation =
                    (wanted * (1.0 - wanted) * (1.0 / rows + 1.0 / (200.0 * rounds as f64))).sqrt();
                let off = found.coverage().unwrap() - wanted;
                assert!(off.abs() < 5.0 * deviation, "{score:?} {coverage:?}: {off} of {deviation}");
                assert!(found.mean_size().unwrap() <= 10.0 && found.cut == 0);
            }
        }
    }
}
