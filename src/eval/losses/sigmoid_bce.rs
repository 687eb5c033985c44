//! Multi-label binary cross-entropy, evaluated. The targets are the second array.

use std::convert::Infallible;
use std::ops::Range;

#[cfg(feature = "cli")]
use crate::cpu::special::{result_of, row_of};
use crate::element::Element;
use crate::error::Result;
use crate::eval::inputs::LabelSource;
use crate::eval::losses::{Evaluable, Origin, Split, is_proper};
#[cfg(feature = "cli")]
use crate::flags::Flags;
use crate::inputs::{BatchWeight, Resolved, RowInputs, SigmoidBceInputs};
use crate::options::SigmoidBceOptions;
#[cfg(feature = "cli")]
use crate::reference::sigmoid_bce::{row_dlogits_at, row_loss_at};
#[cfg(feature = "cli")]
use crate::results::RowResult;
use crate::shape::Shape;

impl Evaluable for SigmoidBceOptions {
    type Second<E: Element> = f32;
    type RowTargets<'a> = Infallible;

    const SECOND: [&'static str; 4] =
        ["a row of the targets", "a group of the targets", "a padded row of the targets", "the targets"];

    fn batch_layout<E: Element>(_: &SigmoidBceInputs<'_>, _: Option<&LabelSource<'_>>) {}

    fn split<'a, E: Element>(source: Self::Source<'a, E>) -> Split<'a, Infallible, f32> {
        (Origin::WithLogits, Some(source.0))
    }

    fn rows_mut<'i, 'a, E: Element>(inputs: &'i mut Self::Inputs<'a, E>) -> &'i mut RowInputs<'a> {
        &mut inputs.rows
    }

    fn check_in_memory<E: Element>(
        inputs: &SigmoidBceInputs<'_>,
        shape: Shape,
        has_targets: bool,
    ) -> Result<()> {
        if has_targets {
            shape.check_slice("targets", inputs.targets)?;
        }
        inputs.check_class_weights(shape)
    }

    fn resolved<'a, E: Element>(
        &self,
        inputs: Self::Inputs<'a, E>,
        shape: Shape,
        rows: Range<usize>,
        has_targets: bool,
    ) -> Resolved<SigmoidBceInputs<'a>> {
        Resolved::of(match has_targets {
            true => inputs.part(shape, rows),
            false => SigmoidBceInputs { targets: &[], rows: inputs.rows.part(rows), ..inputs },
        })
    }

    fn inputs<'v, E: Element>(
        window: &'v Resolved<SigmoidBceInputs<'_>>,
        targets: Option<&'v [f32]>,
    ) -> SigmoidBceInputs<'v> {
        let inputs = window.inputs;
        let rows = window.rows(inputs.rows);
        SigmoidBceInputs { targets: targets.unwrap_or(inputs.targets), rows, ..inputs }
    }

    fn row_weight(shape: Shape, row_weight: f64) -> BatchWeight {
        BatchWeight { weight: row_weight * shape.cols as f64, row_weight, counted: 1 }
    }

    fn weigh<E: Element>(
        &self,
        inputs: &SigmoidBceInputs<'_>,
        shape: Shape,
        first: usize,
        batch: &mut BatchWeight,
    ) -> Result<()> {
        inputs.weigh(shape, first, batch)
    }

    fn improper_targets<E: Element>(&self, inputs: &SigmoidBceInputs<'_>, shape: Shape) -> (u64, u64) {
        let counted = (0..shape.rows).filter(|&row| inputs.rows.weight(row) != 0.0);
        counted.fold((0, 0), |(improper, counted), row| {
            let are_proper = shape.row(inputs.targets, row).all(is_proper);
            (improper + u64::from(!are_proper), counted + 1)
        })
    }

    #[cfg(feature = "cli")]
    fn row_result<E: Element>(
        &self,
        logits: &[E],
        inputs: &SigmoidBceInputs<'_>,
        shape: Shape,
        row: usize,
    ) -> RowResult {
        if inputs.rows.weight(row) == 0.0 {
            return RowResult::LEFT_OUT;
        }
        let mut flags = Flags::empty();
        flags.set(Flags::NAN_LOGIT, row_of(logits, shape, row).iter().any(|logit| logit.is_nan()));
        result_of(row_loss_at(logits, *inputs, shape, row) as f32, flags)
    }

    #[cfg(feature = "cli")]
    fn row_dlogits<E: Element>(
        &self,
        logits: &[E],
        inputs: &SigmoidBceInputs<'_>,
        shape: Shape,
        batch: &BatchWeight,
        row: usize,
    ) -> Vec<f64> {
        row_dlogits_at(logits, *inputs, shape, self, batch, row)
    }
}
