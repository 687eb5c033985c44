//! NumPy's `.npy` files: logits and what comes with them, row losses and gradients into them. With the feature `npy`.
//!
//! Logits have any number of axes; targets, weights and masks have the same without the class axis, or one axis of all
//! rows: see [`NpyLayout`]. Logits and soft targets are read window by window at their place, never whole and never
//! mapped: a mapped file that shrinks kills the process. What is wrong with a file is an
//! [`Error::File`](crate::Error::File) that says so with numbers.

mod file;
mod header;
mod layout;
mod logits;
mod targets;
mod weights;
mod writer;

pub use layout::NpyLayout;
pub use logits::{NpyLogits, open_soft_targets};
pub use targets::{SparseTargets, read_sparse_targets, read_targets};
pub use weights::{read_class_weights, read_row_mask, read_row_weights};
pub use writer::{NpyValue, NpyWriter};

use crate::whole_file::file_error;
