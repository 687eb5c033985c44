//! Rows that are left out, and invalid values in buffers.

use xent::{Flags, Shape};

use crate::losses::{Given, check_runs, run, shared};
use crate::sigmoid_bce::{BOUND, IN_PLACE, INF, MEAN, NAN, plain, random};

#[test]
fn rows_left_out_are_not_read() {
    let mut case = random::<f32>(9, Shape::new(4, 9), 3.0, MEAN);
    case.logits[9..27].fill(NAN);
    case.given.row_weights = Some(vec![2.0, 0.0, 1.0, -0.0]);
    case.given.row_mask = Some(vec![true, true, false, true]);
    for found in check_runs(&case, None, &[BOUND, IN_PLACE]) {
        assert_eq!(found.flags, Flags::empty());
        for row in 1..4 {
            assert!(found.row_dlogits(&case, row).iter().all(|value| value.to_bits() == 0), "row {row}");
        }
    }
}

#[test]
fn batches_in_which_no_row_counts() {
    let case = plain("nothing", Shape::new(2, 3), vec![NAN; 6], vec![NAN; 6], MEAN);
    shared::batches_in_which_no_row_counts(&case, &[None]);
}

/// What the host refuses is told by flags where it comes in buffers.
#[test]
fn invalid_values_in_buffers() {
    let plain = random::<f32>(2, Shape::new(3, 5), 3.0, MEAN);
    for bad in [NAN, INF, -INF] {
        let mut case = plain.clone();
        case.second[7] = bad;
        case.given.class_weights = Some(vec![1.0, 1.0, 0.0, 1.0, 1.0]);
        for found in check_runs(&case, None, &[BOUND]) {
            assert_eq!(found.flags, Flags::INVALID_TARGET | Flags::NAN_LOSS, "{bad}");
        }
    }
    for bad in [NAN, INF, -1.0] {
        let weights = || Some(vec![1.0, 1.0, 1.0, 1.0, bad]);
        for given in [
            Given { pos_weight: weights(), ..Given::default() },
            Given { class_weights: weights(), ..Given::default() },
            Given::row_weights(&[2.0, bad, 1.0]),
        ] {
            for found in check_runs(&plain.clone().with(given), None, &[BOUND]) {
                assert_eq!(found.flags, Flags::INVALID_WEIGHT | Flags::NAN_LOSS, "{bad}");
            }
        }
    }
    // An upstream gradient that is not a number does not go unseen.
    for upstream in [NAN, INF] {
        let case = plain.clone().with(Given { upstream: Some(upstream), ..Given::default() });
        let found = run(&case.op(), &case, BOUND);
        let is_nan = |row| found.row_dlogits(&case, row).iter().all(|value| value.is_nan());
        assert!((0..3).all(is_nan) && found.value.is_finite());
    }
}
