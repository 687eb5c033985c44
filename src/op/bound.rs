//! Bound operations: operations tied to one shape and one set of buffers.

use std::fmt;

use crate::error::{Error, Result};
use crate::kernel::Dispatch;
use crate::shape::Shape;

/// Makes the dispatches for a number of rows. In a browser, wgpu's objects stay on their thread.
pub(crate) trait Recipe: wgpu::WasmNotSendSync {
    fn dispatches(&self, rows: usize) -> Result<Vec<Dispatch>>;
}

impl<F: Fn(usize) -> Result<Vec<Dispatch>> + wgpu::WasmNotSendSync> Recipe for F {
    fn dispatches(&self, rows: usize) -> Result<Vec<Dispatch>> {
        self(rows)
    }
}

/// An operation bound to one shape and one set of buffers. All checks are done, and scratch and bind groups are made.
/// Encode it into compute passes of your own as often as you like.
pub struct Bound {
    shape: Shape,
    dispatches: Vec<Dispatch>,
    recipe: Box<dyn Recipe>,
}

impl Bound {
    pub(crate) fn new(shape: Shape, recipe: impl Recipe + 'static) -> Result<Self> {
        Ok(Self { shape, dispatches: recipe.dispatches(shape.rows)?, recipe: Box::new(recipe) })
    }

    /// How many rows the operation is bound for.
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    pub(crate) fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    /// How many bytes one encoding moves, counting the logits and arrays of the same layout. A loss reads the logits
    /// once. Softmax, and a loss with its gradient, read them twice (the second time from cache if a row fits there)
    /// and write the same amount once.
    pub fn bytes(&self) -> u64 {
        self.dispatches.iter().map(Dispatch::bytes).sum()
    }

    /// Records the dispatches into a compute pass. It submits nothing, writes nothing from the host, and cannot fail.
    ///
    /// The pass must belong to the device that the operation was built on: otherwise wgpu reports an error when the
    /// pass ends.
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        for dispatch in &self.dispatches {
            dispatch.record(pass);
        }
    }

    /// Like [`encode`](Self::encode), for the first `rows` rows only, for example for the last batch of an epoch. Makes
    /// a few small objects each time.
    ///
    /// # Errors
    /// [`Error::RowsExceedBound`]; [`Error::Layout`] if `rows` splits a group of rows side by side; whatever the device
    /// reports.
    pub fn encode_rows(&self, pass: &mut wgpu::ComputePass<'_>, rows: usize) -> Result<()> {
        let bound = self.shape.rows;
        if rows == bound {
            self.encode(pass);
            return Ok(());
        }
        if rows > bound {
            return Err(Error::RowsExceedBound { rows, bound });
        }
        self.shape.with_rows(rows).check()?;
        for dispatch in self.recipe.dispatches(rows)? {
            dispatch.record(pass);
        }
        Ok(())
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("rows", &self.shape.rows)
            .field("dispatches", &self.dispatches.len())
            .finish_non_exhaustive()
    }
}
