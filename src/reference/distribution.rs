//! The distribution of one row, from which softmax and the losses start.

use crate::element::Element;

/// The probabilities of one row x (cols,) of logits: those of `s_j / T`, where `s_j = κ·tanh(x_j / κ)` with a softcap
/// κ, and x_j otherwise.
///
/// A row with a NaN or +∞, or with only −∞, has NaN for every probability. The raw logits decide this: a softcap would
/// turn infinities into finite numbers, so infinities are not capped.
pub(super) struct Distribution {
    /// s_j (cols,).
    scores: Vec<f64>,
    kind: RowKind,
    temperature: f64,
    /// m = max s_j without NaNs; −∞ if nothing is left.
    max: f64,
    /// The first class with s_j = m.
    largest: Option<usize>,
    /// Σ exp((s_j − m) / T) over all classes except the first of the largest, whose term is 1; NaN if m is infinite or
    /// a logit is NaN.
    rest: f64,
    /// ln z, where `z = Σ exp((s_j − m) / T)`.
    log_sum: f64,
}

/// The kind of a row, from its raw logits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RowKind {
    /// Finite logits and −∞, with at least one finite logit.
    Usual,
    /// A NaN or +∞: the row is NaN.
    Nan,
    /// Every logit is −∞: [`MaskedRow`](crate::MaskedRow) decides.
    Masked,
}

impl RowKind {
    fn of<E: Element>(row: &[E]) -> Self {
        if row.iter().any(|x| x.to_f64().is_nan() || x.to_f64() == f64::INFINITY) {
            Self::Nan
        } else if row.iter().all(|x| x.to_f64() == f64::NEG_INFINITY) {
            Self::Masked
        } else {
            Self::Usual
        }
    }
}

impl Distribution {
    pub fn new<E: Element>(row: &[E], temperature: f32, softcap: Option<f32>) -> Self {
        let temperature = f64::from(temperature);
        let scores: Vec<f64> = row.iter().map(|x| capped(x.to_f64(), softcap)).collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let largest = scores.iter().position(|&s| s == max);
        let rest = match largest {
            // Subtracting the maximum first keeps every exponential in 0..=1, so that none overflows.
            Some(largest) if max.is_finite() => {
                let others = scores.iter().enumerate().filter(|&(class, _)| class != largest);
                others.map(|(_, s)| ((s - max) / temperature).exp()).sum()
            }
            _ => f64::NAN,
        };
        // In a row with one likely class, z is barely above 1. ln_1p of z − 1 keeps the digits that z has lost.
        Self { scores, kind: RowKind::of(row), temperature, max, largest, rest, log_sum: rest.ln_1p() }
    }

    pub fn kind(&self) -> RowKind {
        self.kind
    }

    pub fn cols(&self) -> usize {
        self.scores.len()
    }

    /// s_k.
    pub fn score(&self, class: usize) -> f64 {
        self.scores[class]
    }

    /// `p_k = exp((s_k − m) / T) / z`.
    pub fn prob(&self, class: usize) -> f64 {
        ((self.scores[class] - self.max) / self.temperature).exp() / (1.0 + self.rest)
    }

    /// `1 − p_k`, from the exponentials of the other classes: where p_k is near 1, the difference would lose its digits.
    pub fn prob_of_others(&self, class: usize) -> f64 {
        let others = if Some(class) == self.largest {
            self.rest
        } else {
            // At least the largest, whose exponential is 1.
            1.0 + (self.rest - ((self.scores[class] - self.max) / self.temperature).exp())
        };
        others / (1.0 + self.rest)
    }

    /// `ln p_k = (s_k − m) / T − ln z`, in this order: s_k / T − lse would round ln z away if m is large.
    pub fn log_prob(&self, class: usize) -> f64 {
        (self.scores[class] - self.max) / self.temperature - self.log_sum
    }

    /// `ℓ_k = −ln p_k = ln z + (m − s_k) / T`: finite even if p_k underflows; +∞ if s_k is −∞.
    pub fn nll(&self, class: usize) -> f64 {
        self.log_sum + (self.max - self.scores[class]) / self.temperature
    }

