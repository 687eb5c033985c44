//! Turns a shape on a device into windows and dispatches within every limit. It needs no GPU, so a test can check it
//! against the limits for a hundred thousand shapes.

use crate::device::Profile;
use crate::error::{Error, Result};
use crate::kernel::tuning::Tuning;
use crate::row_fields::RowFields;
use crate::shape::Shape;

/// The maximum number of loop iterations of an invocation, over all its loops: lavapipe silently stops a shader after
/// 65,535.
pub(crate) const MAX_ITERATIONS: u64 = 60_000;

/// Bytes of workgroup memory for one invocation's statistics, and the bytes that a workgroup takes besides them.
pub(super) const LANE_BYTES: u32 = 28;
/// Bytes for one invocation's sums for readouts, if they are asked for.
pub(super) const READOUT_BYTES: u32 = 32;
pub(super) const SAVED_BYTES: u32 = 8 * crate::targets::MAX_SPARSE_ENTRIES as u32;
/// Bytes of workgroup memory per invocation for the statistics of a row in two batches. Nothing else is stored.
pub(super) const PAIR_LANE_BYTES: u32 = 32;

/// Values of the largest and of the smallest load.
const PACK_VALUES: u64 = 8;
const QUAD_VALUES: u64 = 4;
/// Values per step, and steps per chunk: as in `shaders/common/row_span.wgsl` and `sweep_stats.wgsl`.
pub(super) const STEP_VALUES: u64 = 16;
pub(super) const CHUNK_STEPS: u64 = 32;

/// Device bytes for a window of a host batch's logits. It is large enough that the work of a submission far exceeds its
/// cost, and small enough that two windows with all their buffers stay below half a gigabyte. (On lavapipe, 16,384 ×
/// 50,000 took 1.18 times the kernel and the copy with windows of 32 MiB, and 1.09 times with 64 MiB.)
const fn host_window_bytes(is_unified: bool) -> u64 {
    // Staging takes the same amount again.
    if is_unified { 64 << 20 } else { 32 << 20 }
}

/// The maximum number of rows in such a window, so that their results stay in the processor's cache until they are
/// summed.
const HOST_WINDOW_ROWS: usize = 1 << 17;

/// Bytes of scratch for a row's input.
pub(crate) const ROW_INPUT_BYTES: u64 = 16;
/// Records before the first row's input: `INPUT_HEAD` in `shaders/common/row_input.wgsl`.
pub(crate) const INPUT_HEAD: usize = 2;

/// The maximum number of segments per row, and the maximum bytes of a segment's statistics.
const MAX_SEGMENTS: u64 = 1024;
const SEGMENT_BYTES: u64 = 64;

/// The maximum number of rows whose inputs fit into one binding, and also their results of `words` words.
fn row_scratch_limit(profile: &Profile, words: usize) -> usize {
    usize::try_from(profile.max_binding_bytes / ROW_INPUT_BYTES.max(4 * words as u64))
        .unwrap_or(usize::MAX)
        .min(u32::MAX as usize / 2)
        .saturating_sub(INPUT_HEAD)
}

/// Refuses rows whose inputs, or whose results of `words` words, do not fit into one binding.
pub(crate) fn check_row_scratch(profile: &Profile, rows: usize, words: usize) -> Result<()> {
    let limit = row_scratch_limit(profile, words);
    if rows <= limit { Ok(()) } else { Err(Error::TooManyRows { rows, limit }) }
}

/// The work to divide: a shape, the bytes of its values, and what is done for a row besides sweeping it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Work {
    pub shape: Shape,
    /// Bytes per logit.
    pub element_bytes: u64,
    /// Bytes per value of the widest array with the logits' layout: output, soft targets.
    pub widest_bytes: u64,
    /// Entries per row of sparse targets, or 0.
    pub entries: usize,
    /// Whether a value is written for each logit.
    pub writes: bool,
    /// Whether the passes can split a row among several workgroups.
    pub splits: bool,
    pub needs: Needs,
    pub tuning: Option<Tuning>,
}

/// What a pass needs for each row, lane and workgroup, besides a row's statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Needs {
    /// Words of 4 bytes in the results of a row.
    pub row_words: usize,
    /// Bytes of workgroup memory for each invocation, and for the workgroup.
    pub lane_bytes: u32,
    pub shared_bytes: u32,
    /// Whether a workgroup has one row only, of any length.
    pub is_alone: bool,
    /// Reads of the row after the first, one pack at a time.
    pub further_reads: u64,
    /// Loop iterations of all lanes together, and of each lane, whatever the row's length.
    pub fixed_iterations: u64,
    pub own_iterations: u64,
}

