//! Tensors in files: reads logits and their inputs, and writes row losses and gradients. The feature `npy` is for
//! NumPy's `.npy`, the feature `npz` for its archives (read only), the feature `safetensors` for Hugging Face's `.safetensors`. Files of raw values need either
//! feature, and so do llama.cpp's saved logits (`llama-perplexity --save-all-logits`, read only): their log-probabilities are
//! codes, which kernels widen themselves; for everything else they are widened to f32 as they are read. Opened as
//! [`Wanted::Classes`] they give their targets.
//!
//! A [`TensorFile`] is a tensor in a file, in several shards, or in a stream; [`FileLogits`] makes a
//! [`Source`](super::Source) of it. Logits have any number of axes. Targets, weights and masks have the same axes
//! without the class axis, or one axis of all rows: see [`Layout`]. Headers are checked before anything else is read.
//! Values are read window by window at their position, never as a whole and never mapped, because a mapped file that
//! shrinks kills the process. Targets, row weights and masks are [`FileRows`]. An evaluation reads them twice: before
//! its first window, and with each window. An error in a file is an [`Error::File`](crate::Error::File) that states the
//! numbers.
//!
//! ```no_run
//! use xent::eval::files::{FileLogits, FileRows, OpenOptions, TensorFile, Wanted};
//! use xent::eval::{TargetSource, evaluate};
//! use xent::{Context, CrossEntropy};
//!
//! let gpu = Context::new().wait()?;
//! let op = CrossEntropy::<f32>::new(&gpu, &Default::default())?;
//! let mut logits = FileLogits::<f32>::open("batch.safetensors", -1)?;
//! let targets = TensorFile::open("batch.safetensors", &OpenOptions::of(Wanted::Classes))?;
//! let mut targets = FileRows::targets(targets, logits.layout(), &[-100])?;
//! let targets = TargetSource::Classes(&mut targets);
//! let report = evaluate(&op, &mut logits, targets, &Default::default(), |_| Ok(()))?;
//! println!("{} nats", report.mean());
//! # Ok::<(), xent::Error>(())
//! ```

mod dtype;
mod foreign;
mod format;
#[cfg(all(test, feature = "npy", feature = "safetensors"))]
mod fuzz;
mod input;
mod layout;
mod llama_cpp;
mod logits;
#[cfg(feature = "npy")]
mod npy_header;
#[cfg(feature = "npz")]
mod npz;
mod options;
mod order;
mod rows;
#[cfg(feature = "safetensors")]
mod safetensors_header;
mod sequences;
mod shards;
mod targets;
mod tensor;
#[cfg(all(test, feature = "npz", feature = "safetensors"))]
mod tensor_tests;
mod text;
mod weights;
mod writer;

pub use dtype::Dtype;
pub use format::FileFormat;
pub use layout::Layout;
pub use llama_cpp::{different_token, floored_targets, is_llama_cpp};
pub use logits::{FileLogits, open_labels, open_mask, open_soft_targets, open_teacher};
pub use options::{OpenOptions, RawLayout, Wanted};
pub use rows::FileRows;
pub use sequences::read_sequence_ends;
pub use shards::shard_paths;
pub use targets::sparse_targets;
pub use tensor::TensorFile;
pub use weights::{read_class_weights, read_pos_weight};
pub use writer::{TensorValue, TensorWriter};

pub use crate::whole_file::partial_path;

use crate::whole_file::file_error;
