//! Calls: parts of a bound batch, verification, awaited requests. And the comparator of all these tests.

use xent::Shape;
use xent::half::f16;

use crate::losses::{Given, comparator, shared};
use crate::sigmoid_bce::{MEAN, full, random};

#[test]
fn fewer_rows_than_bound() {
    shared::fewer_rows_than_bound(&random::<f32>(6, Shape::new(9, 6), 4.0, MEAN), 4, 4);
}

#[test]
fn verification() {
    let shape = Shape::new(40, 33);
    for case in [random::<f16>(1, shape, 5.0, MEAN), full(2, shape, 20.0, MEAN)] {
        shared::verification(&case, 16);
    }
}

#[test]
fn async_twins_give_the_same() {
    shared::awaited_requests(&random::<f32>(3, Shape::new(4, 10), 5.0, MEAN));
}

/// The comparator fails on what is wrong.
#[test]
fn a_comparator_that_can_fail() {
    // With everything that the loss takes: other tests have made these pipelines.
    let given = Given {
        pos_weight: Some(vec![0.5, 1.0, 2.0, 1.5, 1.0, 3.0, 0.7, 1.2]),
        class_weights: Some(vec![1.0, 2.0, 0.5, 1.0, 1.5, 0.8, 1.0, 3.0]),
        row_weights: Some(vec![1.0, 0.5, 0.3, 2.0]),
        row_mask: Some(vec![true, true, false, true]),
        upstream: Some(-2.5),
        row_upstream: Some(vec![1.0, 0.5, 1.0, -1.0]),
    };
    let case = random::<f32>(7, Shape::new(4, 8).row_stride(11), 3.0, MEAN).with(given);
    comparator::fails_on_every_wrong_result(&case, [None; 3]);
}
