//! The engines of operations without a loss: operations with one value per logit (`map`), and with some values per row
//! (`values`). `backward` has what backward passes are.

mod backward;
mod map;
mod values;

pub(crate) use backward::verified;
pub(crate) use map::{HostMap, Map, MapBuffers, MapStream, RowMap, stats_switches};
pub(crate) use values::{RowArray, RowValues, ValuesOf, ValuesStream, first};
