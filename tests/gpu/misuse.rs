//! What the device itself refuses: it comes back as an error, and the caller's own handler and scopes see nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wgpu::BufferUsages as Usage;
use xent::{
    AdapterChoice, Context, CrossEntropy, CrossEntropyBuffers, CrossEntropyInputs, CrossEntropyOptions,
    EmptyBatch, Error, LogSumExpBuffers, LossOutputs, OutputBuffer, Sequences, Shape, Softmax,
    SoftmaxBuffers, SoftmaxOptions, TargetKind, Targets, Tuning, reference, wgpu,
};

use crate::batch::{Ops, noise, ops};
use crate::compare::check_works;
use crate::harness::{Region, buffer_of, device_with, gpu, in_pass};

/// Counts the errors that reach a device's own handler.
fn count_errors(gpu: &Context) -> Arc<AtomicUsize> {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    gpu.device.on_uncaptured_error(Arc::new(move |error| {
        eprintln!("uncaptured: {error}");
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    seen
}

fn bind_foreign(ops: &Ops, foreign: &Region, own: &Region) -> [Option<Error>; 3] {
    let shape = Shape::new(1, 4);
    let to_softmax =
        SoftmaxBuffers { logits: foreign.binding(), probs: Some(own.binding()), log_probs: None };
    let to_lse = LogSumExpBuffers { logits: own.binding(), lse: foreign.binding() };
    let to_loss = CrossEntropyBuffers {
        outputs: LossOutputs { dlogits: Some(OutputBuffer::To(foreign.binding())), ..Default::default() },
        ..CrossEntropyBuffers::new(own.binding(), own.binding())
    };
    [
        ops.softmax.bind(shape, &to_softmax).err(),
        ops.logsumexp.bind(shape, &to_lse).err(),
        ops.loss.bind(shape, &to_loss).err(),
    ]
}

/// Buffers of another device of the same instance. (Those of another instance make wgpu itself panic.)
#[test]
fn foreign_buffers() {
    let (gpu, other) = (device_with(|_| {}), device_with(|_| {}));
    let ops = Ops::new(&gpu, Default::default());
    let (foreign, own) = (Region::unwritten(&other, 4), Region::unwritten(&gpu, 4));
    for error in bind_foreign(&ops, &foreign, &own) {
        assert_eq!(error, Some(Error::OtherDevice));
    }
    check_works(&ops, &noise("after foreign buffers", 1, 3, 5));
}

#[test]
fn the_callers_handler_and_scopes_see_nothing() {
    let (gpu, other) = (device_with(|_| {}), device_with(|_| {}));
    let seen = count_errors(&gpu);
    let ops = Ops::new(&gpu, Default::default());
    let (foreign, own) = (Region::unwritten(&other, 4), Region::unwritten(&gpu, 4));
    let scopes = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal]
        .map(|filter| gpu.device.push_error_scope(filter));

    assert!(bind_foreign(&ops, &foreign, &own).iter().all(Option::is_some));
    assert!(ops.softmax.softmax(&[0.0; 4], Shape::new(1, 5)).wait().is_err());
    assert!(ops.loss.loss(&[0.0; 4], Targets::Classes(&[9]), Shape::new(1, 4)).wait().is_err());
    check_works(&ops, &noise("scopes", 2, 9, 7));
    for scope in scopes.into_iter().rev() {
        let error = pollster::block_on(scope.pop());
        assert!(error.is_none(), "the caller's scope: {error:?}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0, "before the caller's own error");

    // The caller's own errors go where they went before: into a scope, or to the handler.
    let own_error = || {
        drop(gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("test::invalid"),
            size: 4,
            usage: Usage::MAP_READ | Usage::STORAGE | Usage::MAP_WRITE,
            mapped_at_creation: false,
        }));
    };
    let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
    own_error();
    let own = pollster::block_on(scope.pop());
    assert!(own.is_some() && seen.load(Ordering::SeqCst) == 0, "into the scope: {own:?}");
    own_error();
    assert_eq!(seen.load(Ordering::SeqCst), 1, "to the handler");
}

/// Scratch of 1 GiB and more: SwiftShader has no such buffer, others may.
#[test]
fn out_of_memory() {
    let gpu = device_with(|_| {});
    let seen = count_errors(&gpu);
    let ops = Ops::new(&gpu, Default::default());
    let profile = gpu.profile().unwrap();
    let rows = (profile.max_binding_bytes / 16) as usize - 2;
    let values = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("test::values"),
        size: rows as u64 * 4,
        usage: Usage::STORAGE,
        mapped_at_creation: false,
    });
    let loss = Region::unwritten(&gpu, 8);
    let whole = wgpu::BufferBinding { buffer: &values, offset: 0, size: None };
    let to = CrossEntropyBuffers {
        outputs: LossOutputs { loss: Some(loss.binding()), ..Default::default() },
        ..CrossEntropyBuffers::new(whole.clone(), whole)
    };
    match ops.loss.bind(Shape::new(rows, 1), &to) {
        Err(Error::OutOfMemory { what, message }) => eprintln!("out of memory, as hoped: {what}: {message}"),
        Err(other) => panic!("{other}"),
        Ok(_) => {
            let is_swiftshader = profile.name.contains("SwiftShader");
            assert!(!is_swiftshader, "SwiftShader has no buffer of 1 GiB");
            eprintln!("not shown on {profile}: it has memory for {rows} rows");
        }
    }
    check_works(&ops, &noise("after out of memory", 3, 3, 5));
    assert_eq!(seen.load(Ordering::SeqCst), 0, "uncaptured errors");
}

