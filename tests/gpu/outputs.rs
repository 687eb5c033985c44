//! What the device makes of a batch, by each of its two ways.

use xent::half::{bf16, f16};
use xent::{
    ArgmaxBuffers, Bound, Context, CrossEntropyBuffers, Element, Flags, LogSumExpBuffers, Loss, LossOutputs,
    LossRecord, OutputBuffer, RowFields, RowInputBuffers, RowResult, SoftmaxBuffers, TargetBuffers,
};

use crate::batch::{Batch, Ops};
use crate::harness::{Region, SENTINEL, aligned_offset, in_pass};

/// What the device says, as bits; outputs that were not asked for are `None`. Values of 16 bits are widened to f32.
#[derive(Clone, Default, PartialEq)]
pub struct Outputs {
    pub path: &'static str,
    pub loss: Option<LossRecord>,
    /// The host path's loss, summed in f64.
    pub host_loss: Option<Loss>,
    pub row_losses: Option<Vec<u32>>,
    /// Of the loss: 0 for ignored rows.
    pub row_lse: Option<Vec<u32>>,
    /// Of the loss: [`NO_CLASS`](xent::NO_CLASS) for ignored rows.
    pub row_argmax: Option<Vec<u32>>,
    pub row_flags: Option<Vec<Flags>>,
    pub dlogits: Option<Vec<u32>>,
    pub probs: Option<Vec<u32>>,
    pub log_probs: Option<Vec<u32>>,
    pub lse: Option<Vec<u32>>,
    pub argmax: Option<Vec<u32>>,
    /// What lies between the rows.
    pub padding: u32,
    /// The types to which the gradient and the probabilities were rounded: "" for none.
    pub rounded: [&'static str; 2],
}

impl Outputs {
    /// The values as bits, whatever path they came by.
    pub fn bits(&self) -> [Option<&Vec<u32>>; 8] {
        let Self { row_losses, row_lse, row_argmax, dlogits, probs, log_probs, lse, argmax, .. } = self;
        [row_losses, row_lse, row_argmax, dlogits, probs, log_probs, lse, argmax].map(Option::as_ref)
    }
}

/// What rounding to a type may add to an error.
pub fn rounding(name: &str, value: f64) -> f64 {
    match name {
        "f16" => f16::rounding(value),
        "bf16" => bf16::rounding(value),
        _ => 0.0,
    }
}

/// Bits of f32 for values of any type; what nobody has written stays [`SENTINEL`].
pub fn widened_bits<E: Element>(values: &[E]) -> Vec<u32> {
    let halves = [SENTINEL as u16, (SENTINEL >> 16) as u16];
    let of = |value: &E| match *bytemuck::bytes_of(value) {
        [a, b] if halves.contains(&u16::from_le_bytes([a, b])) => SENTINEL,
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
        _ => (value.to_f64() as f32).to_bits(),
    };
    values.iter().map(of).collect()
}

/// Where the gradient goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gradient {
    /// Nowhere: the loss has a pass of its own.
    None,
    To,
    F32,
    InPlace,
}

/// Offsets of logits and output in tests that are not about them: both begin on a pack.
pub const PLAIN: (u64, u64) = (256, 256);

/// Logits, targets, weights, and all outputs of a loss, on the device.
pub struct LossRegions {
    gradient: Gradient,
    pub logits: Region,
    pub targets: Region,
    probs: Option<Region>,
    class_weights: Option<Region>,
    row_weights: Option<Region>,
    row_mask: Option<Region>,
    pub upstream: Option<Region>,
    pub row_upstream: Option<Region>,
    pub loss: Region,
    pub row_losses: Region,
    /// Records of the default fields.
    pub row_results: Region,
    dlogits: Option<Region>,
    /// Whether the rows' results are bound too.
    gives_rows: bool,
    /// Bits of what lies between the rows of the gradient.
    padding: u32,
}