impl Needs {
    /// The needs of a loss with these results of each row.
    pub fn of(fields: RowFields) -> Self {
        let lane_bytes = if fields.intersects(RowFields::SWEPT) { READOUT_BYTES } else { 0 };
        Self { row_words: fields.words(), lane_bytes, ..Self::default() }
    }

    /// Loop iterations of a lane.
    pub(super) fn iterations(&self, cols: u64, lanes: u32) -> u64 {
        let lanes = u64::from(lanes);
        let reads = self.further_reads * cols.div_ceil(QUAD_VALUES * lanes);
        reads + self.fixed_iterations.div_ceil(lanes) + self.own_iterations
    }
}

impl Work {
    /// The largest power of two of invocations that fits into the device's workgroups, with all that they need.
    fn most_invocations(&self, profile: &Profile) -> u32 {
        let (most, Needs { lane_bytes, shared_bytes, .. }) = (Tuning::most_invocations(profile), self.needs);
        if lane_bytes + shared_bytes == 0 {
            return most;
        }
        let saved = if self.entries > 0 { SAVED_BYTES } else { 0 };
        let fit = profile.workgroup_memory.saturating_sub(saved + shared_bytes) / (LANE_BYTES + lane_bytes);
        most.min(1 << fit.max(1).ilog2())
    }
}

/// How the invocations of a workgroup share its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seats {
    /// Invocations that share one row.
    pub lanes: u32,
    /// Rows per workgroup.
    pub rows: u32,
}

/// How workgroups share a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// Segments per row, each with its own workgroup; 1 if rows are not split.
    pub segments: u32,
    /// Values per segment: whole steps of all its lanes.
    pub segment_values: u32,
}

/// How a batch is divided.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub seats: Seats,
    pub split: Split,
    work: Work,
    window_rows: usize,
    max_workgroups: u32,
    max_binding_bytes: u64,
}

/// A range of rows of a batch, small enough for one binding and one dispatch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub first_row: usize,
    pub rows: usize,
    pub grid: [u32; 2],
}

/// The position of a window in a buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    /// The binding's offset in bytes, aligned.
    pub offset: u64,
    /// The binding's size in bytes.
    pub size: u64,
    /// The start of the window's first row in the binding, in values.
    pub base: u32,
}

impl Plan {
    /// A plan for buffers on the device: a window has as many rows as a binding can hold.
    pub fn resident(profile: &Profile, work: Work) -> Result<Self> {
        Self::within(profile, work, (u64::MAX, usize::MAX))
    }

    /// A plan for a host batch that streams through buffers of one window's size, at most `room` bytes if given.
    pub fn streamed(profile: &Profile, work: Work, room: Option<u64>) -> Result<Self> {
        let most = host_window_bytes(profile.unified_memory);
        let bytes = room.map_or(most, |room| room.min(most));
        Self::within(profile, work, (bytes, HOST_WINDOW_ROWS))
    }

    /// A plan with windows of at most this many bytes and rows, but at least one group of rows side by side.
    fn within(profile: &Profile, work: Work, (max_bytes, max_rows): (u64, usize)) -> Result<Self> {
        let shape = work.shape;
        shape.check()?;
        let (cols, inner) = (shape.cols, shape.inner);
        let (group, stride) =
            ((cols * inner) as u64 * work.widest_bytes, shape.row_stride as u64 * work.widest_bytes);
        let largest = largest_window(profile, work.widest_bytes);
        let limit = max_bytes.max(group).min(largest);
        if inner > 1 && group > limit {
            return Err(Error::GroupTooLarge { cols, inner, bytes: group, limit });
        }
        let longest =
            longest_row(work.most_invocations(profile), work.entries, &work.needs) * work.widest_bytes;
        let row = cols as u64 * work.widest_bytes;
        if row > limit.min(longest) {
            return Err(Error::RowTooLarge { cols, bytes: row, limit: limit.min(longest) });
        }
        let (seats, split) = Seats::choose(profile, &work)?;
        let groups = usize::try_from(1 + (limit - group) / stride).unwrap_or(usize::MAX);
        let grid_rows = usize::try_from(u64::from(profile.max_workgroups).pow(2)).unwrap_or(usize::MAX);
        let most_rows =
            max_rows.max(inner).min(row_scratch_limit(profile, work.needs.row_words)).min(grid_rows);
        if inner > most_rows {
            return Err(Error::TooManyRows { rows: inner, limit: most_rows });
        }
        let window_rows = groups.min(most_rows / inner) * inner;
        Ok(Self {
            seats,
            split,
            work,
            window_rows,
            max_workgroups: profile.max_workgroups,
            max_binding_bytes: profile.max_binding_bytes,
        })
    }

