//! The engines of operations without a loss: operations with one value per logit (`map`, whose public type is in `op`), and with
//! some values per row (`values`). `backward` has what backward passes are.

mod backward;
mod map;
mod op;
mod values;

pub use backward::BackwardBuffers;
pub(crate) use backward::BackwardKind;
pub use map::MapStream;
pub(crate) use map::{HostMap, Map, MapBuffers, RowMap, stats_switches};
pub(crate) use op::sealed;
pub use op::{MapKind, MapOp};
pub(crate) use values::{Around, RowArray, RowValues, ValuesOf, ValuesStream, first};