impl LossRegions {
    /// Offsets are of the logits (and soft targets) and of the gradient, in bytes.
    pub fn new<E: Element>(gpu: &Context, batch: &Batch<E>, offsets: (u64, u64), gradient: Gradient) -> Self {
        let (shape, given) = (batch.shape, &batch.given);
        let per_row = || Region::unwritten(gpu, shape.rows);
        let floats =
            |values: &Option<Vec<f32>>| values.as_ref().map(|v| Region::of_f32(gpu, aligned_offset(gpu), v));
        let mask = |mask: &Vec<bool>| {
            // Whatever is not 0 is scored.
            let words: Vec<i32> = mask.iter().map(|&scored| if scored { 1 << 31 } else { 0 }).collect();
            Region::of_i32(gpu, &words)
        };
        let (targets, probs) = match (&given.soft, &given.sparse) {
            (Some(soft), _) => (Region::of_f32(gpu, offsets.0.next_multiple_of(4), soft), None),
            (_, Some(sparse)) => (Region::of_i32(gpu, &sparse.indices), floats(&Some(sparse.probs.clone()))),
            _ => (Region::of_i32(gpu, &batch.targets), None),
        };
        let unwritten = |bytes: usize| {
            let halves = vec![SENTINEL; bytes.div_ceil(4)];
            Region::new(gpu, offsets.1, &bytemuck::cast_slice::<_, u8>(&halves)[..bytes])
        };
        Self {
            gradient,
            logits: Region::new(gpu, offsets.0, &batch.logits),
            targets,
            probs,
            class_weights: floats(&given.class_weights),
            row_weights: floats(&given.row_weights),
            row_mask: given.row_mask.as_ref().map(mask),
            upstream: floats(&given.upstream.map(|upstream| vec![upstream])),
            row_upstream: floats(&given.row_upstream),
            loss: Region::unwritten(gpu, 8),
            row_losses: per_row(),
            row_results: Region::unwritten(gpu, shape.rows * RowFields::default().words()),
            dlogits: match gradient {
                Gradient::To => Some(unwritten(shape.len() * size_of::<E>())),
                Gradient::F32 => Some(unwritten(shape.len() * 4)),
                Gradient::None | Gradient::InPlace => None,
            },
            gives_rows: true,
            padding: match gradient {
                Gradient::InPlace => widened_bits(&[E::from_f32(f32::NAN)])[0],
                _ => SENTINEL,
            },
        }
    }

