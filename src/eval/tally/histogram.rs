//! A histogram of losses whose range is not known beforehand.

use std::ops::Range;

/// The maximum number of bins.
const MOST_BINS: usize = 4096;
/// The bin width starts at 2^-20 nats, which is finer than the accuracy of an f32 loss.
const FINEST: i32 = -20;
/// Bins of width 2^117 cover all of f32.
const WIDEST: i32 = 117;

/// A histogram of finite losses with at most 4,096 bins of equal width. The width is a power of two. It doubles when a
/// loss comes that is too far from the others. Bins start at multiples of their width, so the order of the losses does
/// not matter.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Histogram {
    /// Bins are 2^exponent wide.
    exponent: i32,
    /// The first bin starts at first · 2^exponent.
    first: i64,
    counts: Vec<u64>,
    rows: u64,
    /// The smallest and the largest loss; 0 and 0 if there are none.
    #[cfg_attr(feature = "serde", serde(with = "super::serde_bits::pair"))]
    range: (f32, f32),
}

impl Default for Histogram {
    fn default() -> Self {
        Self { exponent: FINEST, first: 0, counts: Vec::new(), rows: 0, range: (0.0, 0.0) }
    }
}

/// A quantile of the losses.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Quantile {
    /// The loss in nats: the middle of the interval in which it lies.
    pub value: f64,
    /// The maximum error: at most half a bin.
    pub within: f64,
}

impl Histogram {
    /// Adds a loss. A loss that is not finite is ignored.
    pub fn add(&mut self, loss: f32) {
        if !loss.is_finite() {
            return;
        }
        let bin = loop {
            match self.bin(loss) {
                Some(bin) if self.fits(bin) => break bin,
                _ => self.widen(),
            }
        };
        if self.counts.is_empty() {
            (self.first, self.range) = (bin, (loss, loss));
        }
        if bin < self.first {
            let more = (self.first - bin) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first = bin;
        }
        let at = (bin - self.first) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.rows += 1;
        self.range = (self.range.0.min(loss), self.range.1.max(loss));
    }

    /// How many losses it holds.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The smallest and the largest loss, exactly.
    pub fn range(&self) -> Option<(f32, f32)> {
        (self.rows > 0).then_some(self.range)
    }

    /// The width of a bin, in nats.
    pub fn width(&self) -> f64 {
        2f64.powi(self.exponent)
    }

    /// The start of the first bin; 0 if there is none.
    pub fn start(&self) -> f64 {
        self.first as f64 * self.width()
    }

    /// The number of losses in each bin, from the lowest; the first and the last bin are not empty.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The interval of each bin (start included, end excluded) and its number of losses.
    pub fn bins(&self) -> impl Iterator<Item = (Range<f64>, u64)> {
        let width = self.width();
        let edge = move |bin: i64| bin as f64 * width;
        (self.first..).zip(&self.counts).map(move |(bin, &count)| (edge(bin)..edge(bin + 1), count))
    }

    /// The loss below which this share of the losses falls, with `share` in 0..=1; `None` without losses or for another
    /// share.
    pub fn quantile(&self, share: f64) -> Option<Quantile> {
        let (min, max) = self.range().filter(|_| (0.0..=1.0).contains(&share))?;
        let rank = ((share * self.rows as f64).ceil() as u64).clamp(1, self.rows);
        let mut below = 0;
        let (bin, _) = self.bins().find(|&(_, count)| {
            below += count;
            below >= rank
        })?;
        let (low, high) = (bin.start.max(f64::from(min)), bin.end.min(f64::from(max)));
        Some(Quantile { value: f64::midpoint(low, high), within: (high - low) / 2.0 })
    }

    /// A copy with at most `bins` bins (at least 2), for drawing.
    pub fn coarser(&self, bins: usize) -> Self {
        let mut coarser = self.clone();
        while coarser.counts.len() > bins.max(2) {
            coarser.widen();
        }
        coarser
    }

    fn bin(&self, loss: f32) -> Option<i64> {
        let bin = (f64::from(loss) * 2f64.powi(-self.exponent)).floor();
        // Beyond this, f64 cannot hold every whole number.
        (bin.abs() < (1u64 << 53) as f64).then_some(bin as i64)
    }

    /// Whether this bin can be added.
    fn fits(&self, bin: i64) -> bool {
        let last = self.first + self.counts.len() as i64 - 1;
        self.counts.is_empty() || bin.max(last) - bin.min(self.first) < MOST_BINS as i64
    }

    /// Doubles the bin width by merging pairs of bins.
    fn widen(&mut self) {
        let first = self.first.div_euclid(2);
        let mut counts = Vec::with_capacity(self.counts.len() / 2 + 1);
        for (bin, &count) in (self.first..).zip(&self.counts) {
            let at = (bin.div_euclid(2) - first) as usize;
            counts.resize(at + 1, 0);
            counts[at] += count;
        }
        (self.exponent, self.first, self.counts) = (self.exponent + 1, first, counts);
    }

