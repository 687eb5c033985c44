//! The host path: two batches that pass through the device together, window by window.

use crate::device::{Context, Wait};
use crate::element::Element;
use crate::error::Result;
use crate::inputs::{KlDivergenceInputs, mask_words};
use crate::kernel::passes::{self, Output, Target, binding};
use crate::kernel::{Binding, Params};
use crate::op::cross_entropy::{Loss, LossSum, RowResult};
use crate::op::engine::{Engine, LogitsCall};
use crate::op::kl_divergence::KlDivergence;
use crate::op::rows::{self, Given, InputBindings, Scratch, is_mean};
use crate::op::stream::{Extras, Second, Stream, windows};
use crate::shape::Shape;

/// What is given for each row of a window.
#[derive(Default)]
struct RowBuffers {
    weights: Option<Binding>,
    mask: Option<Binding>,
    upstream: Option<Binding>,
}

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
        let mut stream = Stream::new(engine, gpu, shape, extras)?;
        let scratch = Scratch::new(engine, stream.window_rows())?;
        let buffers = self.row_buffers(&inputs, stream.window_rows())?;
        let given = Given {
            row_weights: buffers.weights.is_some(),
            row_mask: buffers.mask.is_some(),
            row_upstream: buffers.upstream.is_some(),
            ..Given::default()
        };
        let from = InputBindings {
            row_weights: buffers.weights.as_ref(),
            row_mask: buffers.mask.as_ref(),
            row_upstream: buffers.upstream.as_ref(),
            ..InputBindings::default()
        };
        let constants = self.constants(given);
        let mut params = Params { upstream: inputs.upstream, ..self.params(stream.device_shape()) };
        if is_mean(options.reduction) {
            // What the whole batch weighs; 0, if that is it, is what the windows weigh too.
            params.denominator = weight.weight as f32;
            params.row_denominator = weight.row_weight as f32;
        }
        let rest = [(binding::ROW_INPUTS, &scratch.inputs), (binding::ROW_RESULTS, &scratch.results)];
        let (pass, output) = match output {
            Some(output) => (&passes::KL_DLOGITS, output),
            None => (&passes::KL_LOSSES, Output::Element),
        };
        let variant = engine.variant(output, Target::None);
        let mut results = Vec::with_capacity(shape.rows);
        let mut records: Vec<[u32; 4]> = Vec::new();
        for (rows, values) in windows(shape, stream.window_rows()) {
            let part = inputs.part(rows.clone());
            let taken = stream.take(&student[values.clone()], rows.len(), wait).await?;
            stream.take_second(&taken, &teacher[values.clone()], wait).await?;
            let mask = part.row_mask.map(mask_words);
            let words: [(&Option<Binding>, Option<&[u8]>); 3] = [
                (&buffers.weights, part.row_weights.map(bytemuck::cast_slice)),
                (&buffers.mask, mask.as_deref().map(bytemuck::cast_slice)),
                (&buffers.upstream, part.row_upstream.map(bytemuck::cast_slice)),
            ];
            for (buffer, bytes) in words {
                if let (Some(buffer), Some(bytes)) = (buffer, bytes) {
                    stream.transfer.upload(bytes, &buffer.buffer, 0, wait).await?;
                }
            }
            let params = Params { rows: rows.len() as u32, ..params };
            let [first, merge] =
                rows::input_dispatches(engine, &stream.plan, &params, &constants, &from, &scratch)?;
            let call = LogitsCall { pass, variant, constants: &constants, params: &params, rest: &rest };
            let swept = stream.dispatch(engine, &taken, &call, dlogits.is_some())?;
            stream.run("xent::kl_divergence", &[first, merge, swept])?;
            records.resize(rows.len(), [0; 4]);
            let bytes = bytemuck::cast_slice_mut(&mut records);
            stream.transfer.download(&scratch.results.buffer, 0, bytes, wait).await?;
            let result =
                |(row, &record): (usize, &[u32; 4])| RowResult::of(record, part.row_weight(row), 0.0);
            results.extend(records.iter().enumerate().map(result));
            if let Some(dlogits) = dlogits.as_deref_mut() {
                stream.read_output(&taken, &mut dlogits[values], wait).await?;
            }
            stream.finish();
        }
        let mut sum = LossSum::default();
        sum.add(&results, weight);
        Ok((sum.reduced(&options), results))
    }

    fn row_buffers(&self, inputs: &KlDivergenceInputs<'_>, rows: usize) -> Result<RowBuffers> {
        let buffer = |name: &str, is_given: bool| {
            is_given
                .then(|| self.engine.scratch(&format!("xent::window::{name}"), rows as u64 * 4))
                .transpose()
        };
        Ok(RowBuffers {
            weights: buffer("row_weights", inputs.row_weights.is_some())?,
            mask: buffer("row_mask", inputs.row_mask.is_some())?,
            upstream: buffer("row_upstream", inputs.row_upstream.is_some())?,
        })
    }
}
