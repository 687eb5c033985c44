//! Softmax and cross-entropy on any GPU that [wgpu](https://wgpu.rs) supports, software adapters included. Numerically
//! stable, correct in every edge case, and a loss reads the logits once.
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
//! New to softmax and cross-entropy, or unsure which loss and which option you need? Read the [`guide`].
//!
//! # Three ways to use it
//!
//! * **Host slices**: the methods above. They split a batch of any size into windows. Each returns a [`Request`]:
//!   `.wait()?` blocks, `.await?` does not. Methods that end in `_into` write a result as large as the logits into a
//!   slice of yours. While the device computes one window, the host writes the next. On an adapter that shares the
//!   processor's memory ([`Profile::unified_memory`]), it writes directly into the kernels' own buffers. The operation
//!   keeps the buffers of two windows for its next call, until you call `free_idle_buffers` or drop the operation.
//! * **Streams**: [`LossOp::stream`] and [`Softmax::stream`] take a batch window by window. [`eval`] drives them from
//!   slices, generators and files, for batches larger than memory.
//! * **Your own device, buffers and compute pass**: *build* an operation once on a [`Context`] around them, *bind* it
//!   once to a shape and to buffers, *encode* it as often as you like. Nothing is submitted for you, and nothing is
//!   read back. If a buffer (or the size that you bind) has room behind the last value, up to 31 bytes of it are read with
//!   that value and never changed. With room up to the next multiple of 32 bytes, more shapes share a pipeline.
//!
//! # Operations
//!
//! | operation | gives | reads of the logits |
//! | --- | --- | --- |
//! | [`CrossEntropy`] | loss, row losses, lse, argmax, and whatever [`RowFields`] asks for | 1 |
//! | [`CrossEntropy`] with an [`OutputBuffer`] for `dlogits` | these and the gradient, in place if asked for | 2 |
//! | [`CrossEntropy`] of [`Input::LogProbs`] | negative log-likelihood, and its gradient | 1, 2 |
//! | [`KlDivergence`] | divergence from a teacher's logits, and its gradient | 1, 2 of each |
//! | [`SigmoidBce`] | multi-label loss, and its gradient | 1 |
//! | [`EntmaxLoss`] | the loss of a model whose output is an entmax, and its gradient | 1, 2 |
//! | [`InfoNce`] | the contrastive loss of a batch's pairs, and its gradient, that of a learned temperature too | 2, 4 |
//! | [`SampledSoftmax`] | the loss of each row's class among a few drawn ones ([`NegativeSampler`]), and its gradient | 1, 2 |
//! | [`Softmax`] | probabilities, log-probabilities | 2 |
//! | [`SoftmaxBackward`] | the gradient of a softmax | 2 |
//! | [`Entmax`], [`EntmaxBackward`] | α-entmax and sparsemax, like softmax with exact zeros, and their gradient | 2, more with thousands of nearly equal logits |
//! | [`MaskedSoftmax`] | attention's softmax: scaled, masked, causal | 2 |
//! | [`LogSumExp`] | ln Σ exp(logits) | 1 |
//! | [`Argmax`] | the most probable class | 1 |
//! | [`TopK`] | the k largest classes, sorted, with logits or probabilities | 1, parts of it twice; more with many equal values |
//! | [`eval::calibrate::Calibrator`] | the temperature that makes the mean loss of held-out rows smallest | 2, at most four times |
//! | [`eval::compare::Comparator`] | two models on the same rows: divergence, losses, predictions | 2 of each |
//! | [`Sampler`] | tokens, greedy or drawn, after [`ScoreChanges`] and truncations by [`Sampling`] | 2, and up to 12 for each truncation; 2 more, and a copy, with changes; up to 5 more without replacement |
//! | [`SpeculativeChain`] | the accepted drafts of a chain, and the token after them | one position, at most 4 times |
//!
//! The four losses are one type, [`LossOp`], with different options: the methods, streams and buffers are the same.
//! Operations that give a value for each logit are one type, [`MapOp`].
//! Each operation has a counterpart in [`mod@reference`]: in f64, naive, to read and to check against.
//!
//! # Options and inputs of a loss
//!
//! | | |
//! | --- | --- |
//! | [`Targets`] | class indices (i32, i64, u32, usize), a probability for each class, or a few classes per row with probabilities |
//! | [`CrossEntropyOptions`] | label smoothing, temperature, softcap, z-loss, focal loss, ignored rows, mean or sum, the result of an empty batch, [`Sequences`] for next-token targets and prompts |
//! | [`CrossEntropyInputs`], [`RowInputs`] | class weights, row weights, a mask, upstream gradients |
//! | [`Element`] | logits in f32, f16 or bf16, all arithmetic in f32 |
//! | [`Shape`] | the class axis anywhere in an array with any number of axes, any row stride |
//!
//! Structs of options, inputs and buffers may get more fields: end a literal with `..Default::default()`, or with the
//! constructor that the struct's page names.
//!
//! All of these can be combined, except combinations that have no meaning: those give [`Error::InvalidOption`].
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
//! // Another temperature compiles no new pipeline.
//! let warmer = cross_entropy.with_options(&CrossEntropyOptions { temperature: 2.0, ..options })?;
//! # Ok::<(), xent::Error>(())
//! ```
//!
//! # What one read of a row tells
//!
//! The read of the logits that gives a loss also tells how certain the row is and where its target ranks. Ask for it by
//! [`RowFields`], and [`LossOp::row_results`], streams and a bound buffer of records give it: the target's probability
//! and its logarithm, the largest probability, entropy, rank and the mass ahead of the target, the Brier score, the
//! margin, the smallest and the mean logit. What is not asked for is not computed.
//!
//! ```no_run
//! use xent::{Context, CrossEntropy, CrossEntropyOptions, RowFields, Shape};
//!
//! let gpu = Context::new().wait()?;
//! let row_fields = RowFields::TARGET_PROB | RowFields::RANK | RowFields::ENTROPY;
//! let options = CrossEntropyOptions { row_fields, ..Default::default() };
//! let op = CrossEntropy::<f32>::new(&gpu, &options)?;
//! let rows = op.row_results(&[2.0, 1.0, 0.5, 0.1, 3.0, 0.2], &[0, 2], Shape::new(2, 3)).wait()?;
//! assert_eq!((rows[0].rank, rows[1].rank), (1, 2));
//! # Ok::<(), xent::Error>(())
//! ```
//!
//! [`RowPartials`] are what a part of a row's columns tells: parts on several devices combine to the row. With a
//! [`VocabularyShard`], each device holds some columns of every row, and gets the gradient of its own.
//!
//! # Edge cases
//!
//! Results match PyTorch's `F.cross_entropy` unless stated otherwise.
//!
//! | case | result |
//! | --- | --- |
//! | a logit is −∞ (masked) | probability 0, log-probability −∞, gradient 0 there; the rest is finite |
//! | a logit of −∞ has target mass (its class, smoothing, a soft target) | loss +∞, gradient p·Σt − t, finite |
//! | every logit of a row is −∞ | NaN, or zeros with [`MaskedRow::Zero`]; reported in the flags |
//! | a logit is NaN or +∞ | the row is NaN; reported in the [`Flags`]. A NaN never disappears |
//! | a row is ignored, masked or of weight 0 | loss 0, gradient 0, not counted; its logits are not read |
//! | a factor is 0: a weight, a target's probability, ε, 1 − ε | its term is 0, even where the other factor is ∞ |
//! | no row counts, or the weights sum to 0 | mean by [`EmptyBatch`]: NaN, 0 or an error; sum 0, gradient 0 |
//! | a target is out of range | host slices: [`Error::TargetOutOfRange`]; buffers: NaN loss, no gradient, reported in the flags |
//! | a weight is negative or not finite | host slices: [`Error::InvalidOption`]; buffers: NaN loss, reported in the flags |
//! | rows shifted by 1e4 … 1e8, logits of ±3.4e38 | the correct finite result, or +∞ beyond f32's range |
//!
//! The same call on the same adapter and driver gives the same bits, however the batch was split into windows.
//!
//! # Pitfalls
//!
//! Cross-entropy takes *logits*. Probabilities passed as logits give a wrong loss, and no error reports it:
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
//! assert!((wrong - 0.5955).abs() < 1e-4); // looks like a loss, but is wrong
//! # Ok::<(), xent::Error>(())
//! ```
//!
//! [The guide's chapter](guide::pitfalls) has more of these with their numbers. Other common mistakes: the logarithm of a softmax ([`Softmax::log_softmax`] stays finite where the probability has
//! underflowed to 0); a mean over ignored rows (they do not count here); one-hot targets in a class-weighted mean (as
//! in PyTorch, class weights enter the denominator for class targets only, so the two means differ); a sum of row
//! losses with a mean's gradient (use [`Reduction::Sum`] and `row_upstream` instead); log-probabilities passed as
//! logits (harmless: their softmax gives the same probabilities; [`Input::LogProbs`] uses them without another
//! softmax).
//!
//! # In a browser
//!
//! The library compiles for `wasm32-unknown-unknown` and runs on the browser's WebGPU, on a page or in a worker. The
//! operations, options and results are the same, and so are the error bounds. What differs:
//!
//! * Nothing blocks. There is no `Request::wait`: `.await` a [`Request`], while the browser polls the device. There is no
//!   [`eval`], which waits for the device and reads on threads; take a batch window by window with [`LossOp::stream`].
//!   Only requests are async: operations are built, bound and encoded by ordinary calls, as everywhere.
//! * A request's future is not `Send`, because wgpu's objects stay on the thread that made them.
//! * [`Context::with_timeout`] and [`Context::with_poller`] change nothing, and [`Profile::name`] is often empty.
//!
//! ```
//! use xent::{Context, CrossEntropy, Result, Shape};
//!
//! async fn loss(logits: &[f32], targets: &[i32], shape: Shape) -> Result<f64> {
//!     let gpu = Context::new().await?;
//!     let op = CrossEntropy::<f32>::new(&gpu, &Default::default())?;
//!     Ok(op.loss(logits, targets, shape).await?.value)
//! }
//! ```
//!
//! # The shaders
//!
//! [`shaders`] gives every WGSL module that the operations run, complete and with a comment that says what it is for.
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | gives |
//! | --- | --- |
//! | `cpu` | [`cpu`](mod@cpu): softmax, cross-entropy and its gradient on the processor, in SIMD, and as a device of [`eval`] |
//! | `cpu-avx512` | AVX-512 for `cpu`, on processors that have it; needs Rust 1.89 |
//! | `npy`, `npz`, `safetensors` | `eval::files`: tensors in these files, and in files of raw values, as sources of [`eval`]; and result files |
//! | `ndarray` | views of `ndarray` arrays as logits of every operation (`from_ndarray`), and as sources of [`eval`] |
//! | `serde` | [`eval::EvaluationState`] and [`eval::Tally`] can be saved, to resume a run in another process |
//! | `tuning-file` | [`Tuning`]s can be saved and loaded |
//! | `cli` | the command-line tool and its dependencies |
#![forbid(unsafe_code)]
#![warn(missing_docs)]
// In a browser there is no `eval`, so what only `eval` uses is not used, and wgpu's objects stay on their thread.
#![cfg_attr(target_arch = "wasm32", allow(dead_code, unused_imports, clippy::arc_with_non_send_sync))]

