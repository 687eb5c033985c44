//! Each error of a shape, an option or a device, by the misuse that it names. Nothing panics, and the device works on.

use xent::{
    AdapterChoice, Argmax, ArgmaxBuffers, Context, CrossEntropy, CrossEntropyBuffers, CrossEntropyOptions,
    Error, LogSumExp, LogSumExpBuffers, LossOutputs, Profile, Reduction, Shape, Softmax, SoftmaxBuffers,
    TargetKind, Targets, wgpu,
};

use crate::batch::{Ops, noise, ops};
use crate::compare::check_works;
use crate::harness::{Region, adapter, device_of_bindings, device_with, gpu};

pub fn still_works(ops: &Ops) {
    check_works(ops, &noise("after an error", 1, 3, 5));
}

/// What every way into the operations says to a shape.
fn every_answer(shape: Shape, logits: &[f32], targets: &[i32]) -> Vec<(&'static str, Option<Error>)> {
    let (gpu, ops, classes) = (gpu(), ops(), Targets::Classes(targets));
    let values = Region::of_f32(gpu, 0, &[0.0; 64]);
    let (classes_buffer, output) = (Region::of_i32(gpu, &[0; 64]), Region::unwritten(gpu, 64));
    let to_loss = CrossEntropyBuffers {
        outputs: LossOutputs { row_losses: Some(output.binding()), ..Default::default() },
        ..CrossEntropyBuffers::new(values.binding(), classes_buffer.binding())
    };
    let to_softmax =
        SoftmaxBuffers { logits: values.binding(), probs: Some(output.binding()), log_probs: None };
    let to_lse = LogSumExpBuffers { logits: values.binding(), lse: output.binding() };
    let to_argmax = ArgmaxBuffers { logits: values.binding(), argmax: output.binding() };
    vec![
        ("softmax", ops.softmax.softmax(logits, shape).wait().err()),
        ("log_softmax", ops.softmax.log_softmax(logits, shape).wait().err()),
        ("logsumexp", ops.logsumexp.logsumexp(logits, shape).wait().err()),
        ("argmax", ops.argmax.argmax(logits, shape).wait().err()),
        ("loss", ops.loss.loss(logits, classes, shape).wait().err()),
        ("loss_and_dlogits", ops.loss.loss_and_dlogits(logits, classes, shape).wait().err()),
        ("row_results", ops.loss.row_results(logits, classes, shape).wait().err()),
        ("softmax.verify", ops.softmax.verify(logits, shape, 1).wait().err()),
        ("loss.verify", ops.loss.verify(logits, classes, shape, 1).wait().err()),
        ("verify_dlogits", ops.loss.verify_dlogits(logits, classes, shape, 1).wait().err()),
        // From here on, no slice is given.
        ("softmax.stream", ops.softmax.stream(shape, false).err()),
        ("loss.stream", ops.loss.stream(shape, TargetKind::Classes).err()),
        (
            "stream_with_dlogits",
            ops.loss.stream_with_dlogits(shape, TargetKind::Classes, Default::default()).err(),
        ),
        ("softmax.bind", ops.softmax.bind(shape, &to_softmax).err()),
        ("loss.bind", ops.loss.bind(shape, &to_loss).err()),
        ("logsumexp.bind", ops.logsumexp.bind(shape, &to_lse).err()),
        ("argmax.bind", ops.argmax.bind(shape, &to_argmax).err()),
    ]
}

#[test]
fn shapes() {
    let huge = usize::MAX / 4;
    let overflow =
        |rows, cols, row_stride| (Shape::new(rows, cols), Error::ShapeOverflow { rows, cols, row_stride });
    for (shape, error) in [
        (Shape::new(2, 0), Error::NoCols { rows: 2 }),
        (Shape::new(0, 0), Error::NoCols { rows: 0 }),
        (Shape::new(2, 3).row_stride(2), Error::RowStride { row_stride: 2, needed: 3 }),
        (Shape::new(1, 3).row_stride(0), Error::RowStride { row_stride: 0, needed: 3 }),
        (Shape { inner: 4, ..Shape::new(6, 3) }, Error::Layout { rows: 6, inner: 4 }),
        (Shape { inner: 0, ..Shape::new(2, 3) }, Error::Layout { rows: 2, inner: 0 }),
        overflow(huge, 9, 9),
        overflow(usize::MAX, 1, 1),
        overflow(1, huge, huge),
    ] {
        for (name, found) in every_answer(shape, &[0.0; 6], &[0, 0]) {
            assert_eq!(found.as_ref(), Some(&error), "{name}, {shape:?}");
        }
    }
    still_works(ops());
}

#[test]
fn lengths_of_slices() {
    let shape = Shape::new(2, 3).row_stride(4);
    for found in [0, 1, 6, 9, 64] {
        for (name, error) in every_answer(shape, &vec![0.0; found], &[0, 0]).into_iter().take(10) {
            assert_eq!(error, Some(Error::Length { what: "logits", found, needed: 7 }), "{name}");
        }
    }
    for found in [0, 1, 3] {
        let error = ops().loss.loss(&[0.0; 7], Targets::Classes(&vec![0; found]), shape).wait();
        assert_eq!(error, Err(Error::Length { what: "targets", found, needed: 2 }));
    }
    still_works(ops());
}

