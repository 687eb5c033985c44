//! What `xent eval` writes.

use std::path::{Path, PathBuf};

use xent::Result;
use xent::eval::Evaluated;
use xent::eval::files::{Layout, TensorValue, TensorWriter};

use crate::args::{Dtype, OutputArgs};
use crate::output::FloatWriter;

/// The files that are written.
pub fn paths(args: &OutputArgs) -> Vec<&Path> {
    let OutputArgs { rows_out, grad_out, lse_out, argmax_out, .. } = args;
    [rows_out, grad_out, lse_out, argmax_out].into_iter().flatten().map(PathBuf::as_path).collect()
}

/// Files that grow window by window, and take their places together.
pub struct Outputs {
    rows: Option<TensorWriter>,
    grad: Option<FloatWriter>,
    lse: Option<TensorWriter>,
    argmax: Option<TensorWriter>,
}

impl Outputs {
    /// Begins them, in the formats that their names say; `dtype` is the logits'.
    pub fn create(args: &OutputArgs, layout: &Layout, dtype: Dtype) -> Result<Self> {
        let row_dims = layout.row_dims();
        let dtype = args.out_dtype.unwrap_or(dtype);
        let grad = |path: &PathBuf| FloatWriter::create(path, "dlogits", layout.dims(), dtype);
        Ok(Self {
            rows: create::<f32>(&args.rows_out, "row_losses", &row_dims)?,
            grad: args.grad_out.as_ref().map(grad).transpose()?,
            lse: create::<f32>(&args.lse_out, "lse", &row_dims)?,
            argmax: create::<u32>(&args.argmax_out, "argmax", &row_dims)?,
        })
    }

    /// Goes on with those that were kept, behind the first rows.
    pub fn resume(args: &OutputArgs, layout: &Layout, dtype: Dtype, rows: usize) -> Result<Self> {
        let row_dims = layout.row_dims();
        let dtype = args.out_dtype.unwrap_or(dtype);
        let values = rows * layout.shape().cols;
        let grad = |path: &PathBuf| FloatWriter::resume(path, "dlogits", layout.dims(), dtype, values);
        Ok(Self {
            rows: resume::<f32>(&args.rows_out, "row_losses", &row_dims, rows)?,
            grad: args.grad_out.as_ref().map(grad).transpose()?,
            lse: resume::<f32>(&args.lse_out, "lse", &row_dims, rows)?,
            argmax: resume::<u32>(&args.argmax_out, "argmax", &row_dims, rows)?,
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
        files.into_iter().flatten().try_for_each(TensorWriter::flush)
    }

    /// Keeps what has been written so far, to go on with.
    pub fn keep_partial(self) -> Result<()> {
        let files = [self.rows, self.grad.map(|grad| grad.file), self.lse, self.argmax];
        files.into_iter().flatten().try_for_each(TensorWriter::keep_partial)
    }

    /// Puts all of them in their places.
    pub fn finish(self) -> Result<()> {
        let files = [self.rows, self.grad.map(|grad| grad.file), self.lse, self.argmax];
        files.into_iter().flatten().try_for_each(TensorWriter::finish)
    }
}

fn create<V: TensorValue>(
    path: &Option<PathBuf>,
    name: &str,
    dims: &[usize],
) -> Result<Option<TensorWriter>> {
    path.as_ref().map(|path| TensorWriter::create(path, name, V::DTYPE, dims)).transpose()
}

fn resume<V: TensorValue>(
    path: &Option<PathBuf>,
    name: &str,
    dims: &[usize],
    done: usize,
) -> Result<Option<TensorWriter>> {
    path.as_ref().map(|path| TensorWriter::resume(path, name, V::DTYPE, dims, done)).transpose()
}
