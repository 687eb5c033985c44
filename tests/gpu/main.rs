//! Tests on a GPU: hardware, lavapipe or SwiftShader; one whose name holds `XENT_ADAPTER`, where that is set. They
//! fail where there is none.

mod batch;
mod bound;
mod buffers;
mod comparator;
mod compare;
mod concurrency;
mod elements;
mod errors;
mod expected;
mod extremes;
mod harness;
mod host;
mod invalid;
mod invariants;
mod kl_divergence;
mod layouts;
mod long_rows;
mod masked_softmax;
mod misuse;
mod options;
mod outputs;
mod properties;
mod reductions;
mod sequences;
mod sigmoid_bce;
mod softmax_backward;
mod sparse;
mod special;
mod special_options;
mod streams;
mod traps;
mod typed;
mod upstream;
mod windows;
mod worked;
