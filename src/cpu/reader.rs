//! The rows of a batch, one after the other.

use std::ops::Range;

use pulp::Simd;

use crate::cpu::narrow::{Group, NARROW};
use crate::cpu::row::Row;
use crate::cpu::simd::BLOCK;
use crate::element::Element;
use crate::shape::Shape;

/// No targets for [`Reader::next`].
pub(super) const NO_READOUTS: Option<fn(usize) -> usize> = None;

/// Reads a range of rows in their order, narrow ones in groups.
pub(super) struct Reader<'a, E> {
    logits: &'a [E],
    shape: Shape,
    rows: Range<usize>,
    temperature: f32,
    /// How many threads share a row.
    threads: usize,
    buffer: [f32; BLOCK],
    group: Group,
}

impl<'a, E: Element> Reader<'a, E> {
    pub fn new(
        (logits, shape): (&'a [E], Shape),
        rows: Range<usize>,
        temperature: f32,
        threads: usize,
    ) -> Self {
        Self { logits, shape, rows, temperature, threads, buffer: [0.0; BLOCK], group: Group::new() }
    }

    /// The row after the last one. `target` gives the class of a row's target, if its readouts are asked for.
    #[inline(always)]
    pub fn next<S: Simd>(
        &mut self,
        simd: S,
        row: usize,
        target: Option<impl Fn(usize) -> usize>,
    ) -> Row<'_, E> {
        let Self { logits, shape, .. } = *self;
        let is_narrow = shape.cols <= NARROW;
        let lane = (row - self.rows.start) % S::F32_LANES;
        if is_narrow && lane == 0 {
            self.group.read(simd, (logits, shape), (row, self.rows.end), self.temperature, target);
        }
        // The class axis is the last one.
        let start = row * shape.row_stride;
        let values = &logits[start..start + shape.cols];
        let member = is_narrow.then(|| self.group.member(lane));
        Row::new(values, self.temperature, self.threads, &mut self.buffer, member)
    }
}