/// A device that is busy for longer than the call may wait.
#[test]
fn a_timeout() {
    let gpu = device_with(|_| {});
    if gpu.profile().unwrap().backend == xent::wgpu::Backend::Gl {
        eprintln!("GL waits for each submission: no timeout to be shown");
        return;
    }
    let ops = Ops::new(&gpu, Default::default());
    let batch = noise("timeout", 4, 64, 50_257);
    let logits = Region::of_f32(&gpu, 0, &batch.logits);
    let lse = Region::unwritten(&gpu, 64);
    let to = LogSumExpBuffers { logits: logits.binding(), lse: lse.binding() };
    let bound = ops.logsumexp.bind(batch.shape, &to).unwrap();
    let hasty = Ops::new(&gpu.clone().with_timeout(Duration::from_nanos(1)), Default::default());
    let timeout = Some(Error::Timeout { after: Duration::from_nanos(1) });
    let few = noise("few", 4, 3, 5);
    // Pipelines are made before: while one is, the device would come to its end.
    check_works(&ops, &few);
    ops.argmax.argmax(&few.logits, few.shape).wait().unwrap();
    ops.loss.loss_and_dlogits(&few.logits, few.classes(), few.shape).wait().unwrap();
    ops.loss.row_losses(&batch.logits, batch.classes(), batch.shape).wait().unwrap();
    // A driver may come to its end before the wait begins: one of a few calls meets it busy.
    let times_out = |call: &dyn Fn() -> Option<Error>| {
        let met_busy = (0..20).any(|_| {
            in_pass(&gpu, |pass| (0..50).for_each(|_| bound.encode(pass)));
            let error = call();
            assert!(error.is_none() || error == timeout, "{error:?}");
            error == timeout
        });
        assert!(met_busy, "no call timed out");
    };
    let (logits, shape) = (&few.logits, few.shape);
    times_out(&|| hasty.softmax.softmax(logits, shape).wait().err());
    times_out(&|| hasty.argmax.argmax(logits, shape).wait().err());
    times_out(&|| hasty.loss.loss_and_dlogits(logits, few.classes(), shape).wait().err());
    times_out(&|| {
        let mut stream = hasty.loss.stream(batch.shape, TargetKind::Classes).unwrap();
        let error = stream.push(&batch.logits, 64, batch.classes()).wait().err();
        if error.is_some() {
            let again = stream.push(&batch.logits, 64, batch.classes()).wait().err();
            assert_eq!(again, Some(Error::StreamEnded));
        }
        error
    });
    check_works(&ops, &noise("after a timeout", 5, 3, 5));
    let patient = gpu.with_timeout(Duration::from_secs(100));
    check_works(&Ops::new(&patient, Default::default()), &noise("in time", 6, 3, 5));
}

