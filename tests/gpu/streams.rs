//! Batches that are pushed window by window.

use xent::{
    BatchWeight, CrossEntropyOptions, Error, KlDivergence, KlDivergenceInputs, Reduction, RowInputs, Shape,
    SigmoidBce, SigmoidBceInputs, TargetKind, Targets,
};

use crate::batch::{Batch, Ops, noise, ops};
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{device_of_bindings, gpu};
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
    let mut stream = ops.loss.stream_with_dlogits(shape, TargetKind::Classes, weight).unwrap();
    let mut probs_stream = ops.softmax.stream(shape, false).unwrap();
    let mut log_probs_stream = ops.softmax.stream(shape, true).unwrap();
    let [mut dlogits, mut probs, mut log_probs] = [(); 3].map(|()| vec![0.0f32; shape.len()]);
    let (mut results, mut from) = (Vec::new(), 0);
    let mut sizes = sizes.iter().cycle();
    while from < shape.rows {
        let rows = (*sizes.next().unwrap()).min(shape.rows - from);
        let values = values_of(shape, from, rows);
        let logits = &batch.logits[values.clone()];
        let targets = Targets::Classes(&batch.targets[from..from + rows]);
        results.extend_from_slice(
            stream.push_with_dlogits(logits, rows, targets, &mut dlogits[values.clone()]).wait().unwrap(),
        );
        probs_stream.push(logits, rows, &mut probs[values.clone()]).wait().unwrap();
        log_probs_stream.push(logits, rows, &mut log_probs[values]).wait().unwrap();
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
            let whole = run_host(&ops, batch);
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
    let whole = ops().loss.loss(&batch.logits, batch.classes(), batch.shape).wait().unwrap();
    let mut stream = ops().loss.stream(batch.shape, TargetKind::Classes).unwrap();
    assert!(stream.window_rows() == 40 && stream.loss().rows == 0 && stream.loss().value.is_nan());
    for from in (0..40).step_by(8) {
        let logits = &batch.logits[values_of(batch.shape, from, 8)];
        stream.push(logits, 8, Targets::Classes(&batch.targets[from..from + 8])).wait().unwrap();
        assert_eq!(stream.loss().rows, from + 8);
    }
    assert_eq!(format!("{:?}", stream.loss()), format!("{whole:?}"));
}

#[test]
fn refused_pushes() {
    let shape = Shape::new(6, 4);
    let mut stream = ops().loss.stream(shape, TargetKind::Classes).unwrap();
    stream.push(&[0.0; 8], 2, Targets::Classes(&[0, 1])).wait().unwrap();
    // The row is counted from the stream's first.
    let error = stream.push(&[0.0; 12], 3, Targets::Classes(&[0, 1, 4])).wait().err();
    assert_eq!(error, Some(Error::TargetOutOfRange { row: 4, target: 4, cols: 4 }));
    let error = stream.push(&[0.0; 11], 3, Targets::Classes(&[0, 1, 2])).wait().err();
    assert_eq!(error, Some(Error::Length { what: "logits", found: 11, needed: 12 }));
    let error = stream.push(&[0.0; 20], 5, Targets::Classes(&[0; 5])).wait().err();
    assert_eq!(error, Some(Error::RowsExceedBound { rows: 5, bound: 4 }));
    let error = stream.push_with_dlogits(&[0.0; 4], 1, Targets::Classes(&[0]), &mut [0.0f32; 4]).wait().err();
    assert_eq!(error, Some(Error::NoOutput { options: "stream_with_dlogits, stream_with_dlogits_f32" }));
    // None of them took a row.
    stream.push(&[0.0; 16], 4, Targets::Classes(&[0, 1, 2, -100])).wait().unwrap();
    let loss = stream.loss();
    assert!((loss.rows, loss.counted) == (6, 5) && (loss.value - 4f64.ln()).abs() < 1e-6, "{loss:?}");
    let error = stream.push(&[0.0; 4], 1, Targets::Classes(&[0])).wait().err();
    assert_eq!(error, Some(Error::RowsExceedBound { rows: 1, bound: 0 }));
}

