//! The sequence of a loss's passes: row inputs and their totals, the logits, row results to the batch's loss. It serves
//! both callers: `bind` with the caller's buffers, and `stream` with a window's buffers.

use crate::element::Element;
use crate::error::Result;
use crate::inputs::BatchWeight;
use crate::kernel::passes::binding::{self, finish_loss, merge_totals, reduce_loss, row_inputs};
use crate::kernel::passes::{self, Output, Target, Variant, constant};
use crate::kernel::{Binding, Dispatch, INPUT_HEAD, Params, Plan, ROW_INPUT_BYTES, check_row_scratch};
use crate::op::engine::{Engine, LogitsCall};
use crate::op::loss::Kind;
use crate::op::loss::inputs::{Input, SWITCHES};
use crate::options::{EmptyBatch, Reducing};
use crate::row_fields::RowFields;
use crate::shape::Shape;

/// Rows per block of totals: `BLOCK_ROWS` in `shaders/common/totals.wgsl`.
pub(crate) const BLOCK_ROWS: usize = 1024;
/// Bytes of one `Totals` there.
pub(crate) const TOTALS_BYTES: u64 = 32;

/// Scratch for a number of rows. The dispatches write every word before they read it.
#[derive(Clone, Debug)]
pub(crate) struct Scratch {
    /// The batch's weight, then {class index, weight, upstream, flags}, 16 bytes per row, or the class index alone.
    pub inputs: Binding,
    /// The fields that are kept of each row's results.
    pub results: Binding,
    /// Totals of each block of rows: first those of the inputs, then those of the results.
    pub blocks: Binding,
}

impl Scratch {
    pub fn new<E: Element>(engine: &Engine<E>, rows: usize, fields: RowFields) -> Result<Self> {
        check_row_scratch(&engine.profile, rows, fields.words())?;
        let [inputs, results, blocks] = Self::bytes(rows, fields);
        Ok(Self {
            inputs: engine.scratch("xent::scratch::row_inputs", inputs)?,
            results: engine.scratch("xent::scratch::row_results", results)?,
            blocks: engine.scratch("xent::scratch::blocks", blocks)?,
        })
    }

    /// The sizes of the three buffers in bytes.
    pub fn bytes(rows: usize, fields: RowFields) -> [u64; 3] {
        let inputs = (INPUT_HEAD + rows) as u64 * ROW_INPUT_BYTES;
        let results = (rows * fields.words()) as u64 * 4;
        [inputs, results, rows.div_ceil(BLOCK_ROWS) as u64 * TOTALS_BYTES]
    }
}

/// All bindings of a loss's dispatches except arrays with the logits' layout.
#[derive(Clone, Debug)]
pub(crate) struct LossBindings {
    pub inputs: Vec<(&'static Input, Binding)>,
    pub scratch: Scratch,
    /// How the gradient is written, if at all.
    pub output: Option<Output>,
    pub to: RowOutputs,
    /// The fields of a row in `scratch.results`, as [`kept`] gives them.
    pub fields: RowFields,
}

impl LossBindings {
    /// Whether the statistics of the rows come with the call.
    fn are_given(&self) -> bool {
        self.inputs.iter().any(|(input, _)| input.is_partials())
    }
}

/// Destinations of row results on the device, each optional: losses (rows,), records of some fields (rows,), and the
/// batch's record.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowOutputs {
    pub row_losses: Option<Binding>,
    pub records: Option<(RowFields, Binding)>,
    pub loss: Option<Binding>,
}

/// The fields to keep of each row if these are asked for: the loss of the batch needs some too.
pub(crate) fn kept(asked: RowFields, reducing: Reducing) -> RowFields {
    let of_z_loss = if reducing.z_loss > 0.0 { RowFields::LSE } else { RowFields::empty() };
    asked | RowFields::LOSS | RowFields::FLAGS | of_z_loss
}

/// The part of a call of a loss that is the same for every window.
pub(crate) struct LossCall<'a, E, L: Kind> {
    pub engine: &'a Engine<E>,
    pub kind: &'a L,
    pub layout: L::Layout,
    pub plan: &'a Plan,
    /// The parameters for the rows at hand.
    pub params: Params,
}

