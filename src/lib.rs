//! Softmax and cross-entropy on the GPU, through [wgpu].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod device;
mod element;
mod error;
pub mod eval;
mod flags;
mod kernel;
mod op;
mod options;
pub mod reference;
mod shape;
mod targets;

pub use device::{AdapterChoice, AdapterInfo, AdapterKind, Context, Profile};
pub use element::Element;
pub use error::{Error, Result};
pub use flags::Flags;
pub use kernel::Tuning;
pub use op::*;
pub use options::{CrossEntropyOptions, MaskedRow, Reduction, SoftmaxOptions};
pub use shape::Shape;
pub use targets::Targets;
pub use wgpu;
