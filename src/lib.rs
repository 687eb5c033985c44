//! Softmax and cross-entropy on any GPU that [wgpu](https://wgpu.rs) reaches, software adapters included: stable, right
//! in every edge case, one read of the logits for a loss.
//!
//! ```no_run
//! use xent::{Context, CrossEntropy, Shape};
//!
//! let gpu = Context::new().wait()?;
//! let cross_entropy = CrossEntropy::<f32>::new(&gpu, &Default::default())?;
//!
//! // 2 rows (samples or tokens) × 3 cols (classes or vocabulary).
//! let logits = [2.0, 1.0, 0.5, 0.1, 3.0, 0.2];
//! let targets = [0, 1];
//! let shape = Shape::new(2, 3);
//!
//! let loss = cross_entropy.loss(&logits, &targets, shape).wait()?;
//! let (loss, dlogits) = cross_entropy.loss_and_dlogits(&logits, &targets, shape).wait()?;
//! let check = cross_entropy.verify(&logits, &targets, shape, 64).wait()?;
//! # Ok::<(), xent::Error>(())
//! ```
//!
//! # Three ways in
//!
//! * **Host slices**: the methods above. They cut batches of any size into windows. Each returns a [`Request`]: `.wait()?`
//!   blocks, `.await?` does not. Methods that end in `_into` write a result as large as the logits into a slice of yours.
//!   While a window computes, the next is written; where the adapter shares the processor's memory
//!   ([`Profile::unified_memory`]), straight into the kernels' own buffers. The buffers of two windows stay with the
//!   operation for its next call, until `free_idle_buffers` or its end.
//! * **Streams**: [`LossOp::stream`] and [`Softmax::stream`] take a batch window by window. [`eval`] drives them from
//!   slices, generators and files, for batches larger than memory.
//! * **Your own device, buffers and compute pass**: *build* an operation once on a [`Context`] around them, *bind* it
//!   once to a shape and to buffers, *encode* it as often as you like. Nothing is submitted for you, and nothing is
//!   read back.
//!
//! # Operations
//!
//! | operation | gives | reads of the logits |
//! | --- | --- | --- |
//! | [`CrossEntropy`] | loss, row losses, lse, argmax | 1 |
//! | [`CrossEntropy`] with an [`OutputBuffer`] for `dlogits` | the same and the gradient, in place if asked for | 2 |
//! | [`CrossEntropy`] of [`Input::LogProbs`] | negative log-likelihood, and its gradient | 1, 2 |
//! | [`KlDivergence`] | divergence from a teacher's logits, and its gradient | 1, 2 of each |
//! | [`SigmoidBce`] | multi-label loss, and its gradient | 1 |
//! | [`Softmax`] | probabilities, log-probabilities | 2 |
//! | [`SoftmaxBackward`] | the gradient behind them | 2 |
//! | [`MaskedSoftmax`] | attention's softmax: scaled, masked, causal | 2 |
//! | [`LogSumExp`] | ln Σ exp(logits) | 1 |
//! | [`Argmax`] | the most probable class | 1 |
//!
//! The three losses are one type, [`LossOp`], with their options: the same methods, streams and buffers. Each operation has
//! a twin in [`mod@reference`]: in f64, naive, to be read and to be checked against.
//!
//! # What a loss can be
//!
//! | | |
//! | --- | --- |
//! | [`Targets`] | class indices (i32, u32), a probability for each class, a few classes a row with probabilities |
//! | [`CrossEntropyOptions`] | label smoothing, temperature, softcap, z-loss, focal loss, ignored rows, mean or sum, what a batch of nothing gives, [`Sequences`] for next-token targets and prompts |
//! | [`CrossEntropyInputs`], [`RowInputs`] | class weights, row weights, a mask, upstream gradients |
//! | [`Element`] | logits in f32, f16 or bf16, all arithmetic in f32 |
//! | [`Shape`] | the class axis anywhere in an array of any number of axes, rows any distance apart |
//!
//! All go together, but for what has no meaning; that is an [`Error::InvalidOption`].
//!
//! ```no_run
//! use xent::{Context, CrossEntropy, CrossEntropyInputs, CrossEntropyOptions, Shape, Targets};
//!
//! let gpu = Context::new().wait()?;
//! let options = CrossEntropyOptions { label_smoothing: 0.1, z_loss: 1e-4, ..Default::default() };
//! let cross_entropy = CrossEntropy::<f32>::new(&gpu, &options)?;
//!
//! // One image of 3 classes and 2 × 2 pixels, as PyTorch lays it out; class 0 weighs half.
//! let logits = [2.0, 0.1, 0.5, 1.0, 1.0, 3.0, 0.5, 1.5, 0.5, 0.2, 4.0, 1.2];
//! let inputs = CrossEntropyInputs::new(Targets::Classes(&[0, 1, 2, -100])).class_weights(&[0.5, 1.0, 1.0]);
//! let (loss, dlogits) = cross_entropy.loss_and_dlogits(&logits, inputs, Shape::nd(&[1, 3, 2, 2], 1)?).wait()?;
//!
//! // Another temperature makes no pipeline anew.
//! let warmer = cross_entropy.with_options(&CrossEntropyOptions { temperature: 2.0, ..options })?;
//! # Ok::<(), xent::Error>(())
//! ```
//!
//! # What comes out at the edges
//!
//! As PyTorch's `F.cross_entropy`, unless said otherwise.
//!
//! | case | result |
//! | --- | --- |
//! | a logit is −∞ (masked) | probability 0, log-probability −∞, gradient 0 there; the rest finite |
//! | a logit of −∞ has target mass (its class, smoothing, a soft target) | loss +∞, gradient p·Σt − t, finite |
//! | every logit of a row is −∞ | NaN, or zeros by [`MaskedRow::Zero`]; in the flags |
//! | a logit is NaN or +∞ | the row is NaN; in the [`Flags`]. A NaN never disappears |
//! | a row is ignored, masked or of weight 0 | loss 0, gradient 0, not counted; its logits are not read |
//! | a factor is 0: a weight, a target's probability, ε, 1 − ε | its term is 0, also where the rest of it is ∞ |
//! | no row counts, or the weights sum to 0 | mean by [`EmptyBatch`]: NaN, 0 or an error; sum 0, gradient 0 |
//! | a target is out of range | host slices: [`Error::TargetOutOfRange`]; buffers: NaN loss, no gradient, in the flags |
//! | a weight is negative or not finite | host slices: [`Error::InvalidOption`]; buffers: NaN loss, in the flags |
//! | rows shifted by 1e4 … 1e8, logits of ±3.4e38 | the right finite answer, or +∞ where f32 ends |
//!
//! Results are the same bits for the same call on the same adapter and driver, whatever windows it was cut into.
//!
//! # Pitfalls
//!
//! Cross-entropy takes *logits*. Probabilities are logits too, of another distribution, and no error tells:
//!
//! ```
//! use xent::{Shape, SoftmaxOptions, Targets, reference};
//!
//! let (logits, targets) = ([4.0f32, 1.0, 0.2], Targets::Classes(&[0]));
//! let shape = Shape::new(1, 3);
//! let right = reference::cross_entropy::loss(&logits, targets, shape, &Default::default())?;
//!
//! let probs = reference::softmax(&logits, shape, &SoftmaxOptions::default())?;
//! let probs: Vec<f32> = probs.iter().map(|&p| p as f32).collect();
//! let wrong = reference::cross_entropy::loss(&probs, targets, shape, &Default::default())?;
//!
//! assert!((right - 0.0697).abs() < 1e-4);
//! assert!((wrong - 0.5955).abs() < 1e-4); // looks like a loss, and is none
//! # Ok::<(), xent::Error>(())
//! ```
//!
//! Others that teachers warn of: the logarithm of a softmax ([`Softmax::log_softmax`] stays finite where the probability
//! is 0 already); a mean over ignored rows (they do not count here); one-hot targets in a class-weighted mean (as in
//! PyTorch, class weights enter the denominator of class targets only, so the two means differ); a sum of row losses
//! under a mean's gradient (give [`Reduction::Sum`] and `row_upstream` instead); log-probabilities passed as logits
//! (harmless: their softmax is what they say; [`Input::LogProbs`] takes them as given).
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | gives |
//! | --- | --- |
//! | `npy`, `safetensors` | `eval::files`: tensors in such files, and in files of raw values, as sources of [`eval`]; and files of results |
//! | `ndarray` | views of `ndarray` arrays as sources of [`eval`] |
//! | `serde` | [`eval::EvaluationState`] and [`eval::Tally`] can be saved: a run goes on in another process |
//! | `tuning-file` | [`Tuning`]s can be saved and loaded |
//! | `cli` | the command-line tool, and what it needs |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bounds;
mod context;
mod device;
mod element;
mod error;
pub mod eval;
mod flags;
mod inputs;
mod kernel;
mod masks;
mod op;
mod options;
pub mod reference;
mod request;
mod shape;
mod target_kind;
mod targets;
mod verification;
#[cfg(feature = "whole-file")]
mod whole_file;

pub use context::Context;
pub use device::{AdapterChoice, AdapterInfo, AdapterKind, Profile};
pub use element::Element;
pub use error::{Error, Result};
pub use flags::Flags;
pub use half;
pub use inputs::{BatchWeight, CrossEntropyInputs, KlDivergenceInputs, RowInputs, SigmoidBceInputs};
#[cfg(feature = "tuning-file")]
pub use kernel::SavedTuning;
pub use kernel::{Band, Tuning};
pub use masks::{MaskRows, Masks};
pub use op::*;
pub use options::{
    Causal, CrossEntropyOptions, EmptyBatch, Input, KlDivergenceOptions, MaskedRow, MaskedSoftmaxOptions,
    Reduction, Sequences, SigmoidBceOptions, SoftmaxBackwardOptions, SoftmaxOptions,
};
pub use request::{Request, Running};
pub use shape::Shape;
pub use targets::{MAX_SPARSE_ENTRIES, RowTarget, TargetKind, Targets};
pub use verification::Verification;
pub use wgpu;

/// The README's samples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
