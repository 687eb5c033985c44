// Uses: params, lane_tree, terms

// Sums over rows as a monoid, folded in one fixed order: blocks of 1,024 rows, in which each invocation has every
// REDUCE_LANES-th row, then a tree; the blocks likewise. The same batch gives the same bits.
//
// Only finite losses are added. A NaN or an infinity is carried by the flags, because an adapter's addition may drop it.

const BLOCK_ROWS: u32 = 1024u;
override REDUCE_LANES: u32; // invocations per workgroup
const CHUNK_ROWS: u32 = 8u; // summed separately, so that rounding does not grow with the rows of an invocation

struct Totals {
    sum: f32,           // Σ of the finite row losses, without z-loss
    z_loss: f32,        // Σ of the finite z-losses
    weight: f32,        // Σ weight of the rows that count
    row_weight: f32,    // Σ row weight of the rows that count
    counted: u32,       // number of rows that count
    flags: u32,         // flags of all rows
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

// The sum over first..end, of rows or of blocks of rows, valid in all invocations of a workgroup. Call this in uniform
// control flow, once.
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
