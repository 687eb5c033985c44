//! The host path: two batches that pass through the device together, window by window.

use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::inputs::KlDivergenceInputs;
use crate::kernel::Params;
use crate::kernel::passes::{self, Output, Target, binding};
use crate::op::cross_entropy::{Loss, LossSum, RowResult};
use crate::op::engine::{Engine, LogitsCall};
use crate::op::kl_divergence::KlDivergence;
use crate::op::rows::{self, Given};
use crate::op::stream::{Back, Extras, Part, Second, Stream, clear_padding, through, windows};
use crate::shape::Shape;

impl<E: Element> KlDivergence<E> {
    pub(super) async fn windows<D: Element>(
        &self,
        gpu: &Context,
        (student, teacher): (&[E], &[E]),
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
        mut dlogits: Option<&mut [D]>,
        wait: Wait,
    ) -> Result<(Loss, Vec<RowResult>)> {
        shape.check_slice("student", student)?;
        shape.check_slice("teacher", teacher)?;
        if let Some(dlogits) = &dlogits {
            shape.check_slice("dlogits", dlogits)?;
        }
        let weight = inputs.check(shape)?;
        let options = self.options.of_rows();
        weight.check(shape.rows, &options)?;
        let engine = &self.engine;
        // 16-bit values of rows side by side share words: they are written as f32, and rounded on their way back.
        let own_type = D::NAME == E::NAME && shape.inner == 1;
        let output = dlogits.as_ref().map(|_| if own_type { Output::Element } else { Output::F32 });
        let extras = Extras {
            output,
            second: Some(Second { number: binding::TEACHER, value_bytes: Engine::<E>::ELEMENT_BYTES }),
            ..Default::default()
        };
        let mut stream = Stream::pooled(engine, gpu, shape, extras, &self.pool)?;
        let given = Given {
            row_weights: inputs.row_weights.is_some(),
            row_mask: inputs.row_mask.is_some(),
            row_upstream: inputs.row_upstream.is_some(),
            ..Given::default()
        };
        let constants = self.constants(given);
        let params = rows::weighed(self.params(stream.device_shape()), options.reduction, weight);
        let params = Params { upstream: inputs.upstream, ..params };
        let (pass, variant) = match output {
            Some(output) => (&passes::KL_DLOGITS, engine.variant(output, Target::None)),
            None => (&passes::KL_LOSSES, engine.variant(Output::Element, Target::None)),
        };
        let mut results = Vec::with_capacity(shape.rows);
        let parts = windows(shape, stream.window_rows());
        let submit = |stream: &mut Stream<E>, (rows, values): Part| {
            let part = inputs.part(rows.clone());
            let mut filling = stream.open(&student[values.clone()], rows.len(), output.is_some())?;
            stream.write_second(&mut filling, &teacher[values])?;
            let of_rows =
                stream.upload_rows(&mut filling, part.row_weights, part.row_mask, part.row_upstream)?;
            let scratch = stream.row_records(&mut filling)?;
            let params = Params { rows: rows.len() as u32, ..params };
            let [first, merge] = rows::input_dispatches(
                engine,
                &stream.plan,
                &params,
                &constants,
                &of_rows.inputs(),
                &scratch,
            )?;
            let rest = [(binding::ROW_INPUTS, &scratch.inputs), (binding::ROW_RESULTS, &scratch.results)];
            let call = LogitsCall { pass, variant, constants: &constants, params: &params, rest: &rest };
            let swept = stream.dispatches(engine, &filling, &call)?;
            stream.submit("xent::kl_divergence", filling, &[vec![first, merge], swept].concat())
        };
        let read = |stream: &mut Stream<E>, back: Back, (rows, values): Part| {
            let part = inputs.part(rows);
            back.results(|row, record| results.push(RowResult::of(record, part.row_weight(row), 0.0)))?;
            if let Some(dlogits) = dlogits.as_deref_mut() {
                stream.read_output(&back, &mut dlogits[values])?;
            }
            stream.close(back);
            Ok(())
        };
        through(&mut stream, parts, wait, submit, read).await?;
        self.pool.put(stream.into_idle());
        if let Some(dlogits) = dlogits {
            clear_padding(dlogits, shape);
        }
        let mut sum = LossSum::default();
        sum.weigh(weight);
        results.iter().for_each(|result| sum.add(result));
        Ok((sum.reduced(&options), results))
    }
}
