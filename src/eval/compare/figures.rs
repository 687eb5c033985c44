//! Figures with their standard errors.

use crate::results::ProductSum;

/// A figure and its standard error, if the sequences are independent, or without sequences the rows.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Its standard error; `None` if it takes more rows to tell.
    pub error: Option<f64>,
}

impl Estimate {
    /// A figure with this standard error.
    pub const fn new(value: f64, error: Option<f64>) -> Self {
        Self { value, error }
    }

    /// A smooth function of the figure, whose value there and whose derivative are given (the delta method).
    fn through(self, value: f64, slope: f64) -> Self {
        Self { value, error: self.error.map(|error| slope.abs() * error) }
    }

    /// A share of rows of which `hits` have a property: √(p·(1 − p)/(n − 1)).
    pub(super) fn of_share(hits: u64, rows: u64) -> Option<Self> {
        let (share, n) = (hits as f64 / rows as f64, rows as f64);
        let error = (rows > 1).then(|| (share * (1.0 - share) / (n - 1.0)).sqrt());
        (rows > 0).then_some(Self { value: share, error })
    }
}

/// Σx and Σx² of values that are an f32, or an f64 made from some in one step. No addition rounds.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Moments {
    rows: u64,
    sum: ProductSum,
    squares: ProductSum,
    /// Those of the rows, if they are told apart.
    sequences: Option<Sequences>,
}

/// What the standard error of a mean needs if sequences are independent, but not their rows: Σs², Σs·n and Σn² of the sums s
/// and the rows n of each.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Sequences {
    ended: u64,
    squares: ProductSum,
    products: ProductSum,
    lengths: u64,
    /// Those of the sequence that has not ended.
    rows: u64,
    sum: ProductSum,
}

impl Sequences {
    fn end(&mut self) {
        if self.rows == 0 {
            return;
        }
        let (sum, rows) = (self.sum.value(), self.rows as f64);
        self.ended += 1;
        self.squares.add_f64(sum * sum);
        self.products.add_f64(sum * rows);
        self.lengths += self.rows * self.rows;
        (self.rows, self.sum) = (0, ProductSum::default());
    }

    /// The standard error of this mean of so many rows: √(k/(k − 1) · Σ(s − m·n)²) / Σn over k sequences. `None` for fewer than
    /// two.
    fn error(&self, mean: f64, rows: f64) -> Option<f64> {
        let mut all = self.clone();
        all.end();
        let k = all.ended as f64;
        let squares =
            all.squares.value() - 2.0 * mean * all.products.value() + mean * mean * all.lengths as f64;
        (all.ended > 1).then(|| (k / (k - 1.0) * squares.max(0.0)).sqrt() / rows)
    }
}

impl Moments {
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.rows += 1;
        self.sum.add_f64(value);
        self.squares.add_f64(value * value);
        if let Some(sequences) = &mut self.sequences {
            sequences.rows += 1;
            sequences.sum.add_f64(value);
        }
    }

    /// Tells sequences apart from here on.
    pub fn of_sequences(&mut self) {
        self.sequences.get_or_insert_default();
    }

    /// Ends a sequence: what is added next is of another.
    pub fn end_sequence(&mut self) {
        self.sequences.iter_mut().for_each(Sequences::end);
    }

    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        if let (Some(own), Some(other)) = (&mut self.sequences, &other.sequences) {
            let mut ended = other.clone();
            ended.end();
            own.end();
            own.ended += ended.ended;
            own.squares.merge(&ended.squares);
            own.products.merge(&ended.products);
            own.lengths += ended.lengths;
        }
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The mean, and its standard error: that of independent sequences if there are several, else that of independent rows, the
    /// square root of (Σx²/n − mean²)/(n − 1).
    pub fn mean(&self) -> Option<Estimate> {
        let n = self.rows as f64;
        let value = self.sum.value() / n;
        let of_rows = || (self.rows > 1).then(|| self.variance().sqrt());
        let of_sequences = self.sequences.as_ref().and_then(|sequences| sequences.error(value, n));
        let error = of_sequences.or_else(of_rows);
        (self.rows > 0).then_some(Estimate { value, error })
    }

    /// The variance of the mean. With fewer than two rows it is NaN.
    fn variance(&self) -> f64 {
        let n = self.rows as f64;
        let mean = self.sum.value() / n;
        (self.squares.value() / n - mean * mean).max(0.0) / (n - 1.0)
    }

    /// For values that are squares: the square root of their mean.
    pub fn root_mean(&self) -> Option<Estimate> {
        let mean = self.mean()?;
        let root = mean.value.sqrt();
        Some(mean.through(root, if root > 0.0 { 0.5 / root } else { 0.0 }))
    }
}

