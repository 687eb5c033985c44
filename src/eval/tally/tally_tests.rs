use super::*;
use crate::results::RowResult;

const LEFT_OUT: RowResult = RowResult::LEFT_OUT;

fn of(loss: f32, flags: Flags) -> RowResult {
    RowResult { loss, lse: 1.0, flags: flags.bits(), ..Default::default() }
}

/// Rows of a classifier with 20 classes, with every readout.
struct Rows {
    results: Vec<RowResult>,
    classes: Vec<u32>,
    weights: Vec<f64>,
}

/// Losses that differ in size and sign. Every seventh row is left out, and every eleventh is not finite.
fn rows(count: usize) -> Rows {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let results = (0..count).map(|row| {
        let loss = next() * 10f32.powi((row % 5) as i32 - 3) - 0.01;
        match row {
            row if row % 7 == 3 => LEFT_OUT,
            row if row % 11 == 5 => of(f32::NAN, Flags::NAN_LOSS | Flags::NAN_LOGIT),
            row if row % 11 == 6 => of(f32::INFINITY, Flags::INFINITE_LOSS),
            _ => RowResult {
                confidence: 0.05 + 0.95 * next(),
                argmax: (20.0 * next()) as u32,
                rank: 1 + (20.0 * next()) as u32,
                entropy: 3.0 * next(),
                brier: 2.0 * next(),
                ..of(loss, Flags::empty())
            },
        }
    });
    Rows {
        results: results.collect(),
        classes: (0..count).map(|row| (row * 7 % 20) as u32).collect(),
        weights: (0..count).map(|row| 0.1 + (row % 13) as f64 / 7.0).collect(),
    }
}

impl Rows {
    /// The tally of these rows, in windows of this many.
    fn tally(
        &self,
        rows: std::ops::Range<usize>,
        window: usize,
        options: &TallyOptions,
        ends: Option<&[usize]>,
    ) -> Tally {
        let mut tally = Tally::new(options);
        for start in rows.clone().step_by(window) {
            let rows = start..rows.end.min(start + window);
            tally.add_rows(&self.window(rows, ends), |_| {});
        }
        tally
    }

    fn window<'a>(&'a self, rows: std::ops::Range<usize>, ends: Option<&'a [usize]>) -> TallyRows<'a> {
        TallyRows {
            top_classes: &self.classes[rows.clone()],
            weights: Some(&self.weights[rows.clone()]),
            sequence_ends: ends,
            ..TallyRows::new(rows.start, &self.results[rows])
        }
    }
}

fn options(sequence_length: usize) -> TallyOptions {
    TallyOptions { sequence_length, classes: 20, ..Default::default() }
}

/// Every bit of a tally, and of what it tells.
fn bits(tally: &Tally) -> Vec<Option<u64>> {
    let means = tally.positions().means().map(|(_, mean)| mean);
    let errors = [tally.standard_error(), tally.sequence_standard_error(), tally.reliability().ece()];
    means
        .chain(errors)
        .chain([tally.mean_brier(), tally.mean_entropy()])
        .map(|v| v.map(f64::to_bits))
        .collect()
}

