//! The engines of operations without a loss: those that give a value for each logit (`map`), and one for each row
//! (`values`).

mod map;
mod values;

pub(crate) use map::{HostMap, Map, MapBuffers, MapStream, RowMap, stats_switches};
pub(crate) use values::{PassOf, RowValues};