/// The losses of both models on the same rows. Their errors belong together: a row that is hard for one is hard for the
/// other, so that the error of a difference is far smaller than the errors of the two means would let one think.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct PairedLosses {
    /// The rows, all with two finite losses.
    pub rows: u64,
    /// The mean loss of the base, in nats: ln of its perplexity.
    pub base: Estimate,
    /// The mean loss of the other.
    pub other: Estimate,
    /// The mean of other − base: ln of the ratio of their perplexities.
    pub change: Estimate,
    /// The covariance of the two means, if the rows are independent; NaN with fewer than two rows.
    pub covariance: f64,
    /// The correlation of the losses, in −1..=1; `None` if the losses of one are all equal.
    pub correlation: Option<f64>,
}

impl PairedLosses {
    /// Of the moments of both, of the differences, and of Σ (base · other).
    pub(super) fn of([base, other, change]: [&Moments; 3], products: &ProductSum) -> Option<Self> {
        let (rows, n) = (base.rows, base.rows as f64);
        let means = [base.mean()?, other.mean()?];
        let covariance = (products.value() / n - means[0].value * means[1].value) / (n - 1.0);
        let deviations = (base.variance() * other.variance()).sqrt();
        Some(Self {
            rows,
            base: means[0],
            other: means[1],
            change: change.mean()?,
            covariance,
            correlation: (deviations > 0.0).then(|| (covariance / deviations).clamp(-1.0, 1.0)),
        })
    }

    /// The perplexity of the base, e to the power of its mean loss.
    pub fn base_perplexity(&self) -> Estimate {
        exp(self.base)
    }

    /// The perplexity of the other.
    pub fn other_perplexity(&self) -> Estimate {
        exp(self.other)
    }

    /// The other's perplexity divided by the base's.
    pub fn perplexity_ratio(&self) -> Estimate {
        exp(self.change)
    }

    /// The other's perplexity minus the base's. Its variance to the first order is `a²·v_a + b²·v_b − 2·a·b·cov`, with
    /// perplexities a and b, and the variances and the covariance of the mean losses.
    pub fn perplexity_change(&self) -> Estimate {
        let [a, b] = [self.base, self.other].map(|loss| loss.value.exp());
        let variance = |of: Estimate| of.error.map(|error| error * error);
        let variances = variance(self.base).zip(variance(self.other)).zip(variance(self.change));
        // With the variance of the change, 2·cov = v_a + v_b − v_d, nothing large cancels where the two are alike.
        let error =
            variances.map(|((v_a, v_b), v_d)| ((b - a) * (b * v_b - a * v_a) + a * b * v_d).max(0.0).sqrt());
        Estimate { value: b - a, error }
    }
}

