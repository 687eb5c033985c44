// Uses: params

// A seat says which row an invocation works on. A workgroup has ROWS rows of LANES invocations each: one long row, or
// several short rows. If rows lie side by side (STRIDED), neighbouring invocations have neighbouring rows, so that they
// load neighbouring values. If a row is SPLIT, each workgroup has one segment of it.
//
// Seats beyond the last row are empty. They take part in every barrier, which must be in uniform control flow, but read and
// write nothing.

override LANES: u32;       // invocations that share one row
override ROWS: u32;        // rows per workgroup
override INVOCATIONS: u32; // LANES · ROWS
override STRIDED: bool;    // the class axis is not last: params.inner > 1
override SPLIT: bool;      // a row is shared by params.segments workgroups; ROWS is 1

struct Seat {
    row: u32,
    segment: u32,
    lane: u32,  // in 0..LANES
    first: u32, // where the lanes of this row begin in arrays of INVOCATIONS
    taken: bool,
}

fn seat(workgroup: u32, invocation: u32) -> Seat {
    if SPLIT {
        let row = workgroup / params.segments;
        return Seat(row, workgroup % params.segments, invocation, 0u, row < params.rows);
    }
    // With one row per workgroup, everything except the lane is the same for all invocations, and an adapter can see that.
    var slot = 0u;
    var lane = invocation;
    if STRIDED {
        slot = invocation % ROWS;
        lane = invocation / ROWS;
    } else if ROWS > 1u {
        slot = invocation / LANES;
        lane = invocation % LANES;
    }
    let row = workgroup * ROWS + slot;
    return Seat(row, 0u, lane, slot * LANES, row < params.rows);
}
