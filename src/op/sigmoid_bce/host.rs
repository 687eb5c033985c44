//! The host path: a batch that passes through the device window by window.

use crate::device::{Context, Wait};
use crate::element::Element;
use crate::error::Result;
use crate::inputs::SigmoidBceInputs;
use crate::inputs::mask_words;
use crate::kernel::passes::{self, Output, Target, binding};
use crate::kernel::{Binding, Params};
use crate::op::cross_entropy::{Loss, LossSum, RowResult};
use crate::op::engine::{Engine, LogitsCall};
use crate::op::rows::{self, InputBindings, Scratch, is_mean};
use crate::op::sigmoid_bce::{Given, SigmoidBce};
use crate::op::stream::{Extras, Second, Stream, windows};
use crate::shape::Shape;

/// What comes with a window's targets, where it is given: for classes the same in every window.
struct Buffers {
    pos_weight: Option<Binding>,
    class_weights: Option<Binding>,
    row_weights: Option<Binding>,
    row_mask: Option<Binding>,
    row_upstream: Option<Binding>,
}

impl Buffers {
    fn new<E: Element>(
        engine: &Engine<E>,
        inputs: &SigmoidBceInputs<'_>,
        cols: usize,
        window_rows: usize,
    ) -> Result<Self> {
        let buffer = |name: &str, is_given: bool, values: usize| {
            let label = format!("xent::window::{name}");
            is_given.then(|| engine.scratch(&label, values as u64 * 4)).transpose()
        };
        Ok(Self {
            pos_weight: buffer("pos_weight", inputs.pos_weight.is_some(), cols)?,
            class_weights: buffer("class_weights", inputs.class_weights.is_some(), cols)?,
            row_weights: buffer("row_weights", inputs.row_weights.is_some(), window_rows)?,
            row_mask: buffer("row_mask", inputs.row_mask.is_some(), window_rows)?,
            row_upstream: buffer("row_upstream", inputs.row_upstream.is_some(), window_rows)?,
        })
    }

    fn given(&self) -> Given {
        Given {
            pos_weight: self.pos_weight.is_some(),
            class_weights: self.class_weights.is_some(),
            row_weights: self.row_weights.is_some(),
            row_mask: self.row_mask.is_some(),
            upstream: false,
            row_upstream: self.row_upstream.is_some(),
        }
    }
}

/// Uploads values, where there are any, to the start of their buffer.
async fn upload<E: Element, V: bytemuck::Pod>(
    stream: &Stream<E>,
    values: Option<&[V]>,
    to: Option<&Binding>,
    wait: Wait,
) -> Result<()> {
    let (Some(values), Some(to)) = (values, to) else { return Ok(()) };
    stream.transfer.upload(bytemuck::cast_slice(values), &to.buffer, 0, wait).await
}

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
    async fn windows<D: Element>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: SigmoidBceInputs<'_>,
        shape: Shape,
        mut dlogits: Option<&mut [D]>,
        wait: Wait,
    ) -> Result<(Loss, Vec<f32>)> {
        shape.check_slice("logits", logits)?;
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
        let mut stream = Stream::new(engine, gpu, shape, extras)?;
        let scratch = Scratch::new(engine, stream.window_rows())?;
        let mut params = Params { upstream: inputs.upstream, ..self.params(stream.device_shape()) };
        if is_mean(self.options.reduction) {
            // What the whole batch weighs; 0, if that is it, is what the windows weigh too.
            params.denominator = weight.weight as f32;
            params.row_denominator = weight.row_weight as f32;
        }
        let buffers = Buffers::new(engine, &inputs, shape.cols, stream.window_rows())?;
        upload(&stream, inputs.pos_weight, buffers.pos_weight.as_ref(), wait).await?;
        upload(&stream, inputs.class_weights, buffers.class_weights.as_ref(), wait).await?;
        let constants = self.constants(buffers.given());
        let from = InputBindings {
            row_weights: buffers.row_weights.as_ref(),
            row_mask: buffers.row_mask.as_ref(),
            row_upstream: buffers.row_upstream.as_ref(),
            ..Default::default()
        };
        let mut rest = vec![(binding::ROW_INPUTS, &scratch.inputs), (binding::ROW_RESULTS, &scratch.results)];
        rest.extend(buffers.class_weights.as_ref().map(|weights| (binding::CLASS_WEIGHTS, weights)));
        rest.extend(buffers.pos_weight.as_ref().map(|weights| (binding::POS_WEIGHT, weights)));
        let pass = if output.is_some() { &passes::SIGMOID_BCE_DLOGITS } else { &passes::SIGMOID_BCE_LOSSES };
        let variant = engine.variant(output.unwrap_or(Output::Element), Target::None);

        let mut sum = LossSum::default();
        let mut losses = Vec::with_capacity(shape.rows);
        let mut records = Vec::new();
        for (rows, values) in windows(shape, stream.window_rows()) {
            let (count, part) = (rows.len(), inputs.part(shape, rows));
            let taken = stream.take(&logits[values.clone()], count, wait).await?;
            stream.take_second(&taken, part.targets, wait).await?;
            let mask = part.row_mask.map(mask_words);
            upload(&stream, part.row_weights, buffers.row_weights.as_ref(), wait).await?;
            upload(&stream, mask.as_deref(), buffers.row_mask.as_ref(), wait).await?;
            upload(&stream, part.row_upstream, buffers.row_upstream.as_ref(), wait).await?;

            let params = Params { rows: count as u32, ..params };
            let [first, merge] =
                rows::input_dispatches(engine, &stream.plan, &params, &constants, &from, &scratch)?;
            let call = LogitsCall { pass, variant, constants: &constants, params: &params, rest: &rest };
            let sweep = stream.dispatch(engine, &taken, &call, output.is_some())?;
            stream.run("xent::sigmoid_bce", &[first, merge, sweep])?;

            records.resize(count, [0u32; 4]);
            let bytes = bytemuck::cast_slice_mut(&mut records);
            stream.transfer.download(&scratch.results.buffer, 0, bytes, wait).await?;
            let results: Vec<RowResult> =
                records.iter().map(|&record| RowResult::of(record, 1.0, 0.0)).collect();
            // The whole has been checked: the first window stands for what it weighs.
            sum.add(&results, std::mem::take(&mut weight));
            losses.extend(results.iter().map(|result| result.loss));
            if let Some(dlogits) = &mut dlogits {
                stream.read_output(&taken, &mut dlogits[values], wait).await?;
            }
            stream.finish();
        }
        Ok((sum.reduced(&options), losses))
    }
}
