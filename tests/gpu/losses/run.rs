//! What the device makes of a case, through host slices or bound to buffers.

use xent::{Bound, Context, Element, Flags, LossOp, LossOutputs, LossRecord, RowInputBuffers};

use crate::harness::{Region, SENTINEL, aligned_offset, gpu, in_pass};
use crate::losses::{Binding, Case, Loss};
use crate::outputs::widened_bits;
use crate::typed::To;

/// What comes out. Values are bits of f32; those of 16 bits are widened, and what nobody has written is [`SENTINEL`].
#[derive(Clone, Debug)]
pub struct Found {
    /// How the case was run.
    pub path: String,
    pub row_losses: Vec<u32>,
    /// Laid out as the logits are.
    pub dlogits: Vec<u32>,
    /// What must lie between the rows of the gradient, laid out as it is. `None` stands for zeros.
    pub padding: Option<Vec<u32>>,
    /// Whether the gradient was rounded to the logits' type.
    pub is_rounded: bool,
    pub value: f64,
    pub sum: f64,
    pub weight: f64,
    pub row_weight: f64,
    pub counted: usize,
    pub flags: Flags,
}

impl Found {
    pub fn row_losses(&self) -> impl Iterator<Item = f32> {
        self.row_losses.iter().copied().map(f32::from_bits)
    }

    /// A row of the gradient.
    pub fn row_dlogits<L: Loss, E: Element>(&self, case: &Case<L, E>, row: usize) -> Vec<f32> {
        case.shape.row(&self.dlogits, row).copied().map(f32::from_bits).collect()
    }

    /// Every bit; NaN totals are the same.
    pub fn is_same(&self, other: &Self) -> bool {
        let of = |found: &Self| {
            let Self { value, sum, weight, row_weight, counted, flags, .. } = found;
            format!("{:?}", (value, sum, weight, row_weight, counted, flags))
        };
        (&self.row_losses, &self.dlogits, of(self)) == (&other.row_losses, &other.dlogits, of(other))
    }
}

/// Where the arrays of a bound operation begin, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offsets {
    pub logits: u64,
    pub second: u64,
    pub output: u64,
}

/// All arrays begin on a pack.
pub const ALIGNED: Offsets = Offsets { logits: 256, second: 256, output: 256 };

/// A path to run a case by.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    Host,
    Bound(Offsets, To),
}

/// Runs a case on the shared device.
pub fn run<L: Loss, E: Element>(op: &LossOp<E, L>, case: &Case<L, E>, by: Run) -> Found {
    match by {
        Run::Host => run_host(op, case),
        Run::Bound(offsets, to) => run_bound(gpu(), op, case, offsets, to),
    }
}

/// Through host slices. The loss without its gradient must be the same.
pub fn run_host<L: Loss, E: Element>(op: &LossOp<E, L>, case: &Case<L, E>) -> Found {
    let Case { name, shape, logits, .. } = case;
    let row_losses = L::row_losses(op, logits, case.inputs(), *shape).wait().expect("row losses");
    let (loss, dlogits) = L::loss_and_dlogits(op, logits, case.inputs(), *shape).wait().expect("a gradient");
    let alone = L::loss(op, logits, case.inputs(), *shape).wait().expect("a loss");
    if L::ALONE_ERROR == 0.0 {
        assert_eq!(format!("{loss:?}"), format!("{alone:?}"), "{name}: the loss alone is the same");
    }
    let is_near = (alone.value - loss.value).abs() <= L::ALONE_ERROR * (1.0 + loss.value.abs());
    let is_same = alone.value == loss.value || (alone.value.is_nan() && loss.value.is_nan());
    assert!(is_near || is_same, "{name}: {alone:?} {loss:?}");
    assert_eq!(alone.flags, loss.flags, "{name}");
    assert_eq!((alone.rows, loss.rows), (shape.rows, shape.rows), "{name}");
    Found {
        path: "host".into(),
        row_losses: row_losses.into_iter().map(f32::to_bits).collect(),
        dlogits: widened_bits(&dlogits),
        padding: None,
        is_rounded: true,
        value: loss.value,
        sum: loss.sum,
        weight: loss.weight,
        row_weight: loss.row_weight,
        counted: loss.counted,
        flags: loss.flags,
    }
}

/// The buffers of a loss, without those of rows and of outputs.
pub struct Buffers<'a> {
    pub logits: Binding<'a>,
    pub second: Binding<'a>,
    pub pos_weight: Option<Binding<'a>>,
    pub class_weights: Option<Binding<'a>>,
}

/// A case on the device, with all outputs of its loss.
pub struct Regions {
    logits: Region,
    second: Region,
    pos_weight: Option<Region>,
    class_weights: Option<Region>,
    row_weights: Option<Region>,
    row_mask: Option<Region>,
    upstream: Region,
    row_upstream: Option<Region>,
    loss: Region,
    row_losses: Region,
    dlogits: Region,
    to: To,
}

