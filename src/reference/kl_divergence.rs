//! The Kullback-Leibler divergence KL(teacher ‖ student) of rows of logits, and its gradient with respect to the
//! student's logits.
//!
//! With p = softmax(x / T) of the student's logits x and q = softmax(b / T) of the teacher's logits b, `KL = Σ_j
//! q_j·(ln q_j − ln p_j)` (Kullback and Leibler 1951, doi:10.1214/aoms/1177729694): the extra nats that a code for p
//! costs over a code for q, if the data follows q. As a loss for distillation: Hinton, Vinyals, Dean 2015,
//! arXiv:1503.02531, where T² compensates for gradients that shrink as 1/T².
//!
//! ```
//! use xent::{KlDivergenceOptions, reference::kl_divergence};
//!
//! // q = (3/4, 1/4), p = (1/2, 1/2).
//! let (student, teacher) = ([0.0f32, 0.0], [3f32.ln(), 0.0]);
//! let kl = kl_divergence::row_loss(&student, &teacher, &KlDivergenceOptions::default());
//! assert!((kl - (0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln())).abs() < 1e-7);
//! ```

use super::distribution::{Distribution, RowKind};
use super::map_rows;
use crate::element::Element;
use crate::error::Result;
use crate::inputs::{BatchWeight, KlDivergenceInputs};
use crate::options::{EmptyBatch, KlDivergenceOptions, MaskedRow};
use crate::shape::{Shape, assert_row};

/// The divergence KL(teacher ‖ student) of one row (cols,) of each, in nats: `Σ_j q_j·(ln q_j − ln p_j)`, times T² with
/// [`scale_by_t_squared`](KlDivergenceOptions::scale_by_t_squared).
///
/// | the row | loss |
/// | --- | --- |
/// | a NaN or +∞ in either; rows that differ in length; an option outside its range | NaN |
/// | only −∞ in either | NaN, or 0 with [`MaskedRow::Zero`] |
/// | a teacher's logit of −∞ | its term is 0, whatever the student's logit is |
/// | a student's logit of −∞ where the teacher's is finite | +∞: a finite logit has a probability above 0, however small |
pub fn row_loss<E: Element>(student: &[E], teacher: &[E], options: &KlDivergenceOptions) -> f64 {
    let pair = Pair::new(student, teacher, options);
    if let Some(special) = pair.special(options) {
        return special;
    }
    let term = |class: usize| {
        // Checked before the product: 0·∞ counts as 0, but a q that f64 rounds to 0 is not 0.
        if pair.q.score(class) == f64::NEG_INFINITY {
            0.0
        } else if pair.p.score(class) == f64::NEG_INFINITY {
            f64::INFINITY
        } else {
            pair.q.prob(class) * (pair.q.log_prob(class) - pair.p.log_prob(class))
        }
    };
    // No divergence is below 0, but rounding may bring the sum there.
    let sum = pair.classes().map(term).sum::<f64>();
    options.loss_scale() * if sum < 0.0 { 0.0 } else { sum }
}

/// The gradient (cols,) of `scale` · [`row_loss`] with respect to the student's logits: `scale·(p_j − q_j) / T`, times
/// T² if asked for.
///
/// | the row | gradient |
/// | --- | --- |
/// | a NaN or +∞ in either; rows that differ in length; an option outside its range | NaN throughout |
/// | only −∞ in either | NaN throughout, or 0 with [`MaskedRow::Zero`] |
/// | a teacher's logit of −∞ | only the part of p_j |
/// | a student's logit of −∞ | only the part of q_j, which is finite although the loss may be +∞ |
/// | a scale of 0 | 0, but a NaN row stays NaN |
pub fn row_dlogits<E: Element>(
    student: &[E],
    teacher: &[E],
    options: &KlDivergenceOptions,
    scale: f64,
) -> Vec<f64> {
    let pair = Pair::new(student, teacher, options);
    if let Some(special) = pair.special(options) {
        return vec![special; student.len()];
    }
    let slope = scale * options.loss_scale() / f64::from(options.temperature);
    pair.classes().map(|class| slope * (pair.p.prob(class) - pair.q.prob(class))).collect()
}