fn exp(of: Estimate) -> Estimate {
    let value = of.value.exp();
    of.through(value, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * (1.0 + b.abs())
    }

    fn moments(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|&value| moments.add(value));
        moments
    }

    /// 1, 2, 4: the sample variance is 7/3.
    #[test]
    fn means_and_their_errors() {
        let mean = moments(&[1.0, 2.0, 4.0]).mean().unwrap();
        assert!(close(mean.value, 7.0 / 3.0) && close(mean.error.unwrap(), (7f64 / 9.0).sqrt()));
        assert_eq!(moments(&[]).mean(), None);
        assert_eq!(moments(&[3.0]).mean(), Some(Estimate { value: 3.0, error: None }));
        // Squares 1, 4, 16: the mean is 7, its variance (91 − 49)/2 = 21; the root's error is √21 / (2√7).
        let root = moments(&[1.0, 4.0, 16.0]).root_mean().unwrap();
        assert!(
            close(root.value, 7f64.sqrt()) && close(root.error.unwrap(), 21f64.sqrt() / 2.0 / 7f64.sqrt())
        );
        let none = moments(&[0.0, 0.0]).root_mean().unwrap();
        assert_eq!(none, Estimate { value: 0.0, error: Some(0.0) });
        let share = Estimate::of_share(3, 4).unwrap();
        assert!(close(share.value, 0.75) && close(share.error.unwrap(), 0.25));
        assert_eq!(Estimate::of_share(0, 0), None);
    }

    /// Sequences 1, 2 and 4: the sums are 3 and 4 of 2 and 1 rows, the mean 7/3. The deviations are 3 − 14/3 and 4 − 7/3, both
    /// 5/3 in size, so the error is √(2/1 · 50/9) / 3.
    #[test]
    fn errors_of_sequences() {
        let mut whole = Moments::default();
        whole.of_sequences();
        [1.0, 2.0].iter().for_each(|&value| whole.add(value));
        whole.end_sequence();
        whole.end_sequence();
        let first = whole.clone();
        assert!(close(first.mean().unwrap().error.unwrap(), 0.5), "one sequence: of the rows");
        whole.add(4.0);
        let error = whole.mean().unwrap().error.unwrap();
        assert!(close(error, (100f64 / 9.0).sqrt() / 3.0), "{error}");
        let mut parts = Moments::default();
        parts.of_sequences();
        parts.add(4.0);
        parts.merge(&first);
        assert_eq!(parts.mean(), whole.mean());
    }

    fn paired(base: &[f64], other: &[f64]) -> PairedLosses {
        let (mut products, mut change) = (ProductSum::default(), Moments::default());
        for (a, b) in base.iter().zip(other) {
            products.add_f64(a * b);
            change.add(b - a);
        }
        PairedLosses::of([&moments(base), &moments(other), &change], &products).unwrap()
    }

    #[test]
    fn the_error_of_a_difference_is_not_the_sum_of_two() {
        // Differences 0.5, 0.5, 0.5: the change is certain, although each mean is not.
        let same = paired(&[1.0, 2.0, 4.0], &[1.5, 2.5, 4.5]);
        assert!(close(same.change.value, 0.5) && close(same.change.error.unwrap(), 0.0));
        assert!(close(same.correlation.unwrap(), 1.0) && close(same.covariance, 7.0 / 9.0));
        assert!(close(same.perplexity_ratio().value, 0.5f64.exp()));
        let error = same.perplexity_change().error.unwrap();
        let by_hand = (7.0f64 / 9.0).sqrt() * same.perplexity_change().value;
        assert!(
            close(error, by_hand),
            "with a fixed ratio, the difference grows with the perplexity: {error}"
        );
        // Against each other: the variance of the change is that of both and twice the covariance.
        let against = paired(&[1.0, 2.0, 4.0], &[4.0, 2.0, 1.0]);
        let [a, b] = [against.base, against.other].map(|of| of.error.unwrap().powi(2));
        assert!(close(against.change.error.unwrap().powi(2), a + b - 2.0 * against.covariance));
        assert!(against.correlation.unwrap() < -0.9);
        assert_eq!(paired(&[1.0, 1.0], &[1.0, 2.0]).correlation, None, "no spread");
        let one = paired(&[1.0], &[2.0]);
        assert_eq!((one.change.error, one.correlation, one.perplexity_change().error), (None, None, None));
    }
}
