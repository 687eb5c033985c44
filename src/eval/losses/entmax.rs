//! The loss of an entmax, evaluated. Its targets are those of a cross-entropy.

use std::ops::Range;

#[cfg(feature = "cli")]
use crate::cpu::special::{logit_flags, result_of, row_of};
use crate::element::Element;
use crate::error::Result;
use crate::eval::inputs::TargetSource;
use crate::eval::losses::cross_entropy::RowTargets;
use crate::eval::losses::{Evaluable, Split};
use crate::inputs::{BatchWeight, CrossEntropyInputs, Resolved, RowInputs};
use crate::options::{CrossEntropyOptions, EntmaxLossOptions, Sequences};
#[cfg(feature = "cli")]
use crate::reference::entmax_loss::{row_dlogits_at, row_loss_at};
#[cfg(feature = "cli")]
use crate::results::RowResult;
use crate::shape::Shape;
use crate::targets::TargetKind;

impl Evaluable for EntmaxLossOptions {
    type Second<E: Element> = f32;
    type RowTargets<'a> = RowTargets<'a>;

    const SECOND: [&'static str; 4] = CrossEntropyOptions::SECOND;

    fn batch_layout<E: Element>(
        inputs: &CrossEntropyInputs<'_>,
        source: Option<&TargetSource<'_>>,
    ) -> TargetKind {
        CrossEntropyOptions::batch_layout::<E>(inputs, source)
    }

    fn split<'a, E: Element>(source: Self::Source<'a, E>) -> Split<'a, RowTargets<'a>, f32> {
        CrossEntropyOptions::split::<E>(source)
    }

    fn rows_mut<'i, 'a, E: Element>(inputs: &'i mut Self::Inputs<'a, E>) -> &'i mut RowInputs<'a> {
        &mut inputs.rows
    }

    fn check_in_memory<E: Element>(
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        has_targets: bool,
    ) -> Result<()> {
        CrossEntropyOptions::check_in_memory::<E>(inputs, shape, has_targets)
    }

    fn check_beside<E: Element>(
        &self,
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        kind: TargetKind,
    ) -> Result<()> {
        inputs.check_plain_classes(kind)?;
        self.of_targets().check_beside::<E>(inputs, shape, kind)
    }

    fn check_row_targets(targets: &RowTargets<'_>, shape: Shape) -> Result<()> {
        CrossEntropyOptions::check_row_targets(targets, shape)
    }

    fn shift(&self) -> usize {
        self.of_targets().shift()
    }

    fn input_rows(&self, shape: Shape, rows: &Range<usize>) -> Range<usize> {
        self.of_targets().input_rows(shape, rows)
    }

    fn sequence_ends<'a, E: Element>(inputs: &Self::Inputs<'a, E>) -> Option<&'a [usize]> {
        inputs.sequence_ends
    }

    fn resolved<'a, E: Element>(
        &self,
        inputs: Self::Inputs<'a, E>,
        shape: Shape,
        rows: Range<usize>,
        has_targets: bool,
    ) -> Resolved<CrossEntropyInputs<'a>> {
        Evaluable::resolved::<E>(&self.of_targets(), inputs, shape, rows, has_targets)
    }

    fn read_row_targets<E: Element>(
        &self,
        targets: &mut RowTargets<'_>,
        window: &mut Resolved<CrossEntropyInputs<'_>>,
        shape: Shape,
        rows: Range<usize>,
    ) -> Result<()> {
        self.of_targets().read_row_targets::<E>(targets, window, shape, rows)
    }

    fn narrow<E: Element>(window: &mut Resolved<CrossEntropyInputs<'_>>) {
        window.narrow();
    }

    fn inputs<'v, E: Element>(
        window: &'v Resolved<CrossEntropyInputs<'_>>,
        second: Option<&'v [f32]>,
    ) -> CrossEntropyInputs<'v> {
        CrossEntropyOptions::inputs::<E>(window, second)
    }

    fn weigh<E: Element>(
        &self,
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        first: usize,
        batch: &mut BatchWeight,
    ) -> Result<()> {
        inputs.weigh(shape, &self.of_targets(), first, batch)
    }

    fn sequences(&self) -> Option<Sequences> {
        self.sequences
    }

    fn top_classes<E: Element>(&self, inputs: &CrossEntropyInputs<'_>, shape: Shape) -> Vec<u32> {
        Evaluable::top_classes::<E>(&self.of_targets(), inputs, shape)
    }

    fn classes<'i, E: Element>(inputs: &Self::Inputs<'i, E>) -> Option<&'i [i32]> {
        CrossEntropyOptions::classes::<E>(inputs)
    }

    #[cfg(feature = "cli")]
    fn row_result<E: Element>(
        &self,
        logits: &[E],
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        row: usize,
    ) -> RowResult {
        if inputs.row_target(shape, &self.of_targets(), row).is_none() {
            return RowResult::LEFT_OUT;
        }
        let weight = f64::from(inputs.rows.weight(row));
        let loss = weight * row_loss_at(logits, *inputs, shape, self, row);
        result_of(loss as f32, logit_flags(&row_of(logits, shape, row)))
    }

    #[cfg(feature = "cli")]
    fn row_dlogits<E: Element>(
        &self,
        logits: &[E],
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        batch: &BatchWeight,
        row: usize,
    ) -> Vec<f64> {
        row_dlogits_at(logits, *inputs, shape, self, batch, row)
    }
}