#[test]
fn a_destroyed_device() {
    let gpu = device_with(|_| {});
    let seen = count_errors(&gpu);
    let ops = Ops::new(&gpu, Default::default());
    check_works(&ops, &noise("before", 7, 3, 5));
    let (logits, targets, shape) = ([0.0; 6], Targets::Classes(&[0, 1]), Shape::new(2, 3));
    let [own, lse] = [6, 2].map(|words| Region::unwritten(&gpu, words));
    let mut open = ops.loss.stream(shape, TargetKind::Classes).unwrap();
    gpu.device.destroy();
    let to_lse = LogSumExpBuffers { logits: own.binding(), lse: lse.binding() };
    let errors = [
        ops.softmax.softmax(&logits, shape).wait().err(),
        ops.logsumexp.logsumexp(&logits, shape).wait().err(),
        ops.loss.loss(&logits, targets, shape).wait().err(),
        ops.loss.loss_and_dlogits(&logits, targets, shape).wait().err(),
        pollster::block_on(ops.argmax.argmax(&logits, shape).into_future()).err(),
        ops.loss
            .stream(shape, TargetKind::Classes)
            .and_then(|mut stream| stream.push(&logits, 2, targets).wait().map(drop))
            .err(),
        open.push(&logits, 2, targets).wait().err(),
        // With pipelines that were made before, and with one that was not.
        ops.logsumexp.bind(shape, &to_lse).err(),
        Softmax::<f32>::new(&gpu, &SoftmaxOptions { softcap: Some(3.0), ..Default::default() })
            .and_then(|softmax| softmax.softmax(&logits, shape).wait())
            .err(),
    ];
    for (call, error) in errors.into_iter().enumerate() {
        let Some(Error::DeviceLost { .. }) = error else { panic!("call {call}: {error:?}") };
        assert!(error.unwrap().to_string().contains("open a new context"));
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0, "uncaptured errors");

    // What the error says to do.
    let again = device_with(|_| {});
    check_works(&Ops::new(&again, Default::default()), &noise("after", 8, 3, 5));
}

/// Contexts opened by themselves, each with the first device that it knows of: devices and buffers of two must not be taken
/// for one another.
#[test]
fn two_contexts() {
    let choice = AdapterChoice::named(gpu().device.adapter_info().name);
    let [one, other] = [(); 2].map(|()| Context::open(&choice).wait().expect("a second device"));
    let [ops, others] = [&one, &other].map(|gpu| Ops::<f32>::new(gpu, Default::default()));
    let [own, foreign] = [&one, &other].map(|gpu| Region::unwritten(gpu, 4));
    assert_eq!(bind_foreign(&ops, &foreign, &own), [(); 3].map(|()| Some(Error::OtherDevice)));
    assert_eq!(bind_foreign(&others, &own, &foreign), [(); 3].map(|()| Some(Error::OtherDevice)));

    // Another context around the same device shares its buffers, and no pipelines.
    let twin = Context::from_device(one.device.clone(), one.queue.clone());
    let twins = Ops::<f32>::new(&twin, Default::default());
    let on_twin = bind_foreign(&twins, &own, &Region::unwritten(&one, 4));
    assert_eq!(on_twin, [(); 3].map(|()| None));
    assert!(twin.pipelines() > 0);
    for ops in [&ops, &others] {
        check_works(ops, &noise("two contexts", 11, 3, 5));
    }
}

