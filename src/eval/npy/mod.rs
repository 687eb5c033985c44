//! NumPy's `.npy` files: logits and targets from them, row losses and gradients into them. With the feature `npy`.
//!
//! A file is read window by window at its place, never whole and never mapped: a mapped file that shrinks kills the
//! process. What is wrong with a file is an [`Error::File`] that says so with numbers.

mod file;
mod header;
mod logits;
mod targets;
mod writer;

pub use logits::NpyLogits;
pub use targets::read_targets;
pub use writer::NpyWriter;

use std::path::Path;

use crate::error::Error;

fn file_error(path: &Path, message: impl ToString) -> Error {
    Error::File { path: path.display().to_string(), message: message.to_string() }
}