/// The loss of each row of student and teacher logits (rows, cols), in nats, (rows,): row weight · [`row_loss`], not
/// reduced. Exactly 0 for a row that is left out: its weight is 0, or it is masked.
///
/// # Errors
/// Those of [`KlDivergenceInputs::check`]; [`Error::Length`](crate::Error::Length) if the length of a batch does not
/// match `shape`; [`Error::InvalidOption`](crate::Error::InvalidOption).
pub fn row_losses<E: Element>(
    student: &[E],
    inputs: KlDivergenceInputs<'_, E>,
    shape: Shape,
    options: &KlDivergenceOptions,
) -> Result<Vec<f64>> {
    check(student, &inputs, shape, options)?;
    let of_row = |row| f64::from(inputs.rows.weight(row)) * row_loss_at(student, inputs, shape, options, row);
    Ok((0..shape.rows).map(of_row).collect())
}

/// The reduced loss of student and teacher logits (rows, cols), in nats, summed in row order: `Σ r·KL / N`, where r is
/// the row's weight and N is Σ r over the rows that count (mean), 1 (sum) or the given denominator.
///
/// If no row counts, a mean is NaN, 0 or an error, as [`EmptyBatch`] says; a sum and a mean over a given denominator
/// are 0. `upstream` and `row_upstream` do not affect a loss.
///
/// # Errors
/// Those of [`row_losses`]; [`Error::NoRowCounts`](crate::Error::NoRowCounts).
pub fn loss<E: Element>(
    student: &[E],
    inputs: KlDivergenceInputs<'_, E>,
    shape: Shape,
    options: &KlDivergenceOptions,
) -> Result<f64> {
    let batch = check(student, &inputs, shape, options)?;
    batch.check(shape.rows, options.reducing())?;
    let sum: f64 = row_losses(student, inputs, shape, options)?.iter().sum();
    if batch.is_empty_mean(options.reduction) {
        return Ok(if options.empty_batch == EmptyBatch::Zero { 0.0 } else { f64::NAN });
    }
    Ok(sum / options.reduction.denominator(batch.weight))
}

/// The gradient of [`loss`] with respect to the student's logits, times `upstream` and each row's `row_upstream`, in
/// the layout of the (rows, cols) logits, with zeros in the padding between rows. Exactly 0 for a row that is left out,
/// and everywhere if the reduction is a mean and no row counts (no error, whatever [`EmptyBatch`] says). Edge cases:
/// see [`row_dlogits`].
///
/// # Errors
/// Those of [`row_losses`].
pub fn dlogits<E: Element>(
    student: &[E],
    inputs: KlDivergenceInputs<'_, E>,
    shape: Shape,
    options: &KlDivergenceOptions,
) -> Result<Vec<f64>> {
    let batch = check(student, &inputs, shape, options)?;
    Ok(map_rows(shape, |row| row_dlogits_at(student, inputs, shape, options, &batch, row)))
}

/// The factor of a row's loss in a batch before differentiation: `g·r / N`, where r is the row's weight, g its upstream
/// gradient times the batch's, and N the denominator of [`loss`]. Zero for a row that is left out, and for every row if
/// the reduction is a mean and no row counts.
///
/// `batch` is the result of [`KlDivergenceInputs::check`] for these inputs.
///
/// # Panics
/// If a slice with one value per row has no value for `row`.
pub fn row_scale<E: Element>(
    inputs: KlDivergenceInputs<'_, E>,
    options: &KlDivergenceOptions,
    batch: &BatchWeight,
    row: usize,
) -> f64 {
    let weight = f64::from(inputs.rows.weight(row));
    if batch.is_empty_mean(options.reduction) || weight == 0.0 {
        return 0.0;
    }
    inputs.rows.gradient(row) * weight / options.reduction.denominator(batch.weight)
}

/// The [`row_loss`] of one row of a batch, not multiplied by its weight. If the row is left out, it is 0 and the logits
/// are not read. Takes the arguments of [`row_losses`] and does not check them again.
///
/// # Panics
/// If `row` is not in 0..rows, or if a slice ends before this row's part of it.
pub fn row_loss_at<E: Element>(
    student: &[E],
    inputs: KlDivergenceInputs<'_, E>,
    shape: Shape,
    options: &KlDivergenceOptions,
    row: usize,
) -> f64 {
    assert_row(row, shape.rows);
    if inputs.rows.weight(row) == 0.0 {
        return 0.0;
    }
    row_loss(&shape.row_vec(student, row), &shape.row_vec(inputs.teacher, row), options)
}

