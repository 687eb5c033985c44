//! Rows so long that an invocation's loops come near what lavapipe allows, 65,535 iterations, behind which it gives a
//! wrong answer without a word.

use xent::{Error, Tuning};

use crate::batch::{noise, ops};
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{gpu, is_mine};
use crate::outputs::{run_bound, run_host};

/// Every tuning gives the right answer, also those with too few lanes for the row.
fn check_long(cols: usize, tried: &[u32]) {
    let mut batch = noise("long", cols as u64, 2, cols);
    // What stands last counts: a sweep that stops early misses it.
    batch.targets = vec![cols as i32 - 1, cols as i32 / 2];
    batch.logits[cols - 1] = 14.0;
    batch.logits[2 * cols - 2] = 15.0;
    let expected = Expected::of(&batch, &ops().options);
    check(&batch, &expected, &run_host(ops(), &batch), ops());
    // Where a tuning's lanes are too few for the iterations that an adapter allows, the plan takes more.
    // Two adapters share them.
    for (_, &lanes) in tried.iter().enumerate().filter(|&(i, _)| is_mine(i)) {
        let ops = ops().tuned(Some(Tuning::fixed(lanes, 1)));
        check(&batch, &expected, &run_bound(gpu(), &ops, &batch, (260, 256)), &ops);
    }
}

#[test]
fn close_below_the_limit() {
    // 60,000 iterations: 16 values each in the first sweep, 4 in the second.
    check_long(189_000, &[1, 256]);
}

#[test]
fn a_million_classes() {
    check_long(1_000_000, &[256, 1, 32]);
}

#[test]
fn three_million_and_three_classes() {
    check_long(3_000_003, &[4, 32]);
}

/// As many lanes as a workgroup of this device holds; not one more, nor a number that is no power of two.
#[test]
fn lanes() {
    let profile = gpu().profile().unwrap();
    let most = profile.max_invocations.min(profile.workgroup_memory / 12);
    let batch = noise("lanes", 1, 11, 5003);
    let expected = Expected::of(&batch, &ops().options);
    for log in 0..=20 {
        let lanes = 1 << log;
        // As few as there may be, as many, and every fourth power between.
        if lanes <= most && (log % 4 == 0 || 2 * lanes > most) {
            let ops = ops().tuned(Some(Tuning::fixed(lanes, 1)));
            check(&batch, &expected, &run_bound(gpu(), &ops, &batch, (256, 256)), &ops);
        }
        for refused in [0, lanes + 1, 3 * lanes].into_iter().chain((lanes > most).then_some(lanes)) {
            if refused.is_power_of_two() && refused <= most {
                continue;
            }
            let error = ops().softmax.clone().with_tuning(Tuning::fixed(refused, 1)).err();
            assert!(matches!(error, Some(Error::InvalidOption { .. })), "{refused} lanes: {error:?}");
        }
    }
}
