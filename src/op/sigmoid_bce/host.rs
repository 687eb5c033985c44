//! The host path: a batch that passes through the device window by window.

use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::inputs::SigmoidBceInputs;
use crate::kernel::Params;
use crate::kernel::passes::{self, Output, Target, binding};
use crate::op::cross_entropy::{Loss, LossSum, RowResult};
use crate::op::engine::LogitsCall;
use crate::op::rows;
use crate::op::sigmoid_bce::{Given, SigmoidBce};
use crate::op::stream::{Back, Extras, Part, Second, Stream, clear_padding, through, windows};
use crate::shape::Shape;

impl<E: Element> SigmoidBce<E> {
    pub(super) async fn all(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: SigmoidBceInputs<'_>,
        shape: Shape,
        wait: Wait,
    ) -> Result<(Loss, Vec<f32>)> {
        self.windows::<E>(gpu, logits, inputs, shape, None, wait).await
    }

    pub(super) async fn all_with_dlogits<D: Element>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: SigmoidBceInputs<'_>,
        shape: Shape,
        wait: Wait,
    ) -> Result<(Loss, Vec<D>)> {
        shape.check_slice("logits", logits)?;
        let mut dlogits = vec![D::default(); shape.len()];
        let (loss, _) = self.windows(gpu, logits, inputs, shape, Some(&mut dlogits), wait).await?;
        Ok((loss, dlogits))
    }

    /// The batch's loss, its rows' losses and, where asked for, the gradient.
    pub(super) async fn windows<D: Element>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: SigmoidBceInputs<'_>,
        shape: Shape,
        mut dlogits: Option<&mut [D]>,
        wait: Wait,
    ) -> Result<(Loss, Vec<f32>)> {
        shape.check_slice("logits", logits)?;
        if let Some(dlogits) = &dlogits {
            shape.check_slice("dlogits", dlogits)?;
        }
        let (engine, options) = (&self.engine, self.options.of_cross_entropy());
        let mut weight = inputs.check(shape, &self.options)?;
        weight.check(shape.rows, &options)?;
        // 16-bit values of rows side by side share words: they are written as f32, and rounded on their way back.
        let is_own_type = D::NAME == E::NAME && shape.inner == 1;
        let output = if is_own_type { Output::Element } else { Output::F32 };
        let output = dlogits.is_some().then_some(output);
        let extras = Extras {
            output,
            second: Some(Second { number: binding::TARGETS, value_bytes: 4 }),
            ..Default::default()
        };
        let mut stream = Stream::pooled(engine, gpu, shape, extras, &self.pool)?;
        let params = rows::weighed(self.params(stream.device_shape()), self.options.reduction, weight);
        let params = Params { upstream: inputs.upstream, ..params };
        let constants = self.constants(Given {
            pos_weight: inputs.pos_weight.is_some(),
            class_weights: inputs.class_weights.is_some(),
            row_weights: inputs.row_weights.is_some(),
            row_mask: inputs.row_mask.is_some(),
            upstream: false,
            row_upstream: inputs.row_upstream.is_some(),
        });
        let pass = if output.is_some() { &passes::SIGMOID_BCE_DLOGITS } else { &passes::SIGMOID_BCE_LOSSES };
        let variant = engine.variant(output.unwrap_or(Output::Element), Target::None);

        let mut sum = LossSum::default();
        let mut losses = Vec::with_capacity(shape.rows);
        let parts = windows(shape, stream.window_rows());
        let submit = |stream: &mut Stream<E>, (rows, values): Part| {
            let (count, part) = (rows.len(), inputs.part(shape, rows));
            let mut filling = stream.open(&logits[values], count, output.is_some())?;
            stream.write_second(&mut filling, part.targets)?;
            let (cols, filled) = (shape.cols, &mut filling);
            let pos_weight = stream.upload(filled, "pos_weight", cols, part.pos_weight)?;
            let class_weights = stream.upload(filled, "class_weights", cols, part.class_weights)?;
            let of_rows = stream.upload_rows(filled, part.row_weights, part.row_mask, part.row_upstream)?;
            let scratch = stream.row_records(filled)?;
            let mut rest =
                vec![(binding::ROW_INPUTS, &scratch.inputs), (binding::ROW_RESULTS, &scratch.results)];
            rest.extend(class_weights.as_ref().map(|weights| (binding::CLASS_WEIGHTS, weights)));
            rest.extend(pos_weight.as_ref().map(|weights| (binding::POS_WEIGHT, weights)));
            let params = Params { rows: count as u32, ..params };
            let [first, merge] = rows::input_dispatches(
                engine,
                &stream.plan,
                &params,
                &constants,
                &of_rows.inputs(),
                &scratch,
            )?;
            let call = LogitsCall { pass, variant, constants: &constants, params: &params, rest: &rest };
            let swept = stream.dispatches(engine, &filling, &call)?;
            stream.submit("xent::sigmoid_bce", filling, &[vec![first, merge], swept].concat())
        };
        let read = |stream: &mut Stream<E>, back: Back, (_, values): Part| {
            // The whole has been checked: the first window stands for what it weighs.
            sum.weigh(std::mem::take(&mut weight));
            back.results(|_, record| {
                let result = RowResult::of(record, 1.0, 0.0);
                sum.add(&result);
                losses.push(result.loss);
            })?;
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
        Ok((sum.reduced(&options), losses))
    }
}