/// An output of another length is refused like a slice of another length: before any work.
#[test]
fn refused_outputs_take_no_row() {
    let shape = Shape::new(2, 4);
    let targets = Targets::Classes(&[0, 1]);
    let weight = BatchWeight { weight: 2.0, row_weight: 2.0, counted: 2 };
    let mut stream = ops().loss.stream_with_dlogits(shape, TargetKind::Classes, weight).unwrap();
    let error = stream.push_with_dlogits(&[0.0; 8], 2, targets, &mut [0.0f32; 7]).wait().err();
    assert!(matches!(error, Some(Error::Length { found: 7, needed: 8, .. })), "{error:?}");
    assert_eq!(stream.push_with_dlogits(&[0.0; 8], 2, targets, &mut [0.0f32; 8]).wait().err(), None);
    assert_eq!(stream.loss().rows, 2);

    let mut stream = ops().softmax.stream(shape, false).unwrap();
    let error = stream.push(&[0.0; 8], 2, &mut [0.0; 9]).wait().err();
    assert!(matches!(error, Some(Error::Length { found: 9, needed: 8, .. })), "{error:?}");
    let mut probs = [0.0; 8];
    assert_eq!(stream.push(&[0.0; 8], 2, &mut probs).wait(), Ok(()));
    assert_eq!(probs, [0.25; 8]);
}

/// However many rows there are, and a window is never more than they allow.
#[test]
fn memory_is_bounded() {
    for (rows, cols) in [(1 << 40, 1), (1 << 40, 10), (1 << 30, 50_257), (1 << 24, 250_000), (3, 5), (0, 5)] {
        let shape = Shape::new(rows, cols);
        let loss = ops().loss.stream(shape, TargetKind::Classes).unwrap();
        let gradient =
            ops().loss.stream_with_dlogits(shape, TargetKind::Classes, Default::default()).unwrap();
        let probs = ops().softmax.stream(shape, false).unwrap();
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
    let gpu = device_of_bindings(wgpu::Features::empty(), 16 << 10);
    let ops = Ops::new(&gpu, Default::default());
    let shape = Shape::new(1000, 100);
    let mut stream = ops.loss.stream(shape, TargetKind::Classes).unwrap();
    let rows = stream.window_rows();
    assert!((4..1000).contains(&rows), "{rows}");
    let targets = vec![7; rows + 1];
    let logits = vec![1.0; (rows + 1) * 100];
    let error = stream.push(&logits, rows + 1, Targets::Classes(&targets)).wait().err();
    assert_eq!(error, Some(Error::RowsExceedBound { rows: rows + 1, bound: rows }));
    stream.push(&logits[100..], rows, Targets::Classes(&targets[1..])).wait().unwrap();
    assert!((stream.loss().value - 100f64.ln()).abs() < 1e-5);
}

const OF_FOUR: BatchWeight = BatchWeight { weight: 4.0, row_weight: 4.0, counted: 4 };

/// The name and the value of an option that was refused.
fn refused<T>(result: Result<T, Error>, context: &str) -> (&'static str, f64) {
    match result.err() {
        Some(Error::InvalidOption { option, value, .. }) => (option, value),
        other => panic!("{context}: {other:?}"),
    }
}

/// The gradient is of a mean over what the caller says that the batch weighs: what no batch can weigh is refused.
#[test]
fn weights_that_no_batch_can_have() {
    const WEIGHT: &str = "batch weight: weight";
    const ROW_WEIGHT: &str = "batch weight: row_weight";
    const COUNTED: &str = "batch weight: counted";
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let kinds = [TargetKind::Classes, TargetKind::Soft, TargetKind::Sparse { entries: 2 }];
    let with = |reduction, weight, kind| {
        let ops = ops().with(CrossEntropyOptions { reduction, ..Default::default() });
        let shape = Shape::new(4, 3);
        let stream = ops.loss.stream_with_dlogits(shape, kind, weight).map(drop);
        let stream_f32 = ops.loss.stream_with_dlogits_f32(shape, kind, weight).map(drop);
        assert_eq!(format!("{stream:?}"), format!("{stream_f32:?}"));
        stream
    };
    for kind in kinds {
        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(4.0)] {
            let context = format!("{reduction:?}, {kind:?}");
            assert_eq!(with(reduction, OF_FOUR, kind), Ok(()), "{context}");
            for value in [-2.0, -1e-300, inf, -inf, nan] {
                for (option, weight) in [
                    (WEIGHT, BatchWeight { weight: value, ..OF_FOUR }),
                    (ROW_WEIGHT, BatchWeight { row_weight: value, ..OF_FOUR }),
                ] {
                    let (name, found) = refused(with(reduction, weight, kind), &context);
                    assert_eq!((name, found.to_bits()), (option, value.to_bits()), "{context}");
                }
            }
            let many = BatchWeight { counted: 5, ..OF_FOUR };
            assert_eq!(refused(with(reduction, many, kind), &context), (COUNTED, 5.0), "{context}");
        }
        for (option, value, weight) in [
            (ROW_WEIGHT, 0.0, BatchWeight { row_weight: 0.0, ..OF_FOUR }),
            (ROW_WEIGHT, 4.0, BatchWeight { counted: 0, ..OF_FOUR }),
            (WEIGHT, 4.0, BatchWeight { row_weight: 0.0, counted: 0, ..OF_FOUR }),
        ] {
            let found = refused(with(Reduction::Mean, weight, kind), option);
            assert_eq!(found, (option, value), "{kind:?}, {weight:?}");
            assert_eq!(with(Reduction::Sum, weight, kind), Ok(()), "not looked at: {kind:?}, {weight:?}");
        }
        // Class weights enter the mean of class targets only.
        for (weight, is_of_classes) in [(2.0, true), (0.0, true), (1e39, false), (1e-39, false)] {
            let result = with(Reduction::Mean, BatchWeight { weight, ..OF_FOUR }, kind);
            let is_taken = is_of_classes && kind == TargetKind::Classes;
            assert_eq!(result.is_ok(), is_taken, "{kind:?}, {weight}: {result:?}");
        }
        let none = BatchWeight::default();
        assert_eq!(with(Reduction::Mean, none, kind), Ok(()), "a batch of which no row counts");
    }
}

