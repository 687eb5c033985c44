//! Calls: parts of a bound batch, verification, awaited requests, other options. And the comparator of all these tests.

use xent::half::bf16;
use xent::{Error, KlDivergence, Shape, Tuning};

use crate::harness::device_with;
use crate::kl_divergence::special::special_rows;
use crate::kl_divergence::{Case, Options, noise_rows};
use crate::losses::{comparator, shared};

#[test]
fn fewer_rows_than_bound_and_encoding_twice() {
    let case = Case::<f32>::dense("part", &noise_rows(5, 16, 33), Options::default());
    shared::fewer_rows_than_bound(&case, 8, 4);
}

#[test]
fn verification_and_awaited_requests() {
    let options = Options { temperature: 2.0, scale_by_t_squared: true, ..Options::default() };
    shared::verification(&Case::<f32>::dense("verify", &special_rows(65), options), 1000);
    shared::verification(&Case::<bf16>::dense("verify", &special_rows(65), options), 1000);
    shared::awaited_requests(&Case::<f32>::dense("async", &noise_rows(1, 5, 20), options));
}

#[test]
fn options_are_values_and_switches() {
    let gpu = &device_with(|_| {});
    let op = KlDivergence::<f32>::new(gpu, &Options::default()).unwrap();
    let run =
        |op: &KlDivergence<f32>| op.loss(&[0.0, 1.0], &[1.0, 0.0], Shape::new(1, 2)).wait().unwrap().value;
    let plain = run(&op);
    let made = gpu.pipelines();
    let hot = op.with_options(&Options { temperature: 2.0, ..Options::default() }).unwrap();
    assert!(run(&hot) < plain);
    assert_eq!(gpu.pipelines(), made, "another temperature makes nothing anew");
    let scaled = op.with_options(&Options { scale_by_t_squared: true, ..*hot.options() }).unwrap();
    assert!((run(&scaled) - 4.0 * run(&hot)).abs() < 1e-5);
    assert!(gpu.pipelines() > made);
    assert!(matches!(
        op.with_options(&Options { temperature: 0.0, ..Options::default() }),
        Err(Error::InvalidOption { option: "temperature", .. })
    ));
}

/// The comparator fails on what is wrong.
#[test]
fn a_comparator_that_can_fail() {
    let shape = Shape::new(4, 5).row_stride(11);
    let case = Case::<f32>::new("comparator", shape, &noise_rows(1, 4, 5), Options::default());
    let lanes = [1, 2].map(|lanes| Some(Tuning::fixed(lanes, 1)));
    comparator::fails_on_every_wrong_result(&case, [None, lanes[0], lanes[1]]);
}
