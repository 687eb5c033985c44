//! The comparison of the device with the reference: `xent::Verification`, told with all that one needs to see why.

use xent::{Context, LossRecord, NO_CLASS, Reduction, Verification, gradient_bound, loss_bound, prob_bound};

use crate::batch::{Batch, Ops};
use crate::expected::Expected;
use crate::harness::SENTINEL;
use crate::outputs::{Outputs, run_bound, run_host};

/// Collects what is wrong, each with all that is needed to see why.
struct Checker<'a> {
    batch: &'a Batch,
    context: String,
    failures: Vec<String>,
    failed: usize,
}

impl<'a> Checker<'a> {
    fn new(batch: &'a Batch, ops: &Ops, path: &str) -> Self {
        let context = format!("{}, {:?}, {path}, {:?}", batch.name, batch.shape, ops.tuning);
        Self { batch, context, failures: Vec::new(), failed: 0 }
    }

    fn fail(&mut self, failure: impl FnOnce() -> String) {
        self.failed += 1;
        if self.failures.len() < 5 {
            self.failures.push(failure());
        }
    }

    fn compare(&mut self, what: &str, row: usize, col: usize, actual: u32, expected: f64, bound: f64) {
        let value = f32::from_bits(actual);
        let mut verification = Verification::new();
        verification.compare(row, f64::from(value), expected, bound);
        if !verification.passed || actual == SENTINEL {
            let logits = self.batch.row(row);
            let (label, logit, target) =
                (self.batch.label(row), logits.get(col).copied(), self.batch.targets[row]);
            self.fail(|| {
                format!(
                    "{what}: row {row} ({label}; target {target}) col {col} (logit {logit:?}): {value:e} = \
                     {actual:#010x}, expected {expected:e} ± {bound:e}"
                )
            });
        }
    }

    fn value(&mut self, what: &str, actual: f64, expected: f64, bound: f64) {
        let mut verification = Verification::new();
        verification.compare(0, actual, expected, bound);
        if !verification.passed {
            self.fail(|| format!("{what}: {actual:e}, expected {expected:e} ± {bound:e}"));
        }
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, row: usize, actual: T, expected: T) {
        if actual != expected {
            let label = self.batch.label(row);
            self.fail(|| format!("{what}: row {row} ({label}): {actual:?}, expected {expected:?}"));
        }
    }

    /// A value a logit, laid out as they are, and what lies between the rows.
    fn values(
        &mut self,
        what: &str,
        actual: &Option<Vec<u32>>,
        padding: u32,
        of: impl Fn(usize, usize) -> (f64, f64),
    ) {
        let Some(actual) = actual else { return };
        let shape = self.batch.shape;
        assert_eq!(actual.len(), shape.len(), "{}: {what}", self.context);
        for row in 0..shape.rows {
            let from = shape.row_start(row);
            for col in 0..shape.cols {
                let (expected, bound) = of(row, col);
                self.compare(what, row, col, actual[from + col], expected, bound);
            }
            let to = actual.len().min(from + shape.row_stride);
            for (col, &word) in actual[from..to].iter().enumerate().skip(shape.cols) {
                if word != padding {
                    self.fail(|| format!("{what}: padding of row {row}, col {col}: {word:#010x}"));
                }
            }
        }
    }

    fn finish(self) {
        let Self { context, failures, failed, .. } = self;
        assert!(failed == 0, "{context}: {failed} wrong\n  {}", failures.join("\n  "));
    }
}

