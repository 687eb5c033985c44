//! The comparison is itself compared: whatever is wrong in a result, `Expected::check` must fail.

use std::panic::{AssertUnwindSafe, catch_unwind};

use xent::{Element, Flags, Tuning};

use crate::harness::SENTINEL;
use crate::losses::{ALIGNED, Case, Expected, Found, Loss, Run, check_runs};
use crate::typed::To;

type Wrong = (&'static str, fn(u32) -> u32);
type Break = (&'static str, fn(&mut Found));

/// Ways to spoil a value.
const WRONG: [Wrong; 7] = [
    ("unwritten", |_| SENTINEL),
    ("NaN", |_| 0x7fc0_0000),
    ("∞", |_| 0x7f80_0000),
    ("other sign", |bits| (-f32::from_bits(bits)).to_bits()),
    ("1e-4 more", |bits| (f32::from_bits(bits) + 1e-4).to_bits()),
    ("1e-3 times more", |bits| (f32::from_bits(bits) * 1.001).to_bits()),
    ("zero", |_| 0),
];

/// Ways to spoil a total, a row or what is said of the batch.
const BREAKS: [Break; 11] = [
    ("swapped losses", |found| found.row_losses.swap(0, 1)),
    ("swapped rows", |found| found.dlogits.swap(1, 12)),
    ("the value", |found| found.value += 1e-4),
    ("a NaN value", |found| found.value = f64::NAN),
    ("the sum", |found| found.sum += 1e-3),
    ("the weight", |found| found.weight *= 1.0001),
    ("no weight", |found| found.weight = 0.0),
    ("the row weight", |found| found.row_weight += 0.5),
    ("a row too many", |found| found.counted += 1),
    ("a flag too many", |found| found.flags |= Flags::NAN_LOSS),
    ("another flag", |found| found.flags = Flags::NO_ROW_COUNTS),
];

/// For a case of three rows or more with padding between them, 11 values apart, whose batch has nothing unusual. Each place
/// of the gradient takes a tuning with which other tests have made its pipelines.
pub fn fails_on_every_wrong_result<L: Loss, E: Element>(case: &Case<L, E>, tunings: [Option<Tuning>; 3]) {
    let expected = Expected::of(case);
    let passes = |found: &Found, spoil: &dyn Fn(&mut Found)| {
        let mut found = found.clone();
        spoil(&mut found);
        catch_unwind(AssertUnwindSafe(|| expected.check(case, &found))).is_ok()
    };
    let places = [To::Element, To::F32, To::InPlace].map(|to| Run::Bound(ALIGNED, to));
    let runs = [(Run::Host, None)].into_iter().chain(places.into_iter().zip(tunings));
    for found in runs.flat_map(|(by, tuning)| check_runs(case, tuning, &[by])) {
        let path = &found.path;
        assert!(passes(&found, &|_| {}), "{path}: right results fail");
        for (name, wrong) in WRONG {
            // A NaN between the rows stays one, whatever is added to it.
            let is_same = |bits: u32| wrong(bits) == bits || (bits << 1 == 0 && wrong(bits) << 1 == 0);
            for at in (0..found.row_losses.len()).filter(|&at| !is_same(found.row_losses[at])) {
                let spoil = |found: &mut Found| found.row_losses[at] = wrong(found.row_losses[at]);
                assert!(!passes(&found, &spoil), "{path}: row loss {at}: {name} passes");
            }
            for at in (0..found.dlogits.len()).filter(|&at| !is_same(found.dlogits[at])) {
                let spoil = |found: &mut Found| found.dlogits[at] = wrong(found.dlogits[at]);
                assert!(!passes(&found, &spoil), "{path}: dlogits at {at}: {name} passes");
            }
        }
        for (name, spoil) in BREAKS {
            assert!(!passes(&found, &spoil), "{path}: {name} passes");
        }
        // Written between the rows.
        let padding = (0..found.dlogits.len()).filter(|at| at % 11 >= case.shape.cols);
        for at in padding {
            let spoil = |found: &mut Found| found.dlogits[at] = 1.0f32.to_bits();
            assert!(!passes(&found, &spoil), "{path}: padding at {at} passes");
        }
    }
}
