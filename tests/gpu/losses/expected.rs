//! What the reference makes of a case, and the comparison with what was found.

use xent::{Element, EmptyBatch, Flags, Reduction, Verification};

use crate::harness::SENTINEL;
use crate::losses::{Case, Found, Loss};

/// What the reference makes of a case: made once, compared with many runs. Numbers come with what they may be off.
pub struct Expected {
    /// Times the rows' weights.
    losses: Vec<(f64, f64)>,
    /// (rows, cols).
    dlogits: Vec<(f64, f64)>,
    value: (f64, f64),
    sum: (f64, f64),
    weight: f64,
    row_weight: f64,
    counted: usize,
    flags: Flags,
}

impl Expected {
    /// From the rows' formulas, not from the checks of the inputs: they may be invalid.
    pub fn of<L: Loss, E: Element>(case: &Case<L, E>) -> Self {
        let Case { shape, given, options, .. } = case;
        let (reduction, empty_batch) = options.reduction();
        let is_weight = |weight: f32| weight >= 0.0 && weight.is_finite();
        let counts = |row: &usize| given.weight(*row) != 0.0 && is_weight(given.weight(*row));
        let row_weight: f64 = (0..shape.rows).filter(counts).map(|row| f64::from(given.weight(row))).sum();
        let counted = (0..shape.rows).filter(counts).count();
        let weight = row_weight * L::weight_factor(*shape);
        let denominator = match reduction {
            Reduction::Mean => weight,
            Reduction::Sum => 1.0,
            Reduction::MeanOver(denominator) => denominator.into(),
        };
        let (mut losses, mut dlogits, mut flags) = (Vec::new(), Vec::new(), Flags::empty());
        for row in 0..shape.rows {
            if !counts(&row) {
                let is_left_out = given.weight(row) == 0.0;
                losses.push((if is_left_out { 0.0 } else { f64::NAN }, 0.0));
                dlogits.extend(vec![(0.0, 0.0); shape.cols]);
                if !is_left_out {
                    flags |= Flags::INVALID_WEIGHT | Flags::NAN_LOSS;
                }
                continue;
            }
            let weight = f64::from(given.weight(row));
            let expected = L::expected_row(case, row, weight, given.gradient(row) * weight / denominator);
            losses.push(expected.loss);
            dlogits.extend(expected.dlogits);
            flags |= expected.flags;
            flags.set(Flags::NAN_LOSS, flags.contains(Flags::NAN_LOSS) || expected.loss.0.is_nan());
            if (expected.loss.0 as f32).is_infinite() {
                flags |= Flags::INFINITE_LOSS;
            }
        }
        // A row's loss beyond f32 is infinite wherever it goes.
        let is_beyond = |loss: f64| (loss as f32).is_infinite();
        let sum: f64 =
            losses.iter().map(|&(loss, _)| if is_beyond(loss) { loss * f64::INFINITY } else { loss }).sum();
        if sum.is_nan() {
            flags |= Flags::NAN_LOSS;
        }
        flags.set(Flags::NO_ROW_COUNTS, counted == 0);
        let value = if counted == 0 && empty_batch == EmptyBatch::Zero {
            0.0
        } else if losses.iter().any(|&(loss, _)| is_beyond(loss)) {
            sum / denominator
        } else {
            L::reference_loss(case).unwrap_or(sum / denominator)
        };
        let (of_sum, of_value) = L::total_bounds(&losses, denominator);
        let (value, sum) = ((value, of_value), (sum, of_sum));
        Self { losses, dlogits, value, sum, weight, row_weight, counted, flags }
    }

    /// Compares everything there is. Panics with the case, the path and the first wrong values.
    pub fn check<L: Loss, E: Element>(&self, case: &Case<L, E>, found: &Found) {
        let shape = case.shape;
        let context = format!("{}, {}, {shape:?}, {:?}, {}", case.name, E::NAME, case.options, found.path);
        let mut failures = Vec::new();
        let mut compare =
            |what: &dyn Fn() -> String, actual: f64, bits: u32, (expected, bound): (f64, f64)| {
                let mut verification = Verification::new();
                verification.compare(0, actual, expected, bound);
                if !verification.passed || bits == SENTINEL {
                    failures.push(format!("{}: {actual:e}, expected {expected:e} ± {bound:e}", what()));
                }
            };
        let value = |bits: u32| f64::from(f32::from_bits(bits));
        assert_eq!((found.row_losses.len(), found.dlogits.len()), (shape.rows, shape.len()), "{context}");
        for (row, &bits) in found.row_losses.iter().enumerate() {
            let what = || format!("row loss {row} ({})", case.label(row));
            compare(&what, value(bits), bits, self.losses[row]);
        }
        let mut is_value = vec![false; shape.len()];
        for row in 0..shape.rows {
            for col in 0..shape.cols {
                let at = shape.row_start(row) + col * shape.inner;
                is_value[at] = true;
                let (mut expected, mut bound) = self.dlogits[row * shape.cols + col];
                if found.is_rounded && bound != 0.0 {
                    // Infinite where the type ends.
                    let rounded = E::from_f32(expected as f32).to_f64();
                    expected = if rounded.is_infinite() { rounded } else { expected };
                    bound += E::rounding(expected);
                }
                let what = || format!("dlogits of row {row} ({}) col {col}", case.label(row));
                compare(&what, value(found.dlogits[at]), found.dlogits[at], (expected, bound));
            }
        }
        // Counts are exact, sums of other weights are rounded.
        let is_count = |weight: f64| weight.fract() == 0.0 && weight < 1e7;
        let weight = |weight: f64| (weight, if is_count(weight) { 0.0 } else { 2e-6 * weight });
        for (what, actual, expected) in [
            ("value", found.value, self.value),
            ("sum", found.sum, self.sum),
            ("weight", found.weight, weight(self.weight)),
            ("row weight", found.row_weight, weight(self.row_weight)),
        ] {
            compare(&|| what.to_owned(), actual, 0, expected);
        }
        for at in (0..shape.len()).filter(|&at| !is_value[at]) {
            let kept = found.padding.as_ref().map_or(0, |padding| padding[at]);
            if found.dlogits[at] != kept {
                failures.push(format!("padding at {at}: {:#010x}, expected {kept:#010x}", found.dlogits[at]));
            }
        }
        if found.counted != self.counted {
            failures.push(format!("counted: {}, expected {}", found.counted, self.counted));
        }
        if found.flags != self.flags {
            failures.push(format!("flags: {:?}, expected {:?}", found.flags, self.flags));
        }
        let count = failures.len();
        failures.truncate(6);
        assert!(count == 0, "{context}: {count} wrong\n  {}", failures.join("\n  "));
    }
}
