//! What `xent eval` writes.

use std::path::{Path, PathBuf};

use xent::Result;
use xent::eval::Evaluated;
use xent::eval::npy::{NpyLayout, NpyValue, NpyWriter};

use crate::args::OutputArgs;
use crate::output::FloatWriter;

/// The files that are written.
pub fn paths(args: &OutputArgs) -> Vec<&Path> {
    let OutputArgs { rows_out, grad_out, lse_out, argmax_out, .. } = args;
    [rows_out, grad_out, lse_out, argmax_out].into_iter().flatten().map(PathBuf::as_path).collect()
}

/// Files that grow window by window, and take their places together.
pub struct Outputs {
    rows: Option<NpyWriter>,
    grad: Option<FloatWriter>,
    lse: Option<NpyWriter>,
    argmax: Option<NpyWriter>,
}

impl Outputs {
    pub fn create(args: &OutputArgs, layout: &NpyLayout) -> Result<Self> {
        let row_dims = layout.row_dims();
        let grad = |path| FloatWriter::create(path, layout.dims(), args.out_dtype);
        Ok(Self {
            rows: create::<f32>(&args.rows_out, &row_dims)?,
            grad: args.grad_out.as_ref().map(grad).transpose()?,
            lse: create::<f32>(&args.lse_out, &row_dims)?,
            argmax: create::<u32>(&args.argmax_out, &row_dims)?,
        })
    }

    pub fn write(&mut self, window: &Evaluated<'_>) -> Result<()> {
        let results = || window.results.iter();
        if let Some(out) = &mut self.rows {
            out.write(&results().map(|result| result.loss).collect::<Vec<_>>())?;
        }
        if let (Some(out), Some(dlogits)) = (&mut self.grad, window.dlogits) {
            out.write(dlogits)?;
        }
        if let Some(out) = &mut self.lse {
            out.write(&results().map(|result| result.lse).collect::<Vec<_>>())?;
        }
        if let Some(out) = &mut self.argmax {
            out.write(&results().map(|result| result.argmax).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Brings all of them to the disk.
    pub fn flush(&mut self) -> Result<()> {
        let grad = self.grad.as_mut().map(|grad| &mut grad.file);
        let files = [self.rows.as_mut(), grad, self.lse.as_mut(), self.argmax.as_mut()];
        files.into_iter().flatten().try_for_each(NpyWriter::flush)
    }

    /// Puts all of them in their places.
    pub fn finish(self) -> Result<()> {
        let files = [self.rows, self.grad.map(|grad| grad.file), self.lse, self.argmax];
        files.into_iter().flatten().try_for_each(NpyWriter::finish)
    }
}

fn create<V: NpyValue>(path: &Option<PathBuf>, dims: &[usize]) -> Result<Option<NpyWriter>> {
    path.as_ref().map(|path| NpyWriter::create::<V>(path, dims)).transpose()
}