    /// Whether [`add`](Self::add) can have made this histogram.
    pub(super) fn is_sound(&self) -> bool {
        let sum = self.counts.iter().try_fold(0u64, |sum, &count| sum.checked_add(count));
        let (min, max) = self.range;
        if !(FINEST..=WIDEST).contains(&self.exponent) || sum != Some(self.rows) {
            return false;
        }
        let last = (self.first as i128) + self.counts.len() as i128 - 1;
        match (self.counts.first(), self.counts.last()) {
            (Some(&first_count), Some(&last_count)) => {
                let is_at = |loss: f32, bin: i128| self.bin(loss).map(i128::from) == Some(bin);
                let is_full = self.counts.len() <= MOST_BINS && first_count > 0 && last_count > 0;
                is_full && min <= max && is_at(min, self.first.into()) && is_at(max, last)
            }
            _ => self.first == 0 && self.range == (0.0, 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(losses: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        losses.iter().for_each(|&loss| histogram.add(loss));
        assert!(histogram.is_sound(), "{losses:?}");
        histogram
    }

    #[test]
    fn losses_lie_in_their_bins_whatever_their_size() {
        for (name, losses) in [
            ("usual", &[0.0f32, 0.7, 12.5, 3.0][..]),
            ("one", &[2.5]),
            ("tiny", &[1e-7, 3e-7, 0.0]),
            ("denormal", &[1e-45, -1e-45]),
            ("negative", &[-3.0, -0.001, 5.0]),
            ("huge", &[f32::MAX, f32::MIN]),
            ("huge alone", &[f32::MAX]),
            ("growing", &[1e-6, 1e-3, 1.0, 1e3, 1e6, 1e12, 1e30]),
            ("shrinking", &[1e30, 1e12, 1e6, 1e3, 1.0, 1e-3, 1e-6]),
        ] {
            let histogram = of(losses);
            assert!(histogram.counts().len() <= MOST_BINS, "{name}");
            for (bin, count) in histogram.bins() {
                let inside = losses.iter().filter(|&&loss| bin.contains(&f64::from(loss)));
                assert_eq!(inside.count() as u64, count, "{name}: {bin:?}");
            }
            let least = losses.iter().copied().fold(f32::INFINITY, f32::min);
            let greatest = losses.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(histogram.range(), Some((least, greatest)), "{name}");
            let mut backwards = losses.to_vec();
            backwards.reverse();
            assert_eq!(of(&backwards), histogram, "{name}: order");
        }
        assert_eq!(of(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]), Histogram::default());
    }

    #[test]
    fn bins_double_no_sooner_than_they_must() {
        let width = |greatest: f32| of(&[0.0, greatest]).width();
        let finest = 2f64.powi(FINEST);
        assert_eq!(width(4095.0 * finest as f32), finest);
        assert_eq!(width(4096.0 * finest as f32), 2.0 * finest);
        // Losses of a language model are mostly 16 nats or less.
        assert_eq!(width(15.9), 1.0 / 256.0);
        assert_eq!(width(16.0), 1.0 / 128.0);
    }

    #[test]
    fn quantiles_are_as_near_as_they_say() {
        let losses: Vec<f32> = (0..1000).map(|at| (at * 617 % 1000) as f32 * 0.01 - 2.0).collect();
        let histogram = of(&losses);
        let mut sorted = losses.clone();
        sorted.sort_by(f32::total_cmp);
        for (share, rank) in
            [(0.0, 1), (0.001, 1), (0.05, 50), (0.5, 500), (0.95, 950), (0.999, 999), (1.0, 1000)]
        {
            let Quantile { value, within } = histogram.quantile(share).unwrap();
            let expected = f64::from(sorted[rank - 1]);
            assert!((value - expected).abs() <= within, "{share}: {value} ± {within}, {expected}");
            assert!(within <= histogram.width() / 2.0, "{share}");
        }
        for share in [f64::NAN, -0.1, 1.1, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(histogram.quantile(share), None, "{share}");
        }
        assert_eq!(of(&[3.0; 7]).quantile(0.5), Some(Quantile { value: 3.0, within: 0.0 }));
    }

    #[test]
    fn coarser_bins_hold_the_same() {
        let histogram = of(&(0..3000).map(|at| (at as f32).sqrt() - 5.0).collect::<Vec<_>>());
        for bins in [2, 10, 60, 5000] {
            let coarser = histogram.coarser(bins);
            assert!(coarser.counts().len() <= bins && coarser.is_sound(), "{bins}");
            assert_eq!((coarser.rows(), coarser.range()), (histogram.rows(), histogram.range()), "{bins}");
        }
    }
}
