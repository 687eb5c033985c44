//! What sums over the classes of rows: the device, or the reference.

use crate::coded::Logits;
use crate::element::Element;
use crate::error::Result;
use crate::op::{BETAS, Flight, MomentsStream, RowMoments, Start, rounded_beta};
use crate::shape::Shape;

pub(super) trait Summing<E: Element> {
    /// What the windows of a read share.
    type Windows;
    /// The records of a window's rows, on their way.
    type Records;

    /// Whether there is a device, and whether it reads windows from where the host has written them.
    fn device(&self) -> Option<bool>;

    /// The β that stands for this one.
    fn rounded(&self, beta: f64) -> f64;

    /// Begins to read at these β, and says how many rows a window has.
    fn open(&self, shape: Shape, betas: [f64; BETAS], start: Start) -> Result<(Self::Windows, usize)>;

    /// Takes the logits of the next window. At most the window before may still be on its way.
    fn submit(
        &self,
        windows: &mut Self::Windows,
        logits: Logits<'_, E>,
        window: Shape,
    ) -> Result<Self::Records>;

    /// The records of a window, [`MOMENT_WORDS`](crate::op::MOMENT_WORDS) words a row.
    fn land(&self, windows: &mut Self::Windows, records: Self::Records, rows: usize) -> Result<Vec<u32>>;
}

impl<E: Element> Summing<E> for RowMoments<E> {
    type Windows = MomentsStream<E>;
    type Records = Flight;

    fn device(&self) -> Option<bool> {
        Some(self.rows.engine.profile.unified_memory)
    }

    fn rounded(&self, beta: f64) -> f64 {
        rounded_beta(beta)
    }

    fn open(&self, shape: Shape, betas: [f64; BETAS], start: Start) -> Result<(MomentsStream<E>, usize)> {
        let stream = MomentsStream::ahead(&self.at(betas), shape, start)?;
        let step = stream.window_rows();
        Ok((stream, step))
    }

    fn submit(&self, windows: &mut MomentsStream<E>, logits: Logits<'_, E>, window: Shape) -> Result<Flight> {
        windows.submit(logits, window.rows)
    }

    fn land(&self, windows: &mut MomentsStream<E>, flight: Flight, rows: usize) -> Result<Vec<u32>> {
        let wait = self.rows.engine.gpu.blocking();
        windows.read(pollster::block_on(flight.land(wait))?, rows)
    }
}
