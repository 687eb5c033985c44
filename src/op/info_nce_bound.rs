//! InfoNCE in the caller's buffers: the two losses of cross-entropy, then the sum of their gradients and the gradient of the scale.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::binding::{self, finish_pairs, pair_gradients};
use crate::kernel::passes::{self, Target, Variant};
use crate::kernel::{Binding, Dispatch, Params, Plan, Work};
use crate::op::bound::Bound;
use crate::op::buffers::{self, Checked, Need};
use crate::op::cross_entropy::{CrossEntropy, CrossEntropyBuffers};
use crate::op::engine::{Array, Engine, LogitsCall};
use crate::op::info_nce::{InfoNceBuffers, ways};
use crate::op::loss::{LossOutputs, RowInputBuffers};
use crate::op::output::OutputBuffer;
use crate::options::{InfoNceOptions, check_pairs};
use crate::results::{InfoNceRecord, LossRecord};
use crate::shape::Shape;

/// Bytes of a row's terms of the gradient of the scale.
const TERMS_BYTES: u64 = 16;

/// Checks the buffers and binds the loss to them. `op` is the cross-entropy of this temperature.
pub(super) fn bind<E: Element>(
    op: &CrossEntropy<E>,
    options: &InfoNceOptions,
    shape: Shape,
    to: &InfoNceBuffers<'_>,
) -> Result<Bound> {
    check_pairs(shape)?;
    let (engine, pairs) = (op.engine(), shape.rows);
    let value_bytes = Engine::<E>::ELEMENT_BYTES;
    let alignment = engine.profile.offset_alignment;
    let sums_terms = to.dlog_scale.is_some();
    let has_gradient = to.dsimilarities.is_some() || sums_terms;
    // Where nobody wants the gradient itself, it goes to scratch.
    let matrix = |label| engine.scratch(label, (pairs * pairs) as u64 * 4 + 32);
    let own_output = if sums_terms && to.dsimilarities.is_none() {
        Some(matrix("xent::scratch::dsimilarities")?)
    } else {
        None
    };
    let written = match (&own_output, &to.dsimilarities) {
        (Some(scratch), _) => Some(OutputBuffer::F32(bound_of(scratch))),
        (None, given) => given.clone(),
    };
    let is_in_place = matches!(written, Some(OutputBuffer::InPlace));

    let values =
        |bytes: u64, alignment| Need { bytes: (shape.len() as u64 * bytes).next_multiple_of(4), alignment };
    let words = |count: usize| Need { bytes: count as u64 * 4, alignment };
    let similarities = match is_in_place {
        true => buffers::write("similarities", &to.similarities, values(value_bytes, 4))?,
        false => buffers::read("similarities", &to.similarities, values(value_bytes, value_bytes))?,
    };
    let mut checked = vec![similarities];
    if let Some(upstream) = &to.upstream {
        checked.push(buffers::read("upstream", upstream, words(1))?);
    }
    let mut write = |name, bound: Option<&wgpu::BufferBinding<'_>>, need| -> Result<Option<Binding>> {
        let buffer = buffers::write_if(name, bound, need)?;
        let binding = buffer.as_ref().map(|buffer: &Checked| buffer.binding.clone());
        checked.extend(buffer);
        Ok(binding)
    };
    let loss = write("loss", to.loss.as_ref(), Need { bytes: InfoNceRecord::BYTES, alignment })?;
    write("row_losses", to.row_losses.as_ref(), words(pairs))?;
    write("column_losses", to.column_losses.as_ref(), words(pairs))?;
    let dlog_scale = write("dlog_scale", to.dlog_scale.as_ref(), words(1))?;
    let output = match &written {
        Some(written) => {
            let (own, output, bytes) = written.parts(value_bytes);
            buffers::check_words("dsimilarities", shape, bytes)?;
            Some((write("dsimilarities", own, values(bytes, 4))?, output, bytes))
        }
        None => None,
    };
    let wants_lines = to.row_losses.is_some() || to.column_losses.is_some();
    if !has_gradient && loss.is_none() && !wants_lines {
        return Err(Error::NoOutput {
            options: "loss, row_losses, column_losses, dsimilarities, dlog_scale",
        });
    }
    buffers::check_aliases(&checked)?;

    let classes: Vec<u32> = (0..pairs as u32).collect();
    let classes = engine.constant("xent::scratch::targets", bytemuck::cast_slice(&classes))?;
    let (mut records, mut gradients, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for (way, losses) in ways(shape).into_iter().zip([&to.row_losses, &to.column_losses]) {
        let record = engine.scratch("xent::scratch::loss", LossRecord::BYTES)?;
        let gradient = if has_gradient { Some(matrix("xent::scratch::gradient")?) } else { None };
        let outputs = LossOutputs {
            loss: loss.is_some().then(|| bound_of(&record)),
            row_losses: losses.clone(),
            dlogits: gradient.as_ref().map(|gradient| OutputBuffer::F32(bound_of(gradient))),
        };
        if outputs.loss.is_some() || outputs.row_losses.is_some() || outputs.dlogits.is_some() {
            let to = CrossEntropyBuffers {
                rows: RowInputBuffers { upstream: to.upstream.clone(), ..Default::default() },
                outputs,
                ..CrossEntropyBuffers::new(to.similarities.clone(), bound_of(&classes))
            };
            lines.push(op.with_options(&options.cross_entropy_of_half(pairs))?.bind(way, &to)?);
        }
        records.push(record);
        gradients.extend(gradient);
    }

    let mut arrays = vec![((binding::LOGITS, value_bytes), checked[0].binding.clone())];
    let mut sweep = None;
    if let Some((own, output, bytes)) = output {
        arrays.extend(own.map(|own| ((binding::OUTPUT, bytes), own)));
        let plan = engine.resident_plan(Work {
            widest_bytes: bytes.max(value_bytes),
            writes: true,
            ..engine.work(shape)
        })?;
        let terms = engine.scratch("xent::scratch::terms", pairs as u64 * TERMS_BYTES)?;
        sweep = Some(Sweep { plan, arrays, variant: engine.variant(output, Target::None), gradients, terms });
    }
    let finish = (loss.is_some() || sums_terms).then_some(Finish { records, loss, dlog_scale, sums_terms });
    // The power of two of at most T: the bits of its exponent.
    let pair_scale = f32::from_bits(options.temperature.to_bits() & 0x7f80_0000);
    let params = Params { pair_scale, ..Params::of(shape) };
    let engine = engine.clone();
    Bound::new(shape, move |rows| {
        // The columns of fewer rows would be other columns.
        check_pairs(shape.with_rows(rows))?;
        let mut dispatches: Vec<Dispatch> = lines.iter().flat_map(Bound::dispatches).cloned().collect();
        if let Some(sweep) = &sweep {
            dispatches.extend(sweep.dispatches(&engine, &params)?);
        }
        if let Some(finish) = &finish {
            dispatches.push(finish.dispatch(&engine, params, sweep.as_ref())?);
        }
        Ok(dispatches)
    })
}

