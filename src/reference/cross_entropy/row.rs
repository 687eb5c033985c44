//! The loss of one row, and its gradient.

use super::shares::{Shares, product};
use crate::element::Element;
use crate::options::{CrossEntropyOptions, Input, MaskedRow};
use crate::reference::distribution::{Distribution, RowKind, cap_slope};
use crate::targets::RowTarget;

/// The loss of one row in nats, in parts, not multiplied by the row's weight.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RowLoss {
    /// The target's part, including class weights, label smoothing and focal loss.
    pub loss: f64,
    /// `λ·lse²`, which depends on the logits only.
    pub z_loss: f64,
    /// `ln Σ exp(s_j / T)`, where s are the capped logits: the same as [`logsumexp`](crate::reference::logsumexp_row),
    /// also for rows with special values. 0 for a row that is left out.
    pub lse: f64,
}

impl RowLoss {
    /// Both parts of the loss.
    pub fn total(&self) -> f64 {
        self.loss + self.z_loss
    }
}

/// The factors of the parts of a row's loss before differentiation: everything between the row and the quantity that is
/// differentiated in the end.
///
/// More fields may come: end a literal with `..RowScale::ONE`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowScale {
    /// The factor of the target's part: upstream gradient · row weight / the mean's denominator.
    pub loss: f64,
    /// The factor of the z-loss: upstream gradient · row weight / the mean's denominator for the z-loss.
    pub z_loss: f64,
}

impl RowScale {
    /// The factors for the loss of the row itself.
    pub const ONE: Self = Self { loss: 1.0, z_loss: 1.0 };
    /// The factors of a row that is left out.
    pub const ZERO: Self = Self { loss: 0.0, z_loss: 0.0 };
}

/// The loss of one row (cols,) in nats. With `s_j` the logits (capped to `κ·tanh(x_j / κ)` with a softcap), `m = max
/// s`, `z = Σ exp((s_j − m) / T)` and `ℓ_j = −ln p_j = ln z + (m − s_j) / T`:
///
/// | target | `loss` |
/// | --- | --- |
/// | class y | `(1 − ε)·w_y·(1 − p_y)^γ·ℓ_y + (ε / C)·Σ_j w_j·ℓ_j` |
/// | soft or sparse q | `(1 − ε)·Σ_j w_j·q_j·ℓ_j + (ε / C)·Σ_j w_j·ℓ_j` |
///
/// and `z_loss = λ·lse²`, `lse = ln Σ exp(s_j / T) = m / T + ln z`. For [`Input::LogProbs`], `ℓ_j = −x_j`, and T, κ, λ
/// and γ are ignored.
///
/// ℓ is −ln p in expanded form. If the probability underflows, its logarithm would be −∞, but ℓ is still, say, 1000.
/// And `lse − s_y / T` would round ln z away if the logits share a large offset.
///
/// | the row | `loss` |
/// | --- | --- |
/// | its target is ignored (for sparse targets: every entry) | all parts 0; its logits are not read |
/// | target or sparse index outside 0..cols, not ignored | NaN |
/// | a class weight that it uses is negative, NaN, infinite or missing | NaN |
/// | a logit, or a target's probability, is NaN or +∞ (a probability also −∞ or missing) | NaN, even if its weight is 0 |
/// | an option is outside its range | NaN in all parts |
/// | every logit is −∞ | NaN, or 0 with [`MaskedRow::Zero`]; the same for the z-loss |
/// | a class with a logit of −∞ has a share in the target, also through smoothing | +∞; −∞ if the share is below 0; NaN if there are both |
/// | that share is 0 (because of w, q, ε or 1 − ε) | finite: 0 · ∞ counts as 0 |
pub fn row_loss<E: Element>(
    row: &[E],
    target: &RowTarget<'_>,
    class_weights: Option<&[f32]>,
    options: &CrossEntropyOptions,
) -> RowLoss {
    if target.is_ignored(options.ignore_index) {
        return RowLoss::default();
    }
    let options = &of_this_input(options);
    if options.check().is_err() {
        return RowLoss { loss: f64::NAN, z_loss: f64::NAN, lse: f64::NAN };
    }
    let distribution = Distribution::new(row, options.temperature, options.softcap);
    let lse = distribution.lse();
    let z_loss = match distribution.kind() {
        RowKind::Usual => product(options.z_loss.into(), lse * lse),
        RowKind::Masked if options.masked_row == MaskedRow::Zero => 0.0,
        _ => product(options.z_loss.into(), f64::NAN),
    };
    let loss = match (Shares::new(target, class_weights, row.len(), options), distribution.kind()) {
        (None, _) => f64::NAN,
        (Some(shares), _) if shares.are_nan() => f64::NAN,
        (Some(shares), RowKind::Usual) => target_loss(&distribution, &shares, options),
        (Some(_), RowKind::Masked) if options.masked_row == MaskedRow::Zero => 0.0,
        (Some(_), RowKind::Masked | RowKind::Nan) => f64::NAN,
    };
    RowLoss { loss, z_loss, lse }
}