/// The [`row_dlogits`] of one row of a batch (cols,), with its [`row_scale`]: that row of [`dlogits`]. Takes the
/// arguments of [`dlogits`] and does not check them again; `batch` is as for [`row_scale`].
///
/// # Panics
/// If `row` is not in 0..rows, or if a slice ends before this row's part of it.
pub fn row_dlogits_at<E: Element>(
    student: &[E],
    inputs: KlDivergenceInputs<'_, E>,
    shape: Shape,
    options: &KlDivergenceOptions,
    batch: &BatchWeight,
    row: usize,
) -> Vec<f64> {
    assert_row(row, shape.rows);
    if inputs.rows.weight(row) == 0.0 || batch.is_empty_mean(options.reduction) {
        return vec![0.0; shape.cols];
    }
    let scale = row_scale(inputs, options, batch, row);
    row_dlogits(&shape.row_vec(student, row), &shape.row_vec(inputs.teacher, row), options, scale)
}

/// The two distributions of a row.
struct Pair {
    /// The student's.
    p: Distribution,
    /// The teacher's.
    q: Distribution,
}

impl Pair {
    fn new<E: Element>(student: &[E], teacher: &[E], options: &KlDivergenceOptions) -> Self {
        let of = |row: &[E]| Distribution::new(row, options.temperature, None);
        Self { p: of(student), q: of(teacher) }
    }

    fn classes(&self) -> std::ops::Range<usize> {
        0..self.p.cols()
    }

    /// The value of all results of a special row; `None` for other rows.
    fn special(&self, options: &KlDivergenceOptions) -> Option<f64> {
        let kinds = [self.p.kind(), self.q.kind()];
        let is_valid = self.p.cols() == self.q.cols() && options.check().is_ok();
        if kinds.contains(&RowKind::Nan) || !is_valid {
            Some(f64::NAN)
        } else if kinds.contains(&RowKind::Masked) {
            Some(if options.masked_row == MaskedRow::Zero { 0.0 } else { f64::NAN })
        } else {
            None
        }
    }
}

fn check<E: Element>(
    student: &[E],
    inputs: &KlDivergenceInputs<'_, E>,
    shape: Shape,
    options: &KlDivergenceOptions,
) -> Result<BatchWeight> {
    options.check()?;
    shape.check_slice("student", student)?;
    inputs.check(shape)
}

#[cfg(test)]
mod tests {
    use approx::{assert_abs_diff_eq, assert_relative_eq};

    use super::*;
    use crate::error::Error;
    use crate::options::Reduction;
    use crate::reference::testing::{GRID, grid_logits, same};
    use crate::reference::{cross_entropy, softmax_row};
    use crate::{CrossEntropyOptions, SoftmaxOptions, Targets};

    type Options = KlDivergenceOptions;
    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;

    fn plain() -> Options {
        Options::default()
    }

    fn hot() -> Options {
        Options { temperature: 2.0, scale_by_t_squared: true, ..plain() }
    }

    /// Divergences worked out by hand.
    #[test]
    fn worked_values() {
        let ln = |x: f32| x.ln();
        let cases: [(&str, &[f32], &[f32], f64); 6] = [
            ("one class", &[3.0], &[-7.0], 0.0),
            ("equal", &[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], 0.0),
            ("equal but for an offset", &[1.0, 2.0, 3.0], &[1e6, 1e6 + 1.0, 1e6 + 2.0], 0.0),
            // ½·ln(½ / ¼) + ½·ln(½ / ¾)
            (
                "half against a quarter",
                &[0.0, ln(3.0)],
                &[0.0, 0.0],
                0.5 * 2f64.ln() + 0.5 * (2.0 / 3.0f64).ln(),
            ),
            ("a certain teacher", &[0.0, 0.0, 0.0, 0.0], &[0.0, -INF, -INF, -INF], 4f64.ln()),
            ("far apart", &[0.0, -500.0], &[-500.0, 0.0], 500.0),
        ];
        for (name, student, teacher, expected) in cases {
            assert_abs_diff_eq!(row_loss(student, teacher, &plain()), expected, epsilon = 2e-7);
            let doubled = |row: &[f32]| row.iter().map(|x| 2.0 * x).collect::<Vec<f32>>();
            // At T = 2, twice the logits have the same probabilities, and T² = 4.
            let hot_loss = row_loss(&doubled(student), &doubled(teacher), &hot());
            assert!((hot_loss - 4.0 * expected).abs() < 1e-6, "{name}: {hot_loss}");
        }
        let gradient = row_dlogits(&[0.0, ln(3.0)], &[0.0, 0.0], &plain(), 8.0);
        assert_abs_diff_eq!(&gradient[..], &[-2.0, 2.0][..], epsilon = 1e-6);
        let gradient = row_dlogits(&[0.0, 2.0 * ln(3.0)], &[0.0, 0.0], &hot(), 8.0);
        assert_abs_diff_eq!(&gradient[..], &[-4.0, 4.0][..], epsilon = 1e-6);
    }