impl Regions {
    pub fn new<L: Loss, E: Element>(gpu: &Context, case: &Case<L, E>, offsets: Offsets, to: To) -> Self {
        let (given, at) = (&case.given, aligned_offset(gpu));
        let floats =
            |values: &Option<Vec<f32>>| values.as_ref().map(|values| Region::of_f32(gpu, at, values));
        // Whatever is not 0 is scored.
        let mask = |mask: &Vec<bool>| mask.iter().map(|&is_scored| u32::from(is_scored) * 7).collect();
        let mask: Option<Vec<u32>> = given.row_mask.as_ref().map(mask);
        let value_bytes = if to == To::F32 { 4 } else { size_of::<E>() };
        let unwritten = vec![SENTINEL; case.shape.len()];
        let unwritten = &bytemuck::cast_slice::<u32, u8>(&unwritten)[..case.shape.len() * value_bytes];
        Self {
            logits: Region::new(gpu, offsets.logits, &case.logits),
            second: Region::new(gpu, offsets.second, bytemuck::cast_slice::<_, u8>(&case.second)),
            pos_weight: floats(&given.pos_weight),
            class_weights: floats(&given.class_weights),
            row_weights: floats(&given.row_weights),
            row_mask: mask.map(|mask| Region::new(gpu, at, &mask)),
            upstream: Region::of_f32(gpu, at, &[given.upstream.unwrap_or(1.0)]),
            row_upstream: floats(&given.row_upstream),
            loss: Region::unwritten(gpu, LossRecord::BYTES as usize / 4),
            row_losses: Region::unwritten(gpu, case.shape.rows),
            dlogits: Region::new(gpu, offsets.output, unwritten),
            to,
        }
    }

    pub fn all_outputs(&self) -> LossOutputs<'_> {
        LossOutputs {
            loss: Some(self.loss.binding()),
            row_losses: Some(self.row_losses.binding()),
            dlogits: Some(self.to.buffer(&self.dlogits)),
        }
    }

    pub fn bind<L: Loss, E: Element>(
        &self,
        op: &LossOp<E, L>,
        case: &Case<L, E>,
        outputs: LossOutputs<'_>,
    ) -> Bound {
        let rows = RowInputBuffers {
            row_weights: self.row_weights.as_ref().map(Region::binding),
            row_mask: self.row_mask.as_ref().map(Region::binding),
            upstream: Some(self.upstream.binding()),
            row_upstream: self.row_upstream.as_ref().map(Region::binding),
        };
        let buffers = Buffers {
            logits: self.logits.binding(),
            second: self.second.binding(),
            pos_weight: self.pos_weight.as_ref().map(Region::binding),
            class_weights: self.class_weights.as_ref().map(Region::binding),
        };
        let bound = L::bind(op, case.shape, &L::buffers(buffers, rows, outputs));
        bound.unwrap_or_else(|error| panic!("{}, {:?}, {:?}: {error}", case.name, case.shape, self.to))
    }

    /// What the outputs hold; the guards around them must be as they were.
    pub fn read<L: Loss, E: Element>(&self, gpu: &Context, case: &Case<L, E>) -> Found {
        let record: LossRecord = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&self.loss.read(gpu)));
        Found {
            path: format!("bound, {:?}", self.to),
            row_losses: self.row_losses.read(gpu),
            dlogits: match self.to {
                To::InPlace => widened_bits(&self.logits.read_as::<E>(gpu)),
                To::F32 => self.dlogits.read(gpu),
                To::Element => widened_bits(&self.dlogits.read_as::<E>(gpu)),
            },
            padding: Some(match self.to {
                To::InPlace => widened_bits(&case.logits),
                To::F32 | To::Element => vec![SENTINEL; case.shape.len()],
            }),
            is_rounded: self.to != To::F32,
            value: record.value.into(),
            sum: record.sum.into(),
            weight: record.weight.into(),
            row_weight: record.row_weight.into(),
            counted: record.counted as usize,
            flags: record.flags(),
        }
    }
}

/// Bound to buffers, and encoded twice unless it writes over its logits. Row losses alone must be the same, where the
/// loss alone has the same bits.
pub fn run_bound<L: Loss, E: Element>(
    gpu: &Context,
    op: &LossOp<E, L>,
    case: &Case<L, E>,
    offsets: Offsets,
    to: To,
) -> Found {
    let regions = Regions::new(gpu, case, offsets, to);
    let alone = Region::unwritten(gpu, case.shape.rows);
    let of_alone = LossOutputs { row_losses: Some(alone.binding()), ..Default::default() };
    let without = (L::ALONE_ERROR == 0.0).then(|| regions.bind(op, case, of_alone));
    let bound = regions.bind(op, case, regions.all_outputs());
    in_pass(gpu, |pass| {
        if let Some(without) = &without {
            without.encode(pass);
        }
        for _ in 0..if to == To::InPlace { 1 } else { 2 } {
            bound.encode(pass);
        }
    });
    let found = regions.read(gpu, case);
    if without.is_some() {
        assert_eq!(found.row_losses, alone.read(gpu), "{}: row losses alone are the same", case.name);
    }
    Found { path: format!("{}, {offsets:?}", found.path), ..found }
}
