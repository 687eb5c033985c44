//! How far a classifier's confidence is from its accuracy.

use std::ops::Range;

/// The number of bins of equal width that the expected calibration error usually has (Guo et al. 2017, "On calibration
/// of modern neural networks").
pub const RELIABILITY_BINS: usize = 15;

/// Confidences are added in units of 2^-62. Above 2^-39 that is exact, and the largest of C probabilities is at least
/// 1/C.
const UNIT: i32 = 62;
/// The bins of the fine histogram are the f32 values with the same upper bits, as in
/// [`Histogram`](super::Histogram): here of the confidence below one half, and of its distance from 1 above it.
const FINE_SHIFT: u32 = 17;
const HALF: u32 = 0x3f00_0000 >> FINE_SHIFT;
/// What is below 2^-40 is in the first bin, and what is less than 2^-24 from 1 is in the last: it is 1.
const SMALLEST: u32 = 0x2b80_0000 >> FINE_SHIFT;
const NEAREST: u32 = (0x3380_0000 >> FINE_SHIFT) - 1;
const FINE_BINS: u32 = 2 * HALF - NEAREST + 1;

/// Rows by the confidence of their prediction, which is its probability: how many there are, how many are right, and the
/// sum of their confidences. It has a fixed size, its sums are exact, and parts of a batch [`merge`](Self::merge) in any
/// order.
///
/// A confidence c is in bin ⌈B·c⌉ − 1 of B bins of equal width: a bin includes its end, and the last holds 1 (Guo et al.
/// 2017; scikit-learn's `calibration_curve` divides the other way at the edges).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Reliability {
    bins: Vec<Cell>,
    /// The first of the fine bins that is not empty.
    first: u32,
    fine: Vec<Cell>,
}

/// A bin of confidences.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReliabilityBin {
    /// The confidences of the bin: its end is included, its start is not.
    pub range: Range<f64>,
    /// How many rows there are.
    pub rows: u64,
    /// Their mean confidence; NaN without rows.
    pub confidence: f64,
    /// The share of them that are right; NaN without rows.
    pub accuracy: f64,
}

/// A calibration error over bins of as many rows each.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct EqualMass {
    /// The expected calibration error.
    pub ece: f64,
    /// Its largest error: rows whose confidences differ by less than 1/64 of their distance from 0 or 1 are not told
    /// apart.
    pub within: f64,
}

/// Rows of a bin. There are thousands, so their names are short where they are saved.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Cell {
    #[cfg_attr(feature = "serde", serde(rename = "n"))]
    rows: u64,
    #[cfg_attr(feature = "serde", serde(rename = "c"))]
    correct: u64,
    /// Two words of the sum of the confidences, in units of 2^-62.
    #[cfg_attr(feature = "serde", serde(rename = "p"))]
    confidence: (u64, u64),
}

impl Cell {
    #[inline]
    fn add(&mut self, confidence: u64, is_correct: bool) {
        self.rows += 1;
        self.correct += u64::from(is_correct);
        let (low, over) = self.confidence.0.overflowing_add(confidence);
        self.confidence = (low, self.confidence.1 + u64::from(over));
    }

    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.correct += other.correct;
        let (low, over) = self.confidence.0.overflowing_add(other.confidence.0);
        self.confidence = (low, self.confidence.1 + other.confidence.1 + u64::from(over));
    }

    fn confidence(&self) -> f64 {
        let (low, high) = self.confidence;
        (u128::from(high) << 64 | u128::from(low)) as f64 * 2f64.powi(-UNIT)
    }

    /// |Σ confidence − correct|.
    fn gap(&self) -> f64 {
        (self.confidence() - self.correct as f64).abs()
    }

    fn is_sound(&self) -> bool {
        self.correct <= self.rows && self.confidence() <= self.rows as f64 && self.confidence.1 < 1 << 62
    }
}

impl Default for Reliability {
    fn default() -> Self {
        Self::new(RELIABILITY_BINS)
    }
}

impl Reliability {
    /// No rows, and this number of bins of equal width; 0 counts as 1.
    pub fn new(bins: usize) -> Self {
        Self { bins: vec![Cell::default(); bins.max(1)], first: 0, fine: Vec::new() }
    }