#[test]
fn neither_windows_nor_parts_change_a_bit() {
    let rows = rows(5_003);
    let packed: Vec<usize> = (0..5_003).filter(|row| row * row % 97 < 3 && *row > 0).chain([5_003]).collect();
    let longest = packed.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    for (length, ends) in
        [(1, None), (17, None), (512, None), (5_003, None), (usize::MAX, None), (longest, Some(&packed[..]))]
    {
        let options = options(length);
        let whole = rows.tally(0..5_003, 5_003, &options, ends);
        assert!(whole.is_sound(5_003, &options), "{length}");
        for window in [1, 3, 64, 5_002] {
            assert_eq!(rows.tally(0..5_003, window, &options, ends), whole, "{length}, {window}");
        }
        for parts in [1, 2, 7, 100] {
            let step = 5_003usize.div_ceil(parts);
            let part = |at: usize| rows.tally(at..(at + step).min(5_003), 64, &options, ends);
            // In an order that is neither forwards nor backwards.
            let mut starts: Vec<usize> = (0..5_003).step_by(step).collect();
            starts.sort_by_key(|start| start * 7 % 5_003);
            let mut merged = Tally::new(&options);
            starts.into_iter().for_each(|start| merged.merge(&part(start)));
            assert_eq!((bits(&merged), merged), (bits(&whole), whole.clone()), "{length}, {parts}");
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
    let mut tally = Tally::new(&TallyOptions { sequence_length: 4, ..Default::default() });
    tally.add_rows(&TallyRows { top_classes: &[0; 8], ..TallyRows::new(0, &results) }, |_| {});
    assert_eq!((tally.rows(), tally.left_out(), tally.nan(), tally.infinite()), (8, 1, 2, 2));
    assert_eq!((tally.losses().rows(), tally.bad(), tally.finite_mean()), (3, 5, 0.5));
    assert_eq!(tally.first_bad(), Some((3, Flags::INFINITE_LOGIT)));
    let all: Vec<_> = tally.bad_rows().map(|(row, _)| row).collect();
    assert_eq!(all, [3, 4, 5, 6, 7]);
    let means: Vec<_> = tally.positions().means().map(|(_, mean)| mean).collect();
    assert_eq!(means, [Some(1.0), None, Some(0.0), Some(0.5)]);
    assert_eq!(tally.accuracy(), None, "no row has a prediction");
}

/// The means and standard errors against their definitions, with and without weights.
#[test]
fn means_have_their_standard_errors() {
    let rows = rows(2_000);
    let ends = [700, 701, 1_500, 2_000];
    for weighted in [false, true] {
        let mut tally = Tally::new(&options(799));
        let mut totals = Vec::new();
        let window = rows.window(0..2_000, Some(&ends));
        let window = TallyRows { weights: window.weights.filter(|_| weighted), ..window };
        tally.add_rows(&window, |total| totals.push(total));
        let of_row = |row: &usize| rows.results[*row].loss.is_finite() && !rows.results[*row].is_left_out();
        let weight = |row: usize| if weighted { rows.weights[row] } else { 1.0 };
        let sums = |range: std::ops::Range<usize>| {
            range.filter(of_row).fold((0.0, 0.0), |(loss, sum), row| {
                (loss + f64::from(rows.results[row].loss), sum + weight(row))
            })
        };
        let (loss, sum) = sums(0..2_000);
        let error = |parts: Vec<(f64, f64)>| {
            let n = parts.len() as f64;
            let squares: f64 = parts.iter().map(|(x, w)| (x - loss / sum * w).powi(2)).sum();
            (n / (n - 1.0) * squares).sqrt() / sum
        };
        let near = |found: f64, expected: f64| (found - expected).abs() <= 1e-9 * expected.abs();
        let by_rows = error((0..2_000).filter(of_row).map(|row| sums(row..row + 1)).collect());
        assert!(near(tally.finite_mean(), loss / sum) && near(tally.standard_error().unwrap(), by_rows));
        let parts = [0..700, 700..701, 701..1_500, 1_500..2_000].map(sums);
        let scored: Vec<_> = parts.into_iter().filter(|part| part.1 > 0.0).collect();
        assert!(near(tally.sequence_standard_error().unwrap(), error(scored)), "{weighted}");
        assert_eq!(totals.iter().map(|total| total.sequence).collect::<Vec<_>>(), [0, 1, 2, 3]);
        for (total, (loss, weight)) in totals.iter().zip(parts) {
            assert!((total.loss - loss).abs() < 1e-9 && (total.weight - weight).abs() < 1e-9, "{total:?}");
        }
        assert_eq!(totals.iter().map(|total| total.length).sum::<usize>(), 2_000);
    }
}

/// A last sequence that is cut short is complete where the rows are known to end.
#[test]
fn the_last_sequence_is_complete_with_the_last_row() {
    let rows = rows(10);
    for (end, expected) in [(10, vec![4, 4, 2]), (usize::MAX, vec![4, 4])] {
        let mut tally = Tally::new(&TallyOptions { rows: end, ..options(4) });
        let mut lengths = Vec::new();
        for row in 0..10 {
            tally.add_rows(&rows.window(row..row + 1, None), |total| lengths.push(total.length));
        }
        assert_eq!(lengths, expected);
        assert_eq!(tally.open_sequences().count(), 3 - expected.len());
    }
}

#[test]
fn rows_behind_the_last_there_can_be() {
    let mut tally = Tally::new(&options(usize::MAX));
    tally.add_rows(&TallyRows::new(usize::MAX, &rows(3).results), |_| {});
    assert_eq!(tally.rows(), 3);
}

#[test]
fn none_of_nothing() {
    let (none, other) = (options(0), options(1));
    let tally = Tally::new(&none);
    assert_eq!((tally.rows(), tally.bad(), tally.first_bad()), (0, 0, None));
    assert_eq!((tally.losses().quantile(0.5), tally.positions().length()), (None, 1));
    assert_eq!((tally.accuracy(), tally.standard_error(), tally.top_k_accuracy(1)), (None, None, None));
    assert!(tally.finite_mean().is_nan() && tally.worst_rows().is_empty());
    assert!(tally.is_sound(0, &none) && tally.is_sound(0, &other) && !tally.is_sound(1, &other));
    let fewer = TallyOptions { classes: 3, ..other };
    assert!(!tally.is_sound(0, &fewer) && !tally.is_sound(0, &TallyOptions { worst_rows: 3, ..other }));
}

#[cfg(feature = "tuning-file")]
#[test]
fn a_saved_tally_is_the_same_to_the_bit() {
    let results = rows(5_003);
    for (rows, length) in [(0, 1), (1, 1), (2_000, 512), (5_003, 5_003)] {
        let options = options(length);
        let whole = results.tally(0..rows, 100, &options, None);
        let saved = serde_json::to_string(&whole).unwrap();
        let mut read: Tally = serde_json::from_str(&saved).unwrap();
        assert_eq!(read, whole, "{rows}");
        assert!(read.is_sound(rows, &options) && !read.is_sound(rows + 1, &options), "{rows}");
        read.add_rows(&results.window(rows..5_003, None), |_| {});
        assert_eq!(read, results.tally(0..5_003, 100, &options, None), "{rows}");
    }
}

/// The first are listed, in whatever order their parts come.
#[test]
fn bad_rows_are_listed_up_to_a_limit() {
    let bad = RowResult { loss: f32::NAN, ..RowResult::default() };
    let part = |first: usize, rows: usize| {
        let mut tally = Tally::new(&TallyOptions::default());
        tally.add_rows(&TallyRows::new(first, &vec![bad; rows]), |_| {});
        tally
    };
    for parts in [[(0, 130), (130, 20)], [(130, 20), (0, 130)], [(0, 3), (3, 147)], [(3, 147), (0, 3)]] {
        let mut tally = Tally::new(&TallyOptions::default());
        parts.into_iter().for_each(|(first, rows)| tally.merge(&part(first, rows)));
        let listed: Vec<_> = tally.bad_rows().map(|(row, _)| row).collect();
        assert_eq!((tally.bad(), listed), (150, (0..MAX_LISTED_BAD_ROWS).collect()), "{parts:?}");
    }
}

#[cfg(feature = "tuning-file")]
#[test]
fn what_no_tally_is_is_found_out() {
    let whole = rows(500).tally(0..500, 100, &options(20), None);
    let json = serde_json::to_value(&whole).unwrap();
    let max = || serde_json::Value::from(u64::MAX);
    for (name, pointer, value) in [
        ("rows that are nowhere", "/rows", 501.into()),
        ("a sum that overflows", "/nan", max()),
        ("bad rows, and none listed", "/bad_rows", serde_json::json!([])),
        ("bad rows in no order", "/bad_rows", serde_json::Value::from(vec![[9, 1]; whole.bad() as usize])),
        ("another length", "/positions/length", 21.into()),
        ("positions without sums", "/positions/sums", serde_json::json!([])),
        ("no bins", "/losses/counts", serde_json::json!([])),
        ("too many bins", "/losses/counts", serde_json::json!(vec![1; 40_000])),
        ("a bin far off", "/losses/first", u32::MAX.into()),
        ("more right than there are", "/correct", max()),
        ("more predictions than rows", "/judged", max()),
        ("bins of confidence", "/reliability/bins", serde_json::json!([])),
        ("ranks", "/ranks/rows", 0.into()),
        ("a list of rows that is too long", "/worst/most", 3.into()),
        ("another number of classes", "/classes/classes", serde_json::json!([])),
        ("more weights than rows", "/by_rows/weighted", max()),
    ] {
        let mut json = json.clone();
        *json.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        let read: Tally = serde_json::from_value(json).unwrap();
        assert!(!read.is_sound(500, &options(20)), "{name}");
    }
    assert!(whole.is_sound(500, &options(20)));
}

/// Its size is bounded, whatever the rows are.
#[cfg(feature = "cli")]
#[test]
fn a_tally_takes_less_than_it_says() {
    let size = |classes: usize, losses: bool| {
        let mut tally = Tally::new(&TallyOptions { sequence_length: 1 << 20, classes, ..Default::default() });
        for at in 0..1 << 16 {
            let loss = if losses { f32::from_bits(at << 16) } else { 1.0 };
            let confidence = 1.0 / (1.0 + 2f32.powf(at as f32 / 1024.0 - 32.0));
            let (argmax, rank) = (at % 512, 1 + at % 2048);
            let result = RowResult { confidence, argmax, rank, ..of(loss, Flags::empty()) };
            let row = at as usize * 16;
            let (results, classes) = ([result], [at / 128 % 512]);
            let rows = TallyRows { top_classes: &classes, ..TallyRows::new(row, &results) };
            tally.add_rows(&rows, |_| {});
        }
        assert!(
            tally
                .is_sound(1 << 16, &TallyOptions { sequence_length: 1 << 20, classes, ..Default::default() })
        );
        let options = TallyOptions { sequence_length: 1 << 20, classes, ..Default::default() };
        assert!(options.max_bytes() < (2 << 20) + 64 * classes as u64, "{}", options.max_bytes());
        let mut bytes = Vec::new();
        ciborium::into_writer(&tally, &mut bytes).unwrap();
        bytes.len()
    };
    assert!(size(512, true) < 2 << 20, "{}", size(512, true));
    assert!(size(4096, true) < (2 << 20) + 64 * 4096, "{}", size(4096, true));
    assert!(size(0, false) < 160 << 10, "{}", size(0, false));
}
