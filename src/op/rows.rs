//! What losses have in common: targets and weights to a record a row, before the first logit is read, and from the records
//! of the results to the batch's loss. The bound and the host path share it.

use crate::element::Element;
use crate::error::Result;
use crate::inputs::BatchWeight;
use crate::kernel::passes::{self, Target, constant};
use crate::kernel::{Binding, Dispatch, INPUT_HEAD, Params, Plan, ROW_SCRATCH_BYTES, check_row_scratch};
use crate::op::engine::Engine;
use crate::options::{CrossEntropyOptions, EmptyBatch, HALVED_FROM, Input, MaskedRow, Reduction};
use crate::shape::Shape;
use crate::targets::TargetKind;

/// Rows of one block of totals: `BLOCK_ROWS` in `shaders/common/totals.wgsl`.
pub(crate) const BLOCK_ROWS: usize = 1024;
/// Bytes of one `Totals` there.
pub(crate) const TOTALS_BYTES: u64 = 32;

/// Scratch for a number of rows: every word is written before it is read, by the dispatches themselves.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    /// The batch's weight, then {class index, weight, upstream, flags}, 16 bytes a row, or the class index alone.
    pub inputs: Binding,
    /// {loss, lse, argmax, flags}, 16 bytes a row.
    pub results: Binding,
    /// Totals of each block of rows: first of the inputs, then of the results.
    pub blocks: Binding,
}

impl Scratch {
    pub fn new<E: Element>(engine: &Engine<E>, rows: usize) -> Result<Self> {
        check_row_scratch(&engine.profile, rows)?;
        let bytes = |records: usize| records as u64 * ROW_SCRATCH_BYTES;
        let block_bytes = rows.div_ceil(BLOCK_ROWS) as u64 * TOTALS_BYTES;
        Ok(Self {
            inputs: engine.scratch("xent::scratch::row_inputs", bytes(INPUT_HEAD + rows))?,
            results: engine.scratch("xent::scratch::row_results", bytes(rows))?,
            blocks: engine.scratch("xent::scratch::blocks", block_bytes)?,
        })
    }
}

/// What a row's target is, for the kernels.
pub(super) fn target(kind: TargetKind) -> Target {
    match kind {
        TargetKind::Classes => Target::Class,
        TargetKind::Soft => Target::Soft,
        TargetKind::Sparse { .. } => Target::Sparse,
    }
}

/// The numbers that all passes of a call have in common.
pub(super) fn params(shape: Shape, kind: TargetKind, options: &CrossEntropyOptions) -> Params {
    // A mean's denominators are the batch's own weights, which a pass before finds: 0 stands for them.
    let denominator = options.reduction.denominator(0.0) as f32;
    let word = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let params = Params {
        entries: kind.entries() as u32,
        ignore_index: options.ignore_index,
        denominator,
        row_denominator: denominator,
        smoothing: options.label_smoothing,
        z_loss: options.z_loss,
        focal_gamma: options.focal_gamma,
        ..Params::of(shape).with_temperature(options.temperature).with_softcap(options.softcap)
    };
    match options.sequences {
        // A shift or a length beyond the rows there can be is as good as one that just exceeds them.
        Some(sequences) => Params {
            sequence_length: word(sequences.length).min(u32::MAX / 4),
            shift: word(sequences.shift.min(sequences.length)).min(u32::MAX / 4),
            score_from: word(sequences.from),
            score_to: word(sequences.to),
            ..params
        },
        None => params,
    }
}

/// What is given beside logits and targets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given {
    pub class_weights: bool,
    pub row_weights: bool,
    pub row_mask: bool,
    pub upstream: bool,
    pub row_upstream: bool,
}

/// What somebody reads of each row's result, beside its loss and its flags.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub lse: bool,
    pub argmax: bool,
}

/// The override constants of all passes of a call; each takes those that it has.
pub(super) fn constants(
    options: &CrossEntropyOptions,
    kind: TargetKind,
    given: Given,
    kept: Kept,
) -> Vec<(&'static str, u32)> {
    let is_focal = options.focal_gamma > 0.0;
    let Given { class_weights, row_weights, upstream, row_upstream, .. } = given;
    let is_plain = kind == TargetKind::Classes && !(class_weights || row_weights || upstream || row_upstream);
    let switches = [
        (constant::MASKED_ROW_ZERO, options.masked_row == MaskedRow::Zero),
        (constant::TRACK_ARGMAX, kept.argmax),
        (constant::KEEP_ARGMAX, kept.argmax),
        // The z-loss follows from the lse.
        (constant::KEEP_LSE, kept.lse || options.z_loss > 0.0),
        (constant::SOFTCAP, options.softcap.is_some()),
        (constant::HALVE_DIFFERENCES, options.temperature > HALVED_FROM),
        (constant::LOG_PROBS, options.input == Input::LogProbs),
        (constant::TARGET_SUMS, kind == TargetKind::Soft || options.label_smoothing > 0.0),
        (constant::EXCLUDE_TARGET, is_focal),
        (constant::FOCAL, is_focal),
        (constant::CLASS_WEIGHTS, given.class_weights),
        (constant::SPARSE, matches!(kind, TargetKind::Sparse { .. })),
        (constant::ROW_WEIGHTS, given.row_weights),
        (constant::ROW_MASK, given.row_mask),
        (constant::UPSTREAM, given.upstream),
        (constant::ROW_UPSTREAM, given.row_upstream),
        (constant::SEQUENCES, options.sequences.is_some()),
        (constant::PLAIN_INPUTS, is_plain),
        (constant::Z_LOSS, options.z_loss > 0.0),
        (constant::EMPTY_ZERO, options.empty_batch == EmptyBatch::Zero),
    ];
    switches.iter().map(|&(name, on)| (name, u32::from(on))).collect()
}

