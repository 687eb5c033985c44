//! Softmax of scaled, masked logits, as attention takes it.

use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::inputs::mask_words;
use crate::kernel::passes::{self, Output, Target, binding, constant};
use crate::kernel::{Binding, Params, Tuning, Work};
use crate::masks::{MaskRows, Masks};
use crate::op::buffers::{self, Checked, Need};
use crate::op::engine::{Array, Engine, LogitsCall};
use crate::op::pool::Pool;
use crate::op::stream::{Back, Extras, Part, Stream, clear_padding, through, windows};
use crate::op::verify::Verification;
use crate::op::{Bound, masked_prob_bounds};
use crate::options::{MaskedRow, MaskedSoftmaxOptions};
use crate::reference;
use crate::shape::Shape;

/// Softmax of scaled, masked logits: attention's weights (Vaswani et al. 2017, *Attention is all you need*, section 3.2,
/// arXiv:1706.03762).
///
/// `softmax_k = exp(s_k − m) / Σ exp(s − m)` with `s = scale·x + mask` and `m = max s`, over the last axis of (rows, cols):
/// rows are batch · heads · queries, cols the keys. Two reads of logits and masks (the second from cache where a row fits
/// there) and one write; what causality hides is not read. The gradient is
/// [`SoftmaxBackward`](crate::SoftmaxBackward)'s, with the same `scale`.
///
/// What may not be attended to has probability 0:
/// - forbidden by the boolean mask or by causality: whatever its logit is, NaN included;
/// - an additive mask of −∞: but a NaN, or a scaled logit of +∞, makes the row NaN there too, as in PyTorch.
///
/// Any other score that is NaN or +∞ makes its row NaN. A row with no class left is NaN, or zeros by
/// [`MaskedRow::Zero`]. Scores are rounded as f32 are, but do not overflow: where `scale·x` or the sum with the mask exceeds
/// f32, the probabilities are still right.
///
/// Probabilities are within 2e-5·p + 1e-37 of those of the f32 scores. Rounding a score to f32 shifts it by up to
/// `6e-8·(|scale·x| + |score|)`, and its probability by that factor: [`masked_prob_bounds`] has both. At scores of 100
/// that is about as much again; around 1e6 a probability may be off by a quarter.
///
/// ```no_run
/// use xent::{Causal, Context, MaskedSoftmax, MaskedSoftmaxOptions, MaskRows, Masks, Shape};
///
/// let gpu = Context::new_blocking()?;
/// let (heads, q_len, k_len, width) = (2, 3, 3, 64.0f32);
/// let options = MaskedSoftmaxOptions {
///     scale: 1.0 / width.sqrt(),
///     causal: Some(Causal::lower_right(q_len)),
///     ..Default::default()
/// };
/// let softmax = MaskedSoftmax::<f32>::new(&gpu, &options)?;
/// let scores = vec![1.0; heads * q_len * k_len];
/// let is_word = [true, true, false];
/// let masks = Masks::NONE.boolean(&is_word, MaskRows::each(1));
/// let probs = softmax.softmax(&gpu, &scores, masks, Shape::new(heads * q_len, k_len))?;
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MaskedSoftmax<E: Element> {
    engine: Engine<E>,
    options: MaskedSoftmaxOptions,
    pool: Pool,
}

