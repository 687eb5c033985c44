//! The comparison of the device with the reference: `xent::Verification`, told with all that one needs to see why.

use xent::bounds::{loss_bound, prob_bound};
use xent::{Context, CrossEntropyOptions, Element, Flags, LossRecord, NO_CLASS, Verification};

use crate::batch::{Batch, Ops};
use crate::expected::{Expected, Row};
use crate::harness::SENTINEL;
use crate::outputs::{
    Gradient, Outputs, rounding, run_bound, run_host, run_host_loss, run_plain_loss, widened_bits,
};

/// Collects what is wrong, each with all that is needed to see why.
struct Checker<'a, E: Element> {
    batch: &'a Batch<E>,
    context: String,
    failures: Vec<String>,
    failed: usize,
}

impl<'a, E: Element> Checker<'a, E> {
    fn new(batch: &'a Batch<E>, options: &CrossEntropyOptions, path: &str, by: &str) -> Self {
        let context = format!("{}, {:?}, {path}, {by}, {options:?}", batch.name, batch.shape);
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
            let (label, logit) = (self.batch.label(row), logits.get(col).map(|x| x.to_f64()));
            let target = self.batch.targets.get(row).copied();
            self.fail(|| {
                format!(
                    "{what}: row {row} ({label}; target {target:?}) col {col} (logit {logit:?}): {value:e} = \
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
            for (col, &word) in shape.row(actual, row).enumerate() {
                let (expected, bound) = of(row, col);
                self.compare(what, row, col, word, expected, bound);
            }
        }
        let group = shape.cols * shape.inner;
        for (at, rows) in actual.chunks(shape.row_stride).enumerate() {
            for (col, &word) in rows.iter().enumerate().skip(group) {
                if word != padding {
                    self.fail(|| format!("{what}: padding behind group {at}, place {col}: {word:#010x}"));
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
pub fn check<E: Element>(batch: &Batch<E>, expected: &Expected, outputs: &Outputs, ops: &Ops<E>) {
    assert_eq!(expected.options, ops.options);
    check_of(batch, expected, outputs, &format!("{:?}", ops.tuning));
}

/// Compares what something else than a device says, by its name.
pub fn check_of<E: Element>(batch: &Batch<E>, expected: &Expected, outputs: &Outputs, by: &str) {
    let mut checker = Checker::new(batch, &expected.options, outputs.path, by);
    let (cols, padding) = (batch.shape.cols, outputs.padding);
    let at = |row: usize, col: usize| row * cols + col;
    let [of_gradient, of_probs] = outputs.rounded;

    checker.values("softmax", &outputs.probs, padding, |row, col| {
        let p = expected.probs[at(row, col)];
        (p, prob_bound(p) + rounding(of_probs, p))
    });
    checker.values("log_softmax", &outputs.log_probs, padding, |row, col| {
        let log_p = expected.log_probs[at(row, col)];
        (log_p, loss_bound(log_p) + rounding(of_probs, log_p))
    });
    checker.values("dlogits", &outputs.dlogits, padding, |row, col| {
        let (value, bound) = (expected.dlogits[at(row, col)], expected.dlogits_bounds[at(row, col)]);
        // Where nothing is allowed it is exactly zero, whose rounding is none.
        (value, if bound == 0.0 { 0.0 } else { bound + rounding(of_gradient, value) })
    });
    for row in 0..batch.shape.rows {
        let counts = expected.rows[row] == Row::Counts;
        if let Some(losses) = &outputs.row_losses {
            let (loss, bound) = (expected.losses[row], expected.loss_bounds[row]);
            checker.compare("row_losses", row, usize::MAX, losses[row], loss, bound);
        }
        for (what, lse, expected) in [
            ("lse", &outputs.lse, expected.lse[row]),
            ("row lse", &outputs.row_lse, expected.lse_of_loss(row)),
        ] {
            let Some(lse) = lse else { continue };
            checker.compare(what, row, usize::MAX, lse[row], expected, loss_bound(expected));
        }
        if let Some(argmax) = &outputs.argmax {
            checker.equal("argmax", row, argmax[row], expected.argmax[row]);
        }
        if let Some(argmax) = &outputs.row_argmax {
            let class = if counts { expected.argmax[row] } else { NO_CLASS };
            checker.equal("row argmax", row, argmax[row], class);
        }
        if let Some(flags) = &outputs.row_flags {
            checker.equal("row flags", row, flags[row], expected.flags[row]);
        }
    }
    if let Some(loss) = &outputs.host_loss {
        let weight = expected.weight;
        checker.equal("loss.rows", 0, loss.rows, batch.shape.rows);
        checker.equal("loss.counted", 0, loss.counted, weight.counted);
        checker.equal("loss.flags", 0, loss.flags, expected.flags());
        checker.value("loss.sum", loss.sum, expected.sum(), expected.sum_bound());
        checker.value("loss.value", loss.value, expected.value(), expected.value_bound());
        checker.value("loss.weight", loss.weight, weight.weight, 1e-15 * weight.weight);
        checker.value("loss.row_weight", loss.row_weight, weight.row_weight, 1e-15 * weight.row_weight);
        if expected.value().is_finite() {
            checker.value("loss.z_loss", loss.z_loss, expected.z_loss(), expected.value_bound());
        }
    }
    if let Some(record) = &outputs.loss {
        check_record(&mut checker, expected, record);
    }
    checker.finish();
}

fn check_record<E: Element>(checker: &mut Checker<'_, E>, expected: &Expected, record: &LossRecord) {
    let weight = expected.weight;
    // Counts are exact, sums of other weights are rounded.
    let is_count = |weight: f64| weight.fract() == 0.0 && weight < 1e7;
    let weight_bound = |weight: f64| if is_count(weight) { 0.0 } else { 1e-6 * weight };
    let value = |value: f32| f64::from(value);
    checker.value("record.value", value(record.value), expected.value(), expected.value_bound());
    checker.value("record.sum", value(record.sum), expected.sum(), expected.sum_bound());
    checker.value("record.weight", value(record.weight), weight.weight, weight_bound(weight.weight));
    checker.value(
        "record.row_weight",
        value(record.row_weight),
        weight.row_weight,
        weight_bound(weight.row_weight),
    );
    if expected.value().is_finite() {
        checker.value("record.z_loss", value(record.z_loss), expected.z_loss(), expected.value_bound());
    }
    checker.equal("record.counted", 0, record.counted as usize, weight.counted);
    let mut flags = expected.flags();
    // The device adds in f32, and says so where that ends.
    flags.set(
        Flags::INFINITE_LOSS,
        flags.contains(Flags::INFINITE_LOSS) || (expected.sum() as f32).is_infinite(),
    );
    checker.equal("record.flags", 0, record.flags(), flags);
    checker.equal("record.first_bad_row", 0, record.first_bad_row(), expected.first_bad_row);
}

/// Runs a batch both ways and compares. For batches that the host path takes: nothing invalid.
pub fn check_both<E: Element>(gpu: &Context, ops: &Ops<E>, batch: &Batch<E>) {
    let expected = Expected::of(batch, &ops.options);
    check(batch, &expected, &run_host(ops, batch), ops);
    check(batch, &expected, &run_bound(gpu, ops, batch, (256, 256)), ops);
}

/// Runs a softmax and a loss, which take few pipelines: a device that works gives the right answers.
pub fn check_works(ops: &Ops, batch: &Batch) {
    let probs = ops.softmax.softmax(&batch.logits, batch.shape).wait().expect("softmax");
    let loss = ops.loss.loss(&batch.logits, batch.inputs(), batch.shape).wait().expect("loss");
    let outputs = Outputs {
        path: "host",
        probs: Some(widened_bits(&probs)),
        host_loss: Some(loss),
        rounded: ["f32"; 2],
        ..Default::default()
    };
    check(batch, &Expected::of(batch, &ops.options), &outputs, ops);
}

/// Runs the loss alone both ways and compares. The rows' lse and argmax come by the host path.
pub fn check_loss<E: Element>(gpu: &Context, ops: &Ops<E>, batch: &Batch<E>, gradient: Gradient) {
    let expected = Expected::of(batch, &ops.options);
    check(batch, &expected, &run_host_loss(ops, batch), ops);
    check(batch, &expected, &run_plain_loss(gpu, ops, batch, gradient), ops);
}