/// What the first pass reads, each (rows,) but the class weights (cols,), the classes of sparse targets (rows, entries) and
/// the one upstream gradient.
#[derive(Clone, Copy, Default)]
pub(super) struct InputBindings<'a> {
    pub classes: Option<&'a Binding>,
    pub class_weights: Option<&'a Binding>,
    pub row_weights: Option<&'a Binding>,
    pub row_mask: Option<&'a Binding>,
    pub upstream: Option<&'a Binding>,
    pub row_upstream: Option<&'a Binding>,
}

/// Targets → row inputs → totals: before the first logit is read.
pub(super) fn input_dispatches<E: Element>(
    engine: &Engine<E>,
    plan: &Plan,
    params: &Params,
    constants: &[(&'static str, u32)],
    from: &InputBindings<'_>,
    scratch: &Scratch,
) -> Result<[Dispatch; 2]> {
    let blocks = plan.grid((params.rows as usize).div_ceil(BLOCK_ROWS));
    let (inputs, totals) = (Some(&scratch.inputs), Some(&scratch.blocks));
    let constants = &engine.row_constants(constants);
    Ok([
        engine.kernels.dispatch(
            &passes::ROW_INPUTS,
            passes::Variant::ROWS,
            constants,
            params,
            &[
                (4, from.classes),
                (5, inputs),
                (6, totals),
                (7, from.row_weights),
                (8, from.class_weights),
                (9, from.row_mask),
                (10, from.upstream),
                (11, from.row_upstream),
            ],
            blocks,
        )?,
        engine.kernels.dispatch(
            &passes::MERGE_TOTALS,
            passes::Variant::ROWS,
            constants,
            params,
            &[(4, totals), (5, inputs)],
            [1, 1],
        )?,
    ])
}

/// Where row results go, if anywhere: each value (rows,), and the batch's record.
#[derive(Clone, Copy, Default)]
pub(super) struct RowOutputs<'a> {
    pub row_losses: Option<&'a Binding>,
    pub lse: Option<&'a Binding>,
    pub argmax: Option<&'a Binding>,
    pub loss: Option<&'a Binding>,
}

/// Row results → the caller's buffers and the batch's loss: nothing where nobody asks for any of it.
pub(super) fn reduction_dispatches<E: Element>(
    engine: &Engine<E>,
    plan: &Plan,
    params: &Params,
    constants: &[(&'static str, u32)],
    to: &RowOutputs<'_>,
    scratch: &Scratch,
) -> Result<Vec<Dispatch>> {
    let &RowOutputs { row_losses, lse, argmax, loss } = to;
    if [row_losses, lse, argmax, loss].iter().all(Option::is_none) {
        return Ok(Vec::new());
    }
    let (inputs, blocks) = (Some(&scratch.inputs), Some(&scratch.blocks));
    let writes = [
        (constant::WRITE_ROW_LOSSES, u32::from(row_losses.is_some())),
        (constant::WRITE_LSE, u32::from(lse.is_some())),
        (constant::WRITE_ARGMAX, u32::from(argmax.is_some())),
    ];
    let mut dispatches = vec![engine.kernels.dispatch(
        &passes::REDUCE_LOSS,
        passes::Variant::ROWS,
        &engine.row_constants(&[constants, &writes].concat()),
        params,
        &[(4, inputs), (5, Some(&scratch.results)), (6, blocks), (7, row_losses), (8, lse), (9, argmax)],
        plan.grid((params.rows as usize).div_ceil(BLOCK_ROWS)),
    )?];
    if loss.is_some() {
        dispatches.push(engine.kernels.dispatch(
            &passes::FINISH_LOSS,
            passes::Variant::ROWS,
            &engine.row_constants(constants),
            params,
            &[(4, inputs), (5, blocks), (6, loss)],
            [1, 1],
        )?);
    }
    Ok(dispatches)
}

/// The same numbers for a batch that comes in parts: its denominators are what the whole weighs. 0, if that is it, is what
/// the parts weigh too.
pub(super) fn weighed(params: Params, reduction: Reduction, whole: BatchWeight) -> Params {
    Params {
        denominator: reduction.denominator(whole.weight) as f32,
        row_denominator: reduction.denominator(whole.row_weight) as f32,
        ..params
    }
}
