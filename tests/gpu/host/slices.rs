//! Slices of the caller's that take the values.

use std::future::IntoFuture;

use xent::half::{bf16, f16};
use xent::{
    Context, CrossEntropyOptions, Element, Error, KlDivergence, MaskedSoftmax, Masks, Shape, SigmoidBce,
    SoftmaxBackward, Targets,
};

use crate::batch::{Batch, Ops, noise};
use crate::harness::{SENTINEL, gpu};
use crate::host::both_ways;

fn filled<E: Element>(len: usize) -> Vec<E> {
    vec![E::from_f32(f32::from_bits(SENTINEL)); len]
}

fn bytes<E: Element>(values: &[E]) -> &[u8] {
    bytemuck::cast_slice(values)
}

/// The methods that write into the caller's slice give what the others give, padding included.
fn into_slices<E: Element>(gpu: &Context, batch: &Batch<E>) {
    let ops = Ops::<E>::new(gpu, Default::default());
    let (shape, logits, name) = (batch.shape, &batch.logits, &batch.name);
    let mut values = filled::<E>(shape.len());
    let softmax = &ops.softmax;
    softmax.softmax_into(logits, shape, &mut values).wait().unwrap();
    assert!(bytes(&values) == bytes(&softmax.softmax(logits, shape).wait().unwrap()), "{name}: probs");
    let mut values = filled::<E>(shape.len());
    softmax.log_softmax_into(logits, shape, &mut values).wait().unwrap();
    assert!(
        bytes(&values) == bytes(&softmax.log_softmax(logits, shape).wait().unwrap()),
        "{name}: log_probs"
    );
    let mut values = filled::<E>(shape.len());
    let into = ops.loss.loss_into(logits, batch.inputs(), shape, &mut values).wait().unwrap();
    let (loss, dlogits) = ops.loss.loss_and_dlogits(logits, batch.inputs(), shape).wait().unwrap();
    assert!(into == loss && bytes(&values) == bytes(&dlogits), "{name}: dlogits");
    let mut values = filled::<f32>(shape.len());
    let into = ops.loss.loss_into(logits, batch.inputs(), shape, &mut values).wait().unwrap();
    assert!(into == loss, "{name}: the loss beside a gradient in f32");
    let rounded: Vec<E> = values.iter().map(|&value| E::from_f32(value)).collect();
    let (zeros, own) = (dlogits.iter().map(|x| x.to_f64()), rounded.iter().map(|x| x.to_f64()));
    assert!(zeros.eq(own), "{name}: dlogits in f32");
}

#[test]
fn into_slices_of_the_caller() {
    for gpu in both_ways() {
        let batch = noise("into", 40, 120, 300);
        // Windows of a few rows: there is padding between two of them, too.
        for batch in [
            batch.clone(),
            batch.with_stride(303),
            batch.laid_out(Shape::nchw(60, 300, 2)),
            batch.laid_out(Shape::nchw(60, 300, 2).row_stride(610)),
        ] {
            // `==` of a loss is that of its numbers, of which none is NaN; what lies between the rows is not read.
            into_slices(&gpu, &batch);
            // Each layout in one of the types of 16 bits.
            if batch.shape.row_stride.is_multiple_of(2) == (batch.shape.inner == 1) {
                into_slices(&gpu, &batch.cast::<f16>());
            } else {
                into_slices(&gpu, &batch.cast::<bf16>());
            }
        }
    }
}

#[test]
fn into_slices_of_the_other_operations() {
    let gpu = &both_ways()[0];
    let (a, b) = (noise("a", 41, 100, 301).with_stride(303), noise("b", 42, 100, 301).with_stride(303));
    let (shape, x, y) = (a.shape, &a.logits, &b.logits);
    let (mut values, mut wide) = (filled::<f32>(shape.len()), filled::<f32>(shape.len()));

    let op = KlDivergence::<f32>::new(gpu, &Default::default()).unwrap();
    let into = op.loss_into(x, y, shape, &mut values).wait().unwrap();
    let (loss, dlogits) = op.loss_and_dlogits(x, y, shape).wait().unwrap();
    assert!(into == loss && bytes(&values) == bytes(&dlogits), "divergence");
    op.loss_into(x, y, shape, &mut wide).wait().unwrap();
    assert!(bytes(&wide) == bytes(&dlogits), "divergence, in f32");

    let labels: Vec<f32> = y.iter().map(|y| if *y > 0.0 { 1.0 } else { 0.0 }).collect();
    let op = SigmoidBce::<f32>::new(gpu, &Default::default()).unwrap();
    values.fill(f32::NAN);
    wide.fill(f32::NAN);
    let into = op.loss_into(x, &labels[..], shape, &mut values).wait().unwrap();
    let (loss, dlogits) = op.loss_and_dlogits(x, &labels[..], shape).wait().unwrap();
    assert!(into == loss && bytes(&values) == bytes(&dlogits), "multi-label loss");
    op.loss_into(x, &labels[..], shape, &mut wide).wait().unwrap();
    assert!(bytes(&wide) == bytes(&dlogits), "multi-label loss, in f32");

    let op = SoftmaxBackward::<f32>::new(gpu, &Default::default()).unwrap();
    values.fill(f32::NAN);
    op.backward_into(&labels, y, shape, &mut values).wait().unwrap();
    assert!(bytes(&values) == bytes(&op.backward(&labels, y, shape).wait().unwrap()), "backward");

    let op = MaskedSoftmax::<f32>::new(gpu, &Default::default()).unwrap();
    values.fill(f32::NAN);
    op.softmax_into(x, Masks::NONE, shape, &mut values).wait().unwrap();
    assert!(bytes(&values) == bytes(&op.softmax(x, Masks::NONE, shape).wait().unwrap()), "masked softmax");
}

