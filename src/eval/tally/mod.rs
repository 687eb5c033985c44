//! Statistics of row losses, for any number of rows.

mod histogram;
mod positions;
#[cfg(feature = "serde")]
mod serde_bits;

use crate::eval::evaluated::Evaluated;
use crate::flags::Flags;
use crate::results::RowResult;

pub use histogram::{Histogram, Quantile};
pub use positions::Positions;

/// Statistics of a batch's row losses: their distribution, and their means by position in a sequence. It takes about
/// fifty kilobytes for any number of rows. Row losses are those of [`RowResult::loss`]: in nats, times the rows'
/// weights, not reduced.
///
/// Rows are added in order, and the split into windows does not change a bit. With the feature `serde` a tally can be
/// saved and loaded again, bit for bit in any format.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tally {
    rows: u64,
    left_out: u64,
    nan: u64,
    infinite: u64,
    bad: u64,
    /// The first bad row, and the bits of its flags.
    first_bad: Option<(u64, u32)>,
    losses: Histogram,
    positions: Positions,
}

impl Tally {
    /// An empty tally. A row's position is its index modulo `sequence_length`; 0 counts as 1.
    pub fn new(sequence_length: usize) -> Self {
        Self {
            rows: 0,
            left_out: 0,
            nan: 0,
            infinite: 0,
            bad: 0,
            first_bad: None,
            losses: Histogram::default(),
            positions: Positions::new(sequence_length),
        }
    }

    /// Adds the rows of a window.
    pub fn add(&mut self, window: &Evaluated<'_>) {
        self.add_rows(window.rows.start, window.results);
    }

    /// Adds the results (rows,) of the rows that start at `first`.
    pub fn add_rows(&mut self, first: usize, results: &[RowResult]) {
        for (at, result) in results.iter().enumerate() {
            let row = first.saturating_add(at);
            self.rows += 1;
            if result.is_left_out() {
                self.left_out += 1;
                continue;
            }
            let loss = result.loss;
            if loss.is_nan() {
                self.nan += 1;
            } else if loss.is_infinite() {
                self.infinite += 1;
            } else {
                self.losses.add(loss);
                self.positions.add(row, loss);
            }
            if !loss.is_finite() || result.flags().intersects(BAD) {
                self.bad += 1;
                self.first_bad.get_or_insert((row as u64, result.flags().bits()));
            }
        }
    }

    /// How many rows were added, including those left out.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many rows were left out: ignored, masked, of weight 0, not scored.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// How many rows have a NaN loss.
    pub fn nan(&self) -> u64 {
        self.nan
    }

    /// How many rows have an infinite loss.
    pub fn infinite(&self) -> u64 {
        self.infinite
    }

    /// How many rows are bad: their loss is NaN or infinite, or their flags report an invalid logit, target or weight.
    /// A row of only −∞ is bad if its loss is NaN, but not if its loss is zero by choice.
    pub fn bad(&self) -> u64 {
        self.bad
    }

    /// The first bad row, and its flags.
    pub fn first_bad(&self) -> Option<(usize, Flags)> {
        self.first_bad.map(|(row, flags)| (row as usize, Flags::from_bits_truncate(flags)))
    }

    /// The distribution of the finite losses.
    pub fn losses(&self) -> &Histogram {
        &self.losses
    }

    /// The finite losses by position in a sequence.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Whether [`add`](Self::add) can have made this tally from `rows` rows in sequences of this length. Check this
    /// first for a tally that was read from a file.
    pub fn is_sound(&self, rows: usize, sequence_length: usize) -> bool {
        let parts = [self.left_out, self.nan, self.infinite, self.losses.rows()];
        let sum = parts.iter().try_fold(0u64, |sum, &part| sum.checked_add(part));
        self.rows == rows as u64
            && sum == Some(self.rows)
            && self.bad <= self.rows
            && self.first_bad.is_some() == (self.bad > 0)
            && self.losses.is_sound()
            && self.positions.is_sound(sequence_length, self.losses.rows())
    }
}

