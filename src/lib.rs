//! crate docs to come
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod device;
mod element;
mod error;
mod flags;
mod kernel;
mod op;
mod options;
mod shape;
mod targets;

pub mod reference;

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
