//! Batches larger than a binding: devices with small limits cut small batches into many windows, and change no bit.

use xent::half::f16;
use xent::{Context, CrossEntropyBuffers, Error, LossOutputs, Shape, TargetKind, Targets};

use crate::batch::{Batch, Ops, noise, ops};
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{Region, device_of_bindings, device_with, gpu, in_pass};
use crate::outputs::{Gradient, Outputs, run_bound, run_host, run_host_loss, run_loss};

/// Devices whose windows are of very different sizes.
fn devices() -> Vec<(&'static str, Context)> {
    let with_binding = |bytes: u64| device_with(|limits| limits.max_storage_buffer_binding_size = bytes as _);
    vec![
        ("bindings of 1 MiB", with_binding(1 << 20)),
        ("bindings of 64 KiB", with_binding(64 << 10)),
        ("bindings of 16,388 B", with_binding(16_388)),
        ("buffers of 96 KiB", device_with(|limits| limits.max_buffer_size = 96 << 10)),
        (
            "7 workgroups in a dimension",
            device_with(|limits| limits.max_compute_workgroups_per_dimension = 7),
        ),
    ]
}

/// Row losses alone, which take a pass of their own.
fn bound_row_losses(gpu: &Context, ops: &Ops, batch: &Batch) -> Vec<u32> {
    let logits = Region::of_f32(gpu, 256, &batch.logits);
    let (targets, losses) = (Region::of_i32(gpu, &batch.targets), Region::unwritten(gpu, batch.shape.rows));
    let to = CrossEntropyBuffers {
        outputs: LossOutputs { row_losses: Some(losses.binding()), ..Default::default() },
        ..CrossEntropyBuffers::new(logits.binding(), targets.binding())
    };
    let bound = ops.loss.bind(batch.shape, &to).unwrap();
    in_pass(gpu, |pass| bound.encode(pass));
    losses.read(gpu)
}

fn assert_same_bits(name: &str, batch: &Batch, a: &Outputs, b: &Outputs) {
    assert!(a.loss == b.loss || a.loss.is_some_and(|loss| loss.value.is_nan()), "{name}: {:?}", a.loss);
    assert_eq!(format!("{:?}", a.host_loss), format!("{:?}", b.host_loss), "{name}: f64 loss");
    let names = ["row_losses", "lse", "argmax", "dlogits", "probs", "log_probs", "lse alone", "argmax alone"];
    for (what, (a, b)) in names.iter().zip(a.bits().iter().zip(b.bits())) {
        let (Some(a), Some(b)) = (a, b) else { continue };
        if let Some(at) = (0..a.len()).find(|&at| a[at] != b[at]) {
            panic!(
                "{name}, {}, {:?}: {what}[{at}] {:#010x}, {:#010x}",
                batch.name, batch.shape, a[at], b[at]
            );
        }
    }
}

#[test]
fn windows_change_no_bit() {
    // Rows of which a window holds hundreds, some, three, two, one; most are of odd lengths.
    let batches = [
        noise("windows", 1, 900, 7),
        noise("windows", 2, 500, 129).with_stride(131),
        noise("windows", 3, 200, 257),
        noise("windows", 4, 101, 1000),
        noise("windows", 5, 90, 1363),
        noise("windows", 6, 70, 2001).with_stride(2003),
        noise("windows", 7, 30, 3999),
    ];
    let whole = batches.each_ref().map(|batch| {
        let expected = Expected::of(batch, &ops().options);
        let outputs = (run_bound(gpu(), ops(), batch, (256, 256)), run_host(ops(), batch));
        check(batch, &expected, &outputs.0, ops());
        check(batch, &expected, &outputs.1, ops());
        outputs
    });
    // Each device takes two of the batches, one of short and one of long rows. Only the first batch fits into a small buffer.
    let taken = [[1, 5], [0, 3], [2, 6], [0, 4], [1, 4]];
    for (i, ((name, gpu), taken)) in devices().into_iter().zip(taken).enumerate() {
        let ops = Ops::new(&gpu, Default::default());
        for (batch, (bound, host)) in taken.map(|at| (&batches[at], &whole[at])) {
            let expected = Expected::of(batch, &ops.options);
            // All operations on every other device, the loss on the others.
            let run = if i % 2 == 0 { run_host } else { run_host_loss };
            assert_same_bits(name, batch, host, &run(&ops, batch));
            // A buffer of such a device may not hold the batch.
            if (batch.shape.len() * 4 + 4096) as u64 <= gpu.device.limits().max_buffer_size {
                let run = |offsets| match i % 2 {
                    0 => run_bound(&gpu, &ops, batch, offsets),
                    _ => run_loss(&gpu, &ops, batch, offsets, Gradient::To),
                };
                assert_same_bits(name, batch, bound, &run((256, 256)));
                let alone = bound_row_losses(&gpu, &ops, batch);
                assert_eq!(Some(alone), bound.row_losses, "{name}, {}: row losses alone", batch.name);
                let misplaced = run_loss(&gpu, &ops, batch, (268, 4), Gradient::To);
                check(batch, &expected, &misplaced, &ops);
            }
        }
    }
}