/// The flags that make a row bad, besides its loss.
const BAD: Flags = Flags::NAN_LOGIT
    .union(Flags::INFINITE_LOGIT)
    .union(Flags::TARGET_OUT_OF_RANGE)
    .union(Flags::INFINITE_LOSS)
    .union(Flags::NAN_LOSS)
    .union(Flags::INVALID_WEIGHT)
    .union(Flags::INVALID_TARGET);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::NO_CLASS;

    const LEFT_OUT: RowResult = RowResult::LEFT_OUT;

    fn of(loss: f32, flags: Flags) -> RowResult {
        RowResult { loss, lse: 1.0, flags: flags.bits(), ..Default::default() }
    }

    /// Losses that differ in size and sign. Every seventh row is left out, and every eleventh is not finite.
    fn results(rows: usize) -> Vec<RowResult> {
        let mut state = 1u32;
        (0..rows)
            .map(|row| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let loss = (state >> 8) as f32 / (1 << 24) as f32 * 10f32.powi((row % 5) as i32 - 3) - 0.01;
                match row {
                    row if row % 7 == 3 => LEFT_OUT,
                    row if row % 11 == 5 => of(f32::NAN, Flags::NAN_LOSS | Flags::NAN_LOGIT),
                    row if row % 11 == 6 => of(f32::INFINITY, Flags::INFINITE_LOSS),
                    _ => of(loss, Flags::empty()),
                }
            })
            .collect()
    }

    fn tally(results: &[RowResult], window: usize, length: usize) -> Tally {
        let mut tally = Tally::new(length);
        for (at, window_results) in results.chunks(window).enumerate() {
            let rows = at * window..at * window + window_results.len();
            let state = &Default::default();
            let (results, classes, dlogits) = (window_results, None, None);
            tally.add(&Evaluated { rows, results, classes, dlogits, state });
        }
        tally
    }

    #[test]
    fn windows_change_no_bit() {
        let results = results(5_003);
        for length in [1, 17, 512, 5_003, usize::MAX] {
            let whole = tally(&results, 5_003, length);
            assert!(whole.is_sound(5_003, length), "{length}");
            for window in [1, 2, 3, 64, 1_000, 5_002] {
                let cut = tally(&results, window, length);
                assert_eq!(cut, whole, "{length}, {window}");
                let bits = |tally: &Tally| -> Vec<Option<u64>> {
                    tally.positions().means().map(|(_, mean)| mean.map(f64::to_bits)).collect()
                };
                assert_eq!(bits(&cut), bits(&whole), "{length}, {window}");
            }
        }
    }

    #[test]
    fn rows_are_told_apart() {
        let masked_to_zero = of(0.0, Flags::MASKED_ROW);
        let bad_target =
            RowResult { argmax: NO_CLASS, ..of(f32::NAN, Flags::TARGET_OUT_OF_RANGE | Flags::NAN_LOSS) };
        let results = [
            of(1.0, Flags::empty()),
            LEFT_OUT,
            masked_to_zero,
            of(0.5, Flags::INFINITE_LOGIT),
            bad_target,
            of(f32::INFINITY, Flags::INFINITE_LOSS),
            of(f32::NAN, Flags::NAN_LOSS | Flags::NAN_LOGIT),
            of(f32::NEG_INFINITY, Flags::empty()),
        ];
        let tally = tally(&results, 8, 4);
        assert_eq!((tally.rows(), tally.left_out(), tally.nan(), tally.infinite()), (8, 1, 2, 2));
        assert_eq!((tally.losses().rows(), tally.bad()), (3, 5));
        assert_eq!(tally.first_bad(), Some((3, Flags::INFINITE_LOGIT)));
        let means: Vec<_> = tally.positions().means().map(|(_, mean)| mean).collect();
        assert_eq!(means, [Some(1.0), None, Some(0.0), Some(0.5)]);
    }

    #[test]
    fn rows_behind_the_last_there_can_be() {
        let mut tally = Tally::new(usize::MAX);
        tally.add_rows(usize::MAX, &results(3));
        assert_eq!(tally.rows(), 3);
    }

    #[test]
    fn none_of_nothing() {
        let tally = Tally::new(0);
        assert_eq!((tally.rows(), tally.bad(), tally.first_bad()), (0, 0, None));
        assert_eq!((tally.losses().quantile(0.5), tally.positions().length()), (None, 1));
        assert!(tally.is_sound(0, 0) && tally.is_sound(0, 1) && !tally.is_sound(1, 1));
    }

    #[cfg(feature = "tuning-file")]
    #[test]
    fn a_saved_tally_is_the_same_to_the_bit() {
        let results = results(5_003);
        for (rows, length) in [(0, 1), (1, 1), (2_000, 512), (5_003, 5_003)] {
            let whole = tally(&results[..rows], 100, length);
            let saved = serde_json::to_string(&whole).unwrap();
            let mut read: Tally = serde_json::from_str(&saved).unwrap();
            assert_eq!(read, whole, "{rows}");
            assert!(read.is_sound(rows, length) && !read.is_sound(rows + 1, length), "{rows}");
            read.add_rows(rows, &results[rows..]);
            assert_eq!(read, tally(&results, 100, length), "{rows}");
        }
    }

    #[cfg(feature = "tuning-file")]
    #[test]
    fn what_no_tally_is_is_found_out() {
        let whole = tally(&results(500), 100, 20);
        let json = serde_json::to_value(&whole).unwrap();
        for (name, pointer, value) in [
            ("rows that are nowhere", "/rows", 501.into()),
            ("a sum that overflows", "/nan", u64::MAX.into()),
            ("bad rows, and no first", "/first_bad", serde_json::Value::Null),
            ("another length", "/positions/length", 21.into()),
            ("positions without sums", "/positions/sums", serde_json::json!([])),
            ("no bins", "/losses/counts", serde_json::json!([])),
            ("too many bins", "/losses/counts", serde_json::json!(vec![1; 5_000])),
            ("a bin far off", "/losses/first", i64::MAX.into()),
            ("bins of no width", "/losses/exponent", (-3_000).into()),
        ] {
            let mut json = json.clone();
            *json.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
            let read: Tally = serde_json::from_value(json).unwrap();
            assert!(!read.is_sound(500, 20), "{name}");
        }
        assert!(whole.is_sound(500, 20));
    }
}
