//! All that is WGSL: modules, pipelines, dispatches, and the plan that shapes them.

mod dispatch;
pub(crate) mod module;
mod params;
mod plan;

pub(crate) use dispatch::{Binding, Dispatch, Kernels};
pub(crate) use module as passes;
pub(crate) use params::Params;
pub use plan::Tuning;
pub(crate) use plan::{Place, Plan, ROW_SCRATCH_BYTES, Window, row_scratch_limit};