/// A second operation compiles only what is new.
#[test]
fn operations_of_a_context_share_pipelines() {
    let gpu = device_with(|_| {});
    let run = |options: CrossEntropyOptions| {
        let op = CrossEntropy::<f32>::new(&gpu, &options).unwrap();
        op.loss(&[2.0, 0.0], Targets::Classes(&[0]), Shape::new(1, 2)).wait().unwrap().value
    };
    let first = run(Default::default());
    let made = gpu.pipelines();
    assert!(made > 0);
    assert_eq!(run(Default::default()), first);
    assert_eq!(gpu.pipelines(), made, "the same again");
    run(CrossEntropyOptions { softcap: Some(9.0), ..Default::default() });
    let more = gpu.pipelines();
    assert!(more > made && more < 2 * made, "{made} pipelines, then {more}");
    gpu.free_pipelines();
    assert_eq!((gpu.pipelines(), run(Default::default())), (0, first));
    assert_eq!(gpu.pipelines(), made, "made again");
}

/// Whatever shape and bindings are given, `bind` answers and does not panic; what it takes, the device runs.
#[test]
fn anything_may_be_bound() {
    let gpu = device_with(|limits| limits.max_storage_buffer_binding_size = 4 << 10);
    let seen = count_errors(&gpu);
    let ops = Ops::new(&gpu, Default::default());
    let seed = 8;
    let mut rng = StdRng::seed_from_u64(seed);
    let usages = [Usage::STORAGE, Usage::STORAGE | Usage::COPY_SRC, Usage::COPY_SRC];
    let words = [1, 2, 8, 64, 500, 3000];
    let buffers: Vec<wgpu::Buffer> = (0..12)
        .map(|i| buffer_of(&gpu, usages[if i < 10 { i % 2 } else { 2 }], &vec![0; words[i % 6]]))
        .collect();
    let mut taken = 0;
    for i in 0..1500 {
        let cols = [0, 1, 2, 3, 4, 5, 8, 100, 990, 1100][rng.random_range(0..10)];
        let shape = Shape {
            rows: [0, 1, 2, 3, 5, 40, 300][rng.random_range(0..7)],
            cols,
            row_stride: (cols + rng.random_range(0..4usize))
                .saturating_sub(usize::from(rng.random_range(0..9) == 0)),
            inner: if rng.random_range(0..20) == 0 { 2 } else { 1 },
        };
        let mut binding = || wgpu::BufferBinding {
            buffer: &buffers[rng.random_range(0..buffers.len())],
            offset: [0, 0, 0, 4, 8, 256, 256, 2, 1024, 100_000][rng.random_range(0..10)],
            size: wgpu::BufferSize::new([0, 0, 0, 4, 32, 33, 1200, 1 << 40][rng.random_range(0..8)]),
        };
        let to = CrossEntropyBuffers {
            row_results: (i % 3 == 0).then(&mut binding),
            outputs: LossOutputs {
                loss: Some(binding()),
                dlogits: match i % 4 {
                    0 => Some(OutputBuffer::To(binding())),
                    2 => Some(OutputBuffer::InPlace),
                    _ => None,
                },
                ..Default::default()
            },
            ..CrossEntropyBuffers::new(binding(), binding())
        };
        let to_lse = LogSumExpBuffers { logits: binding(), lse: binding() };
        let context = format!("seed {seed}, call {i}: {shape:?}, {to:?}, {to_lse:?}");
        let bound = catch_unwind(AssertUnwindSafe(|| {
            [ops.loss.bind(shape, &to), ops.logsumexp.bind(shape, &to_lse)]
        }));
        let Ok(bound) = bound else { panic!("a panic: {context}") };
        for bound in bound.iter().flatten() {
            in_pass(&gpu, |pass| bound.encode(pass));
            taken += 1;
        }
        assert_eq!(seen.load(Ordering::SeqCst), 0, "an uncaptured error: {context}");
    }
    assert!(taken > 50, "only {taken} were taken: the test tests nothing");
    gpu.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    check_works(&ops, &noise("after all that", 9, 3, 5));
}

