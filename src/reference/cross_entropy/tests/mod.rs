//! Tests of the loss and its gradient.

mod batches;
mod derivatives;
mod edges;
mod integers;
mod properties;
mod sequences;
mod worked;

use crate::options::CrossEntropyOptions;
use crate::targets::RowTarget;

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;
const IGNORED: i32 = -100;

fn plain() -> CrossEntropyOptions {
    CrossEntropyOptions::default()
}

fn soft(probs: &[f32]) -> RowTarget<'_> {
    RowTarget::Soft(probs.into())
}

fn sparse<'a>(indices: &'a [i32], probs: &'a [f32]) -> RowTarget<'a> {
    RowTarget::Sparse { indices, probs }
}
