//! What a whole kernel takes for a row: its loops as often as they run, with the tree over the lanes and all that comes before,
//! between and after the sweeps.

use std::collections::HashMap;

use super::assembly::{Block, Kind, loops, sweeps};
use super::way::way_through;
use crate::kernel::plan::{CHUNK_STEPS, STEP_VALUES};

/// Invocations that RADV runs together in a compute shader.
const WAVE: f64 = 64.0;

/// How often a lane runs through the loops of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trips {
    pub lanes: u32,
    pub cols: u32,
    /// Logits of a pack.
    pub pack: u32,
    /// Whether rows are long enough for a step of all lanes.
    pub has_steps: bool,
}

impl Trips {
    fn steps(&self) -> f64 {
        if self.has_steps { f64::from(self.cols / (STEP_VALUES as u32 * self.lanes)) } else { 0.0 }
    }

    /// Packs of the lane with most outside its steps.
    fn rest(&self) -> f64 {
        let stepped = self.steps() * f64::from(STEP_VALUES as u32 * self.lanes);
        ((f64::from(self.cols) - stepped) / f64::from(self.pack * self.lanes)).ceil()
    }

    /// The levels of the tree.
    fn levels(&self) -> f64 {
        f64::from(self.lanes.ilog2())
    }

    /// The levels in which a wave has lanes that combine, as the mean over a row's waves.
    fn combining_levels(&self) -> f64 {
        let lanes = f64::from(self.lanes);
        let halves = (0..self.lanes.ilog2()).map(|level| f64::from(1_u32 << level));
        halves.map(|half| if lanes <= WAVE { 1.0 } else { half.max(WAVE) / lanes }).sum()
    }
}

/// What a lane executes for its part of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Executed {
    /// Instructions of all lanes for each logit.
    pub per_value: f64,
    pub barriers: f64,
}

/// The blocks that follow each block on a way that goes through every loop once: instead of back to a loop's head, it goes to
/// what follows the loop.
fn onward(blocks: &[Block], loops: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let behind = |head: usize| {
        let end = loops.iter().find(|range| range.0 == head).map_or(head, |range| range.1);
        let all = blocks[head..=end].iter().flat_map(|block| &block.next);
        all.copied().filter(move |&next| next > end)
    };
    let follow = |at: usize| {
        let next = blocks[at].next.iter();
        next.flat_map(|&next| if next > at { vec![next] } else { behind(next).collect() }).collect()
    };
    (0..blocks.len()).map(follow).collect()
}

/// Counts what a kernel executes for a usual row. Of two ways it is taken to go the one that moves more.
pub(super) fn executed(blocks: &[Block], packs: u32, element_bytes: u32, trips: &Trips) -> Executed {
    let found = sweeps(blocks, packs, element_bytes);
    let all = loops(blocks);
    let is_inner =
        |one: (usize, usize)| !all.iter().any(|&other| other != one && one.0 <= other.0 && other.1 <= one.1);
    let holds = |range: (usize, usize), kind: fn(&Kind) -> bool| {
        blocks[range.0..=range.1].iter().any(|block| block.has(kind))
    };
    let mut turns: HashMap<(usize, usize), f64> = HashMap::new();
    for &range in &all {
        let is_sweep = found.ranges().any(|sweep| sweep == range) && trips.has_steps;
        let of_sweep = found.ranges().any(|sweep| range.0 <= sweep.0 && sweep.1 <= range.1);
        let count = if is_sweep {
            trips.steps()
        } else if !is_inner(range) {
            if of_sweep { (trips.steps() / CHUNK_STEPS as f64).ceil() } else { 1.0 }
        } else if holds(range, |kind| *kind == Kind::Barrier) {
            trips.levels()
        } else if holds(range, |kind| matches!(kind, Kind::Load(_))) {
            trips.rest()
        } else {
            1.0
        };
        turns.insert(range, count);
    }
    let next = onward(blocks, &all);
    let mut executed = Executed::default();
    for at in way_through(blocks, |at| &next[at], (0, blocks.len() - 1)) {
        let block = &blocks[at];
        // The innermost loop around the block, whose turns are those of the whole row.
        let around = all.iter().filter(|range| range.0 <= at && at <= range.1);
        let around = around.min_by_key(|range| range.1 - range.0);
        let times = around.map_or(1.0, |range| turns[range]);
        let combines = block.has(|kind| *kind == Kind::Workgroup)
            && around.is_some_and(|&range| holds(range, |kind| *kind == Kind::Barrier));
        let times_of_lane = if combines { trips.combining_levels() } else { times };
        executed.per_value += block.lane_instructions() as f64 * times_of_lane;
        executed.barriers += block.count(|kind| *kind == Kind::Barrier) as f64 * times;
    }
    executed.per_value *= f64::from(trips.lanes) / f64::from(trips.cols);
    executed
}

#[test]
fn loops_count_as_often_as_they_run() {
    // A sweep in chunks, a loop for the rest, a tree, and two instructions beside.
    let text = "BB0:\n\
        s_load_b128 s[4:7], s[2:3], 0x20\n\
        v_mov_b32 v0, v1\n\
        BB1:\n\
        s_cbranch_scc1 BB5\n\
        v_mov_b32 v9, v1\n\
        BB2:\n\
        s_cbranch_scc1 BB4\n\
        buffer_load_b128 v[0:3], v4, s[4:7], 0 offen\n\
        buffer_load_b128 v[0:3], v4, s[4:7], 0 offen\n\
        v_add_f32 v0, v0, v0\n\
        s_branch BB2\n\
        BB4:\n\
        s_branch BB1\n\
        BB5:\n\
        s_cbranch_scc1 BB6\n\
        buffer_load_b128 v[0:3], v4, s[4:7], 0 offen\n\
        s_branch BB5\n\
        BB6:\n\
        s_barrier\n\
        BB7:\n\
        s_cbranch_scc1 BB10\n\
        v_mov_b32 v8, v1\n\
        s_cbranch_execz BB9\n\
        ds_load_b128 v[0:3], v8\n\
        v_add_f32 v0, v0, v0\n\
        BB9:\n\
        s_barrier\n\
        s_branch BB7\n\
        BB10:\n\
        v_mov_b32 v0, v1\n\
        s_endpgm\n";
    // 40 steps of 8 lanes are two chunks; 44 values remain, two packs for some lanes; the tree has three levels.
    let trips = Trips { lanes: 8, cols: 40 * 128 + 44, pack: 4, has_steps: true };
    let found = executed(&super::assembly::blocks(text), 2, 4, &trips);
    let lane = 2.0 + 2.0 + 40.0 * 3.0 + 2.0 + 3.0 * 3.0;
    assert_eq!(found, Executed { per_value: lane * (8.0 / 5164.0), barriers: 4.0 });
    // Of 256 lanes, half the waves combine at the first level, and one of four at each other.
    let wide = Trips { lanes: 256, ..trips };
    assert_eq!(wide.combining_levels(), 0.5 + 7.0 * 0.25);
}