/// The gradient, with respect to the row's logits (cols,), of `scale.loss` · [`loss`](RowLoss::loss) + `scale.z_loss` ·
/// [`z_loss`](RowLoss::z_loss).
///
/// With `a_k = s_k / T`, `∂ℓ_j/∂a_k = p_k − [j = k]`, because ℓ_j is `ln Σ exp(a) − a_j`. So, term by term:
///
/// | term | its derivative with respect to a_k |
/// | --- | --- |
/// | `Σ_j t_j·ℓ_j` | `(Σ_j t_j)·p_k − t_k` |
/// | `(1 − p_y)^γ·ℓ_y` | `(1 − p_y)^γ·(p_k − [k = y]) + ℓ_y·γ·(1 − p_y)^(γ−1)·p_y·(p_k − [k = y])` |
/// | `λ·lse²` | `2·λ·lse·p_k` |
///
/// The derivative with respect to x_k is that, times 1/T, times the cap's slope `1 − tanh²(x_k / κ)`. For
/// [`Input::LogProbs`] it is `−t_k`.
///
/// A loss of ±∞, from f32's range or from a logit of −∞, has the finite gradient of these formulas. The z-loss part is
/// left out if `scale.z_loss·2·λ·lse / T` is beyond f32: for a class without a probability it would be 0 · ∞.
///
/// | the row | gradient |
/// | --- | --- |
/// | its target is ignored | 0, whatever `scale` is; its logits are not read |
/// | target or sparse index outside 0..cols, or an invalid class weight in use | 0 |
/// | a logit, or a target's probability, is NaN or +∞; an option is outside its range | NaN throughout, whatever `scale` is |
/// | every logit is −∞ | NaN throughout, or 0 with [`MaskedRow::Zero`] |
/// | a logit is −∞, another is finite | 0 there if it has no share in the target; −share · `scale` / T if it has, with a loss of +∞ (with a softcap 0, because its slope is 0) |
pub fn row_dlogits<E: Element>(
    row: &[E],
    target: &RowTarget<'_>,
    class_weights: Option<&[f32]>,
    options: &CrossEntropyOptions,
    scale: RowScale,
) -> Vec<f64> {
    let all = |value: f64| vec![value; row.len()];
    if target.is_ignored(options.ignore_index) {
        return all(0.0);
    }
    let options = &of_this_input(options);
    if options.check().is_err() {
        return all(f64::NAN);
    }
    let distribution = Distribution::new(row, options.temperature, options.softcap);
    match (Shares::new(target, class_weights, row.len(), options), distribution.kind()) {
        (None, _) => all(0.0),
        (Some(shares), _) if shares.are_nan() => all(f64::NAN),
        (Some(_), RowKind::Masked) if options.masked_row == MaskedRow::Zero => all(0.0),
        (Some(_), RowKind::Masked | RowKind::Nan) => all(f64::NAN),
        (Some(shares), RowKind::Usual) => {
            let of_target = target_gradient(&distribution, &shares, options);
            let of_z_loss = z_loss_gradient(&distribution, options, scale.z_loss);
            let temperature = f64::from(options.temperature);
            let of_logit = |class: usize| {
                let by_a = scale.loss * of_target[class] + of_z_loss[class];
                cap_slope(row[class].to_f64(), options.softcap) * by_a / temperature
            };
            (0..row.len()).map(of_logit).collect()
        }
    }
}

/// The factor of each class's ℓ_j in a row's [`loss`](RowLoss::loss) (cols,), without focal loss: `t_j = w_j·((1 −
/// ε)·q_j + ε / C)`, where q of a class target is 1 at its class and 0 elsewhere. The error bound of the gradient
/// depends on it. `None` if the target, a weight or an option is out of range.
pub fn row_shares(
    target: &RowTarget<'_>,
    class_weights: Option<&[f32]>,
    cols: usize,
    options: &CrossEntropyOptions,
) -> Option<Vec<f64>> {
    of_this_input(options).check().ok()?;
    let shares = Shares::new(target, class_weights, cols, options)?;
    Some(shares.all())
}

