//! The engines of operations without a loss: operations with one value per logit (`map`), and with some values per row
//! (`values`).

mod map;
mod values;

pub(crate) use map::{HostMap, Map, MapBuffers, MapStream, RowMap, stats_switches};
pub(crate) use values::{RowArray, RowValues, ValuesOf, ValuesStream, first};