/// A whole scratch buffer.
fn bound_of(scratch: &Binding) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer: &scratch.buffer, offset: 0, size: None }
}

/// The pass that adds the gradients of rows and columns.
struct Sweep {
    plan: Plan,
    /// Arrays with the layout of the similarities: binding number, bytes per value, buffer.
    arrays: Vec<((u32, u64), Binding)>,
    variant: Variant,
    /// Of the rows, and of the columns: f32 (N, N).
    gradients: Vec<Binding>,
    terms: Binding,
}

impl Sweep {
    fn dispatches<E: Element>(&self, engine: &Engine<E>, params: &Params) -> Result<Vec<Dispatch>> {
        let arrays: Vec<Array<'_>> = self
            .arrays
            .iter()
            .map(|&((number, value_bytes), ref binding)| Array { number, binding, value_bytes })
            .collect();
        let numbers = [pair_gradients::ROWS, pair_gradients::COLUMNS];
        let gradients = numbers.into_iter().zip(&self.gradients);
        let rest: Vec<(u32, &Binding)> = gradients.chain([(pair_gradients::TERMS, &self.terms)]).collect();
        let pass = &passes::PAIR_GRADIENTS;
        let call =
            LogitsCall { pass, variant: self.variant, given: false, constants: &[], params, rest: &rest };
        let rows = params.rows as usize;
        let dispatches = engine.resident_dispatches(&self.plan, rows, &call, &arrays)?;
        // It also reads two gradients in f32.
        let read = 2 * self.plan.value_bytes(rows, 4) / dispatches.len().max(1) as u64;
        Ok(dispatches
            .into_iter()
            .map(|dispatch| {
                let bytes = dispatch.bytes();
                dispatch.moving(bytes + read)
            })
            .collect())
    }
}

/// The pass that writes the caller's numbers.
struct Finish {
    /// Of the rows, and of the columns: a `LossRecord` each.
    records: Vec<Binding>,
    loss: Option<Binding>,
    dlog_scale: Option<Binding>,
    sums_terms: bool,
}

impl Finish {
    fn dispatch<E: Element>(
        &self,
        engine: &Engine<E>,
        params: Params,
        sweep: Option<&Sweep>,
    ) -> Result<Dispatch> {
        let bound = [
            (finish_pairs::ROW_LOSS, self.records.first()),
            (finish_pairs::COLUMN_LOSS, self.records.get(1)),
            (finish_pairs::TERMS, sweep.map(|sweep| &sweep.terms)),
            (finish_pairs::LOSS, self.loss.as_ref()),
            (finish_pairs::DLOG_SCALE, self.dlog_scale.as_ref()),
        ];
        let rows = if self.sums_terms { params.rows } else { 0 };
        let params = Params { rows, ..params };
        let constants = engine.row_constants(&[]);
        engine.kernels().dispatch(&passes::FINISH_PAIRS, Variant::ROWS, &constants, &params, &bound, [1, 1])
    }
}