    /// Adds a row. A confidence above 1 counts as 1, and a NaN or a negative one is ignored.
    #[inline]
    pub fn add(&mut self, confidence: f32, is_correct: bool) {
        if confidence.is_nan() || confidence < 0.0 {
            return;
        }
        let confidence = confidence.min(1.0);
        let units = in_units(confidence);
        let bin = bin_of(confidence, self.bins.len());
        self.bins[bin].add(units, is_correct);
        let fine = fine_bin(confidence);
        self.cover(fine);
        self.fine[(fine - self.first) as usize].add(units, is_correct);
    }

    /// Makes room for a fine bin.
    #[inline]
    fn cover(&mut self, fine: u32) {
        if self.fine.is_empty() {
            self.first = fine;
        }
        if fine < self.first {
            let more = (self.first - fine) as usize;
            self.fine.splice(0..0, std::iter::repeat_n(Cell::default(), more));
            self.first = fine;
        }
        let at = (fine - self.first) as usize;
        if at >= self.fine.len() {
            self.fine.resize(at + 1, Cell::default());
        }
    }

    /// Adds the rows of another part of the batch, with as many bins.
    pub fn merge(&mut self, other: &Self) {
        self.bins.iter_mut().zip(&other.bins).for_each(|(cell, more)| cell.merge(more));
        let Some(more) = other.fine.len().checked_sub(1) else { return };
        self.cover(other.first);
        self.cover(other.first + more as u32);
        let start = (other.first - self.first) as usize;
        self.fine[start..].iter_mut().zip(&other.fine).for_each(|(cell, more)| cell.merge(more));
    }

    /// How many rows were added.
    pub fn rows(&self) -> u64 {
        self.bins.iter().map(|cell| cell.rows).sum()
    }

    /// The share of rows whose prediction is right; `None` without rows.
    pub fn accuracy(&self) -> Option<f64> {
        let all = self.all();
        (all.rows > 0).then(|| all.correct as f64 / all.rows as f64)
    }

    /// The mean confidence; `None` without rows.
    pub fn mean_confidence(&self) -> Option<f64> {
        let all = self.all();
        (all.rows > 0).then(|| all.confidence() / all.rows as f64)
    }

    fn all(&self) -> Cell {
        let mut all = Cell::default();
        self.bins.iter().for_each(|cell| all.merge(cell));
        all
    }

    /// The bins of equal width: the points of a reliability diagram.
    pub fn bins(&self) -> impl Iterator<Item = ReliabilityBin> {
        let count = self.bins.len() as f64;
        self.bins.iter().enumerate().map(move |(at, cell)| {
            let rows = cell.rows as f64;
            ReliabilityBin {
                range: at as f64 / count..(at + 1) as f64 / count,
                rows: cell.rows,
                confidence: cell.confidence() / rows,
                accuracy: cell.correct as f64 / rows,
            }
        })
    }

    /// The expected calibration error: the mean over all rows of their bin's |confidence − accuracy|; `None` without
    /// rows.
    pub fn ece(&self) -> Option<f64> {
        let rows = self.rows();
        (rows > 0).then(|| self.bins.iter().map(Cell::gap).sum::<f64>() / rows as f64)
    }

    /// The maximum calibration error: the largest |confidence − accuracy| of a bin that has rows; `None` without rows.
    pub fn mce(&self) -> Option<f64> {
        let of_bins = self.bins.iter().filter(|cell| cell.rows > 0);
        of_bins.map(|cell| cell.gap() / cell.rows as f64).max_by(f64::total_cmp)
    }