    pub fn buffers<E: Element>(&self, batch: &Batch<E>) -> CrossEntropyBuffers<'_> {
        let targets = match (&batch.given.soft, &batch.given.sparse, &self.probs) {
            (Some(_), ..) => TargetBuffers::Soft(self.targets.binding()),
            (_, Some(sparse), Some(probs)) => TargetBuffers::Sparse {
                indices: self.targets.binding(),
                probs: probs.binding(),
                entries: sparse.entries,
            },
            _ => TargetBuffers::Classes(self.targets.binding()),
        };
        CrossEntropyBuffers {
            class_weights: self.class_weights.as_ref().map(Region::binding),
            row_results: self.gives_rows.then(|| self.row_results.binding()),
            outputs: LossOutputs {
                loss: Some(self.loss.binding()),
                row_losses: Some(self.row_losses.binding()),
                dlogits: match (self.gradient, &self.dlogits) {
                    (Gradient::InPlace, _) => Some(OutputBuffer::InPlace),
                    (Gradient::F32, Some(region)) => Some(OutputBuffer::F32(region.binding())),
                    (_, Some(region)) => Some(OutputBuffer::To(region.binding())),
                    (_, None) => None,
                },
            },
            rows: RowInputBuffers {
                row_weights: self.row_weights.as_ref().map(Region::binding),
                row_mask: self.row_mask.as_ref().map(Region::binding),
                upstream: self.upstream.as_ref().map(Region::binding),
                row_upstream: self.row_upstream.as_ref().map(Region::binding),
            },
            ..CrossEntropyBuffers::with_targets(self.logits.binding(), targets)
        }
    }

    pub fn bind<E: Element>(&self, ops: &Ops<E>, batch: &Batch<E>) -> Bound {
        let bound = ops.loss.bind(batch.shape, &self.buffers(batch));
        bound.unwrap_or_else(|error| {
            panic!("{}, {:?}, {:?}, {:?}: {error}", batch.name, batch.shape, ops.tuning, self.gradient)
        })
    }

    pub fn read<E: Element>(&self, gpu: &Context) -> Outputs {
        let dlogits = match (self.gradient, &self.dlogits) {
            (Gradient::InPlace, _) => Some(widened_bits(&self.logits.read_as::<E>(gpu))),
            (Gradient::F32, Some(region)) => Some(region.read(gpu)),
            (_, Some(region)) => Some(widened_bits(&region.read_as::<E>(gpu))),
            (_, None) => None,
        };
        let records = self.gives_rows.then(|| self.row_results.read(gpu));
        let field = |field| records.as_deref().map(|records| field_of(records, RowFields::default(), field));
        Outputs {
            path: match self.gradient {
                Gradient::None => "bound, no gradient",
                Gradient::To => "bound",
                Gradient::F32 => "bound, gradient in f32",
                Gradient::InPlace => "bound, gradient in place",
            },
            loss: Some(bytemuck::pod_read_unaligned(bytemuck::cast_slice(&self.loss.read(gpu)))),
            row_losses: Some(self.row_losses.read(gpu)),
            row_lse: field(RowFields::LSE),
            row_argmax: field(RowFields::ARGMAX),
            dlogits,
            padding: self.padding,
            rounded: [if self.gradient == Gradient::F32 { "" } else { E::NAME }, E::NAME],
            ..Default::default()
        }
    }
}

/// One field of every record.
pub fn field_of(records: &[u32], fields: RowFields, field: RowFields) -> Vec<u32> {
    assert!(fields.contains(field), "{field:?}");
    let before = (fields.bits() & (field.bits() - 1)).count_ones() as usize;
    records.chunks_exact(fields.words()).map(|record| record[before]).collect()
}

/// The loss alone, with everything that it gives.
pub fn run_loss<E: Element>(
    gpu: &Context,
    ops: &Ops<E>,
    batch: &Batch<E>,
    offsets: (u64, u64),
    gradient: Gradient,
) -> Outputs {
    run_regions(gpu, ops, batch, LossRegions::new(gpu, batch, offsets, gradient))
}

/// The loss with the gradient, and without the rows' results: with the switches of the host path.
pub fn run_plain_loss<E: Element>(
    gpu: &Context,
    ops: &Ops<E>,
    batch: &Batch<E>,
    gradient: Gradient,
) -> Outputs {
    let regions = LossRegions::new(gpu, batch, PLAIN, gradient);
    run_regions(gpu, ops, batch, LossRegions { gives_rows: false, ..regions })
}

fn run_regions<E: Element>(gpu: &Context, ops: &Ops<E>, batch: &Batch<E>, regions: LossRegions) -> Outputs {
    let bound = regions.bind(ops, batch);
    in_pass(gpu, |pass| bound.encode(pass));
    regions.read::<E>(gpu)
}

