//! Tests on a GPU: hardware, lavapipe or SwiftShader; one whose name holds `XENT_ADAPTER`, where that is set. They
//! fail where there is none.

mod batch;
mod bound;
mod buffers;
mod compare;
mod concurrency;
mod errors;
mod expected;
mod harness;
mod layout;
mod long_rows;
mod misuse;
mod outputs;
mod properties;
mod reductions;
mod special;
mod streams;
mod windows;
mod worked;