    /// The expected calibration error over `bins` bins of as many rows each, in the order of their confidences: bin b has
    /// rows ⌊b·n/B⌋ to ⌊(b + 1)·n/B⌋. `None` without rows, or without bins.
    ///
    /// It comes from a fine histogram, of which a bin that lies on an edge is divided evenly.
    pub fn equal_mass(&self, bins: usize) -> Option<EqualMass> {
        let rows = self.rows();
        if rows == 0 || bins == 0 {
            return None;
        }
        let edge = |bin: usize| (bin as u128 * u128::from(rows) / bins as u128) as u64;
        let (mut bin, mut before) = (0, 0);
        let (mut gap, mut confidence, mut correct, mut within) = (0.0, 0.0, 0.0, 0.0);
        for (at, cell) in (self.first..).zip(&self.fine).filter(|(_, cell)| cell.rows > 0) {
            let mut taken = 0;
            while taken < cell.rows {
                let part = (edge(bin + 1) - before).min(cell.rows - taken);
                let share = part as f64 / cell.rows as f64;
                confidence += share * cell.confidence();
                correct += share * cell.correct as f64;
                (taken, before) = (taken + part, before + part);
                if before == edge(bin + 1) {
                    gap += f64::abs(confidence - correct);
                    (confidence, correct, bin) = (0.0, 0.0, bin + 1);
                    // The rows ahead of the edge may be any of the cell's. Both sides of the edge change.
                    within += 2.0 * cell.doubt(taken, fine_width(at));
                }
            }
        }
        let rows = rows as f64;
        Some(EqualMass { ece: gap / rows, within: within / rows })
    }

    /// Whether [`add`](Self::add) can have made this, with this number of bins.
    pub(super) fn is_sound(&self, bins: usize) -> bool {
        let sum = |cells: &[Cell]| {
            let of = |what: fn(&Cell) -> u64| cells.iter().map(what).try_fold(0u64, u64::checked_add);
            Some((of(|cell| cell.rows)?, of(|cell| cell.correct)?))
        };
        let sums = (sum(&self.bins), sum(&self.fine));
        self.bins.len() == bins.max(1)
            && sums.0.is_some()
            && sums.0 == sums.1
            && u64::from(self.first) + self.fine.len() as u64 <= FINE_BINS.into()
            && self.bins.iter().chain(&self.fine).all(Cell::is_sound)
    }
}

impl Cell {
    /// How much the sums of `ahead` of the rows may differ from their share.
    fn doubt(&self, ahead: u64, width: f64) -> f64 {
        let share = ahead as f64 / self.rows as f64;
        let (most, least) = (ahead.min(self.correct), (ahead + self.correct).saturating_sub(self.rows));
        let even = share * self.correct as f64;
        let of_correct = (most as f64 - even).max(even - least as f64);
        of_correct + ahead.min(self.rows - ahead) as f64 * width
    }
}

/// The bin of a confidence among `bins` of equal width.
#[inline]
fn bin_of(confidence: f32, bins: usize) -> usize {
    let above = (bins as f64 * f64::from(confidence)).ceil() as usize;
    above.saturating_sub(1).min(bins - 1)
}

/// A confidence in 0..=1, in units of 2^-62, rounded down.
#[inline]
fn in_units(confidence: f32) -> u64 {
    let bits = confidence.to_bits();
    let exponent = (bits >> 23).max(1);
    let mantissa = u64::from(bits & 0x7f_ffff) | u64::from(bits >> 23 > 0) << 23;
    match exponent.checked_sub(150 - UNIT as u32) {
        Some(up) => mantissa << up,
        None => mantissa.checked_shr(150 - UNIT as u32 - exponent).unwrap_or(0),
    }
}

/// The fine bin of a confidence in 0..=1. From one half on, bins are in falling order of the distance from 1.
#[inline]
fn fine_bin(confidence: f32) -> u32 {
    let upper = |value: f32| value.to_bits() >> FINE_SHIFT;
    match confidence < 0.5 {
        true => upper(confidence).max(SMALLEST),
        // The difference is exact.
        false => 2 * HALF - upper(1.0 - confidence).max(NEAREST),
    }
}

/// The width of a fine bin, in confidence.
fn fine_width(bin: u32) -> f64 {
    let of = if bin < HALF { bin } else { 2 * HALF - bin };
    if of == NEAREST {
        return 0.0;
    }
    let edge = |upper: u32| f64::from(f32::from_bits(upper << FINE_SHIFT));
    edge(of + 1) - if of == SMALLEST { 0.0 } else { edge(of) }
}

#[cfg(test)]
#[path = "reliability_tests.rs"]
mod tests;
