//! A comparison without a GPU: on the reference, with rows spread over the cores.

use super::pair::Pair;
use super::{ComparedRows, Comparison};
use crate::element::Element;
use crate::error::Result;
use crate::eval::cpu::{Cpu, WINDOW_BYTES};
use crate::eval::source::Source;
use crate::op::Start;

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
            Ok(Pair::new([loss(), loss()], Cpu::new(options.divergence(), shape, rows), options))
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
