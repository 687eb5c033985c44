//! Batches that are pushed window by window.

use xent::{BatchWeight, CrossEntropyOptions, Error, Reduction, Shape, TargetKind, Targets};

use crate::batch::{Batch, Ops, noise, ops};
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{device_with, gpu};
use crate::outputs::{Outputs, run_host};

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Where the values of some rows lie.
fn values_of(shape: Shape, from: usize, rows: usize) -> std::ops::Range<usize> {
    let start = from * shape.row_stride;
    start..start + shape.with_rows(rows).len()
}

/// Pushes a batch in pieces of these sizes, one after another and again from the first.
fn pushed(ops: &Ops, batch: &Batch, weight: BatchWeight, sizes: &[usize]) -> Outputs {
    let shape = batch.shape;
    let mut stream = ops.loss.stream_with_dlogits(gpu(), shape, TargetKind::Classes, weight).unwrap();
    let mut probs_stream = ops.softmax.stream(gpu(), shape, false).unwrap();
    let mut log_probs_stream = ops.softmax.stream(gpu(), shape, true).unwrap();
    let [mut dlogits, mut probs, mut log_probs] = [(); 3].map(|()| vec![0.0f32; shape.len()]);
    let (mut results, mut from) = (Vec::new(), 0);
    let mut sizes = sizes.iter().cycle();
    while from < shape.rows {
        let rows = (*sizes.next().unwrap()).min(shape.rows - from);
        let values = values_of(shape, from, rows);
        let logits = &batch.logits[values.clone()];
        let targets = Targets::Classes(&batch.targets[from..from + rows]);
        results.extend_from_slice(
            stream.push_with_dlogits(logits, rows, targets, &mut dlogits[values.clone()]).unwrap(),
        );
        probs_stream.push(logits, rows, &mut probs[values.clone()]).unwrap();
        log_probs_stream.push(logits, rows, &mut log_probs[values]).unwrap();
        from += rows;
    }
    Outputs {
        path: "stream",
        host_loss: Some(stream.loss()),
        row_losses: Some(results.iter().map(|row| row.loss.to_bits()).collect()),
        row_lse: Some(results.iter().map(|row| row.lse.to_bits()).collect()),
        row_argmax: Some(results.iter().map(|row| row.argmax).collect()),
        row_flags: Some(results.iter().map(|row| row.flags()).collect()),
        dlogits: Some(bits(&dlogits)),
        probs: Some(bits(&probs)),
        log_probs: Some(bits(&log_probs)),
        rounded: ["f32"; 2],
        ..Default::default()
    }
}

#[test]
fn pushes_of_any_sizes() {
    let batches =
        [noise("stream", 1, 101, 7), noise("stream", 2, 57, 130).with_stride(133), noise("stream", 3, 9, 1)];
    let reductions = [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(12.0)];
    for reduction in reductions {
        let ops = Ops::new(gpu(), CrossEntropyOptions { reduction, ..Default::default() });
        for batch in &batches {
            let expected = Expected::of(batch, &ops.options);
            let whole = run_host(gpu(), &ops, batch);
            for sizes in [&[1000][..], &[4], &[8, 12, 0, 40], &[1], &[3, 5, 1], &[2, 0, 7]] {
                let parts = pushed(&ops, batch, expected.weight, sizes);
                check(batch, &expected, &parts, &ops);
                let whole = Outputs { path: "stream", lse: None, argmax: None, ..whole.clone() };
                // A row's place among the quads is that in the whole batch, so no bit may differ.
                assert!(parts == whole, "{}, {sizes:?}: bits differ", batch.name);
            }
        }
    }
}

#[test]
fn a_stream_without_gradient() {
    let batch = noise("loss only", 4, 40, 33);
    let whole = ops().loss.loss(gpu(), &batch.logits, batch.classes(), batch.shape).unwrap();
    let mut stream = ops().loss.stream(gpu(), batch.shape, TargetKind::Classes).unwrap();
    assert!(stream.window_rows() == 40 && stream.loss().rows == 0 && stream.loss().value.is_nan());
    for from in (0..40).step_by(8) {
        let logits = &batch.logits[values_of(batch.shape, from, 8)];
        stream.push(logits, 8, Targets::Classes(&batch.targets[from..from + 8])).unwrap();
        assert_eq!(stream.loss().rows, from + 8);
    }
    assert_eq!(format!("{:?}", stream.loss()), format!("{whole:?}"));
}