impl<E: Element, L: Kind> LossCall<'_, E, L> {
    /// All dispatches in order. `sweep` makes those of the pass over the logits.
    pub fn dispatches(
        &self,
        bindings: &LossBindings,
        sweep: impl FnOnce(&LogitsCall<'_>) -> Result<Vec<Dispatch>>,
    ) -> Result<Vec<Dispatch>> {
        let constants = &self.constants(bindings);
        let mut dispatches = self.row_inputs(constants, bindings)?.to_vec();
        let scratch = &bindings.scratch;
        let mut rest = vec![(binding::ROW_INPUTS, &scratch.inputs), (binding::ROW_RESULTS, &scratch.results)];
        for (input, bound) in &bindings.inputs {
            rest.extend(input.sweep.map(|number| (number, bound)));
        }
        let (pass, output) = match bindings.output {
            Some(output) => (L::DLOGITS, output),
            None => (L::LOSSES, Output::Element),
        };
        let reads_out = bindings.fields.intersects(RowFields::SWEPT);
        let is_weights = |input: &Input| {
            [Some(constant::CLASS_WEIGHTS), Some(constant::POS_WEIGHT)].contains(&input.switch)
        };
        let weighted = bindings.inputs.iter().any(|(input, _)| is_weights(input));
        let variant = Variant { reads_out, weighted, ..self.engine.variant(output, L::target(self.layout)) };
        dispatches.extend(sweep(&LogitsCall {
            pass,
            variant,
            given: bindings.are_given(),
            constants,
            params: &self.params,
            rest: &rest,
        })?);
        dispatches.extend(self.reduction(constants, bindings)?);
        Ok(dispatches)
    }

    /// The override constants of all passes. Each pass takes those that it has.
    fn constants(&self, bindings: &LossBindings) -> Vec<(&'static str, u32)> {
        let Self { kind, layout, .. } = *self;
        let Reducing { empty_batch, z_loss, .. } = kind.reducing();
        let given = |switch: &str| bindings.inputs.iter().any(|(input, _)| input.switch == Some(switch));
        let own_weight =
            [constant::CLASS_WEIGHTS, constant::ROW_WEIGHTS, constant::UPSTREAM, constant::ROW_UPSTREAM];
        let is_plain = L::target(layout) == Target::Class && !own_weight.into_iter().any(given);
        let LossBindings { fields, to, .. } = bindings;
        let told = to.records.as_ref().map_or(0, |(fields, _)| fields.bits());
        let of_rows = [
            (constant::PLAIN_INPUTS, is_plain),
            (constant::SPARSE, L::target(layout) == Target::Sparse),
            (constant::SEQUENCES, self.params.sequence_length > 0),
            (constant::EMPTY_ZERO, empty_batch == EmptyBatch::Zero),
            (constant::Z_LOSS, z_loss > 0.0),
            (constant::TRACK_ARGMAX, fields.intersects(RowFields::ARGMAX | RowFields::CORRECT)),
            (constant::WRITE_ROW_LOSSES, to.row_losses.is_some()),
        ];
        let of_fields = [(constant::ROW_FIELDS, fields.bits()), (constant::TOLD_FIELDS, told)];
        let inputs = SWITCHES.map(|switch| (switch, given(switch)));
        let switches = kind.switches(layout).into_iter().chain(of_rows).chain(inputs);
        switches
            .map(|(name, is_on)| (name, u32::from(is_on)))
            .chain(of_fields)
            .chain(kind.numbers())
            .collect()
    }

    /// Turns targets and weights into one record per row, and sums them up, before the first logit is read.
    fn row_inputs(
        &self,
        constants: &[(&'static str, u32)],
        bindings: &LossBindings,
    ) -> Result<[Dispatch; 2]> {
        let Self { engine, plan, params, .. } = self;
        let LossBindings { inputs, scratch, .. } = bindings;
        let constants = &engine.row_constants(constants);
        let (records, totals) = (Some(&scratch.inputs), Some(&scratch.blocks));
        let given = inputs.iter().filter_map(|(input, bound)| Some((input.row_inputs?, Some(bound))));
        let made = [(row_inputs::INPUTS, records), (row_inputs::BLOCK_TOTALS, totals)];
        let bound: Vec<_> = made.into_iter().chain(given).collect();
        let merged = [(merge_totals::BLOCK_TOTALS, totals), (merge_totals::INPUTS, records)];
        let blocks = plan.grid((params.rows as usize).div_ceil(BLOCK_ROWS));
        let dispatch = |pass, bindings: &[_], grid| {
            engine.kernels().dispatch(pass, Variant::ROWS, constants, params, bindings, grid)
        };
        Ok([
            dispatch(&passes::ROW_INPUTS, &bound, blocks)?,
            dispatch(&passes::MERGE_TOTALS, &merged, [1, 1])?,
        ])
    }

    /// Turns row results into the caller's outputs and the batch's loss. No dispatches if none of them is asked for.
    fn reduction(&self, constants: &[(&'static str, u32)], bindings: &LossBindings) -> Result<Vec<Dispatch>> {
        let Self { engine, plan, params, .. } = self;
        let RowOutputs { row_losses, records, loss } = &bindings.to;
        if row_losses.is_none() && records.is_none() && loss.is_none() {
            return Ok(Vec::new());
        }
        let Scratch { inputs, results, blocks } = &bindings.scratch;
        let constants = &engine.row_constants(constants);
        let dispatch = |pass, bindings: &[_], grid| {
            engine.kernels().dispatch(pass, Variant::ROWS, constants, params, bindings, grid)
        };
        let mut dispatches = vec![dispatch(
            &passes::REDUCE_LOSS,
            &[
                (binding::ROW_INPUTS, Some(inputs)),
                (reduce_loss::RESULTS, Some(results)),
                (reduce_loss::BLOCK_TOTALS, Some(blocks)),
                (reduce_loss::ROW_LOSSES, row_losses.as_ref()),
                (reduce_loss::TOLD_RESULTS, records.as_ref().map(|(_, records)| records)),
            ],
            plan.grid((params.rows as usize).div_ceil(BLOCK_ROWS)),
        )?];
        if loss.is_some() {
            let bound = [
                (finish_loss::INPUTS, Some(inputs)),
                (finish_loss::BLOCK_TOTALS, Some(blocks)),
                (finish_loss::LOSS, loss.as_ref()),
            ];
            dispatches.push(dispatch(&passes::FINISH_LOSS, &bound, [1, 1])?);
        }
        Ok(dispatches)
    }
}

/// The parameters that all passes of a call share. `whole` is the weight of the whole batch, if it is known: for a
/// batch that comes in parts. 0 stands for the batch's own weight, which an earlier pass computes. If the whole batch
/// weighs 0, so does each part.
pub(crate) fn params<L: Kind>(
    kind: &L,
    shape: Shape,
    layout: L::Layout,
    whole: Option<BatchWeight>,
) -> Params {
    let BatchWeight { weight, row_weight, .. } = whole.unwrap_or_default();
    let Reducing { reduction, z_loss, .. } = kind.reducing();
    Params {
        denominator: reduction.denominator(weight) as f32,
        row_denominator: reduction.denominator(row_weight) as f32,
        z_loss,
        ..kind.params(shape, layout)
    }
}
