//! Losses by position in a sequence.

use std::ops::Range;

use crate::results::ExactSum;

/// The maximum number of bins.
const MOST_BINS: usize = 1024;

/// The finite losses at each position of a sequence: their number and their mean. A sequence of more than 1,024
/// positions is divided into bins of equal width; the last bin may be shorter.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Positions {
    length: usize,
    counts: Vec<u64>,
    sums: Vec<ExactSum>,
    /// Sums of the squares, each rounded to f32.
    squares: Vec<ExactSum>,
}

impl Positions {
    pub(super) fn new(length: usize) -> Self {
        let length = length.max(1);
        let bins = length.div_ceil(width_of(length));
        let sums = vec![ExactSum::default(); bins];
        Self { length, counts: vec![0; bins], squares: sums.clone(), sums }
    }

    /// Adds the loss of a row at this position. Positions from `length` on are in the last bin.
    #[inline]
    pub(super) fn add(&mut self, position: usize, loss: f32) {
        // A division takes longer than all the rest.
        let bin = if self.length <= MOST_BINS { position } else { position / self.width() };
        let bin = bin.min(self.counts.len() - 1);
        if let (Some(count), Some(sum)) = (self.counts.get_mut(bin), self.sums.get_mut(bin)) {
            *count += 1;
            sum.add(loss);
            // One that is beyond f32 is that of a loss beside which no other counts.
            self.squares[bin].add((loss * loss).min(f32::MAX));
        }
    }

    /// Adds the losses of other rows, of sequences of the same length.
    pub(super) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| sum.merge(more));
        self.squares.iter_mut().zip(&other.squares).for_each(|(sum, more)| sum.merge(more));
    }

    /// The number of all losses, and their sum.
    pub(super) fn all(&self) -> (u64, ExactSum) {
        let mut all = ExactSum::default();
        self.sums.iter().for_each(|sum| all.merge(sum));
        (self.counts.iter().sum(), all)
    }

    /// Rows per sequence.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Positions per bin.
    pub fn width(&self) -> usize {
        width_of(self.length)
    }

    /// The number of losses in each bin.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The positions of each bin and the mean of their losses, in nats; `None` for an empty bin.
    pub fn means(&self) -> impl Iterator<Item = (Range<usize>, Option<f64>)> {
        let (length, width) = (self.length, self.width());
        self.counts.iter().zip(&self.sums).enumerate().map(move |(bin, (&count, sum))| {
            let start = bin * width;
            (start..start.saturating_add(width).min(length), (count > 0).then(|| sum.value() / count as f64))
        })
    }

    /// The standard error of each bin's mean, if its rows are independent: the square root of (Σℓ²/n − mean²)/(n − 1).
    /// `None` for fewer than two rows.
    pub fn standard_errors(&self) -> impl Iterator<Item = Option<f64>> {
        self.counts.iter().zip(self.sums.iter().zip(&self.squares)).map(|(&count, (sum, squares))| {
            let n = count as f64;
            let variance = squares.value() / n - (sum.value() / n).powi(2);
            (count > 1).then(|| (variance.max(0.0) / (n - 1.0)).sqrt())
        })
    }

    /// Whether [`add`](Self::add) can have made this from `rows` losses.
    pub(super) fn is_sound(&self, length: usize, rows: u64) -> bool {
        let sum = self.counts.iter().try_fold(0u64, |sum, &count| sum.checked_add(count));
        let bins = Self::new(length).counts.len();
        self.length == length.max(1)
            && [self.counts.len(), self.sums.len(), self.squares.len()] == [bins; 3]
            && sum == Some(rows)
    }
}

fn width_of(length: usize) -> usize {
    length.div_ceil(MOST_BINS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_has_its_bin() {
        for (length, width, bins) in [
            (1, 1, 1),
            (1023, 1, 1023),
            (1024, 1, 1024),
            (1025, 2, 513),
            (3000, 3, 1000),
            (usize::MAX, 1 << (usize::BITS - 10), 1024),
        ] {
            let positions = Positions::new(length);
            assert_eq!((positions.width(), positions.counts().len()), (width, bins), "{length}");
            let mut end = 0;
            for (bin, _) in positions.means() {
                assert!(bin.start == end && bin.end > end, "{length}: {bin:?}");
                end = bin.end;
            }
            assert_eq!(end, length, "{length}");
        }
    }

    #[test]
    fn means_are_of_the_rows_at_a_position() {
        let mut positions = Positions::new(3);
        (0..8).for_each(|row| positions.add(row % 3, (row * row) as f32));
        assert_eq!(positions.counts(), [3, 3, 2]);
        let means: Vec<_> = positions.means().collect();
        assert_eq!(means, [(0..1, Some(15.0)), (1..2, Some(22.0)), (2..3, Some(14.5))]);
        // The squares of the deviations of 0, 9, 36 add up to 702, those of 1, 16, 49 to 1,206, those of 4, 25 to 220.5.
        let errors: Vec<f64> = positions.standard_errors().flatten().collect();
        let expected = [702.0 / 6.0, 1_206.0 / 6.0, 220.5 / 2.0];
        for (found, expected) in errors.iter().zip(expected) {
            assert!((found * found - expected).abs() < 1e-9, "{errors:?}");
        }
        assert_eq!(Positions::new(2).standard_errors().collect::<Vec<_>>(), [None, None]);
        let mut wide = Positions::new(2048);
        [0, 1, 2, 2046, 2047, 2048].iter().for_each(|&row| wide.add(row % 2048, row as f32));
        let means: Vec<_> = wide.means().filter(|(_, mean)| mean.is_some()).collect();
        assert_eq!(means, [(0..2, Some(2049.0 / 3.0)), (2..4, Some(2.0)), (2046..2048, Some(2046.5))]);
    }
}
