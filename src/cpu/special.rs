//! The result of a row by the reference: for rows with special values, and for machines without anything faster.

use crate::element::Element;
use crate::flags::Flags;
use crate::inputs::CrossEntropyInputs;
use crate::options::CrossEntropyOptions;
use crate::reference::cross_entropy::row_loss_at;
use crate::reference::{argmax_row, row_readouts};
use crate::results::RowResult;
use crate::row_fields::RowFields;
use crate::shape::Shape;
use crate::targets::RowTarget;

/// The result of a row of a batch whose inputs have been checked, as a device gives it.
pub(crate) fn row_result<E: Element>(
    logits: &[E],
    inputs: &CrossEntropyInputs<'_>,
    shape: Shape,
    options: &CrossEntropyOptions,
    row: usize,
) -> RowResult {
    let Some(target) = inputs.row_target(shape, options, row) else { return RowResult::LEFT_OUT };
    let parts = row_loss_at(logits, *inputs, shape, options, row);
    let weight = inputs.row_weight(options, row);
    let (loss, z_loss) = ((weight * parts.total()) as f32, (weight * parts.z_loss) as f32);
    let values = shape.row_vec(logits, row);
    let argmax = argmax_row(&values);
    let result = result_of(loss, logit_flags(&row_of(logits, shape, row)));
    let result = RowResult { z_loss, lse: parts.lse as f32, argmax, ..result };
    if !options.row_fields.intersects(!RowFields::default()) {
        return result;
    }
    let target = match target {
        RowTarget::Class(class) => usize::try_from(class).ok(),
        _ => None,
    };
    result.with_readouts(&row_readouts(&values, target, options), options.row_fields)
}

/// A row's result with this loss and these flags, and those that follow from the loss.
pub(crate) fn result_of(loss: f32, mut flags: Flags) -> RowResult {
    flags.set(Flags::INFINITE_LOSS, loss.is_infinite());
    flags.set(Flags::NAN_LOSS, loss.is_nan());
    RowResult { loss, flags: flags.bits(), ..RowResult::default() }
}

/// The flags of a row's logits.
pub(crate) fn logit_flags(logits: &[f64]) -> Flags {
    let has_nan = logits.iter().any(|logit| logit.is_nan());
    let mut flags = Flags::empty();
    flags.set(Flags::NAN_LOGIT, has_nan);
    flags.set(Flags::INFINITE_LOGIT, !has_nan && logits.contains(&f64::INFINITY));
    flags.set(Flags::MASKED_ROW, logits.iter().all(|&logit| logit == f64::NEG_INFINITY));
    flags
}

/// The logits of a row (cols,), exactly.
pub(crate) fn row_of<E: Element>(logits: &[E], shape: Shape, row: usize) -> Vec<f64> {
    shape.row(logits, row).map(|logit| logit.to_f64()).collect()
}
