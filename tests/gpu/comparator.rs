//! The comparison is itself compared: whatever is wrong in an output, `check` must fail. (`Verification` has tests of its
//! own; these are of what feeds it.)

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use xent::{CrossEntropyOptions, LossRecord, TargetKind};

use crate::batch::{Batch, Ops, noise};
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{SENTINEL, gpu};
use crate::outputs::{Outputs, run_bound, run_host};

type Break = fn(&mut Outputs);

fn right() -> &'static (Ops, Batch, Expected, [Outputs; 2]) {
    static RIGHT: OnceLock<(Ops, Batch, Expected, [Outputs; 2])> = OnceLock::new();
    RIGHT.get_or_init(|| {
        let options = CrossEntropyOptions { label_smoothing: 0.1, z_loss: 1e-2, ..Default::default() };
        let ops = Ops::new(gpu(), options);
        let mut batch = noise("comparator", 1, 6, 9).with_targets(TargetKind::Classes, 2).with_weights(3);
        batch.targets = vec![0, 3, -100, 8, 4, 5];
        batch.given.row_weights = Some(vec![1.0, 0.5, 2.0, 3.0, 1.5, 1.0]);
        let batch = batch.with_stride(11);
        let outputs = [run_bound(gpu(), &ops, &batch, (4, 8)), run_host(&ops, &batch)];
        let expected = Expected::of(&batch, &options);
        (ops, batch, expected, outputs)
    })
}

/// Whether the comparison takes the outputs with something done to them.
fn passes(path: usize, change: impl Fn(&mut Outputs)) -> bool {
    let (ops, batch, expected, outputs) = right();
    let mut outputs = outputs[path].clone();
    change(&mut outputs);
    catch_unwind(AssertUnwindSafe(|| check(batch, expected, &outputs, ops))).is_ok()
}

#[test]
fn right_outputs_pass() {
    assert!(passes(0, |_| {}) && passes(1, |_| {}));
}

/// Every value of every output, made wrong in every way.
#[test]
fn a_wrong_value_fails() {
    type Wrong = fn(u32) -> u32;
    let wrong: [(&str, Wrong); 7] = [
        ("unwritten", |_| SENTINEL),
        ("NaN", |_| 0x7fc0_0000),
        ("∞", |_| 0x7f80_0000),
        ("1e-4 more", |bits| (f32::from_bits(bits) + 1e-4).to_bits()),
        ("other sign", |bits| (-f32::from_bits(bits)).to_bits()),
        ("3e-4 times more", |bits| (f32::from_bits(bits) * 1.0003).to_bits()),
        ("zero", |_| 0),
    ];
    for path in [0, 1] {
        let (_, batch, _, outputs) = right();
        for (what, output) in outputs[path].bits().iter().enumerate() {
            let output = output.expect("all outputs");
            for at in 0..output.len() {
                let is_padding = output.len() > 6 && at % 11 >= 9;
                for (name, change) in wrong {
                    // Classes are compared as they are; what is zero is so whatever its sign and factor.
                    let is_class = what == 2 || what == 7;
                    let is_same = change(output[at]) == output[at]
                        || (output[at] << 1 == 0 && change(output[at]) << 1 == 0 && !is_padding)
                        || (is_padding && path == 1 && change(0) == 0);
                    // Logarithms near 0 have the contract's 5e-6.
                    let is_near_zero =
                        matches!(what, 0 | 1 | 5 | 6) && f32::from_bits(output[at]).abs() < 0.05;
                    let is_same = is_same || (is_near_zero && name == "3e-4 times more");
                    if is_same || (is_class && name != "unwritten") {
                        continue;
                    }
                    let passed = passes(path, |outputs| change_bits(outputs, what, at, change(output[at])));
                    assert!(!passed, "path {path}, output {what} at {at} of {}: {name} passes", batch.name);
                }
            }
        }
    }
}

fn change_bits(outputs: &mut Outputs, what: usize, at: usize, bits: u32) {
    let Outputs { row_losses, row_lse, row_argmax, dlogits, probs, log_probs, lse, argmax, .. } = outputs;
    let all = [row_losses, row_lse, row_argmax, dlogits, probs, log_probs, lse, argmax];
    all.into_iter().nth(what).unwrap().as_mut().unwrap()[at] = bits;
}

#[test]
fn a_wrong_row_or_total_fails() {
    let cases: [(&str, usize, Break); 8] = [
        ("swapped rows", 0, |outputs| outputs.dlogits.as_mut().unwrap().swap(1, 12)),
        ("swapped losses", 1, |outputs| outputs.row_losses.as_mut().unwrap().swap(0, 1)),
        ("a flag too many", 1, |outputs| outputs.row_flags.as_mut().unwrap()[0] = xent::Flags::NAN_LOGIT),
        ("the record's value", 0, |outputs| outputs.loss.as_mut().unwrap().value *= 1.0001),
        ("the record's z-loss", 0, |outputs| outputs.loss.as_mut().unwrap().z_loss = 0.0),
        ("the record's row weight", 0, |outputs| outputs.loss.as_mut().unwrap().row_weight += 0.5),
        ("no record", 0, |outputs| outputs.loss = Some(LossRecord::default())),
        ("the host's value", 1, |outputs| outputs.host_loss.as_mut().unwrap().value += 1e-3),
    ];
    for (name, path, change) in cases {
        assert!(!passes(path, change), "{name} passes");
    }
}
