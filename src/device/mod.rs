//! All that is wgpu and nothing that is loss: adapters, limits, error scopes, bytes to and from the device.

mod adapters;
mod copying;
mod profile;
mod scope;
mod transfer;

pub use adapters::{AdapterChoice, AdapterInfo};
pub(crate) use copying::{Lines, copy_parts};
pub use profile::{AdapterKind, Profile};
pub(crate) use scope::scoped;
pub(crate) use transfer::{Buffers, InFlight, Landed, Transfer, Wait};
