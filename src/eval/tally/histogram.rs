//! A histogram of losses of any size.

use std::ops::Range;

/// The upper bits of an f32 that a bin has in common: the exponent, and 6 bits of the fraction.
const SHARED_BITS: u32 = 14;
/// Bins of one sign.
const BINS: u32 = 1 << SHARED_BITS;

/// A histogram of finite losses. A bin is all f32 values with the same upper bits, 64 bins in each octave, so that a bin
/// is at most 1/64 as wide as its values are large, whatever their size. The order of the losses does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Histogram {
    /// The first bin that is not empty, counted from the one of the lowest f32.
    first: u32,
    counts: Vec<u64>,
    rows: u64,
    /// The smallest and the largest loss; 0 and 0 if there are none.
    #[cfg_attr(feature = "serde", serde(with = "super::serde_bits::pair"))]
    range: (f32, f32),
}

/// A quantile of the losses.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Quantile {
    /// The loss in nats: the middle of the interval in which it lies.
    pub value: f64,
    /// The maximum error: at most half a bin, which is 1/128 of the loss.
    pub within: f64,
}

/// Bins of equal width, for drawing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EqualBins {
    /// The start of the first bin.
    pub start: f64,
    /// The width of a bin: a power of two.
    pub width: f64,
    /// The number of losses in each bin; the first and the last are not empty.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Adds a loss. A loss that is not finite is ignored.
    #[inline]
    pub fn add(&mut self, loss: f32) {
        if !loss.is_finite() {
            return;
        }
        let bin = bin_of(loss);
        if self.counts.is_empty() {
            (self.first, self.range) = (bin, (loss, loss));
        }
        self.cover(bin);
        self.counts[(bin - self.first) as usize] += 1;
        self.rows += 1;
        self.range = (self.range.0.min(loss), self.range.1.max(loss));
    }

    /// Adds the losses of another histogram.
    pub fn merge(&mut self, other: &Self) {
        let Some((min, max)) = other.range() else { return };
        if self.counts.is_empty() {
            return self.clone_from(other);
        }
        self.cover(other.first);
        self.cover(other.first + other.counts.len() as u32 - 1);
        let start = (other.first - self.first) as usize;
        self.counts[start..].iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.rows += other.rows;
        self.range = (self.range.0.min(min), self.range.1.max(max));
    }

    /// Makes room for a bin.
    #[inline]
    fn cover(&mut self, bin: u32) {
        if bin < self.first {
            let more = (self.first - bin) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first = bin;
        }
        let at = (bin - self.first) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
    }

    /// How many losses it holds.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The smallest and the largest loss, exactly.
    pub fn range(&self) -> Option<(f32, f32)> {
        (self.rows > 0).then_some(self.range)
    }

    /// The interval of each bin and its number of losses, from the lowest. An interval below zero includes its end
    /// instead of its start.
    pub fn bins(&self) -> impl Iterator<Item = (Range<f64>, u64)> {
        (self.first..).zip(&self.counts).map(|(bin, &count)| (interval(bin), count))
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
        if low <= 0.0 && high >= 0.0 {
            // A bin of losses that are 0 as far as f32 can tell.
            return Some(Quantile { value: 0.0, within: high.max(-low) });
        }
        Some(Quantile { value: f64::midpoint(low, high), within: (high - low) / 2.0 })
    }

    /// This histogram without the outermost bins at either end. At each end, they hold at most `spare` losses together.
    #[must_use]
    pub fn without_outermost(&self, spare: u64) -> Self {
        fn outer<'a>(counts: impl Iterator<Item = &'a u64>, spare: u64) -> usize {
            let mut below = 0;
            let is_spare = |&&count: &&u64| {
                below += count;
                below <= spare
            };
            counts.take_while(is_spare).count()
        }
        let (low, high) = (outer(self.counts.iter(), spare), outer(self.counts.iter().rev(), spare));
        if low + high >= self.counts.len() {
            return self.clone();
        }
        let counts = self.counts[low..self.counts.len() - high].to_vec();
        let first = self.first + low as u32;
        let ends = [first, first + counts.len() as u32 - 1].map(values);
        let range = (self.range.0.max(ends[0].0), self.range.1.min(ends[1].1));
        Self { first, rows: counts.iter().sum(), counts, range }
    }

    /// The losses in at most `most` bins of equal width (at least 4), none of which is narrower than the widest bin
    /// here. There are none without losses.
    pub fn equal_bins(&self, most: usize) -> EqualBins {
        let Some((min, max)) = self.range() else {
            return EqualBins { start: 0.0, width: 1.0, counts: Vec::new() };
        };
        let (min, max) = (f64::from(min), f64::from(max));
        let widest = [self.first, self.first + self.counts.len() as u32 - 1].map(width).into_iter();
        let mut width = widest.fold(0.0, f64::max);
        // Bins begin at multiples of their width, and so do those here, whose widths are powers of two, too.
        while (max / width).floor() - (min / width).floor() >= most.max(4) as f64 {
            width *= 2.0;
        }
        let first = (min / width).floor();
        let mut counts = vec![0; ((max / width).floor() - first) as usize + 1];
        let last = counts.len() - 1;
        for (bin, count) in self.bins().filter(|&(_, count)| count > 0) {
            // The outermost bins may end outside the range.
            let middle = f64::midpoint(bin.start, bin.end).clamp(min, max);
            counts[(((middle / width).floor() - first) as usize).min(last)] += count;
        }
        EqualBins { start: first * width, width, counts }
    }

    /// Whether [`add`](Self::add) can have made this histogram.
    pub(in crate::eval) fn is_sound(&self) -> bool {
        let sum = self.counts.iter().try_fold(0u64, |sum, &count| sum.checked_add(count));
        let (min, max) = self.range;
        if sum != Some(self.rows) || u64::from(self.first) + self.counts.len() as u64 > u64::from(2 * BINS) {
            return false;
        }
        match (self.counts.first(), self.counts.last()) {
            (Some(&first_count), Some(&last_count)) => {
                let last = self.first + self.counts.len() as u32 - 1;
                let is_full = first_count > 0 && last_count > 0 && min.is_finite() && max.is_finite();
                is_full && min <= max && bin_of(min) == self.first && bin_of(max) == last
            }
            _ => self.first == 0 && self.range == (0.0, 0.0),
        }
    }
}