/// The options without those that have no meaning for this input.
pub(super) fn of_this_input(options: &CrossEntropyOptions) -> CrossEntropyOptions {
    match options.input {
        Input::Logits => *options,
        Input::LogProbs => {
            CrossEntropyOptions { temperature: 1.0, softcap: None, z_loss: 0.0, focal_gamma: 0.0, ..*options }
        }
    }
}

/// ℓ_j of a class.
fn nll(distribution: &Distribution, class: usize, input: Input) -> f64 {
    match input {
        Input::Logits => distribution.nll(class),
        Input::LogProbs => -distribution.score(class),
    }
}

/// The target's part of the loss of a row without special values.
fn target_loss(distribution: &Distribution, shares: &Shares, options: &CrossEntropyOptions) -> f64 {
    let nll = |class: usize| nll(distribution, class, options.input);
    let sum = |shares: &[f64]| -> f64 {
        shares.iter().enumerate().fold(0.0, |sum, (class, &share)| sum + product(share, nll(class)))
    };
    if let Some(y) = shares.class {
        let own = product(shares.own[y], focal_factor(nll(y), options) * nll(y));
        return own + sum(&shares.smoothing);
    }
    let apart = sum(&shares.own) + sum(&shares.smoothing);
    // With soft targets the two shares of a class are added first, so that they do not give infinities of both signs.
    if shares.is_soft && apart.is_nan() { sum(&shares.all()) } else { apart }
}

/// The derivative of [`target_loss`] with respect to a_k = s_k / T (cols,).
fn target_gradient(distribution: &Distribution, shares: &Shares, options: &CrossEntropyOptions) -> Vec<f64> {
    let focal = match shares.class {
        Some(y) => focal_slope(nll(distribution, y, options.input), options),
        None => 1.0,
    };
    let total = |shares: &[f64]| shares.iter().sum::<f64>();
    let (own_total, smoothing_total) = (total(&shares.own), total(&shares.smoothing));
    let of_class = |class: usize| {
        // ∂ℓ_j/∂a_k = p_k − [j = k]. If log-probabilities are given, ∂ℓ_j/∂a_k = −[j = k].
        let (prob, of_others) = match options.input {
            Input::Logits => (distribution.prob(class), distribution.prob_of_others(class)),
            Input::LogProbs => (0.0, 1.0),
        };
        // p·Σ t − t_k, without the digits that the difference loses where p is near 1.
        let share = shares.own[class];
        let own = (own_total - share) * prob - share * of_others;
        let smoothing = smoothing_total * prob - shares.smoothing[class];
        focal * own + smoothing
    };
    (0..distribution.cols()).map(of_class).collect()
}

/// `(1 − p_y)^γ`. 1 − p_y is computed as `−expm1(−ℓ_y)`, which keeps its digits if p_y is near 1.
fn focal_factor(nll: f64, options: &CrossEntropyOptions) -> f64 {
    (-(-nll).exp_m1()).powf(options.focal_gamma.into())
}

/// The derivative of `(1 − p)^γ·ℓ` with respect to ℓ: both factors change, and `dp/dℓ = −p`.
fn focal_slope(nll: f64, options: &CrossEntropyOptions) -> f64 {
    let gamma = f64::from(options.focal_gamma);
    let (prob, rest) = ((-nll).exp(), -(-nll).exp_m1());
    // As ℓ → 0 the second term is γ·(1 − p)^γ, which goes to 0 too; as p → 0 the factor p makes it vanish.
    let of_factor = if gamma == 0.0 || rest == 0.0 || prob == 0.0 {
        0.0
    } else {
        gamma * rest.powf(gamma - 1.0) * prob * nll
    };
    focal_factor(nll, options) + of_factor
}

/// The derivative of `scale`·λ·lse² with respect to a_k (cols,); 0 if the factor of the probabilities is beyond f32.
fn z_loss_gradient(distribution: &Distribution, options: &CrossEntropyOptions, scale: f64) -> Vec<f64> {
    let by_lse = scale * product(options.z_loss.into(), 2.0 * distribution.lse());
    let is_held = ((by_lse / f64::from(options.temperature)) as f32).is_finite();
    let by_lse = if is_held { by_lse } else { 0.0 };
    (0..distribution.cols()).map(|class| by_lse * distribution.prob(class)).collect()
}