/// What the rows weigh is compared with what the caller said, before any value of a wrong gradient.
#[test]
fn weights_that_the_rows_do_not_add_up_to() {
    const SENTINEL: f32 = 7.5;
    let shape = Shape::new(4, 3);
    let logits = [0.0f32; 12];
    let soft = [0.5f32; 12];
    let kinds = [
        Targets::Classes(&[0, 1, 2, 0]),
        Targets::ClassesU32(&[0, 1, 2, 0]),
        Targets::Soft(&soft),
        Targets::Sparse { indices: &[0, 1, 2, 0], probs: &[1.0; 4], entries: 1 },
    ];
    // What the caller says, the push of two rows that is refused, and why.
    let cases = [
        ("of all rows", OF_FOUR, None, ""),
        ("the default", BatchWeight::default(), Some(0), "batch weight: counted"),
        (
            "of the first window",
            BatchWeight { weight: 2.0, row_weight: 2.0, counted: 2 },
            Some(1),
            "batch weight: counted",
        ),
        ("rows too few", BatchWeight { counted: 3, ..OF_FOUR }, Some(1), "batch weight: counted"),
        (
            "weighs too little",
            BatchWeight { weight: 1.5, row_weight: 1.5, ..OF_FOUR },
            Some(0),
            "batch weight: weight",
        ),
        (
            "weighs too much",
            BatchWeight { weight: 8.0, row_weight: 8.0, ..OF_FOUR },
            Some(1),
            "batch weight: weight",
        ),
    ];
    for targets in kinds {
        for (name, weight, refused_at, option) in cases {
            let context = format!("{name}, {:?}", targets.kind());
            let mut stream = ops().loss.stream_with_dlogits(shape, targets.kind(), weight).unwrap();
            for push in 0..2 {
                let mut dlogits = [SENTINEL; 6];
                let part = match targets {
                    Targets::Classes(classes) => Targets::Classes(&classes[2 * push..][..2]),
                    Targets::ClassesU32(classes) => Targets::ClassesU32(&classes[2 * push..][..2]),
                    Targets::Sparse { indices, probs, entries } => Targets::Sparse {
                        indices: &indices[2 * push..][..2],
                        probs: &probs[2 * push..][..2],
                        entries,
                    },
                    _ => Targets::Soft(&soft[6 * push..][..6]),
                };
                let values = &logits[6 * push..][..6];
                let pushed = stream.push_with_dlogits(values, 2, part, &mut dlogits).wait().map(|_| ());
                if refused_at == Some(push) {
                    assert_eq!(refused(pushed, &context).0, option, "{context}");
                    assert_eq!((dlogits, stream.loss().rows), ([SENTINEL; 6], 2 * push), "{context}");
                    break;
                }
                assert_eq!(pushed, Ok(()), "{context}");
                assert!(dlogits.iter().all(|&dx| dx != SENTINEL), "{context}");
            }
        }
    }
    // A sum needs no weight; nor does a batch of which no row counts.
    let sum = ops().with(CrossEntropyOptions { reduction: Reduction::Sum, ..Default::default() });
    for (ops, classes) in [(&sum, [0, 1, 2, 0]), (ops(), [-100; 4])] {
        let none = Default::default();
        let mut stream = ops.loss.stream_with_dlogits(shape, TargetKind::Classes, none).unwrap();
        let mut dlogits = [SENTINEL; 12];
        stream.push_with_dlogits(&logits, 4, Targets::Classes(&classes), &mut dlogits).wait().unwrap();
        let expected = if classes[0] == 0 { [-2.0 / 3.0, 1.0 / 3.0] } else { [0.0; 2] };
        assert!((dlogits[0] - expected[0]).abs() < 1e-6 && (dlogits[1] - expected[1]).abs() < 1e-6);
    }
}