    /// `ln Σ exp(s_j / T) = m / T + ln z`. As in `torch.logsumexp`, special values give the limit: −∞ if every logit is
    /// −∞, +∞ if one is +∞; NaN if one is NaN.
    pub fn lse(&self) -> f64 {
        if self.scores.iter().any(|s| s.is_nan()) {
            f64::NAN
        } else if self.max.is_infinite() {
            self.max
        } else {
            self.max / self.temperature + self.log_sum
        }
    }
}

/// κ·tanh(x / κ); infinities stay as they are.
pub(super) fn capped(x: f64, softcap: Option<f32>) -> f64 {
    match softcap.map(f64::from) {
        Some(cap) if x.is_finite() => cap * (x / cap).tanh(),
        _ => x,
    }
}

/// The derivative of [`capped`] with respect to x: `1 − tanh²(x / κ)`, computed as `1 / cosh²(x / κ)`, which loses no
/// digits if tanh is near 1. 0 for x = −∞, which is the limit.
pub(super) fn cap_slope(x: f64, softcap: Option<f32>) -> f64 {
    softcap.map_or(1.0, |cap| (x / f64::from(cap)).cosh().powi(-2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;

    #[test]
    fn usual_rows() {
        let cases: &[(&str, &[f32], f64, f64)] = &[
            ("one class", &[-7.5], -7.5, 0.0),
            ("all equal", &[4.0; 5], 4.0, 4.0),
            ("masked class", &[1.0, -INF, 1.0], 1.0, 1.0),
            ("far below the maximum", &[1e6, -1e6], 1e6, 0.0),
            ("beyond f32 between them", &[f32::MAX, f32::MIN], f64::from(f32::MAX), 0.0),
            ("zeros of both signs", &[-0.0, 0.0], 0.0, 1.0),
        ];
        for &(name, row, max, rest) in cases {
            let found = Distribution::new(row, 1.0, None);
            assert_eq!((found.kind(), found.max, found.rest), (RowKind::Usual, max, rest), "{name}");
            for class in 0..row.len() {
                assert!((found.prob(class) - found.log_prob(class).exp()).abs() <= 1e-15, "{name}");
                assert_eq!(found.nll(class), -found.log_prob(class), "{name}");
            }
        }
    }

    #[test]
    fn special_rows_are_nan_with_a_softcap_too() {
        let (nan, masked) = (RowKind::Nan, RowKind::Masked);
        let cases: &[(&str, &[f32], RowKind, f64)] = &[
            ("NaN first", &[NAN, 1.0], nan, f64::NAN),
            ("NaN last", &[1.0, NAN], nan, f64::NAN),
            ("only NaN", &[NAN], nan, f64::NAN),
            ("+∞", &[1.0, INF], nan, f64::INFINITY),
            ("only +∞", &[INF], nan, f64::INFINITY),
            ("+∞ and −∞", &[INF, -INF], nan, f64::INFINITY),
            ("+∞ and NaN", &[INF, NAN], nan, f64::NAN),
            ("NaN among −∞", &[-INF, NAN], nan, f64::NAN),
            ("all −∞", &[-INF, -INF], masked, f64::NEG_INFINITY),
            ("only −∞", &[-INF], masked, f64::NEG_INFINITY),
        ];
        for &(name, row, kind, lse) in cases {
            for softcap in [None, Some(2.0)] {
                let found = Distribution::new(row, 1.0, softcap);
                assert_eq!(found.kind(), kind, "{name}");
                assert!(
                    found.lse() == lse || (found.lse().is_nan() && lse.is_nan()),
                    "{name}: {}",
                    found.lse()
                );
                for class in 0..row.len() {
                    let values = [found.prob(class), found.log_prob(class), found.nll(class)];
                    assert!(values.iter().all(|value| value.is_nan()), "{name}: {values:?}");
                }
            }
        }
    }

    #[test]
    fn the_slope_of_a_cap() {
        assert_eq!(cap_slope(3.0, None), 1.0);
        assert_eq!(cap_slope(0.0, Some(2.0)), 1.0);
        assert_eq!((cap_slope(f64::NEG_INFINITY, Some(2.0)), cap_slope(3e38, Some(2.0))), (0.0, 0.0));
        for x in [-3.0, 0.5, 4.0f64] {
            let expected = 1.0 - (x / 2.0).tanh().powi(2);
            assert!((cap_slope(x, Some(2.0)) / expected - 1.0).abs() <= 1e-14, "{x}");
        }
    }
}