/// Everything, through bound operations recorded in one pass. Offsets are of the logits and of the values' outputs, in
/// bytes.
pub fn run_bound<E: Element>(gpu: &Context, ops: &Ops<E>, batch: &Batch<E>, offsets: (u64, u64)) -> Outputs {
    let shape = batch.shape;
    let of_loss = LossRegions::new(gpu, batch, offsets, Gradient::To);
    let values = || {
        let halves = vec![SENTINEL; shape.len()];
        let halves = &bytemuck::cast_slice::<_, u8>(&halves)[..shape.len() * size_of::<E>()];
        Region::new(gpu, offsets.1, halves)
    };
    let (probs, log_probs) = (values(), values());
    let (lse, argmax) = (Region::unwritten(gpu, shape.rows), Region::unwritten(gpu, shape.rows));

    let logits = &of_loss.logits;
    let to_softmax = SoftmaxBuffers {
        logits: logits.binding(),
        probs: Some(probs.binding()),
        log_probs: Some(log_probs.binding()),
    };
    let to_lse = LogSumExpBuffers { logits: logits.binding(), lse: lse.binding() };
    let to_argmax = ArgmaxBuffers { logits: logits.binding(), argmax: argmax.binding() };
    let context = |error| panic!("{}, {shape:?}, {:?}: {error}", batch.name, ops.tuning);
    let bound = [
        of_loss.bind(ops, batch),
        ops.softmax.bind(shape, &to_softmax).unwrap_or_else(context),
        ops.logsumexp.bind(shape, &to_lse).unwrap_or_else(context),
        ops.argmax.bind(shape, &to_argmax).unwrap_or_else(context),
    ];
    in_pass(gpu, |pass| bound.iter().for_each(|bound| bound.encode(pass)));

    Outputs {
        probs: Some(widened_bits(&probs.read_as::<E>(gpu))),
        log_probs: Some(widened_bits(&log_probs.read_as::<E>(gpu))),
        lse: Some(lse.read(gpu)),
        argmax: Some(argmax.read(gpu)),
        ..of_loss.read::<E>(gpu)
    }
}

/// The loss, through the methods over host slices. For batches that they take: nothing invalid.
pub fn run_host_loss<E: Element>(ops: &Ops<E>, batch: &Batch<E>) -> Outputs {
    let Batch { shape, ref logits, .. } = *batch;
    let context = |error| panic!("{}, {shape:?}, {:?}: {error}", batch.name, ops.tuning);
    let rows = ops.loss.row_results(logits, batch.inputs(), shape).wait().unwrap_or_else(context);
    let (loss, dlogits) =
        ops.loss.loss_and_dlogits(logits, batch.inputs(), shape).wait().expect("loss and dlogits");
    let alone = ops.loss.loss(logits, batch.inputs(), shape).wait().expect("loss");
    assert_eq!(format!("{loss:?}"), format!("{alone:?}"), "{}: loss with and without gradient", batch.name);

    let of_rows = |of: fn(&RowResult) -> u32| Some(rows.iter().map(of).collect());
    Outputs {
        path: "host",
        host_loss: Some(loss),
        row_losses: of_rows(|row| row.loss.to_bits()),
        row_lse: of_rows(|row| row.lse.to_bits()),
        row_argmax: of_rows(|row| row.argmax),
        row_flags: Some(rows.iter().map(RowResult::flags).collect()),
        dlogits: Some(widened_bits(&dlogits)),
        padding: 0,
        rounded: [E::NAME; 2],
        ..Default::default()
    }
}

/// Everything, through the methods over host slices. For batches that they take: nothing invalid.
pub fn run_host<E: Element>(ops: &Ops<E>, batch: &Batch<E>) -> Outputs {
    let (logits, shape) = (&batch.logits, batch.shape);
    let bits = |values: Vec<f32>| Some(values.into_iter().map(f32::to_bits).collect());
    Outputs {
        probs: Some(widened_bits(&ops.softmax.softmax(logits, shape).wait().expect("softmax"))),
        log_probs: Some(widened_bits(&ops.softmax.log_softmax(logits, shape).wait().expect("log_softmax"))),
        lse: bits(ops.logsumexp.logsumexp(logits, shape).wait().expect("logsumexp")),
        argmax: Some(ops.argmax.argmax(logits, shape).wait().expect("argmax")),
        ..run_host_loss(ops, batch)
    }
}