/// Row weights and class weights are summed in another order than the whole: that is no difference.
#[test]
fn weights_of_windows_are_rounded_otherwise() {
    let batch = noise("rounding", 4, 999, 7).with_weights(9);
    let inputs = batch.inputs();
    let whole = inputs.check(batch.shape, &ops().options).unwrap();
    let mut stream = ops().loss.stream_with_dlogits(batch.shape, TargetKind::Classes, whole).unwrap();
    let mut dlogits = vec![0.0f32; batch.shape.len()];
    for first in (0..999).step_by(37) {
        let values = values_of(batch.shape, first, 37);
        let weights = batch.given.row_weights.as_ref().map(|weights| &weights[first..first + 37]);
        let part = xent::CrossEntropyInputs {
            targets: Targets::Classes(&batch.targets[first..first + 37]),
            rows: RowInputs {
                row_weights: weights,
                row_mask: None,
                row_upstream: None,
                ..Default::default()
            },
            ..inputs
        };
        stream
            .push_with_dlogits(&batch.logits[values.clone()], 37, part, &mut dlogits[values])
            .wait()
            .unwrap();
    }
    assert_eq!(stream.loss().rows, 999);
}

/// Pushes three pieces of a batch of 20 rows, and compares with the whole.
macro_rules! check_pieces {
    ($op:expr, $shape:expr, $logits:expr, $inputs:expr, $weight:expr) => {{
        let (op, shape, logits, inputs) = ($op, $shape, $logits, $inputs);
        let mut whole = vec![0.0f32; shape.len()];
        let loss = op.loss_into(logits, inputs(0..20), shape, &mut whole).wait().unwrap();
        let rows = op.row_results(logits, inputs(0..20), shape).wait().unwrap();
        let mut stream = op.stream_with_dlogits(shape, (), $weight).unwrap();
        let (mut pieces, mut dlogits) = (Vec::new(), vec![0.0f32; shape.len()]);
        for piece in [0..7, 7..8, 8..20] {
            let (values, count) = (values_of(shape, piece.start, piece.len()), piece.len());
            let into = &mut dlogits[values.clone()];
            let pushed = stream.push_with_dlogits(&logits[values], count, inputs(piece), into).wait();
            pieces.extend_from_slice(pushed.unwrap());
        }
        assert_eq!(format!("{:?} {pieces:?}", stream.loss()), format!("{loss:?} {rows:?}"));
        assert_eq!(bits(&dlogits), bits(&whole));
        // Rows that weigh something else than the batch was said to.
        let half =
            BatchWeight { weight: $weight.weight / 2.0, row_weight: $weight.row_weight / 2.0, ..$weight };
        let mut stream = op.stream_with_dlogits(shape, (), half).unwrap();
        let refused = stream.push(logits, 20, inputs(0..20)).wait().err();
        assert!(
            matches!(refused, Some(Error::InvalidOption { option: "batch weight: weight", .. })),
            "{refused:?}"
        );
        let odd = BatchWeight { weight: $weight.weight * 1.5, ..$weight };
        let refused = op.stream_with_dlogits(shape, (), odd).err();
        assert!(
            matches!(refused, Some(Error::InvalidOption { option: "batch weight: weight", .. })),
            "{refused:?}"
        );
    }};
}

/// Divergences and multi-label losses in pieces have the digits of the whole.
#[test]
fn the_other_losses_stream_too() {
    let (a, b) = (noise("a", 31, 20, 33), noise("b", 32, 20, 33));
    let shape = a.shape;
    let weights: Vec<f32> = (0..20).map(|row| (row % 3) as f32 * 0.5).collect();

    let op = KlDivergence::<f32>::new(gpu(), &Default::default()).unwrap();
    let inputs = |rows: std::ops::Range<usize>| {
        let teacher = &b.logits[values_of(shape, rows.start, rows.len())];
        KlDivergenceInputs::new(teacher).row_weights(&weights[rows])
    };
    let weight = inputs(0..20).check(shape).unwrap();
    check_pieces!(&op, shape, &a.logits[..], inputs, weight);

    let labels: Vec<f32> = b.logits.iter().map(|x| f32::from(u8::from(*x > 0.0))).collect();
    let op = SigmoidBce::<f32>::new(gpu(), &Default::default()).unwrap();
    let inputs = |rows: std::ops::Range<usize>| {
        let targets = &labels[values_of(shape, rows.start, rows.len())];
        SigmoidBceInputs::new(targets).row_weights(&weights[rows])
    };
    let weight = inputs(0..20).check(shape, op.options()).unwrap();
    check_pieces!(&op, shape, &a.logits[..], inputs, weight);
}
