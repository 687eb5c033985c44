//! Softmax of scaled, masked logits, as in attention.

use std::borrow::Cow;

use crate::bounds::masked_prob_bounds;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::inputs::mask_words;
use crate::kernel::passes::{self, binding, constant};
use crate::kernel::{Needs, Params};
use crate::masks::{MaskRows, Masks};
use crate::op::Bound;
use crate::op::buffers::{self, Checked, Need};
use crate::op::output::OutputBuffer;
use crate::op::rows::{HostMap, Map, MapBuffers, MapKind, MapOp, sealed, stats_switches};
use crate::options::{MaskedRow, MaskedSoftmaxOptions};
use crate::reference;
use crate::request::Request;
use crate::shape::Shape;
use crate::verification::Verification;

/// Softmax of scaled, masked logits: attention weights (Vaswani et al. 2017, *Attention is all you need*, section 3.2,
/// arXiv:1706.03762).
///
/// `softmax_k = exp(s_k − m) / Σ exp(s − m)` with `s = scale·x + mask` and `m = max s`, over the last axis of (rows,
/// cols): rows are batch · heads · queries, cols the keys. Reads logits and masks twice (the second time from cache if
/// a row fits there) and writes once. Keys that causality hides are not read. For the gradient, use
/// [`SoftmaxBackward`](crate::SoftmaxBackward) with the same `scale`.
///
/// A class that a row may not attend to has probability 0:
/// - Forbidden by the boolean mask or by causality: whatever its logit is, NaN included.
/// - Forbidden by an additive mask of −∞: here a NaN, or a scaled logit of +∞, still makes the row NaN, as in PyTorch.
///
/// Any other score that is NaN or +∞ makes its row NaN. A row with no class left is NaN, or zeros with
/// [`MaskedRow::Zero`]. Scores are rounded like f32 but do not overflow: if `scale·x` or its sum with the mask exceeds
/// f32, the probabilities are still correct.
///
/// Probabilities are within 2e-5·p + 1e-37 of those of the f32 scores. Rounding a score to f32 shifts it by up to
/// `6e-8·(|scale·x| + |score|)` and changes its probability by that factor: [`masked_prob_bounds`] includes both
/// errors. At scores of 100 the two are about equal; around 1e6 a probability may be off by a quarter.
///
/// ```no_run
/// use xent::{Causal, Context, MaskedSoftmax, MaskedSoftmaxOptions, MaskRows, Masks, Shape};
///
/// let gpu = Context::new().wait()?;
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
/// let probs = softmax.softmax(&scores, masks, Shape::new(heads * q_len, k_len)).wait()?;
/// # Ok::<(), xent::Error>(())
/// ```
pub type MaskedSoftmax<E> = MapOp<E, MaskedSoftmaxOptions>;

impl sealed::Sealed for MaskedSoftmaxOptions {}

impl MapKind for MaskedSoftmaxOptions {
    fn check(&self) -> Result<()> {
        self.check()
    }
}

