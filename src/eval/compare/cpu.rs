//! A comparison without a GPU: on the reference, with rows spread over the cores.

use rayon::prelude::*;

use super::pair::{Pair, Tops};
use super::{ComparedRows, Comparison};
use crate::element::Element;
use crate::error::Result;
use crate::eval::cpu::{Cpu, WINDOW_BYTES};
use crate::eval::source::Source;
use crate::op::Start;
use crate::options::TopKOptions;
use crate::reference::top_k_row;
use crate::shape::Shape;

impl<E: Element> Comparison<'_, E> {
    /// Like [`run`](Self::run), on the f64 [`reference`](mod@crate::reference) and on all cores: for machines without an
    /// adapter. Results are rounded to f32, as a device gives them. With the feature `cli`.
    ///
    /// # Errors
    /// As for [`run`](Self::run), except those of a device.
    pub fn run_on_cpu(
        &mut self,
        base: &mut dyn Source<E>,
        other: &mut dyn Source<E>,
        memory: Option<u64>,
        each: impl FnMut(&ComparedRows<'_>) -> Result<()>,
    ) -> Result<()> {
        let (options, shape) = (self.options, self.shape);
        let footprint = self.footprint(None, [base, other]);
        let open = |start: Start| {
            let room = start.room.map_or(WINDOW_BYTES, |room| WINDOW_BYTES.min(room));
            let rows = footprint.groups(room) as usize * shape.inner;
            let loss = || Cpu::new(options.loss(), shape, rows);
            let tops = options.top(shape.cols).map(|top| [CpuTop { top, rows }, CpuTop { top, rows }]);
            Ok(Pair::new([loss(), loss()], Cpu::new(options.divergence(), shape, rows), tops))
        };
        self.run_on(open, None, [base, other], memory, each)
    }

    /// Like [`window_bytes`](Self::window_bytes), for [`run_on_cpu`](Self::run_on_cpu). With the feature `cli`.
    ///
    /// # Errors
    /// As for [`window_bytes`](Self::window_bytes).
    pub fn window_bytes_on_cpu(&self, sources: [&dyn Source<E>; 2], memory: Option<u64>) -> Result<u64> {
        let footprint = self.footprint(None, sources);
        Ok(footprint.bytes(super::room(&footprint, memory)?))
    }
}

/// The largest classes by a sort of each row.
struct CpuTop {
    top: TopKOptions,
    rows: usize,
}

impl<E: Element> Tops<E> for CpuTop {
    /// Classes (rows, k).
    type Flight = Vec<i32>;

    fn window_rows(&self) -> usize {
        self.rows
    }

    fn submit(&mut self, logits: &[E], window: Shape) -> Result<Vec<i32>> {
        let of_row = |row: usize| {
            top_k_row(&window.row_vec(logits, row), &self.top).into_iter().map(|(class, _)| class as i32)
        };
        Ok((0..window.rows).into_par_iter().flat_map_iter(of_row).collect())
    }

    fn finish(&mut self, classes: Vec<i32>, _: usize) -> Result<Vec<i32>> {
        Ok(classes)
    }
}