#[test]
fn targets_out_of_range() {
    let shape = Shape::new(4, 3);
    for target in [3, 4, -1, -99, -101, i32::MIN, i32::MAX] {
        for row in 0..4 {
            let mut targets = [0, -100, 2, 1];
            // The first of two is told.
            targets[3] = 1000;
            targets[row] = target;
            let classes = Targets::Classes(&targets);
            let expected = Error::TargetOutOfRange { row, target: i128::from(target), cols: 3 };
            let loss = ops().loss.loss(&[0.0; 12], classes, shape).wait();
            assert_eq!(loss, Err(expected.clone()));
            let gradient = ops().loss.loss_and_dlogits(&[0.0; 12], classes, shape).wait();
            assert_eq!(gradient.err(), Some(expected.clone()));
            assert_eq!(ops().loss.row_results(&[0.0; 12], classes, shape).wait().err(), Some(expected));
        }
    }
    still_works(ops());
}

#[test]
fn options() {
    for denominator in [0.0, -0.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let options =
            CrossEntropyOptions { reduction: Reduction::MeanOver(denominator), ..Default::default() };
        let error = CrossEntropy::<f32>::new(gpu(), &options).err();
        let named = matches!(&error, Some(Error::InvalidOption { option, value, .. })
            if option.contains("MeanOver") && value.to_bits() == f64::from(denominator).to_bits());
        assert!(named, "{denominator}: {error:?}");
    }
}

#[test]
fn too_many_rows() {
    let gpu = device_of_bindings(wgpu::Features::empty(), 16 << 10);
    let ops = Ops::new(&gpu, Default::default());
    let bind = |rows: usize| {
        let [logits, targets, losses] = [(); 3].map(|()| Region::unwritten(&gpu, rows));
        let to = CrossEntropyBuffers {
            outputs: LossOutputs { row_losses: Some(losses.binding()), ..Default::default() },
            ..CrossEntropyBuffers::new(logits.binding(), targets.binding())
        };
        let shape = Shape::new(rows, 1);
        let to_lse = LogSumExpBuffers { logits: logits.binding(), lse: losses.binding() };
        let lse = ops.logsumexp.bind(shape, &to_lse).map(drop);
        [ops.loss.bind(shape, &to).map(drop), lse]
    };
    // Two records of 16 bytes stand before the rows' own.
    assert_eq!(bind(1022), [Ok(()), Ok(())]);
    assert_eq!(bind(1023), [(); 2].map(|()| Err(Error::TooManyRows { rows: 1023, limit: 1022 })));
    still_works(&ops);
}

/// Limits below WebGPU's defaults are told when an operation is built.
#[test]
fn a_device_that_allows_too_little() {
    type Lower = fn(&mut wgpu::Limits);
    let cases: [(Lower, &str, u64, u64); 3] = [
        (|limits| limits.max_storage_buffers_per_shader_stage = 4, "storage buffers per shader stage", 8, 4),
        (|limits| limits.max_compute_invocations_per_workgroup = 128, "invocations per workgroup", 256, 128),
        (
            |limits| limits.max_compute_workgroup_storage_size = 8 << 10,
            "bytes of workgroup memory",
            16 << 10,
            8 << 10,
        ),
    ];
    for (lower, limit, needed, available) in cases {
        let gpu = device_with(lower);
        let error = Error::DeviceLimit { limit, needed, available };
        assert_eq!(gpu.profile(), Err(error.clone()));
        assert_eq!(Profile::of(&gpu.device), Err(error.clone()));
        assert_eq!(Softmax::<f32>::new(&gpu, &Default::default()).err(), Some(error.clone()));
        assert_eq!(CrossEntropy::<f32>::new(&gpu, &Default::default()).err(), Some(error.clone()));
        assert_eq!(LogSumExp::<f32>::new(&gpu).err(), Some(error.clone()));
        assert_eq!(Argmax::<f32>::new(&gpu).err(), Some(error));
    }
    let webgpu = wgpu::Limits::default();
    assert!(webgpu.check_limits(&adapter().limits()), "WebGPU's defaults");
    let gpu = device_with(|limits| *limits = webgpu);
    still_works(&Ops::new(&gpu, Default::default()));
}

#[test]
fn no_adapter() {
    let name = "no adapter has such a name";
    match Context::open(&AdapterChoice::named(name)).wait() {
        Err(error @ Error::NoAdapter { .. }) => {
            let text = error.to_string();
            let real = gpu().device.adapter_info().name;
            assert!(text.contains(name) && text.contains(&real) && text.contains("apt-get"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    let none = AdapterChoice { backends: Some(wgpu::Backends::empty()), ..Default::default() };
    assert!(matches!(Context::open(&none).wait(), Err(Error::NoAdapter { found, .. }) if found.is_empty()));
}
