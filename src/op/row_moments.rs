//! The sums over a row that give its loss at several temperatures, and the derivatives of the loss.

use std::f64::consts::LOG2_E;

use crate::coded::Logits;
use crate::context::Context;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{self, binding, constant};
use crate::kernel::{Needs, Params, Tuning};
use crate::op::rows::{RowArray, RowValues, ValuesOf, ValuesStream, stats_switches};
use crate::op::stream::{Back, Flight, Start};
use crate::shape::Shape;

/// The inverse temperatures of one read.
pub(crate) const BETAS: usize = 8;
/// Words of a row's record, as `MOMENT_WORDS` in `shaders/row_moments.wgsl`.
pub(crate) const MOMENT_WORDS: usize = 2 + 3 * BETAS;

/// The operation, for one set of inverse temperatures.
#[derive(Clone, Debug)]
pub(crate) struct RowMoments<E: Element> {
    pub rows: RowValues<E>,
}

impl<E: Element> RowMoments<E> {
    pub fn new(gpu: &Context, softcap: Option<f32>) -> Result<Self> {
        let constants =
            stats_switches(&[(constant::SOFTCAP, softcap.is_some()), (constant::TRACK_ARGMAX, true)]);
        let of = ValuesOf {
            pass: &passes::ROW_MOMENTS,
            logits: "logits",
            inputs: vec![],
            arrays: vec![RowArray::new("moments", binding::ROW_VALUES, MOMENT_WORDS)],
            splits: false,
            needs: row_moments_needs(),
            constants,
            params: Params::default().with_softcap(softcap),
            around: None,
        };
        Ok(Self { rows: RowValues::new(gpu, of)? })
    }

    pub fn with_tuning(mut self, tuning: Tuning) -> Result<Self> {
        self.rows.engine = self.rows.engine.tuned(tuning)?;
        Ok(self)
    }

    /// Sets the inverse temperatures, each from e^−10 to e^10.
    pub fn at(&self, betas: [f64; BETAS]) -> Self {
        let mut next = self.clone();
        let scales = betas.map(scale);
        let halves = scales.split_at(BETAS / 2);
        next.rows.of.params.moment_scales_a.copy_from_slice(halves.0);
        next.rows.of.params.moment_scales_b.copy_from_slice(halves.1);
        next
    }
}

/// The factor by which a distance is multiplied.
fn scale(beta: f64) -> f32 {
    (beta * LOG2_E) as f32
}

/// The β that the kernel takes for this one: its factor is rounded to f32.
pub(crate) fn rounded_beta(beta: f64) -> f64 {
    f64::from(scale(beta)) / LOG2_E
}

/// A batch that passes through the device window by window: see [`ValuesStream`].
pub(crate) struct MomentsStream<E: Element>(ValuesStream<E>);

impl<E: Element> MomentsStream<E> {
    pub fn ahead(op: &RowMoments<E>, shape: Shape, start: Start) -> Result<Self> {
        Ok(Self(op.rows.ahead(shape, start)?))
    }

    pub fn window_rows(&self) -> usize {
        self.0.window_rows()
    }

    pub fn submit(&mut self, logits: Logits<'_, E>, rows: usize) -> Result<Flight> {
        self.0.submit(logits, &[], rows)
    }

    /// The records of a window's rows, [`MOMENT_WORDS`] words each.
    pub fn read(&mut self, back: Back, rows: usize) -> Result<Vec<u32>> {
        Ok(crate::op::rows::first(self.0.read(back, rows)?))
    }
}

/// What the sums need.
pub(crate) fn row_moments_needs() -> Needs {
    Needs {
        row_words: MOMENT_WORDS,
        // A vector of four sums.
        lane_bytes: 16,
        // The second read, and its chunks.
        further_reads: 2,
        // Six trees over the lanes, and a record.
        fixed_iterations: 20_000,
        ..Needs::default()
    }
}
