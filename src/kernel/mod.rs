//! Everything about WGSL: modules, pipelines, dispatches, and the plan that shapes them.

mod dispatch;
#[cfg(test)]
mod isa_tests;
mod params;
pub(crate) mod passes;
#[cfg(test)]
mod passes_tests;
mod plan;
#[cfg(test)]
mod plan_tests;
mod shader;
#[cfg(test)]
mod shaders_tests;
#[cfg(test)]
mod shared_tests;
mod tuning;
#[cfg(feature = "tuning-file")]
mod tuning_file;
#[cfg(test)]
mod writers_tests;

pub(crate) use dispatch::{Binding, Dispatch, Kernels};
pub(crate) use params::Params;
pub(crate) use plan::{INPUT_HEAD, Needs, Place, Plan, ROW_INPUT_BYTES, Window, Work, check_row_scratch};
pub use shader::{Shader, shaders};
pub use tuning::{Band, Tuning};
#[cfg(feature = "tuning-file")]
pub use tuning_file::SavedTuning;