    /// KL(q ‖ p) is the cross-entropy of q and p minus the entropy of q.
    #[test]
    fn a_cross_entropy_without_the_entropy() {
        for seed in 0..20 {
            let cols = 1 + 3 * seed as usize;
            let (student, teacher) = (grid_logits(seed, cols), grid_logits(seed + 100, cols));
            let q = softmax_row(&teacher, &SoftmaxOptions::default());
            let entropy: f64 = q.iter().map(|q| -q * q.ln()).sum();
            let soft: Vec<f32> = q.iter().map(|&q| q as f32).collect();
            let options = CrossEntropyOptions::default();
            let targets = Targets::Soft(&soft);
            let loss = cross_entropy::loss(&student, targets, Shape::new(1, cols), &options).unwrap();
            assert_abs_diff_eq!(row_loss(&student, &teacher, &plain()), loss - entropy, epsilon = 3e-6);
        }
    }

    #[test]
    fn never_below_zero_and_free_of_offsets() {
        for seed in 0..50 {
            let (student, teacher) = (grid_logits(seed, 40), grid_logits(seed + 1000, 40));
            for options in [plain(), hot(), Options { temperature: 0.1, ..plain() }] {
                let loss = row_loss(&student, &teacher, &options);
                assert!(loss > 0.0, "{loss}");
                assert!(row_loss(&student, &student, &options).abs() <= 1e-14);
                let moved: Vec<f32> = teacher.iter().map(|b| b + 1024.0).collect();
                assert_relative_eq!(row_loss(&student, &moved, &options), loss, max_relative = 1e-12);
                let sum: f64 = row_dlogits(&student, &teacher, &options, 3.0).iter().sum();
                assert!(sum.abs() < 1e-13, "{sum}");
            }
        }
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let step = 16.0 * GRID;
        for seed in 0..20 {
            let cols = 2 + seed as usize;
            let (student, teacher) = (grid_logits(seed, cols), grid_logits(seed + 50, cols));
            for options in [plain(), hot(), Options { temperature: 4.0, ..plain() }] {
                let gradient = row_dlogits(&student, &teacher, &options, 1.0);
                for class in 0..cols {
                    let moved = |by: f32| {
                        let mut row = student.clone();
                        row[class] += by;
                        row_loss(&row, &teacher, &options)
                    };
                    let (near, far) = (moved(step) - moved(-step), moved(2.0 * step) - moved(-2.0 * step));
                    let slope = (8.0 * near - far) / (12.0 * f64::from(step));
                    assert_abs_diff_eq!(gradient[class], slope, epsilon = 1e-7);
                }
            }
        }
    }