pub mod bounds;
mod coded;
mod context;
#[cfg(feature = "cpu")]
pub mod cpu;
mod device;
mod element;
mod error;
#[cfg(not(target_arch = "wasm32"))]
pub mod eval;
mod flags;
#[cfg(doc)]
pub mod guide;
mod inputs;
mod kernel;
mod masks;
mod op;
mod options;
pub mod reference;
mod request;
mod results;
mod row_fields;
mod shape;
#[cfg(test)]
mod structs_tests;
mod target_kind;
mod targets;
mod verification;
#[cfg(feature = "ndarray")]
mod views;
#[cfg(feature = "whole-file")]
mod whole_file;

pub use context::Context;
pub use device::{AdapterChoice, AdapterInfo, AdapterKind, Profile};
pub use element::Element;
pub use error::{Error, Result};
pub use flags::Flags;
pub use half;
pub use inputs::{
    BatchWeight, CrossEntropyInputs, DrawnNegatives, KlDivergenceInputs, Negative, NegativeSampler,
    Negatives, NegativesKind, RowInputs, SampledSoftmaxInputs, SigmoidBceInputs,
};
#[cfg(feature = "tuning-file")]
pub use kernel::SavedTuning;
pub use kernel::{Band, Shader, Tuning, shaders};
pub use masks::{MaskRows, Masks};
pub use op::*;
pub use options::{
    CalibratorOptions, Causal, ComparatorOptions, CrossEntropyOptions, EmptyBatch, EntmaxBackwardOptions,
    EntmaxLossOptions, EntmaxOptions, InfoNceOptions, Input, KlDivergenceOptions, MAX_SAMPLES, MAX_TOP_K,
    MaskedRow, MaskedSoftmaxOptions, Reduction, SampledSoftmaxOptions, SamplerOptions, Sampling,
    ScoreChanges, ScoreRecords, SequenceUnit, Sequences, SigmoidBceOptions, SoftmaxBackwardOptions,
    SoftmaxOptions, StepOrder, TopKOptions, TopValues, Truncations, VocabularyShard,
};
pub use request::{Request, Running};
pub use results::{
    AcceptedDrafts, InfoNceGradients, InfoNceLoss, InfoNceRecord, Loss, LossRecord, LossSum, NO_CLASS,
    RowPartials, RowResult, Samples, TopClasses,
};
pub use row_fields::RowFields;
pub use shape::Shape;
pub use targets::{MAX_SPARSE_ENTRIES, RowTarget, TargetKind, Targets};
pub use verification::Verification;
#[cfg(feature = "ndarray")]
pub use views::{from_ndarray, from_ndarray_part};
pub use wgpu;

/// Compiles the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