#[test]
fn repeats_change_no_bit() {
    let batch = noise("repeats", 8, 700, 333);
    let bound = run_bound(gpu(), ops(), &batch, (256, 256));
    let host = run_host(ops(), &batch);
    for _ in 0..3 {
        assert_same_bits("again", &batch, &bound, &run_bound(gpu(), ops(), &batch, (256, 256)));
        assert_same_bits("again", &batch, &host, &run_host(ops(), &batch));
        // Another op: pipelines made anew.
        let anew = Ops::new(gpu(), Default::default());
        assert_same_bits("anew", &batch, &bound, &run_bound(gpu(), &anew, &batch, (256, 256)));
    }
    // The two paths differ in how they sum, and in nothing else.
    let host = Outputs { loss: bound.loss, host_loss: None, ..host };
    assert_same_bits("paths", &batch, &bound, &host);
}

/// Windows that are cut by their rows, and copies that several threads share: of whole windows, and of rows that lie
/// otherwise on the device.
#[test]
fn rows_by_the_hundred_thousand() {
    let batch = noise("many rows", 16, 300_000, 7);
    let window_rows = ops().softmax.stream(batch.shape, false).unwrap().window_rows();
    assert!(window_rows < batch.shape.rows, "{window_rows}");
    let bound = run_bound(gpu(), ops(), &batch, (256, 256));
    let host = Outputs { loss: bound.loss, host_loss: None, ..run_host(ops(), &batch) };
    assert_same_bits("f32", &batch, &bound, &host);

    let ops = Ops::<f16>::new(gpu(), Default::default());
    let halves = batch.with_stride(10).cast::<f16>();
    check(&halves, &Expected::of(&halves, &ops.options), &run_host(&ops, &halves), &ops);
}

/// A vocabulary that lavapipe's 128 MiB bindings hold 261 rows of.
#[test]
fn a_batch_above_128_mib() {
    let (rows, cols) = (280, 128_256);
    let few = noise("four rows", 9, 4, cols);
    let logits = few.logits.repeat(rows / 4);
    let targets = [5i32, 128_255, 64_000, 0].repeat(rows / 4);
    let batch = Batch { targets: targets[..4].to_vec(), ..few };
    let expected = Expected::of(&batch, &ops().options);
    let four = run_bound(gpu(), ops(), &batch, (256, 256));
    check(&batch, &expected, &four, ops());

    let shape = Shape::new(rows, cols);
    let values = Region::of_f32(gpu(), 256, &logits);
    let (classes, row_losses) = (Region::of_i32(gpu(), &targets), Region::unwritten(gpu(), rows));
    let to = CrossEntropyBuffers {
        outputs: LossOutputs { row_losses: Some(row_losses.binding()), ..Default::default() },
        ..CrossEntropyBuffers::new(values.binding(), classes.binding())
    };
    let bound = ops().loss.bind(shape, &to).unwrap();
    in_pass(gpu(), |pass| bound.encode(pass));
    let repeated = four.row_losses.unwrap().repeat(rows / 4);
    assert_eq!(row_losses.read(gpu()), repeated, "bound");
    let host = ops().loss.row_losses(&logits, Targets::Classes(&targets), shape).wait().unwrap();
    assert_eq!(bytemuck::cast_slice::<f32, u32>(&host), repeated, "host");
}

/// The longest row that fits, and one value more.
#[test]
fn a_row_larger_than_a_binding() {
    let gpu = device_of_bindings(wgpu::Features::empty(), 16 << 10);
    let ops = Ops::new(&gpu, Default::default());
    let profile = gpu.profile().unwrap();
    let limit = profile.max_binding_bytes - (profile.offset_alignment + 4).max(64);
    let cols = limit as usize / 4;
    let batch = noise("largest row", 10, 5, cols);
    let expected = Expected::of(&batch, &ops.options);
    check(&batch, &expected, &run_bound(&gpu, &ops, &batch, (260, 4)), &ops);
    check(&batch, &expected, &run_host(&ops, &batch), &ops);

    let shape = Shape::new(2, cols + 1);
    let too_large = Error::RowTooLarge { cols: cols + 1, bytes: limit + 4, limit };
    let logits = vec![0.0f32; shape.len()];
    let targets = Targets::Classes(&[0, 0]);
    assert_eq!(ops.softmax.softmax(&logits, shape).wait(), Err(too_large.clone()));
    assert_eq!(ops.logsumexp.logsumexp(&logits, shape).wait(), Err(too_large.clone()));
    assert_eq!(ops.argmax.argmax(&logits, shape).wait(), Err(too_large.clone()));
    assert_eq!(ops.loss.loss(&logits, targets, shape).wait(), Err(too_large.clone()));
    assert_eq!(ops.loss.stream(shape, TargetKind::Classes).map(drop), Err(too_large.clone()));
    let (logits, targets) = (Region::of_f32(&gpu, 0, &logits), Region::of_i32(&gpu, &[0, 0]));
    let loss = Region::unwritten(&gpu, 8);
    let to = CrossEntropyBuffers {
        outputs: LossOutputs { loss: Some(loss.binding()), ..Default::default() },
        ..CrossEntropyBuffers::new(logits.binding(), targets.binding())
    };
    assert_eq!(ops.loss.bind(shape, &to).map(drop), Err(too_large));
    check(&batch, &expected, &run_bound(&gpu, &ops, &batch, (260, 4)), &ops);
}
