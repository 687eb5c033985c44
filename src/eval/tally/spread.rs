//! The standard error of a mean.

use crate::results::ProductSum;

/// What the standard error of a weighted mean needs of its addends x and their weights w: their number, Σx², Σxw, Σw² and
/// Σw. Each product is an f64, and they are added without rounding.
///
/// The mean is m = Σx / Σw, where x holds its weight already. It is a ratio of two sums over n independent addends, and
/// its variance to the first order is n / (n − 1) · Σ (x − m·w)² / (Σw)² (Cochran 1977, *Sampling techniques*, section
/// 6.4; the clustered sandwich estimator of Liang and Zeger 1986 when each addend is the sum of a cluster). With weights
/// of 1 it is the variance of the addends, divided by n.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Spread {
    count: u64,
    squares: ProductSum,
    /// The addends and weights of those that have a weight other than 1.
    weighted: u64,
    products: ProductSum,
    weight_squares: ProductSum,
    weights: ProductSum,
}

impl Spread {
    /// Adds an f32 of weight 1.
    #[inline]
    pub fn add(&mut self, value: f32) {
        self.count += 1;
        self.squares.add_f64(f64::from(value) * f64::from(value));
    }

    /// Adds a value with its weight.
    pub fn add_weighted(&mut self, value: f64, weight: f64) {
        self.count += 1;
        self.weighted += 1;
        self.squares.add_f64(value * value);
        self.products.add_f64(value * weight);
        self.weight_squares.add_f64(weight * weight);
        self.weights.add_f64(weight);
    }

    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.weighted += other.weighted;
        self.squares.merge(&other.squares);
        self.products.merge(&other.products);
        self.weight_squares.merge(&other.weight_squares);
        self.weights.merge(&other.weights);
    }

    /// The sum of the weights.
    pub fn weight(&self) -> f64 {
        (self.count - self.weighted) as f64 + self.weights.value()
    }

    /// The standard error of the mean of values whose sum is this; `None` with fewer than two, or if only some of them
    /// have weights.
    pub fn standard_error(&self, sum: f64) -> Option<f64> {
        let n = self.count as f64;
        let (products, weight_squares) = match self.weighted {
            0 => (sum, n),
            all if all == self.count => (self.products.value(), self.weight_squares.value()),
            _ => return None,
        };
        let weight = self.weight();
        let mean = sum / weight;
        let squares = self.squares.value() - 2.0 * mean * products + mean * mean * weight_squares;
        (self.count > 1 && weight > 0.0).then(|| (n / (n - 1.0) * squares.max(0.0)).sqrt() / weight)
    }

    pub fn is_sound(&self) -> bool {
        self.weighted <= self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() < 1e-12)
    }

    #[test]
    fn worked_answers() {
        // 1, 2, 4: the variance is 7/3, so that the mean's standard error is √(7/9).
        let mut spread = Spread::default();
        [1.0, 2.0, 4.0].iter().for_each(|&value| spread.add(value));
        assert!(close(spread.standard_error(7.0), (7f64 / 9.0).sqrt()));
        // The same values in two clusters of 1 + 2 and 4: m = 7/3, residuals 3 − 14/3 and 4 − 7/3, n/(n − 1) = 2.
        let mut clusters = Spread::default();
        clusters.add_weighted(3.0, 2.0);
        clusters.add_weighted(4.0, 1.0);
        assert!(close(clusters.standard_error(7.0), (2.0 * 2.0 * (5f64 / 3.0).powi(2)).sqrt() / 3.0));
        assert_eq!(clusters.weight(), 3.0);
        let mut one = Spread::default();
        one.add(3.0);
        assert_eq!((one.standard_error(3.0), Spread::default().standard_error(0.0)), (None, None));
        one.add_weighted(1.0, 0.5);
        assert_eq!(one.standard_error(4.0), None, "only one has a weight");
    }

    /// Repeating a row k times and giving it weight k are the same mean.
    #[test]
    fn equal_values_have_no_error() {
        let mut spread = Spread::default();
        (0..1000).for_each(|_| spread.add(1e8 + 0.5));
        assert!(close(spread.standard_error(1000.0 * f64::from(1e8f32)), 0.0));
    }
}