    #[test]
    fn edge_cases() {
        let zero = Options { masked_row: MaskedRow::Zero, ..plain() };
        // Student, teacher, loss, gradient with a scale of 1.
        type Case<'a> = (&'a str, &'a [f32], &'a [f32], f64, &'a [f64]);
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let largest = 2.0 * f64::from(f32::MAX);
        let cases: &[Case<'_>] = &[
            ("NaN student", &[0.0, NAN], &[0.0, 0.0], nan, &[nan, nan]),
            ("NaN teacher", &[0.0, 0.0], &[NAN, 0.0], nan, &[nan, nan]),
            ("+∞ student", &[INF, 0.0], &[0.0, 0.0], nan, &[nan, nan]),
            ("+∞ teacher", &[0.0, 0.0], &[INF, -INF], nan, &[nan, nan]),
            ("masked student", &[-INF, -INF], &[0.0, 0.0], nan, &[nan, nan]),
            ("masked teacher", &[0.0, 0.0], &[-INF, -INF], nan, &[nan, nan]),
            ("a class masked in both", &[0.0, -INF], &[0.0, -INF], 0.0, &[0.0, 0.0]),
            ("a class masked in the teacher", &[0.0, 0.0], &[0.0, -INF], 2f64.ln(), &[-0.5, 0.5]),
            ("a class masked in the student", &[0.0, -INF], &[0.0, 0.0], inf, &[0.5, -0.5]),
            ("masked in the student, unlikely", &[0.0, -INF], &[0.0, -1e30], inf, &[0.0, 0.0]),
            ("ends of f32", &[f32::MIN, f32::MAX], &[f32::MAX, f32::MIN], largest, &[-1.0, 1.0]),
            ("equal at the ends", &[f32::MIN, f32::MAX], &[f32::MIN, f32::MAX], 0.0, &[0.0, 0.0]),
        ];
        for &(name, student, teacher, loss, gradient) in cases {
            let (found, found_gradient) =
                (row_loss(student, teacher, &plain()), row_dlogits(student, teacher, &plain(), 1.0));
            assert!(same(&[found], &[loss]), "{name}: {found}");
            assert!(same(&found_gradient, gradient), "{name}: {found_gradient:?}");
            let is_masked = name.starts_with("masked ") && loss.is_nan();
            let expected = if is_masked { 0.0 } else { loss };
            assert!(same(&[row_loss(student, teacher, &zero)], &[expected]), "{name}");
            if is_masked {
                assert_eq!(row_dlogits(student, teacher, &zero, 1.0), [0.0, 0.0], "{name}");
            }
        }
        assert!(row_loss(&[NAN], &[-INF], &zero).is_nan(), "NaN goes before masked");
    }

    #[test]
    fn batches() {
        // The padding is NaN. The second row is left out by its weight, the third by the mask.
        let shape = Shape::new(4, 2).row_stride(3);
        let student = [0.0, 0.0, NAN, NAN, 1.0, NAN, 5.0, INF, NAN, 0.0, 3f32.ln()];
        let teacher = [0.0, 3f32.ln(), NAN, 1.0, 1.0, NAN, NAN, 2.0, NAN, 0.0, 0.0];
        let (weights, mask) = ([1.0, 0.0, 1.0, 3.0], [true, true, false, true]);
        let inputs = KlDivergenceInputs::new(&teacher).row_weights(&weights).row_mask(&mask);
        let (first, last) = (0.75 * 1.5f64.ln() - 0.25 * 2f64.ln(), 0.5 * (4.0 / 3.0f64).ln());
        let losses = row_losses(&student, inputs, shape, &plain()).unwrap();
        assert_abs_diff_eq!(&losses[..], &[first, 0.0, 0.0, 3.0 * last][..], epsilon = 1e-6);
        let of = |reduction| loss(&student, inputs, shape, &Options { reduction, ..plain() }).unwrap();
        let sum = first + 3.0 * last;
        for (reduction, denominator) in
            [(Reduction::Mean, 4.0), (Reduction::Sum, 1.0), (Reduction::MeanOver(8.0), 8.0)]
        {
            assert_abs_diff_eq!(of(reduction), sum / denominator, epsilon = 1e-6);
        }
        let upstream = [1.0, 1.0, 1.0, 2.0];
        let inputs = inputs.upstream(16.0).row_upstream(&upstream);
        let gradient = dlogits(&student, inputs, shape, &plain()).unwrap();
        let expected = [1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -6.0, 6.0];
        assert_abs_diff_eq!(&gradient[..], &expected[..], epsilon = 1e-5);
        // No row counts.
        let none = KlDivergenceInputs::new(&teacher).row_mask(&[false; 4]);
        for (empty_batch, expected) in [(EmptyBatch::Nan, f64::NAN), (EmptyBatch::Zero, 0.0)] {
            let options = Options { empty_batch, ..plain() };
            assert!(same(&[loss(&student, none, shape, &options).unwrap()], &[expected]));
            assert_eq!(dlogits(&student, none, shape, &options).unwrap(), [0.0; 11]);
        }
        let strict = Options { empty_batch: EmptyBatch::Error, ..plain() };
        assert_eq!(loss(&student, none, shape, &strict), Err(Error::NoRowCounts { rows: 4 }));
        let short = Error::Length { what: "teacher", found: 10, needed: 11 };
        assert_eq!(loss(&student, KlDivergenceInputs::new(&teacher[1..]), shape, &plain()), Err(short));
    }
}
