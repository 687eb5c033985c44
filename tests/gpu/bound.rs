//! Bound operations: what they leave in the caller's buffers, however often and for however many rows they are encoded.

use xent::{
    ArgmaxBuffers, CrossEntropyBuffers, Error, LogSumExpBuffers, LossOutputs, LossRecord, OutputBuffer,
    SoftmaxBuffers, wgpu,
};

use crate::batch::{Batch, Ops, noise, ops};
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{Region, SENTINEL, device_with, gpu, in_pass};
use crate::outputs::{Outputs, run_bound};

type OutputOf = for<'a> fn(&mut CrossEntropyBuffers<'a>, wgpu::BufferBinding<'a>);

pub fn record_of(region: &Region) -> LossRecord {
    bytemuck::pod_read_unaligned(bytemuck::cast_slice(&region.read(gpu())))
}

/// Row losses, row results, loss and gradient: each alone gives the bits that all together give.
#[test]
fn each_output_alone() {
    let batch = noise("alone", 1, 37, 101);
    let all = run_bound(gpu(), ops(), &batch, (256, 256));
    let record = all.loss.unwrap();
    let [row_losses, lse, argmax, dlogits, ..] = all.bits().map(|bits| bits.unwrap().clone());
    let records = (0..batch.shape.rows).flat_map(|row| [row_losses[row], 0, lse[row], argmax[row]]).collect();
    let cases: [(&str, OutputOf, Vec<u32>); 4] = [
        ("loss", |to, binding| to.outputs.loss = Some(binding), bytemuck::cast_slice(&[record]).to_vec()),
        ("row_losses", |to, binding| to.outputs.row_losses = Some(binding), row_losses),
        ("row_results", |to, binding| to.row_results = Some(binding), records),
        ("dlogits", |to, binding| to.outputs.dlogits = Some(OutputBuffer::To(binding)), dlogits),
    ];
    let logits = Region::of_f32(gpu(), 256, &batch.logits);
    let targets = Region::of_i32(gpu(), &batch.targets);
    for (name, set, expected) in cases {
        let output = Region::unwritten(gpu(), expected.len());
        let mut to = CrossEntropyBuffers::new(logits.binding(), targets.binding());
        set(&mut to, output.binding());
        let bound = ops().loss.bind(batch.shape, &to).unwrap();
        in_pass(gpu(), |pass| bound.encode(pass));
        assert_eq!(output.read(gpu()), expected, "{name}");
    }
}

/// Probabilities alone, log-probabilities alone.
#[test]
fn each_output_of_softmax_alone() {
    let batch = noise("softmax alone", 2, 19, 45);
    let all = run_bound(gpu(), ops(), &batch, (256, 256));
    let logits = Region::of_f32(gpu(), 256, &batch.logits);
    for log in [false, true] {
        let output = Region::unwritten_at(gpu(), 4, batch.shape.len());
        let binding = |wanted| (wanted == log).then(|| output.binding());
        let to = SoftmaxBuffers { logits: logits.binding(), probs: binding(false), log_probs: binding(true) };
        let bound = ops().softmax.bind(batch.shape, &to).unwrap();
        in_pass(gpu(), |pass| bound.encode(pass));
        assert_eq!(Some(output.read(gpu())), if log { all.log_probs.clone() } else { all.probs.clone() });
    }
}

struct BoundLoss {
    batch: Batch,
    logits: Region,
    targets: Region,
    loss: Region,
    row_losses: Region,
    dlogits: Region,
}

impl BoundLoss {
    fn new(batch: &Batch) -> Self {
        Self {
            batch: batch.clone(),
            logits: Region::of_f32(gpu(), 20, &batch.logits),
            targets: Region::of_i32(gpu(), &batch.targets),
            loss: Region::unwritten(gpu(), 8),
            row_losses: Region::unwritten(gpu(), batch.shape.rows),
            dlogits: Region::unwritten(gpu(), batch.shape.len()),
        }
    }

    fn bind(&self, ops: &Ops) -> xent::Bound {
        let to = CrossEntropyBuffers {
            outputs: LossOutputs {
                loss: Some(self.loss.binding()),
                row_losses: Some(self.row_losses.binding()),
                dlogits: Some(OutputBuffer::To(self.dlogits.binding())),
            },
            ..CrossEntropyBuffers::new(self.logits.binding(), self.targets.binding())
        };
        ops.loss.bind(self.batch.shape, &to).unwrap()
    }

    fn read(&self) -> [Vec<u32>; 3] {
        [&self.loss, &self.row_losses, &self.dlogits].map(|region| region.read(gpu()))
    }
}

#[test]
fn encoded_twice_is_as_encoded_once() {
    let once = BoundLoss::new(&noise("twice", 3, 1100, 17));
    let bound = once.bind(ops());
    in_pass(gpu(), |pass| bound.encode(pass));
    let bits = once.read();
    in_pass(gpu(), |pass| {
        bound.encode(pass);
        bound.encode(pass);
    });
    assert_eq!(once.read(), bits, "twice in one pass, once before");
    let twice = BoundLoss::new(&once.batch);
    let bound = twice.bind(ops());
    in_pass(gpu(), |pass| {
        bound.encode(pass);
        bound.encode(pass);
    });
    assert_eq!(twice.read(), bits, "twice in one pass, first of all");
}