/// A slice of another length is refused before any work, and stays as it was.
#[test]
fn slices_of_another_length() {
    let gpu = gpu();
    let ops = Ops::new(gpu, CrossEntropyOptions::default());
    let shape = Shape::new(3, 4);
    let x = [1.0f32; 12];
    let targets = Targets::Classes(&[0, 1, 2]);
    let divergence = KlDivergence::<f32>::new(gpu, &Default::default()).unwrap();
    let multi_label = SigmoidBce::<f32>::new(gpu, &Default::default()).unwrap();
    let backward = SoftmaxBackward::<f32>::new(gpu, &Default::default()).unwrap();
    let masked = MaskedSoftmax::<f32>::new(gpu, &Default::default()).unwrap();
    for found in [0, 11, 13] {
        let mut out = vec![7.0f32; found];
        let error = |what| Some(Error::Length { what, found, needed: 12 });
        let (softmax, loss) = (&ops.softmax, &ops.loss);
        assert_eq!(softmax.softmax_into(&x, shape, &mut out).wait().err(), error("probs"));
        assert_eq!(softmax.log_softmax_into(&x, shape, &mut out).wait().err(), error("log_probs"));
        assert_eq!(masked.softmax_into(&x, Masks::NONE, shape, &mut out).wait().err(), error("probs"));
        assert_eq!(backward.backward_into(&x, &x, shape, &mut out).wait().err(), error("dlogits"));
        for error_of in [
            loss.loss_into(&x, targets, shape, &mut out).wait().err(),
            loss.loss_into(&x, targets, shape, &mut out).wait().err(),
            divergence.loss_into(&x, &x, shape, &mut out).wait().err(),
            divergence.loss_into(&x, &x, shape, &mut out).wait().err(),
            multi_label.loss_into(&x, &x[..], shape, &mut out).wait().err(),
            multi_label.loss_into(&x, &x[..], shape, &mut out).wait().err(),
        ] {
            assert_eq!(error_of, error("dlogits"));
        }
        assert!(out.iter().all(|value| *value == 7.0), "nothing is written");
        assert_eq!(loss.idle_buffer_bytes(), 0, "before any work");
    }
    // Awaited, where nobody need poll for that.
    let mut short = [0.0f32; 11];
    let error = |what| Err(Error::Length { what, found: 11, needed: 12 });
    let probs = pollster::block_on(ops.softmax.softmax_into(&x, shape, &mut short).into_future());
    assert_eq!(probs, error("probs"));
    let dlogits = pollster::block_on(ops.loss.loss_into(&x, targets, shape, &mut short).into_future());
    assert_eq!(dlogits.map(drop), error("dlogits"));
}

/// A part of an array, with the classes along its middle axis, goes into an operation without a copy.
#[cfg(feature = "ndarray")]
#[test]
fn views_of_arrays() {
    use ndarray::{Array3, Axis, Slice};
    let ops = crate::batch::ops();
    let logits = noise("a view", 3, 4 * 6, 9).logits;
    let whole = Array3::from_shape_vec((4, 6, 9), logits).expect("an array");
    let mut part = whole.view();
    part.slice_axis_inplace(Axis(0), Slice::new(1, None, 2));
    part.slice_axis_inplace(Axis(1), Slice::from(1..));
    let (values, shape) = xent::from_ndarray_part(whole.view(), part, 1).expect("a shape");
    assert_eq!((shape.rows, shape.cols), (2 * 9, 5));
    let targets: Vec<i32> = (0..18).map(|row| row % 5).collect();
    // The same rows, one behind the other.
    let mut rows = Vec::new();
    for image in part.outer_iter() {
        image.axis_iter(Axis(1)).for_each(|row| rows.extend(row.iter().copied()));
    }
    let plain = Shape::new(18, 5);
    let of_view = ops.loss.loss(values, &targets, shape).wait().expect("a loss");
    let of_rows = ops.loss.loss(&rows, &targets, plain).wait().expect("a loss");
    assert!((of_view.value - of_rows.value).abs() < 1e-6, "{of_view} and {of_rows}");
    let best = ops.argmax.argmax(values, shape).wait().expect("classes");
    assert_eq!(best, ops.argmax.argmax(&rows, plain).wait().expect("classes"));
}
