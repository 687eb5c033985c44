// Uses: params, lane_tree, terms

// Sums over rows as a monoid, folded in one fixed order: blocks of 1,024 rows, in each block every invocation has every
// REDUCE_LANES-th row, then a tree; the blocks likewise. The same batch gives the same bits.
//
// Only finite losses are added; what is NaN or infinite is carried by the flags, which no adapter's addition drops.

const BLOCK_ROWS: u32 = 1024u;
override REDUCE_LANES: u32; // invocations of a workgroup
const CHUNK_ROWS: u32 = 8u; // summed apart, so that rounding does not grow with what an invocation has

struct Totals {
    sum: f32,           // Σ loss of the rows where it is finite, without z-loss
    z_loss: f32,        // Σ z-loss of the rows where it is finite
    weight: f32,        // Σ weight of the rows that count
    row_weight: f32,    // Σ row weight of the rows that count
    counted: u32,       // rows that count
    flags: u32,         // of all rows
    first_bad_row: u32, // the lowest row with a target out of range
    unused: u32,
}

fn identity() -> Totals {
    return Totals(0.0, 0.0, 0.0, 0.0, 0u, 0u, NO_CLASS, 0u);
}

fn combine(a: Totals, b: Totals) -> Totals {
    return Totals(
        a.sum + b.sum,
        a.z_loss + b.z_loss,
        a.weight + b.weight,
        a.row_weight + b.row_weight,
        a.counted + b.counted,
        a.flags | b.flags,
        min(a.first_bad_row, b.first_bad_row),
        0u,
    );
}

alias LaneSum = Totals;

var<workgroup> lane_totals: array<Totals, REDUCE_LANES>;

fn put_lane(at: u32, totals: Totals) {
    lane_totals[at] = totals;
}

fn lane_at(at: u32) -> Totals {
    return lane_totals[at];
}

// The sum of all that lies in first..end, rows or blocks of them, valid in all invocations of a workgroup. To be called in
// uniform control flow, once.
fn workgroup_totals(first: u32, end: u32, lane: u32) -> Totals {
    var own = identity();
    var at = first + lane;
    while at < end {
        var chunk = identity();
        for (var i = 0u; i < CHUNK_ROWS && at < end; i++) {
            chunk = combine(chunk, totals_of(at));
            at += REDUCE_LANES;
        }
        own = combine(own, chunk);
    }
    return over_lanes(own, 0u, lane, REDUCE_LANES);
}
