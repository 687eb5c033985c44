//! The KL divergence, evaluated. The teacher's logits are the second array.

use std::convert::Infallible;
use std::ops::Range;

#[cfg(feature = "cli")]
use crate::cpu::special::{logit_flags, result_of, row_of};
use crate::element::Element;
use crate::error::Result;
use crate::eval::inputs::TeacherSource;
use crate::eval::losses::{Evaluable, Origin, Split};
#[cfg(feature = "cli")]
use crate::flags::Flags;
use crate::inputs::{BatchWeight, KlDivergenceInputs, Resolved, RowInputs};
use crate::options::KlDivergenceOptions;
#[cfg(feature = "cli")]
use crate::reference::kl_divergence::{row_dlogits_at, row_loss_at};
#[cfg(feature = "cli")]
use crate::results::RowResult;
use crate::shape::Shape;

impl Evaluable for KlDivergenceOptions {
    type Second<E: Element> = E;
    type RowTargets<'a> = Infallible;

    const SECOND: [&'static str; 4] =
        ["a row of the teacher", "a group of the teacher", "a padded row of the teacher", "the teacher"];

    fn batch_layout<E: Element>(_: &KlDivergenceInputs<'_, E>, _: Option<&TeacherSource<'_, E>>) {}

    fn split<'a, E: Element>(source: Self::Source<'a, E>) -> Split<'a, Infallible, E> {
        (Origin::WithLogits, Some(source.0))
    }

    fn rows_mut<'i, 'a, E: Element>(inputs: &'i mut Self::Inputs<'a, E>) -> &'i mut RowInputs<'a> {
        &mut inputs.rows
    }

    fn check_in_memory<E: Element>(
        inputs: &KlDivergenceInputs<'_, E>,
        shape: Shape,
        has_teacher: bool,
    ) -> Result<()> {
        if has_teacher { shape.check_slice("teacher", inputs.teacher) } else { Ok(()) }
    }

    fn resolved<'a, E: Element>(
        &self,
        inputs: Self::Inputs<'a, E>,
        shape: Shape,
        rows: Range<usize>,
        has_teacher: bool,
    ) -> Resolved<KlDivergenceInputs<'a, E>> {
        Resolved::of(match has_teacher {
            true => inputs.part(shape, rows),
            false => KlDivergenceInputs { teacher: &[], rows: inputs.rows.part(rows) },
        })
    }

    fn inputs<'v, E: Element>(
        window: &'v Resolved<KlDivergenceInputs<'_, E>>,
        teacher: Option<&'v [E]>,
    ) -> KlDivergenceInputs<'v, E> {
        let KlDivergenceInputs { teacher: in_memory, rows } = window.inputs;
        KlDivergenceInputs { teacher: teacher.unwrap_or(in_memory), rows: window.rows(rows) }
    }

    fn weigh<E: Element>(
        &self,
        inputs: &KlDivergenceInputs<'_, E>,
        shape: Shape,
        _: usize,
        batch: &mut BatchWeight,
    ) -> Result<()> {
        inputs.weigh(shape, batch);
        Ok(())
    }

    #[cfg(feature = "cli")]
    fn row_result<E: Element>(
        &self,
        student: &[E],
        inputs: &KlDivergenceInputs<'_, E>,
        shape: Shape,
        row: usize,
    ) -> RowResult {
        let weight = f64::from(inputs.rows.weight(row));
        if weight == 0.0 {
            return RowResult::LEFT_OUT;
        }
        // The worse of both batches.
        let flags = [row_of(student, shape, row), row_of(inputs.teacher, shape, row)]
            .map(|logits| logit_flags(&logits));
        let worst = [Flags::NAN_LOGIT, Flags::INFINITE_LOGIT, Flags::MASKED_ROW]
            .into_iter()
            .find(|&flag| (flags[0] | flags[1]).contains(flag));
        let loss = weight * row_loss_at(student, *inputs, shape, self, row);
        result_of(loss as f32, worst.unwrap_or_default())
    }

    #[cfg(feature = "cli")]
    fn row_dlogits<E: Element>(
        &self,
        student: &[E],
        inputs: &KlDivergenceInputs<'_, E>,
        shape: Shape,
        batch: &BatchWeight,
        row: usize,
    ) -> Vec<f64> {
        row_dlogits_at(student, *inputs, shape, self, batch, row)
    }
}