/// The buffers of a bound [`MaskedSoftmax`].
///
/// More fields may come: end a literal with `..MaskedSoftmaxBuffers::new(logits, probs)`.
#[derive(Clone, Debug)]
pub struct MaskedSoftmaxBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size.
    pub logits: wgpu::BufferBinding<'a>,
    /// Added to the scaled logits: f32 (mask rows, cols), dense.
    pub additive: Option<(wgpu::BufferBinding<'a>, MaskRows)>,
    /// Which classes a row may attend to: u32 (mask rows, cols), dense; 0 for classes that it may not attend to.
    pub boolean: Option<(wgpu::BufferBinding<'a>, MaskRows)>,
    /// Destination of the probabilities (rows, cols).
    pub probs: OutputBuffer<'a>,
}

impl<'a> MaskedSoftmaxBuffers<'a> {
    /// Logits (rows, cols), and the destination of the probabilities. No masks.
    pub fn new(logits: wgpu::BufferBinding<'a>, probs: OutputBuffer<'a>) -> Self {
        Self { logits, additive: None, boolean: None, probs }
    }
}

impl<E: Element> MaskedSoftmax<E> {
    /// Probabilities (rows, cols) of logits (rows, cols), with the same layout; padding columns are 0. The logits pass
    /// through the device window by window, the masks as a whole.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::MaskRows`], [`Error::MaskTooLarge`], [`Error::ClassAxisNotLast`] and what
    /// [`Shape::check`] refuses; [`Error::RowTooLarge`], [`Error::TooManyRows`]; whatever the device reports.
    pub fn softmax<'a>(&'a self, logits: &'a [E], masks: Masks<'a>, shape: Shape) -> Request<'a, Vec<E>> {
        self.rows.run(shape, host(logits, masks), self.host_map(masks, shape))
    }

    /// Like [`softmax`](Self::softmax), but writes into a slice of yours, as long as the logits. The slice decides the
    /// type: the logits' type, or f32, which avoids rounding.
    ///
    /// # Errors
    /// As for [`softmax`](Self::softmax); [`Error::Length`] for the slice, before any work.
    pub fn softmax_into<'a, D: Element>(
        &'a self,
        logits: &'a [E],
        masks: Masks<'a>,
        shape: Shape,
        probs: &'a mut [D],
    ) -> Request<'a, ()> {
        self.rows.run_into(shape, host(logits, masks), probs, self.host_map(masks, shape))
    }

    /// Checks the probabilities of `rows` evenly spaced rows of this batch against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As for [`softmax`](Self::softmax).
    pub fn verify<'a>(
        &'a self,
        logits: &'a [E],
        masks: Masks<'a>,
        shape: Shape,
        rows: usize,
    ) -> Request<'a, Verification> {
        self.softmax(logits, masks, shape).map(move |probs| {
            Verification::of_values(&probs, shape, rows, |row| {
                let of_row = shape.row_vec(logits, row);
                let expected = reference::masked_softmax_row(&of_row, row, masks, &self.options);
                expected.into_iter().zip(masked_prob_bounds(&of_row, row, masks, &self.options))
            })
        })
    }

    /// Binds the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::ClassAxisNotLast`], [`Error::MaskRows`], [`Error::MaskTooLarge`];
    /// [`Error::BufferTooSmall`], [`Error::BufferOffset`], [`Error::BufferUsage`], [`Error::BufferAlias`]; for 16-bit
    /// logits [`Error::OddStride`]; [`Error::RowTooLarge`], [`Error::TooManyRows`]; [`Error::OtherDevice`]; whatever
    /// the device reports.
    pub fn bind(&self, shape: Shape, to: &MaskedSoftmaxBuffers<'_>) -> Result<Bound> {
        self.check(shape)?;
        let mut masks = Vec::new();
        let mut map =
            self.map(shape, to.additive.as_ref().map(|mask| mask.1), to.boolean.as_ref().map(|mask| mask.1));
        for (what, number, mask) in [
            ("additive", binding::ADDITIVE_MASK, &to.additive),
            ("boolean", binding::BOOLEAN_MASK, &to.boolean),
        ] {
            let Some((bound, rows)) = mask else { continue };
            let checked = self.mask(what, bound, *rows, shape)?;
            map.rest.push((number, checked.binding.clone()));
            masks.push(checked);
        }
        let buffers = MapBuffers { logits: &to.logits, second: None, output: to.probs.clone() };
        self.rows.bind(shape, vec![(map, buffers)], masks)
    }

    /// Refuses shapes and options that the kernel's counters cannot hold.
    fn check(&self, shape: Shape) -> Result<()> {
        shape.check()?;
        self.options.check_shape(shape)?;
        let limit = i32::MAX as usize;
        if shape.rows > limit { Err(Error::TooManyRows { rows: shape.rows, limit }) } else { Ok(()) }
    }

    /// Bytes of a mask on the device, four per entry.
    fn mask_bytes(&self, what: &'static str, rows: MaskRows, shape: Shape) -> Result<u64> {
        let bytes = (rows.rows as u64).saturating_mul(shape.cols as u64).saturating_mul(4);
        let limit = self.rows.engine.profile.max_binding_bytes;
        if bytes > limit { Err(Error::MaskTooLarge { what, bytes, limit }) } else { Ok(bytes) }
    }

    /// A mask in the caller's buffer.
    fn mask(
        &self,
        what: &'static str,
        bound: &wgpu::BufferBinding<'_>,
        rows: MaskRows,
        shape: Shape,
    ) -> Result<Checked> {
        rows.check(what, shape.rows)?;
        let bytes = self.mask_bytes(what, rows, shape)?;
        buffers::read(what, bound, Need { bytes, alignment: self.rows.engine.profile.offset_alignment })
    }

    /// The operation on host slices.
    fn host_map(&self, masks: Masks<'_>, shape: Shape) -> Result<Map> {
        self.check(shape)?;
        masks.check(shape)?;
        let [additive, boolean] = [masks.additive.map(|mask| mask.1), masks.boolean.map(|mask| mask.1)];
        for (what, rows) in [("masks: additive", additive), ("masks: boolean", boolean)] {
            rows.map(|rows| self.mask_bytes(what, rows, shape)).transpose()?;
        }
        Ok(self.map(shape, additive, boolean))
    }

    fn map(&self, shape: Shape, additive: Option<MaskRows>, boolean: Option<MaskRows>) -> Map {
        let rows =
            |mask: Option<MaskRows>| mask.map_or((1, 1), |rows| (rows.rows as u32, rows.repeat as u32));
        let ((additive_rows, additive_repeat), (boolean_rows, boolean_repeat)) =
            (rows(additive), rows(boolean));
        let MaskedSoftmaxOptions { scale, causal, masked_row, .. } = self.options;
        // An offset beyond the keys, or below the negative number of queries, changes nothing more.
        let (sequence_length, causal_offset) = causal.map_or((1, 0), |causal| {
            let (queries, keys) = (causal.q_len as i128, shape.cols as i128);
            (causal.q_len as u32, causal.offset_of(shape.cols).clamp(-queries, keys) as i32)
        });
        let params = Params {
            sequence_length,
            causal_offset,
            additive_rows,
            additive_repeat,
            boolean_rows,
            boolean_repeat,
            ..Params::default().with_masked_scores(scale)
        };
        Map {
            pass: &passes::MASKED_SOFTMAX,
            logits: "logits",
            output: "probs",
            second: None,
            splits: true,
            needs: Needs::default(),
            params,
            constants: [
                stats_switches(&[(constant::MASKED_ROW_ZERO, masked_row == MaskedRow::Zero)]),
                vec![
                    (constant::CAUSAL, u32::from(causal.is_some())),
                    (constant::ADDITIVE_MASK, u32::from(additive.is_some())),
                    (constant::BOOLEAN_MASK, u32::from(boolean.is_some())),
                ],
            ]
            .concat(),
            rest: vec![],
        }
    }
}

/// The host slices of a call, with the masks as a whole.
fn host<'a, E>(logits: &'a [E], masks: Masks<'a>) -> HostMap<'a, E> {
    let additive = masks
        .additive
        .map(|(mask, _)| ("additive", binding::ADDITIVE_MASK, Cow::Borrowed(bytemuck::cast_slice(mask))));
    let boolean =
        masks.boolean.map(|(mask, _)| ("boolean", binding::BOOLEAN_MASK, Cow::Owned(mask_words(mask))));
    HostMap { logits, second: None, whole: additive.into_iter().chain(boolean).collect() }
}
