//! Everything about wgpu that is independent of the losses: adapters, limits, error scopes, transfers to and from the
//! device.

mod adapters;
mod copying;
mod opaque;
#[cfg(not(target_arch = "wasm32"))]
mod poller;
mod profile;
mod scope;
mod transfer;

pub use adapters::{AdapterChoice, AdapterInfo};
pub(crate) use copying::{Lines, copy_parts};
pub(crate) use opaque::Opaque;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use poller::Poller;
pub use profile::{AdapterKind, Profile};
pub(crate) use scope::scoped;
pub(crate) use transfer::{Buffers, InFlight, Landed, Transfer, Wait};