/// New logits in the same buffers: nothing is kept from the encoding before.
#[test]
fn encoded_again_over_other_rows() {
    let (bad, good) = (noise("bad", 4, 50, 33), noise("good", 5, 50, 33));
    let bound_loss = BoundLoss::new(&bad);
    let bound = bound_loss.bind(ops());
    let mut targets = bad.targets.clone();
    targets[7] = 33;
    gpu().queue.write_buffer(
        &bound_loss.targets.buffer,
        bound_loss.targets.offset,
        bytemuck::cast_slice(&targets),
    );
    in_pass(gpu(), |pass| bound.encode(pass));
    assert_eq!(record_of(&bound_loss.loss).first_bad_row(), Some(7));
    gpu().queue.write_buffer(&bound_loss.logits.buffer, 20, bytemuck::cast_slice(&good.logits));
    gpu().queue.write_buffer(
        &bound_loss.targets.buffer,
        bound_loss.targets.offset,
        bytemuck::cast_slice(&good.targets),
    );
    in_pass(gpu(), |pass| bound.encode(pass));
    let fresh = BoundLoss::new(&good);
    let fresh_bound = fresh.bind(ops());
    in_pass(gpu(), |pass| fresh_bound.encode(pass));
    assert_eq!(bound_loss.read(), fresh.read());
}

#[test]
fn fewer_rows_leave_the_others_alone() {
    let batch = noise("fewer rows", 6, 2100, 9);
    for rows in [0, 1, 2, 1023, 1024, 1025, 2099, 2100] {
        let bound_loss = BoundLoss::new(&batch);
        let bound = bound_loss.bind(ops());
        assert_eq!(bound.rows(), 2100);
        in_pass(gpu(), |pass| bound.encode_rows(pass, rows).unwrap());
        let [_, row_losses, dlogits] = bound_loss.read();
        assert!(
            row_losses[rows..].iter().chain(&dlogits[rows * 9..]).all(|&word| word == SENTINEL),
            "{rows}"
        );

        let part = Batch::dense("part", 9, batch.logits[..rows * 9].to_vec(), batch.targets[..rows].to_vec());
        let expected = Expected::of(&part, &ops().options);
        let outputs = Outputs {
            path: "encode_rows",
            loss: Some(record_of(&bound_loss.loss)),
            row_losses: Some(row_losses[..rows].to_vec()),
            dlogits: Some(dlogits[..rows * 9].to_vec()),
            ..Default::default()
        };
        check(&part, &expected, &outputs, ops());
        in_pass(gpu(), |pass| {
            let error = bound.encode_rows(pass, 2101);
            assert_eq!(error, Err(Error::RowsExceedBound { rows: 2101, bound: 2100 }));
        });
    }
}

/// On a device with so few workgroups in a dimension that a grid overshoots, where nothing must be written either.
#[test]
fn fewer_rows_of_the_other_operations() {
    let gpu = &device_with(|limits| limits.max_compute_workgroups_per_dimension = 8);
    let ops = Ops::new(gpu, Default::default());
    let batch = noise("fewer rows", 7, 60, 21);
    let all = run_bound(gpu, &ops, &batch, (256, 256));
    let (shape, logits) = (batch.shape, Region::of_f32(gpu, 256, &batch.logits));
    for rows in [0, 1, 7, 8, 9, 55, 57, 59, 60] {
        let (probs, lse) = (Region::unwritten(gpu, shape.len()), Region::unwritten(gpu, 60));
        let argmax = Region::unwritten(gpu, 60);
        let to = SoftmaxBuffers { logits: logits.binding(), probs: Some(probs.binding()), log_probs: None };
        let softmax = ops.softmax.bind(shape, &to).unwrap();
        let to = LogSumExpBuffers { logits: logits.binding(), lse: lse.binding() };
        let logsumexp = ops.logsumexp.bind(shape, &to).unwrap();
        let to = ArgmaxBuffers { logits: logits.binding(), argmax: argmax.binding() };
        let most_probable = ops.argmax.bind(shape, &to).unwrap();
        in_pass(gpu, |pass| {
            for bound in [&softmax, &logsumexp, &most_probable] {
                bound.encode_rows(pass, rows).unwrap();
            }
        });
        for (region, all, len) in
            [(probs, &all.probs, rows * 21), (lse, &all.lse, rows), (argmax, &all.argmax, rows)]
        {
            let words = region.read(gpu);
            assert_eq!(words[..len], all.as_ref().unwrap()[..len], "{rows}");
            assert!(words[len..].iter().all(|&word| word == SENTINEL), "{rows}");
        }
    }
}

/// Numbers of a call are its own: two shapes bound from one op, encoded alternately in one pass.
#[test]
fn two_shapes_in_one_encoder() {
    let batches = [noise("narrow", 8, 40, 5), noise("wide", 9, 3, 700)];
    let alone = batches.each_ref().map(|batch| {
        let alone = BoundLoss::new(batch);
        let bound = alone.bind(ops());
        in_pass(gpu(), |pass| bound.encode(pass));
        alone.read()
    });
    let together = batches.each_ref().map(BoundLoss::new);
    let [a, b] = together.each_ref().map(|together| together.bind(ops()));
    in_pass(gpu(), |pass| {
        a.encode(pass);
        b.encode_rows(pass, 1).unwrap();
        a.encode_rows(pass, 7).unwrap();
        b.encode(pass);
        a.encode(pass);
    });
    assert_eq!(together.each_ref().map(BoundLoss::read), alone);
}