/// The bin of a finite value, in the order of the values. −0 is 0.
#[inline]
fn bin_of(value: f32) -> u32 {
    let value = value + 0.0;
    let upper = (value.to_bits() & 0x7fff_ffff) >> (31 - SHARED_BITS);
    if value.is_sign_negative() { BINS - 1 - upper } else { BINS + upper }
}

/// The smallest and the largest value of a bin.
fn values(bin: u32) -> (f32, f32) {
    let of = |upper: u32| {
        let first = upper << (31 - SHARED_BITS);
        (f32::from_bits(first), f32::from_bits(first + (1 << (31 - SHARED_BITS)) - 1))
    };
    match bin.checked_sub(BINS) {
        Some(upper) => of(upper),
        None => {
            let (near, far) = of(BINS - 1 - bin);
            (-far, -near)
        }
    }
}

/// The interval of a bin.
fn interval(bin: u32) -> Range<f64> {
    let edge = |upper: u32| match upper << (31 - SHARED_BITS) {
        // The bin of the largest values ends where infinity would be.
        0x7f80_0000 => 2f64.powi(128),
        bits => f64::from(f32::from_bits(bits)),
    };
    match bin.checked_sub(BINS) {
        Some(upper) => edge(upper)..edge(upper + 1),
        None => -edge(BINS - bin)..-edge(BINS - 1 - bin),
    }
}

fn width(bin: u32) -> f64 {
    let Range { start, end } = interval(bin);
    end - start
}

#[cfg(test)]
#[path = "histogram_tests.rs"]
mod tests;
