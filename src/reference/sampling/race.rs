//! Draws without replacement: exponential races.

use std::cmp::Ordering;

use crate::options::Sampling;
use crate::reference::sampling::{Purpose, Support, row_words};

/// The exponential variate E = −ln(1 − u) of a class in a draw without replacement. u = (w + ½) / 2^32, where w is word
/// class mod 4 of the group class / 4 of [`row_words`]. Where w is below 2^16, 32 more bits follow it, from the same word
/// of the group class / 4 + 2^29: u needs its digits near 0.
pub fn exponential(seed: u64, counter: u64, draw: u32, class: usize) -> f64 {
    let (group, word) = ((class / 4) as u32, class % 4);
    let bits = |group: u32| f64::from(row_words(seed, counter, draw, Purpose::Draw, group)[word]);
    let high = bits(group);
    let low = if high < 65_536.0 { (bits(group + (1 << 29)) + 0.5) / 2f64.powi(32) } else { 0.5 };
    -(-(high + low) / 2f64.powi(32)).ln_1p()
}

impl Support {
    /// The first `samples` classes of a draw without replacement: those with the least E_j / p_j, in this order, where the
    /// E_j are [`exponential`] variates of the draw (exponential races; the same classes as with Gumbel noise), and the
    /// lower class first among equals. Classes of weight 0 take no part, so there may be fewer.
    pub fn race(&self, sampling: &Sampling, draw: u32, samples: usize) -> Vec<usize> {
        let Sampling { seed, counter, .. } = *sampling;
        let runners = (0..self.weights.len()).filter(|&class| self.weights[class] > 0);
        // By logarithms: a quotient could exceed f64.
        let time = |class: usize| exponential(seed, counter, draw, class).ln() - self.log_probs[class];
        let mut times: Vec<(f64, usize)> = runners.map(|class| (time(class), class)).collect();
        times.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        times.into_iter().take(samples).map(|(_, class)| class).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::StepOrder;
    use crate::reference::sampling::support_row;

    /// Mean and variance of an exponential variate are 1; a share of e^−1 is above 1; the smallest have all their digits.
    #[test]
    fn exponential_variates() {
        let all: Vec<f64> = (0..200_000).map(|class| exponential(3, 6, 0, class)).collect();
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / all.len() as f64;
        // Five deviations: those of E, E² (√20) and a count, divided by √200,000.
        assert!((mean(&mut all.iter().copied()) - 1.0).abs() < 5.0 / 447.0);
        assert!((mean(&mut all.iter().map(|e| e * e)) - 2.0).abs() < 5.0 * 4.48 / 447.0);
        let above = mean(&mut all.iter().map(|&e| f64::from(u8::from(e > 1.0))));
        assert!((above - (-1f64).exp()).abs() < 5.0 * 0.49 / 447.0);
        let small: Vec<f64> = all.into_iter().filter(|&e| e < 2f64.powi(-16)).collect();
        assert!(!small.is_empty() && small.iter().all(|e| (e * 2f64.powi(32)).fract() != 0.5), "{small:?}");
    }

    /// Of three classes of probabilities ½, ⅓ and ⅙, the first is i with p_i, and then j with p_j / (1 − p_i).
    #[test]
    fn races_draw_without_replacement() {
        let (plain, row) = (Sampling::default(), [3f32.ln(), 2f32.ln(), 0.0]);
        let support = support_row(&row, &plain, StepOrder::default());
        let mut counts = [[0.0; 3]; 3];
        let draws = 20_000;
        for draw in 0..draws {
            let order = support.race(&Sampling { seed: 5, ..plain }, draw, 9);
            assert_eq!(order.len(), 3);
            counts[order[0]][order[1]] += 1.0;
        }
        let p = [3.0 / 6.0, 2.0 / 6.0, 1.0 / 6.0];
        for (i, j) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            let expected = p[i] * p[j] / (1.0 - p[i]);
            let deviation = (expected * (1.0 - expected) / f64::from(draws)).sqrt();
            let found = counts[i][j] / f64::from(draws);
            assert!((found - expected).abs() < 5.0 * deviation, "{i} {j}: {found}, expected {expected}");
        }
        // Classes that are left out take no part, nor do those of weight 0.
        let sampling = Sampling { top_k: 2, ..plain };
        let mut left = support_row(&row, &sampling, StepOrder::default()).race(&sampling, 0, 3);
        left.sort_unstable();
        assert_eq!(left, [0, 1]);
        let far = support_row(&[0.0f32, -40.0], &plain, StepOrder::default());
        assert_eq!((far.kept(), far.race(&plain, 0, 2)), (2, vec![0]));
        let none = support_row(&[f32::NAN, 1.0], &plain, StepOrder::default());
        assert!(none.race(&plain, 0, 2).is_empty());
    }
}