/// Compares everything there is with the reference.
pub fn check(batch: &Batch, expected: &Expected, outputs: &Outputs, ops: &Ops) {
    let mut checker = Checker::new(batch, ops, outputs.path);
    let (cols, scale, padding) = (batch.shape.cols, expected.scale, outputs.padding);
    let at = |row: usize, col: usize| row * cols + col;

    checker.values("softmax", &outputs.probs, padding, |row, col| {
        let p = expected.probs[at(row, col)];
        (p, prob_bound(p))
    });
    checker.values("log_softmax", &outputs.log_probs, padding, |row, col| {
        let log_p = expected.log_probs[at(row, col)];
        (log_p, loss_bound(log_p))
    });
    checker.values("dlogits", &outputs.dlogits, padding, |row, col| {
        let mass = f64::from(i64::from(batch.targets[row]) == col as i64);
        let bound = gradient_bound(scale, expected.probs[at(row, col)], mass);
        // Exactly zero where the row does not count, whatever its logits are.
        let bound = if expected.counts[row] { bound } else { 0.0 };
        (expected.dlogits[at(row, col)], bound)
    });
    for row in 0..batch.shape.rows {
        if let Some(losses) = &outputs.row_losses {
            let (loss, counts) = (expected.losses[row], expected.counts[row]);
            let bound = if counts { loss_bound(loss) } else { 0.0 };
            checker.compare("row_losses", row, usize::MAX, losses[row], loss, bound);
        }
        let is_ignored = batch.targets[row] == expected.options.ignore_index;
        let lse_of_loss = match expected.counts[row] {
            true => expected.lse[row],
            false if is_ignored => 0.0,
            false => f64::NAN,
        };
        for (what, lse, expected) in
            [("lse", &outputs.lse, expected.lse[row]), ("row lse", &outputs.row_lse, lse_of_loss)]
        {
            let Some(lse) = lse else { continue };
            checker.compare(what, row, usize::MAX, lse[row], expected, loss_bound(expected));
        }
        if let Some(argmax) = &outputs.argmax {
            checker.equal("argmax", row, argmax[row], expected.argmax[row]);
        }
        if let Some(argmax) = &outputs.row_argmax {
            let class = if expected.counts[row] { expected.argmax[row] } else { NO_CLASS };
            checker.equal("row argmax", row, argmax[row], class);
        }
        if let Some(flags) = &outputs.row_flags {
            checker.equal("row flags", row, flags[row], expected.flags[row]);
        }
    }
    if let Some(loss) = &outputs.host_loss {
        checker.equal("loss.rows", 0, loss.rows, batch.shape.rows);
        checker.equal("loss.counted", 0, loss.counted, expected.counted);
        checker.equal("loss.flags", 0, loss.flags, expected.flags());
        checker.value("loss.sum", loss.sum, expected.sum(), expected.sum_bound());
        checker.value("loss.value", loss.value, expected.value(), expected.sum_bound() * expected.scale);
        checker.value("loss.weight", loss.weight, expected.counted as f64, 0.0);
    }
    if let Some(record) = &outputs.loss {
        check_record(&mut checker, expected, record);
    }
    checker.finish();
}

fn check_record(checker: &mut Checker<'_>, expected: &Expected, record: &LossRecord) {
    let value = match expected.options.reduction {
        Reduction::Mean if expected.counted == 0 => f64::NAN,
        _ => expected.value(),
    };
    checker.value("record.value", f64::from(record.value), value, expected.sum_bound() * expected.scale);
    checker.value("record.sum", f64::from(record.sum), expected.sum(), expected.sum_bound());
    checker.value("record.weight", f64::from(record.weight), expected.counted as f64, 0.0);
    checker.equal("record.counted", 0, record.counted as usize, expected.counted);
    checker.equal("record.flags", 0, record.flags(), expected.flags());
    checker.equal("record.first_bad_row", 0, record.first_bad_row(), expected.first_bad_row);
}

/// Runs a batch both ways and compares. For batches that the host path takes: no target out of range.
pub fn check_both(gpu: &Context, ops: &Ops, batch: &Batch) {
    let expected = Expected::of(batch, &ops.options);
    check(batch, &expected, &run_host(gpu, ops, batch), ops);
    check(batch, &expected, &run_bound(gpu, ops, batch, (256, 256)), ops);
}