#[test]
fn refused_pushes() {
    let shape = Shape::new(6, 4);
    let mut stream = ops().loss.stream(gpu(), shape, TargetKind::Classes).unwrap();
    stream.push(&[0.0; 8], 2, Targets::Classes(&[0, 1])).unwrap();
    // The row is counted from the stream's first.
    let error = stream.push(&[0.0; 12], 3, Targets::Classes(&[0, 1, 4])).err();
    assert_eq!(error, Some(Error::TargetOutOfRange { row: 4, target: 4, cols: 4 }));
    let error = stream.push(&[0.0; 11], 3, Targets::Classes(&[0, 1, 2])).err();
    assert_eq!(error, Some(Error::Length { what: "logits", found: 11, needed: 12 }));
    let error = stream.push(&[0.0; 20], 5, Targets::Classes(&[0; 5])).err();
    assert_eq!(error, Some(Error::RowsExceedBound { rows: 5, bound: 4 }));
    let error = stream.push_with_dlogits(&[0.0; 4], 1, Targets::Classes(&[0]), &mut [0.0f32; 4]).err();
    assert_eq!(error, Some(Error::NoOutput { options: "stream_with_dlogits, stream_with_dlogits_f32" }));
    // None of them took a row.
    stream.push(&[0.0; 16], 4, Targets::Classes(&[0, 1, 2, -100])).unwrap();
    let loss = stream.loss();
    assert!((loss.rows, loss.counted) == (6, 5) && (loss.value - 4f64.ln()).abs() < 1e-6, "{loss:?}");
    let error = stream.push(&[0.0; 4], 1, Targets::Classes(&[0])).err();
    assert_eq!(error, Some(Error::RowsExceedBound { rows: 1, bound: 0 }));
}

/// An output of another length is refused like a slice of another length: before any work.
#[test]
fn refused_outputs_take_no_row() {
    let shape = Shape::new(2, 4);
    let mut stream =
        ops().loss.stream_with_dlogits(gpu(), shape, TargetKind::Classes, Default::default()).unwrap();
    let targets = Targets::Classes(&[0, 1]);
    let error = stream.push_with_dlogits(&[0.0; 8], 2, targets, &mut [0.0f32; 7]).err();
    assert!(matches!(error, Some(Error::Length { found: 7, needed: 8, .. })), "{error:?}");
    assert_eq!(stream.push_with_dlogits(&[0.0; 8], 2, targets, &mut [0.0f32; 8]).err(), None);
    assert_eq!(stream.loss().rows, 2);

    let mut stream = ops().softmax.stream(gpu(), shape, false).unwrap();
    let error = stream.push(&[0.0; 8], 2, &mut [0.0; 9]).err();
    assert!(matches!(error, Some(Error::Length { found: 9, needed: 8, .. })), "{error:?}");
    let mut probs = [0.0; 8];
    assert_eq!(stream.push(&[0.0; 8], 2, &mut probs), Ok(()));
    assert_eq!(probs, [0.25; 8]);
}

/// However many rows there are, and a window is never more than they allow.
#[test]
fn memory_is_bounded() {
    for (rows, cols) in [(1 << 40, 1), (1 << 40, 10), (1 << 30, 50_257), (1 << 24, 250_000), (3, 5), (0, 5)] {
        let shape = Shape::new(rows, cols);
        let loss = ops().loss.stream(gpu(), shape, TargetKind::Classes).unwrap();
        let gradient =
            ops().loss.stream_with_dlogits(gpu(), shape, TargetKind::Classes, Default::default()).unwrap();
        let probs = ops().softmax.stream(gpu(), shape, false).unwrap();
        assert!(loss.buffer_bytes() <= gradient.buffer_bytes());
        for bytes in [gradient.buffer_bytes(), probs.buffer_bytes()] {
            assert!(bytes < 512 << 20, "{rows} × {cols}: {bytes} bytes");
        }
        for window_rows in [loss.window_rows(), gradient.window_rows(), probs.window_rows()] {
            assert!(window_rows <= rows && (window_rows > 0 || rows == 0), "{rows} × {cols}: {window_rows}");
        }
    }
}

/// More rows than a window are refused, and a window's worth is taken.
#[test]
fn a_push_beyond_the_window() {
    let gpu = device_with(|limits| limits.max_storage_buffer_binding_size = 16 << 10);
    let ops = Ops::new(&gpu, Default::default());
    let shape = Shape::new(1000, 100);
    let mut stream = ops.loss.stream(&gpu, shape, TargetKind::Classes).unwrap();
    let rows = stream.window_rows();
    assert!((4..1000).contains(&rows), "{rows}");
    let targets = vec![7; rows + 1];
    let logits = vec![1.0; (rows + 1) * 100];
    let error = stream.push(&logits, rows + 1, Targets::Classes(&targets)).err();
    assert_eq!(error, Some(Error::RowsExceedBound { rows: rows + 1, bound: rows }));
    stream.push(&logits[100..], rows, Targets::Classes(&targets[1..])).unwrap();
    assert!((stream.loss().value - 100f64.ln()).abs() < 1e-5);
}