/// Numbers of the caller's that no slice's length bounds: an answer or an error, and no panic.
#[test]
fn any_number_may_be_given() {
    let (gpu, ops, batch) = (gpu(), ops(), noise("numbers", 10, 6, 5));
    let (logits, shape, targets) = (&batch.logits, batch.shape, batch.classes());
    for rows in [0, 1, 6, 7, usize::MAX] {
        for verification in [
            ops.softmax.verify(logits, shape, rows).wait(),
            ops.softmax.verify_log(logits, shape, rows).wait(),
            ops.loss.verify(logits, targets, shape, rows).wait(),
            ops.loss.verify_dlogits(logits, targets, shape, rows).wait(),
        ] {
            let verification = verification.unwrap();
            assert!(verification.passed && verification.rows_checked <= rows.min(6), "{verification:?}");
        }
    }
    for timeout in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(1 << 40)] {
        let patient = Ops::<f32>::new(&gpu.clone().with_timeout(timeout), Default::default());
        assert!(patient.loss.loss(logits, targets, shape).wait().is_ok(), "{timeout:?}");
    }
    let numbers = [0, 1, 3, 1 << 20, u32::MAX];
    for lanes in numbers {
        for rows in numbers {
            let loss = ops.loss.clone().with_tuning(Tuning::fixed(lanes, rows));
            let softmax = ops.softmax.clone().with_tuning(Tuning::fixed(1, 1).split(lanes, rows));
            // A bad one is refused at once.
            let is_valid = (lanes, rows) == (1, 1);
            assert!(loss.is_ok() == is_valid, "{lanes}, {rows}: {loss:?}");
            let answer = loss.and_then(|loss| loss.loss(logits, targets, shape).wait().map(drop));
            assert!(answer.is_ok() == is_valid, "{lanes}, {rows}: {answer:?}");
            let answer = softmax.and_then(|softmax| softmax.softmax(logits, shape).wait().map(drop));
            let is_refused = matches!(answer, Err(Error::InvalidOption { .. }));
            assert!(is_refused || answer.is_ok(), "{lanes}, {rows}: {answer:?}");
        }
    }
    let places = [0, 1, 2, 5, 6, 7, u32::MAX as usize, usize::MAX];
    for length in &places[1..] {
        for shift in places {
            for (from, to) in [(0, usize::MAX), (1, 3), (usize::MAX, 0), (3, 1)] {
                let sequences = Sequences { from, to, ..Sequences::shifted(*length, shift) };
                let options = CrossEntropyOptions {
                    sequences: Some(sequences),
                    empty_batch: EmptyBatch::Zero,
                    ..Default::default()
                };
                let found = ops.with(options).loss.loss(logits, targets, shape).wait().unwrap().value;
                let expected = reference::cross_entropy::loss(logits, targets, shape, &options).unwrap();
                assert!((found - expected).abs() < 1e-5, "{sequences:?}: {found}, {expected}");
            }
        }
    }
    // A row that is left out has no gradient, whatever comes from behind.
    for upstream in [f32::NAN, f32::INFINITY, -0.0, f32::MIN, 1e-45] {
        let of_rows = [upstream; 6];
        let classes = Targets::Classes(&[-100, 1, -100, 2, 0, 4]);
        let inputs = CrossEntropyInputs::new(classes).upstream(upstream).row_upstream(&of_rows);
        let (_, dlogits) = ops.loss.loss_and_dlogits(logits, inputs, shape).wait().unwrap();
        let left_out = [&dlogits[..5], &dlogits[10..15]].concat();
        assert!(left_out.iter().all(|dx| *dx == 0.0), "{upstream}: {left_out:?}");
        assert!(!upstream.is_nan() || dlogits[5..10].iter().all(|dx| dx.is_nan()), "{upstream}");
    }
    check_works(ops, &noise("after any number", 11, 3, 5));
}
