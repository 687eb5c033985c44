//! Evaluation on the processor, in SIMD.

use crate::coded::{Codes, Logits};
use crate::cpu::{Processor, check_form};
use crate::element::Element;
use crate::error::Result;
use crate::eval::evaluated::Evaluated;
use crate::eval::evaluation::Evaluation;
use crate::eval::evaluator::Evaluator;
use crate::eval::source::{Source, reserved};
use crate::inputs::{BatchWeight, CrossEntropyInputs};
use crate::op::Start;
use crate::options::CrossEntropyOptions;
use crate::results::RowResult;
use crate::shape::Shape;

/// The maximum bytes of a window's widest array.
const WINDOW_BYTES: u64 = 16 << 20;

impl<E: Element> Evaluation<'_, E> {
    /// Like [`run`](Self::run), on the [processor](crate::cpu). With the feature `cpu`.
    ///
    /// # Errors
    /// Those of [`check_form`], before any logit is read; else as for [`run`](Self::run), except those of a device.
    pub fn run_on_processor(
        &mut self,
        cpu: &Processor,
        source: &mut dyn Source<E>,
        each: impl FnMut(&Evaluated<'_>) -> Result<()>,
    ) -> Result<()> {
        let (op, shape, batch) = (*self.op(), source.shape(), *self.weight());
        check_form(&op, self.layout(), shape)?;
        let footprint = self.footprint(None, source);
        let open = |start: Start| {
            let room = start.room.map_or(WINDOW_BYTES, |room| WINDOW_BYTES.min(room));
            let window_rows = footprint.groups(room) as usize;
            let (last, free) = (Window::default(), None);
            Ok(OnProcessor { cpu: *cpu, op, shape, batch, window_rows, last, free })
        };
        self.run_on(open, None, source, each)
    }
}

struct OnProcessor {
    cpu: Processor,
    op: CrossEntropyOptions,
    shape: Shape,
    /// The total weight of all rows.
    batch: BatchWeight,
    window_rows: usize,
    /// The window that was given last, and one whose memory the next can take.
    last: Window,
    free: Option<Window>,
}

/// Results (rows,), and the gradient.
#[derive(Default)]
struct Window {
    results: Vec<RowResult>,
    dlogits: Vec<f32>,
}

impl<E: Element> Evaluator<E> for OnProcessor {
    type Flight = Window;

    fn window_rows(&self) -> usize {
        self.window_rows
    }

    fn submit(
        &mut self,
        logits: Logits<'_, E>,
        _: Option<Codes<'_>>,
        rows: usize,
        inputs: &CrossEntropyInputs<'_>,
        with_dlogits: bool,
    ) -> Result<Window> {
        let shape = self.shape.with_rows(rows);
        let values = if with_dlogits { shape.len() } else { 0 };
        let mut window = match self.free.take() {
            Some(window) => window,
            None => Window {
                results: reserved("the results of a window", rows)?,
                dlogits: reserved("the gradient of a window", values)?,
            },
        };
        window.results.resize(rows, RowResult::default());
        window.dlogits.resize(values, 0.0);
        let dlogits = with_dlogits.then_some(&mut window.dlogits[..]);
        let of = (logits, inputs, shape, &self.op);
        self.cpu.rows(of, &self.batch, Some(&mut window.results), dlogits);
        Ok(window)
    }

    fn finish(
        &mut self,
        window: Window,
        _: &CrossEntropyInputs<'_>,
        dlogits: Option<&mut [f32]>,
    ) -> Result<&[RowResult]> {
        if let Some(dlogits) = dlogits {
            dlogits.copy_from_slice(&window.dlogits);
        }
        self.free = Some(std::mem::replace(&mut self.last, window));
        Ok(&self.last.results)
    }
}
