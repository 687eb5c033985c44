//! Weights, masks and upstream gradients of rows.

use xent::{Flags, Reduction};

use crate::kl_divergence::{Case, INF, Options, noise_rows};
use crate::losses::{ALIGNED, Given, Run, check, check_runs, shared};
use crate::typed::{To, tunings_of};

const BOUND: [Run; 1] = [Run::Bound(ALIGNED, To::Element)];

#[test]
fn weights_masks_and_upstream_gradients() {
    let rows = 2100; // three blocks of totals
    let weights: Vec<f32> = (0..rows).map(|row| [1.0, 0.0, 0.25, 3.0][row % 4]).collect();
    let mask: Vec<bool> = (0..rows).map(|row| row % 5 != 2).collect();
    let upstream: Vec<f32> = (0..rows).map(|row| [1.0, -2.0, 0.0][row % 3]).collect();
    let mut noise = noise_rows(1, rows, 5);
    for (row, (_, x, b)) in noise.iter_mut().enumerate() {
        if weights[row] == 0.0 {
            x.fill(f32::NAN); // not read
        } else if !mask[row] {
            b[1] = INF;
        }
    }
    let given = Given {
        row_weights: Some(weights),
        row_mask: Some(mask),
        upstream: Some(512.0),
        row_upstream: Some(upstream),
        ..Given::default()
    };
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let options = Options { reduction, temperature: 2.0, scale_by_t_squared: true, ..Options::default() };
        let case = Case::<f32>::dense("inputs", &noise, options).with(given.clone());
        check(&case, &tunings_of(&[8]), &[ALIGNED]);
    }
    // A NaN upstream gradient makes the gradients of the rows that count NaN, and no loss.
    let given = Given { upstream: Some(f32::NAN), ..given };
    let case = Case::<f32>::dense("NaN upstream", &noise, Options::default()).with(given);
    for found in check_runs(&case, None, &BOUND) {
        for row in 0..rows {
            let counts = case.given.weight(row) > 0.0;
            let is_right = |value: &f32| if counts { value.is_nan() } else { *value == 0.0 };
            assert!(found.row_dlogits(&case, row).iter().all(is_right), "row {row}");
        }
        assert!(found.row_losses().all(f32::is_finite));
    }
}

#[test]
fn batches_in_which_nothing_counts() {
    let case = Case::<f32>::dense("nothing", &noise_rows(1, 4, 9), Options::default());
    shared::batches_in_which_no_row_counts(&case, &tunings_of(&[8]));
}

/// An invalid row weight in a buffer: NaN loss, no gradient, and the other rows are right.
#[test]
fn invalid_weights_in_buffers() {
    for bad in [-1.0, f32::NAN, INF] {
        let case = Case::<f32>::dense("bad weight", &noise_rows(6, 3, 40), Options::default());
        let found = |weights: [f32; 3]| {
            let case = case.clone().with(Given::row_weights(&weights));
            check_runs(&case, None, &BOUND).remove(0)
        };
        let (found, right) = (found([1.0, bad, 2.0]), found([1.0, 0.0, 2.0]));
        assert!(f32::from_bits(found.row_losses[1]).is_nan() && found.value.is_nan());
        assert_eq!(found.flags, Flags::INVALID_WEIGHT | Flags::NAN_LOSS);
        assert_eq!((found.row_losses[0], found.row_losses[2]), (right.row_losses[0], right.row_losses[2]));
        assert_eq!(found.dlogits, right.dlogits);
    }
}
