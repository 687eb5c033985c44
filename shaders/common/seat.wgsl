// Which row an invocation works on. A workgroup has ROWS rows of LANES invocations each: one row, unless rows lie side by
// side (STRIDED); then neighbouring invocations have neighbouring rows, so that they load neighbouring values.
//
// Behind the last row seats are empty. They come along to every barrier, which must be in uniform control flow, and read
// and write nothing.

override LANES: u32 = 64u;       // invocations that share one row
override ROWS: u32 = 1u;         // rows of a workgroup
override INVOCATIONS: u32 = 64u; // LANES · ROWS
override STRIDED: bool = false;  // the class axis is not last: params.inner > 1

struct Seat {
    row: u32,
    lane: u32,  // in 0..LANES
    first: u32, // where the lanes of this row begin in arrays of INVOCATIONS
    taken: bool,
}

fn seat(workgroup: u32, invocation: u32) -> Seat {
    var slot = invocation / LANES;
    var lane = invocation % LANES;
    if STRIDED {
        slot = invocation % ROWS;
        lane = invocation / ROWS;
    }
    let row = workgroup * ROWS + slot;
    return Seat(row, lane, slot * LANES, row < params.rows);
}