    /// Rows per window; the last may have fewer.
    pub fn window_rows(&self) -> usize {
        self.window_rows.min(self.work.shape.rows)
    }

    /// The windows of the first `rows` rows.
    pub fn windows(&self, rows: usize) -> impl Iterator<Item = Window> + use<'_> {
        (0..rows).step_by(self.window_rows).map(move |first_row| {
            let rows = self.window_rows.min(rows - first_row);
            Window { first_row, rows, grid: self.rows_grid(rows) }
        })
    }

    /// The grid of workgroups for this number of rows.
    pub fn rows_grid(&self, rows: usize) -> [u32; 2] {
        self.grid(rows.div_ceil(self.seats.rows as usize))
    }

    /// The grid of workgroups for this number of rows, with one workgroup per segment.
    pub fn segments_grid(&self, rows: usize) -> [u32; 2] {
        self.grid(rows * self.split.segments as usize)
    }

    /// Whether rows are long enough for a step of all lanes.
    pub fn has_steps(&self) -> bool {
        self.work.shape.cols as u64 >= STEP_VALUES * u64::from(self.seats.lanes)
    }

    /// Bytes of the statistics of all segments of this number of rows.
    pub fn segment_bytes(&self, rows: usize) -> u64 {
        rows as u64 * u64::from(self.split.segments) * SEGMENT_BYTES
    }

    /// The grid for this number of workgroups.
    pub fn grid(&self, workgroups: usize) -> [u32; 2] {
        grid(workgroups, self.max_workgroups)
    }

    /// The position of a window in a buffer that holds the whole batch in values of `value_bytes` bytes. The batch is
    /// in the `bytes` bytes that start at `offset`. The binding extends a little past the window if the buffer has
    /// room, so that the last pack is whole.
    pub fn place(
        &self,
        window: &Window,
        value_bytes: u64,
        (offset, bytes): (u64, u64),
        alignment: u64,
    ) -> Place {
        let start = offset + self.work.shape.row_start(window.first_row) as u64 * value_bytes;
        let aligned = start / alignment * alignment;
        let end = start + self.values(window.rows) * value_bytes;
        Place {
            offset: aligned,
            size: (end - aligned)
                .next_multiple_of(PACK_VALUES * value_bytes)
                .min((offset + bytes - aligned) / 4 * 4)
                .min(self.max_binding_bytes)
                .max((end - aligned).next_multiple_of(4)),
            base: ((start - aligned) / value_bytes) as u32,
        }
    }

    /// The start of a streamed window's first row in the window's own buffers, in values. It has the same distance from
    /// an aligned pack as in the whole batch.
    pub fn streamed_base(&self, first_row: usize) -> u32 {
        let shape = self.work.shape;
        let pack = PACK_VALUES as usize;
        if shape.inner > 1 { 0 } else { ((first_row % pack) * (shape.row_stride % pack) % pack) as u32 }
    }

    /// Values of `rows` rows, without padding after the last row.
    pub fn values(&self, rows: usize) -> u64 {
        self.work.shape.with_rows(rows).len() as u64
    }

    /// Bytes of `rows` rows of logits, in whole words.
    pub fn logits_bytes(&self, rows: usize) -> u64 {
        self.value_bytes(rows, self.work.element_bytes)
    }

    /// Bytes of `rows` rows with values of `value_bytes` bytes, in whole words.
    pub fn value_bytes(&self, rows: usize, value_bytes: u64) -> u64 {
        (self.values(rows) * value_bytes).next_multiple_of(4)
    }

    /// Bytes of a buffer for a streamed window of such values: its rows, and room before the first row.
    pub fn streamed_bytes(&self, value_bytes: u64) -> u64 {
        self.value_bytes(self.window_rows(), value_bytes) + 2 * PACK_VALUES * value_bytes
    }
}

fn grid(workgroups: usize, max_workgroups: u32) -> [u32; 2] {
    let max = max_workgroups as usize;
    [workgroups.min(max) as u32, workgroups.div_ceil(max).max(1) as u32]
}

/// The maximum bytes of a window's values. A row may start in the middle of an alignment unit: its binding then starts
/// before it, and ends on a word. A streamed window's buffer has room for a pack at either end.
pub(super) fn largest_window(profile: &Profile, value_bytes: u64) -> u64 {
    let beside = (profile.offset_alignment + 4).max(2 * PACK_VALUES * value_bytes);
    (profile.max_binding_bytes / 16 * 16).saturating_sub(beside)
}

