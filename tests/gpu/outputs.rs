//! What the device makes of a batch, by each of its two ways.

use xent::{
    ArgmaxBuffers, Context, CrossEntropyBuffers, Flags, LogSumExpBuffers, Loss, LossRecord, RowResult,
    SoftmaxBuffers,
};

use crate::batch::{Batch, Ops};
use crate::harness::{Region, SENTINEL, in_pass};

/// What the device says, as bits; outputs that were not asked for are `None`.
#[derive(Clone, Default, PartialEq)]
pub struct Outputs {
    pub path: &'static str,
    pub loss: Option<LossRecord>,
    /// The host path's loss, summed in f64.
    pub host_loss: Option<Loss>,
    pub row_losses: Option<Vec<u32>>,
    /// Of the loss: 0 for ignored rows.
    pub row_lse: Option<Vec<u32>>,
    /// Of the loss: [`NO_CLASS`] for ignored rows.
    pub row_argmax: Option<Vec<u32>>,
    pub row_flags: Option<Vec<Flags>>,
    pub dlogits: Option<Vec<u32>>,
    pub probs: Option<Vec<u32>>,
    pub log_probs: Option<Vec<u32>>,
    pub lse: Option<Vec<u32>>,
    pub argmax: Option<Vec<u32>>,
    /// What lies between the rows.
    pub padding: u32,
}

impl Outputs {
    /// The values as bits, whatever path they came by.
    pub fn bits(&self) -> [Option<&Vec<u32>>; 8] {
        let Self { row_losses, row_lse, row_argmax, dlogits, probs, log_probs, lse, argmax, .. } = self;
        [row_losses, row_lse, row_argmax, dlogits, probs, log_probs, lse, argmax].map(Option::as_ref)
    }
}

/// Everything, through bound operations recorded in one pass. Offsets are of the logits and of the values' outputs, in
/// bytes.
pub fn run_bound(gpu: &Context, ops: &Ops, batch: &Batch, offsets: (u64, u64)) -> Outputs {
    let (device, shape) = (&gpu.device, batch.shape);
    let logits = Region::of_f32(gpu, offsets.0, &batch.logits);
    let targets = Region::of_i32(gpu, &batch.targets);
    let values = || Region::unwritten_at(gpu, offsets.1, shape.len());
    let per_row = || Region::unwritten(gpu, shape.rows);
    let loss = Region::unwritten(gpu, 8);
    let (row_losses, row_lse, row_argmax, lse, argmax) =
        (per_row(), per_row(), per_row(), per_row(), per_row());
    let (dlogits, probs, log_probs) = (values(), values(), values());

    let to = CrossEntropyBuffers {
        loss: Some(loss.binding()),
        row_losses: Some(row_losses.binding()),
        lse: Some(row_lse.binding()),
        argmax: Some(row_argmax.binding()),
        dlogits: Some(dlogits.binding()),
        ..CrossEntropyBuffers::new(logits.binding(), targets.binding())
    };
    let to_softmax = SoftmaxBuffers {
        logits: logits.binding(),
        probs: Some(probs.binding()),
        log_probs: Some(log_probs.binding()),
    };
    let to_lse = LogSumExpBuffers { logits: logits.binding(), lse: lse.binding() };
    let to_argmax = ArgmaxBuffers { logits: logits.binding(), argmax: argmax.binding() };
    let context = |error| panic!("{}, {shape:?}, {:?}: {error}", batch.name, ops.tuning);
    let bound = [
        ops.loss.bind(device, shape, &to).unwrap_or_else(context),
        ops.softmax.bind(device, shape, &to_softmax).unwrap_or_else(context),
        ops.logsumexp.bind(device, shape, &to_lse).unwrap_or_else(context),
        ops.argmax.bind(device, shape, &to_argmax).unwrap_or_else(context),
    ];
    in_pass(gpu, |pass| bound.iter().for_each(|bound| bound.encode(pass)));

    Outputs {
        path: "bound",
        loss: Some(bytemuck::pod_read_unaligned(bytemuck::cast_slice(&loss.read(gpu)))),
        host_loss: None,
        row_losses: Some(row_losses.read(gpu)),
        row_lse: Some(row_lse.read(gpu)),
        row_argmax: Some(row_argmax.read(gpu)),
        row_flags: None,
        dlogits: Some(dlogits.read(gpu)),
        probs: Some(probs.read(gpu)),
        log_probs: Some(log_probs.read(gpu)),
        lse: Some(lse.read(gpu)),
        argmax: Some(argmax.read(gpu)),
        padding: SENTINEL,
    }
}

/// Everything, through the methods over host slices. For batches that they take: no target out of range.
pub fn run_host(gpu: &Context, ops: &Ops, batch: &Batch) -> Outputs {
    let Batch { shape, ref logits, .. } = *batch;
    let context = |error| panic!("{}, {shape:?}, {:?}: {error}", batch.name, ops.tuning);
    let rows = ops.loss.row_results(gpu, logits, batch.classes(), shape).unwrap_or_else(context);
    let (loss, dlogits) =
        ops.loss.loss_and_dlogits(gpu, logits, batch.classes(), shape).expect("loss and dlogits");
    let alone = ops.loss.loss(gpu, logits, batch.classes(), shape).expect("loss");
    assert_eq!(format!("{loss:?}"), format!("{alone:?}"), "{}: loss with and without gradient", batch.name);

    let bits = |values: Vec<f32>| Some(values.into_iter().map(f32::to_bits).collect());
    let of_rows = |of: fn(&RowResult) -> u32| Some(rows.iter().map(of).collect());
    Outputs {
        path: "host",
        loss: None,
        host_loss: Some(loss),
        row_losses: of_rows(|row| row.loss.to_bits()),
        row_lse: of_rows(|row| row.lse.to_bits()),
        row_argmax: of_rows(|row| row.argmax),
        row_flags: Some(rows.iter().map(RowResult::flags).collect()),
        dlogits: bits(dlogits),
        probs: bits(ops.softmax.softmax(gpu, logits, shape).expect("softmax")),
        log_probs: bits(ops.softmax.log_softmax(gpu, logits, shape).expect("log_softmax")),
        lse: bits(ops.logsumexp.logsumexp(gpu, logits, shape).expect("logsumexp")),
        argmax: Some(ops.argmax.argmax(gpu, logits, shape).expect("argmax")),
        padding: 0,
    }
}
