//! The dispatches that give a record a row, and the gradient if asked for: what the bound and the host path share.

use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes;
use crate::kernel::{Binding, Dispatch, Params, Plan, ROW_SCRATCH_BYTES, check_row_scratch};
use crate::op::engine::Engine;
use crate::options::{CrossEntropyOptions, MaskedRow};
use crate::shape::Shape;

/// Rows of one block of totals: `BLOCK_ROWS` in `shaders/common/totals.wgsl`.
pub(crate) const BLOCK_ROWS: usize = 1024;
/// Bytes of one `Totals` there.
pub(crate) const TOTALS_BYTES: u64 = 20;

/// Scratch for a number of rows: every word is written before it is read, by the dispatches themselves.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    /// {class index, weight, flags}, 16 bytes a row.
    pub inputs: Binding,
    /// [`RowResult`](super::RowResult), 16 bytes a row.
    pub results: Binding,
    /// Totals of each block of rows: first of the inputs, then of the results.
    pub blocks: Binding,
    /// Totals of all rows.
    pub totals: Binding,
}

impl Scratch {
    pub fn new<E: Element>(engine: &Engine<E>, rows: usize) -> Result<Self> {
        check_row_scratch(&engine.profile, rows)?;
        let bytes = rows as u64 * ROW_SCRATCH_BYTES;
        Ok(Self {
            inputs: engine.scratch("xent::scratch::row_inputs", bytes)?,
            results: engine.scratch("xent::scratch::row_results", bytes)?,
            blocks: engine
                .scratch("xent::scratch::blocks", rows.div_ceil(BLOCK_ROWS) as u64 * TOTALS_BYTES)?,
            totals: engine.scratch("xent::scratch::totals", TOTALS_BYTES)?,
        })
    }
}

/// The numbers that all passes of a call have in common.
pub(super) fn params(shape: Shape, options: &CrossEntropyOptions) -> Params {
    Params {
        ignore_index: options.ignore_index,
        // A mean's is the batch's own weight, which a pass before finds: 0 stands for it.
        denominator: options.reduction.denominator(0.0) as f32,
        ..Params::of(shape)
    }
}

/// The override constants of the pass over the logits.
pub(super) fn constants(options: &CrossEntropyOptions, track_argmax: bool) -> [(&'static str, u32); 2] {
    [
        (passes::MASKED_ROW_ZERO, u32::from(options.masked_row == MaskedRow::Zero)),
        (passes::TRACK_ARGMAX, u32::from(track_argmax)),
    ]
}

/// Targets → row inputs → totals: before the first logit is read.
pub(super) fn input_dispatches<E: Element>(
    engine: &Engine<E>,
    plan: &Plan,
    params: &Params,
    targets: &Binding,
    scratch: &Scratch,
) -> Result<[Dispatch; 2]> {
    let blocks = plan.grid((params.rows as usize).div_ceil(BLOCK_ROWS));
    Ok([
        engine.kernels.dispatch(
            &passes::ROW_INPUTS,
            &[],
            params,
            &[Some(targets), Some(&scratch.inputs), Some(&scratch.blocks)],
            blocks,
        )?,
        engine.kernels.dispatch(
            &passes::MERGE_TOTALS,
            &[],
            params,
            &[Some(&scratch.blocks), Some(&scratch.totals)],
            [1, 1],
        )?,
    ])
}
