//! Evaluation without a GPU: runs on the reference, with rows spread over the cores.

use rayon::prelude::*;

use crate::coded::{Codes, Logits};
use crate::element::Element;
use crate::error::Result;
use crate::eval::evaluated::Evaluated;
use crate::eval::evaluation::Evaluation;
use crate::eval::evaluator::Evaluator;
use crate::eval::losses::Evaluable;
use crate::eval::source::{Source, reserved};
use crate::inputs::BatchWeight;
use crate::op::Start;
use crate::results::RowResult;
use crate::shape::Shape;

#[expect(private_bounds, reason = "sealed")]
impl<E: Element, L: Evaluable> Evaluation<'_, E, L> {
    /// Like [`run`](Self::run), on the f64 [`reference`](mod@crate::reference) and on all cores: for machines without
    /// an adapter. Results are rounded to f32, as a device gives them. With the feature `cli`.
    ///
    /// # Errors
    /// As for [`run`](Self::run), except those of a device.
    pub fn run_on_cpu(
        &mut self,
        source: &mut dyn Source<E>,
        each: impl FnMut(&Evaluated<'_>) -> Result<()>,
    ) -> Result<()> {
        let (op, shape, batch) = (*self.op(), source.shape(), *self.weight());
        let footprint = self.footprint(None, source);
        let open = |start: Start| {
            let room = start.room.map_or(WINDOW_BYTES, |room| WINDOW_BYTES.min(room));
            let window_rows = footprint.groups(room) as usize * shape.inner;
            Ok(Cpu { op, shape, batch, window_rows, results: Vec::new() })
        };
        self.run_on(open, None, source, each)
    }

    /// Like [`window_bytes`](Self::window_bytes), for [`run_on_cpu`](Self::run_on_cpu). With the feature `cli`.
    ///
    /// # Errors
    /// As for [`window_bytes`](Self::window_bytes).
    pub fn window_bytes_on_cpu(&self, source: &dyn Source<E>) -> Result<u64> {
        self.window_bytes_on(None, source)
    }
}

/// The maximum bytes of a window's widest array.
pub(super) const WINDOW_BYTES: u64 = 16 << 20;

pub(super) struct Cpu<L> {
    op: L,
    shape: Shape,
    /// The total weight of all rows.
    batch: BatchWeight,
    window_rows: usize,
    /// The results of the last window.
    results: Vec<RowResult>,
}

impl<L: Evaluable> Cpu<L> {
    /// An evaluator without gradients.
    pub fn new(op: L, shape: Shape, window_rows: usize) -> Self {
        Self { op, shape, batch: BatchWeight::default(), window_rows, results: Vec::new() }
    }
}

impl<E: Element, L: Evaluable> Evaluator<E, L> for Cpu<L> {
    /// Results (rows,), and the gradient.
    type Flight = (Vec<RowResult>, Vec<f32>);

    fn window_rows(&self) -> usize {
        self.window_rows
    }

    fn submit(
        &mut self,
        logits: Logits<'_, E>,
        _: Option<Codes<'_>>,
        rows: usize,
        inputs: &L::Inputs<'_, E>,
        with_dlogits: bool,
    ) -> Result<Self::Flight> {
        let Self { op, batch, .. } = self;
        let shape = self.shape.with_rows(rows);
        let logits = &*logits.values(shape);
        let result = |row| op.row_result(logits, inputs, shape, row);
        let mut results = reserved("the results of a window", rows)?;
        results.par_extend((0..rows).into_par_iter().map(result));
        let values = if with_dlogits { shape.len() } else { 0 };
        let mut dlogits = reserved("the gradient of a window", values)?;
        dlogits.resize(values, 0.0);
        // Rows that lie side by side have no separate slice that a thread could write.
        dlogits.par_chunks_mut(shape.row_stride).enumerate().for_each(|(group, into)| {
            for slot in 0..shape.inner {
                let row = group * shape.inner + slot;
                let values = op.row_dlogits(logits, inputs, shape, batch, row);
                for (class, value) in values.into_iter().enumerate() {
                    into[slot + class * shape.inner] = value as f32;
                }
            }
        });
        Ok((results, dlogits))
    }

    fn finish(
        &mut self,
        (results, computed): Self::Flight,
        _: &L::Inputs<'_, E>,
        dlogits: Option<&mut [f32]>,
    ) -> Result<&[RowResult]> {
        self.results = results;
        if let Some(dlogits) = dlogits {
            dlogits.copy_from_slice(&computed);
        }
        Ok(&self.results)
    }
}