/// The buffers of a bound [`MaskedSoftmax`].
#[derive(Clone, Debug)]
pub struct MaskedSoftmaxBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size.
    pub logits: wgpu::BufferBinding<'a>,
    /// Added to the scaled logits: f32 (mask rows, cols), dense.
    pub additive: Option<(wgpu::BufferBinding<'a>, MaskRows)>,
    /// Where a row may attend to a class: u32 (mask rows, cols), dense; 0 where not.
    pub boolean: Option<(wgpu::BufferBinding<'a>, MaskRows)>,
    /// Where probabilities go (rows, cols).
    pub probs: Probs<'a>,
}

/// Where probabilities (rows, cols) go. They are laid out as the logits are; padding is not written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Probs<'a> {
    /// A buffer of the logits' type. 16-bit rows must not share words: an even `row_stride`.
    To(wgpu::BufferBinding<'a>),
    /// A buffer of f32, whatever the logits' type.
    F32(wgpu::BufferBinding<'a>),
    /// Over the logits, which are lost. For 16-bit logits as [`To`](Self::To).
    InPlace,
}

/// Masks on the device, checked.
#[derive(Default)]
struct Bindings {
    additive: Option<(Binding, MaskRows)>,
    boolean: Option<(Binding, MaskRows)>,
}

impl<E: Element> MaskedSoftmax<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has made them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::DeviceLimit`].
    pub fn new(gpu: &Context, options: &MaskedSoftmaxOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { engine: Engine::new(gpu)?, options: *options, pool: Pool::default() })
    }

    /// The same with another tuning than the plan would choose.
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        self.engine.tuning = Some(tuning);
        self
    }

    /// The same, on the same pipelines, with other options: another scale makes nothing anew.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_options(&self, options: &MaskedSoftmaxOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { options: *options, ..self.clone() })
    }

    /// Probabilities (rows, cols) of logits (rows, cols), laid out alike; padding columns are 0. The logits go through the
    /// device window by window, the masks as a whole. Blocks.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::MaskRows`], [`Error::MaskTooLarge`], [`Error::ClassAxisNotLast`] and what
    /// [`Shape::check`] refuses; [`Error::RowTooLarge`], [`Error::TooManyRows`]; whatever the device reports.
    pub fn softmax(&self, gpu: &Context, logits: &[E], masks: Masks<'_>, shape: Shape) -> Result<Vec<E>> {
        pollster::block_on(self.all(gpu, logits, masks, shape, Wait::blocking(gpu)))
    }

    /// [`softmax`](Self::softmax), async: natively somebody else must poll the device (a thread in
    /// [`wgpu::Device::poll`]); in a browser, the browser does.
    ///
    /// # Errors
    /// As [`softmax`](Self::softmax).
    pub async fn softmax_async(
        &self,
        gpu: &Context,
        logits: &[E],
        masks: Masks<'_>,
        shape: Shape,
    ) -> Result<Vec<E>> {
        self.all(gpu, logits, masks, shape, Wait::Elsewhere).await
    }

    /// [`softmax`](Self::softmax) into a slice of the caller's, as long as the logits. Blocks.
    ///
    /// # Errors
    /// As [`softmax`](Self::softmax); [`Error::Length`] of the slice, before any work.
    pub fn softmax_into(
        &self,
        gpu: &Context,
        logits: &[E],
        masks: Masks<'_>,
        shape: Shape,
        probs: &mut [E],
    ) -> Result<()> {
        pollster::block_on(self.into(gpu, logits, masks, shape, probs, Wait::blocking(gpu)))
    }

    /// [`softmax_into`](Self::softmax_into), async, as [`softmax_async`](Self::softmax_async).
    ///
    /// # Errors
    /// As [`softmax_into`](Self::softmax_into).
    pub async fn softmax_into_async(
        &self,
        gpu: &Context,
        logits: &[E],
        masks: Masks<'_>,
        shape: Shape,
        probs: &mut [E],
    ) -> Result<()> {
        self.into(gpu, logits, masks, shape, probs, Wait::Elsewhere).await
    }

    /// Device memory that the last host call left to the next, in bytes, that of the masks
    /// included: see
    /// [`Softmax::idle_buffer_bytes`](crate::Softmax::idle_buffer_bytes).
    pub fn idle_buffer_bytes(&self) -> u64 {
        self.pool.bytes()
    }

    /// Frees it.
    pub fn free_idle_buffers(&self) {
        drop(self.pool.take());
    }

    /// Checks the probabilities of `rows` rows of this very batch, evenly spread, against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As [`softmax`](Self::softmax).
    pub fn verify(
        &self,
        gpu: &Context,
        logits: &[E],
        masks: Masks<'_>,
        shape: Shape,
        rows: usize,
    ) -> Result<Verification> {
        let probs = self.softmax(gpu, logits, masks, shape)?;
        let mut verification = Verification::new();
        for row in Verification::sample(shape.rows, rows) {
            let of_row = shape.row_vec(logits, row);
            let expected = reference::masked_softmax_row(&of_row, row, masks, &self.options);
            let bounds = masked_prob_bounds(&of_row, row, masks, &self.options);
            for ((&p, expected), bound) in shape.row(&probs, row).zip(expected).zip(bounds) {
                verification.compare_rounded(row, p, expected, bound);
            }
        }
        Ok(verification)
    }

    /// Ties the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::ClassAxisNotLast`], [`Error::MaskRows`], [`Error::MaskTooLarge`];
    /// [`Error::BufferTooSmall`], [`Error::BufferOffset`], [`Error::BufferUsage`], [`Error::BufferAlias`]; of 16-bit
    /// logits [`Error::OddStride`]; [`Error::RowTooLarge`], [`Error::TooManyRows`]; [`Error::OtherDevice`]; whatever the
    /// device reports.
    pub fn bind(&self, shape: Shape, to: &MaskedSoftmaxBuffers<'_>) -> Result<Bound> {
        self.check(shape)?;
        let value_bytes = Engine::<E>::ELEMENT_BYTES;
        let (output, to_probs, output_bytes) = match &to.probs {
            Probs::InPlace => (Output::InPlace, None, value_bytes),
            Probs::To(bound) => (Output::Element, Some(bound), value_bytes),
            Probs::F32(bound) => (Output::F32, Some(bound), 4),
        };
        let work = self.engine.work(shape);
        let splits = output != Output::InPlace;
        let work = Work { widest_bytes: output_bytes, writes: true, splits, ..work };
        let plan = self.engine.resident_plan(work)?;
        let bytes = plan.logits_bytes(shape.rows);
        let logits = if output == Output::InPlace {
            buffers::write("logits", &to.logits, Need { bytes, alignment: 4 })?
        } else {
            buffers::read("logits", &to.logits, Need { bytes, alignment: value_bytes })?
        };
        let probs_need = Need { bytes: plan.value_bytes(shape.rows, output_bytes), alignment: 4 };
        let probs = buffers::write_if("probs", to_probs, probs_need)?;
        buffers::check_words("probs", shape, output_bytes)?;
        let additive = self.mask("additive", to.additive.as_ref(), shape)?;
        let boolean = self.mask("boolean", to.boolean.as_ref(), shape)?;
        let masks = additive.iter().chain(&boolean).map(|(checked, _)| checked);
        buffers::check_aliases(std::iter::once(&logits).chain(&probs).chain(masks))?;

        let op = self.clone();
        let kept = |mask: Option<(Checked, MaskRows)>| mask.map(|(checked, rows)| (checked.binding, rows));
        let masks = Bindings { additive: kept(additive), boolean: kept(boolean) };
        Bound::new(shape, move |rows| {
            let (params, constants, rest) = (op.params(shape, 0, &masks), op.constants(&masks), masks.rest());
            let call = op.call(output, &params, &constants, &rest);
            let logits = Array { number: binding::LOGITS, binding: &logits.binding, value_bytes };
            let probs = probs.as_ref().map(|probs| Array {
                number: binding::OUTPUT,
                binding: &probs.binding,
                value_bytes: output_bytes,
            });
            let arrays: Vec<Array<'_>> = std::iter::once(logits).chain(probs).collect();
            op.engine.resident_dispatches(&plan, rows, &call, &arrays)
        })
    }

    /// Refuses what the kernel cannot count.
    fn check(&self, shape: Shape) -> Result<()> {
        shape.check()?;
        self.options.check_shape(shape)?;
        let limit = i32::MAX as usize;
        if shape.rows > limit { Err(Error::TooManyRows { rows: shape.rows, limit }) } else { Ok(()) }
    }

    /// Bytes of a mask on the device, four an entry.
    fn mask_bytes(&self, what: &'static str, rows: MaskRows, shape: Shape) -> Result<u64> {
        let bytes = (rows.rows as u64).saturating_mul(shape.cols as u64).saturating_mul(4);
        let limit = self.engine.profile.max_binding_bytes;
        if bytes > limit { Err(Error::MaskTooLarge { what, bytes, limit }) } else { Ok(bytes) }
    }

    /// A mask in the caller's buffer.
    fn mask(
        &self,
        what: &'static str,
        mask: Option<&(wgpu::BufferBinding<'_>, MaskRows)>,
        shape: Shape,
    ) -> Result<Option<(Checked, MaskRows)>> {
        let Some((bound, rows)) = mask else { return Ok(None) };
        rows.check(what, shape.rows)?;
        let bytes = self.mask_bytes(what, *rows, shape)?;
        let need = Need { bytes, alignment: self.engine.profile.offset_alignment };
        Ok(Some((buffers::read(what, bound, need)?, *rows)))
    }

    fn call<'a>(
        &self,
        output: Output,
        params: &'a Params,
        constants: &'a [(&'static str, u32)],
        rest: &'a [(u32, &'a Binding)],
    ) -> LogitsCall<'a> {
        let variant = self.engine.variant(output, Target::None);
        LogitsCall { pass: &passes::MASKED_SOFTMAX, variant, constants, params, rest }
    }

    /// The numbers of rows of which `before` come before the first.
    fn params(&self, shape: Shape, before: usize, masks: &Bindings) -> Params {
        let rows = |mask: &Option<(Binding, MaskRows)>| {
            mask.as_ref().map_or((1, 1), |(_, rows)| (rows.rows as u32, rows.repeat as u32))
        };
        let (additive_rows, additive_repeat) = rows(&masks.additive);
        let (boolean_rows, boolean_repeat) = rows(&masks.boolean);
        // Beyond the keys, and beyond the queries, an offset changes nothing any more.
        let (sequence_length, causal_offset) = self.options.causal.map_or((1, 0), |causal| {
            let (queries, keys) = (causal.q_len as i128, shape.cols as i128);
            (causal.q_len as u32, causal.offset_of(shape.cols).clamp(-queries, keys) as i32)
        });
        Params {
            mask_first_row: before as u32,
            sequence_length,
            causal_offset,
            additive_rows,
            additive_repeat,
            boolean_rows,
            boolean_repeat,
            ..Params::of(shape).with_masked_scores(self.options.scale)
        }
    }

    fn constants(&self, masks: &Bindings) -> [(&'static str, u32); 4] {
        [
            (constant::MASKED_ROW_ZERO, u32::from(self.options.masked_row == MaskedRow::Zero)),
            (constant::CAUSAL, u32::from(self.options.causal.is_some())),
            (constant::ADDITIVE_MASK, u32::from(masks.additive.is_some())),
            (constant::BOOLEAN_MASK, u32::from(masks.boolean.is_some())),
        ]
    }

    async fn all(
        &self,
        gpu: &Context,
        logits: &[E],
        masks: Masks<'_>,
        shape: Shape,
        wait: Wait,
    ) -> Result<Vec<E>> {
        shape.check_slice("logits", logits)?;
        let mut probs = vec![E::default(); shape.len()];
        self.into(gpu, logits, masks, shape, &mut probs, wait).await?;
        Ok(probs)
    }

    async fn into(
        &self,
        gpu: &Context,
        logits: &[E],
        masks: Masks<'_>,
        shape: Shape,
        probs: &mut [E],
        wait: Wait,
    ) -> Result<()> {
        shape.check_slice("logits", logits)?;
        shape.check_slice("probs", probs)?;
        self.check(shape)?;
        masks.check(shape)?;
        for (what, rows) in [
            ("masks: additive", masks.additive.map(|(_, rows)| rows)),
            ("masks: boolean", masks.boolean.map(|(_, rows)| rows)),
        ] {
            rows.map(|rows| self.mask_bytes(what, rows, shape)).transpose()?;
        }
        let output = Output::Element;
        let extras = Extras { output: Some(output), splits: true, ..Default::default() };
        let mut stream = Stream::pooled(&self.engine, gpu, shape, extras, &self.pool)?;
        let masks = if shape.rows > 0 { upload(&mut stream, masks)? } else { Bindings::default() };
        let (constants, rest) = (self.constants(&masks), masks.rest());
        let device_shape = stream.device_shape();
        let parts = windows(shape, stream.window_rows());
        let submit = |stream: &mut Stream<E>, (rows, values): Part| {
            let filling = stream.open(&logits[values], rows.len(), true)?;
            let params = self.params(device_shape, rows.start, &masks);
            let call = self.call(output, &params, &constants, &rest);
            let dispatches = stream.dispatches(&self.engine, &filling, &call)?;
            stream.submit("xent::masked_softmax", filling, &dispatches)
        };
        let read = |stream: &mut Stream<E>, back: Back, (_, values): Part| {
            stream.read_output(&back, &mut probs[values])?;
            stream.close(back);
            Ok(())
        };
        through(&mut stream, parts, wait, submit, read).await?;
        self.pool.put(stream.into_idle());
        clear_padding(probs, shape);
        Ok(())
    }
}

/// Host masks, whole.
fn upload<E: Element>(stream: &mut Stream<E>, masks: Masks<'_>) -> Result<Bindings> {
    let mut bindings = Bindings::default();
    if let Some((mask, rows)) = masks.additive {
        bindings.additive = Some((stream.upload_whole("additive", mask)?, rows));
    }
    if let Some((mask, rows)) = masks.boolean {
        bindings.boolean = Some((stream.upload_whole("boolean", &mask_words(mask))?, rows));
    }
    Ok(bindings)
}

impl Bindings {
    /// The bindings by their numbers.
    fn rest(&self) -> Vec<(u32, &Binding)> {
        [(binding::ADDITIVE_MASK, &self.additive), (binding::BOOLEAN_MASK, &self.boolean)]
            .into_iter()
            .filter_map(|(number, mask)| Some((number, &mask.as_ref()?.0)))
            .collect()
    }
}