/// The maximum number of loop iterations of one invocation, in the pass with the most: both sweeps over a row of
/// `cols`, and the entries of a sparse target, each compared with all others (for two columns if they share a word).
pub(super) fn iterations(cols: u64, entries: usize, lanes: u32) -> u64 {
    let (entries, tree) = (entries as u64, u64::from(lanes.ilog2()) + 1);
    let lanes = u64::from(lanes);
    let steps = cols / (STEP_VALUES * lanes);
    let chunks = steps.div_ceil(CHUNK_STEPS);
    // Outside the steps there are less than a step's quads, and two quads that the row shares with its neighbours. The half
    // step with the target is summed again.
    let rest = STEP_VALUES / QUAD_VALUES + 2 + STEP_VALUES / QUAD_VALUES / 2;
    let argmax = STEP_VALUES / QUAD_VALUES;
    let first = steps + chunks + rest + argmax + tree;
    // If the output's alignment differs from the logits', it is written quad by quad. Outside its packs there are at
    // most 14 values.
    let second = 14u64.div_ceil(lanes) + cols.div_ceil(QUAD_VALUES * lanes);
    let own_entries = entries.div_ceil(lanes);
    first + second + entries + own_entries * (2 + 2 * entries)
}

/// The longest row, in values, whose sweeps stay within the iterations of an invocation.
fn longest_row(lanes: u32, entries: usize, needs: &Needs) -> u64 {
    let (mut fits, mut exceeds) = (0, MAX_ITERATIONS * QUAD_VALUES * u64::from(lanes));
    while exceeds - fits > 1 {
        let cols = fits.midpoint(exceeds);
        let all = iterations(cols, entries, lanes) + needs.iterations(cols, lanes);
        if all <= MAX_ITERATIONS { fits = cols } else { exceeds = cols }
    }
    fits
}

impl Seats {
    /// Chooses how invocations share a batch's rows, and into how many segments each row is split.
    fn choose(profile: &Profile, work: &Work) -> Result<(Self, Split)> {
        let tuning = match work.tuning {
            Some(tuning) => {
                tuning.check(profile)?;
                tuning
            }
            None => Tuning::of(profile),
        };
        let shape = work.shape;
        let most = work.most_invocations(profile);
        // With one row in a workgroup, lanes are idle in a short row anyway.
        let cols = if work.needs.is_alone { usize::MAX } else { shape.cols };
        let band = tuning.band(cols, work.writes).of_batch(shape.rows, cols, tuning.workgroups);
        let lanes = band.lanes.min(most);
        let band_rows = band.rows.min(most / lanes);
        let side_by_side = tuning.side_by_side.min(most);
        let split = Split::choose(&tuning, lanes, work);
        let cols = if split.segments > 1 { u64::from(split.segment_values) } else { shape.cols as u64 };
        let all = |lanes| iterations(cols, work.entries, lanes) + work.needs.iterations(cols, lanes);
        let fits = |lanes| all(lanes) <= MAX_ITERATIONS;
        // The entries of a sparse target are kept for one row only, and the workgroups of a split row have only that
        // row.
        let is_alone = work.entries > 0 || split.segments > 1 || work.needs.is_alone;
        let (mut invocations, mut rows) = match shape.inner {
            1 if is_alone => (lanes, 1),
            1 => (lanes * band_rows, band_rows),
            _ if is_alone => (side_by_side, 1),
            inner => {
                let rows = u32::try_from(inner.next_power_of_two()).unwrap_or(side_by_side);
                (side_by_side, rows.min(side_by_side))
            }
        };
        while rows > 1 && !fits(invocations / rows) {
            rows /= 2;
        }
        while !fits(invocations / rows) && invocations * 2 <= most {
            invocations *= 2;
        }
        Ok((Self { lanes: invocations / rows, rows }, split))
    }
}

impl Split {
    const WHOLE: Self = Self { segments: 1, segment_values: 0 };

    /// Chooses from the whole batch, so that the split into windows does not change a bit.
    fn choose(tuning: &Tuning, lanes: u32, work: &Work) -> Self {
        let Shape { rows, cols, inner, .. } = work.shape;
        if !work.splits || work.entries > 0 || inner > 1 || rows == 0 {
            return Self::WHOLE;
        }
        let wanted = u64::from(tuning.workgroups).div_ceil(rows as u64);
        let most = (cols as u64 / u64::from(tuning.segment_cols)).min(MAX_SEGMENTS);
        let segments = wanted.min(most);
        if segments < 2 {
            return Self::WHOLE;
        }
        // Segments are whole steps, so that only the last segment has a remainder.
        let cols = cols as u64;
        let values = cols.div_ceil(segments).next_multiple_of(STEP_VALUES * u64::from(lanes));
        Self { segments: cols.div_ceil(values) as u32, segment_values: values as u32 }
    }
}
