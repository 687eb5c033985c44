//! What a loss gives: results of rows, of parts of rows, and of batches.

mod exact_sum;
mod info_nce;
mod loss;
mod merged;
mod partials;
mod row;
mod samples;
mod sum;
mod top;

pub(crate) use exact_sum::{ExactSum, ProductSum};
pub(crate) use info_nce::log_scale_term;
pub use info_nce::{InfoNceGradients, InfoNceLoss, InfoNceRecord};
pub use loss::{Loss, LossRecord};
pub use partials::RowPartials;
pub(crate) use row::LEFT_OUT;
pub use row::{NO_CLASS, RowResult};
pub use samples::{AcceptedDrafts, Samples};
pub use sum::LossSum;
pub use top::TopClasses;
