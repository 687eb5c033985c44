// Uses: params

// Which row an invocation works on. A workgroup has ROWS rows of LANES invocations each: of long rows one, of short ones
// several. Where rows lie side by side (STRIDED) neighbouring invocations have neighbouring rows, so that they load
// neighbouring values. Of a row that is SPLIT each workgroup has a segment.
//
// Behind the last row seats are empty. They come along to every barrier, which must be in uniform control flow, and read
// and write nothing.

override LANES: u32;       // invocations that share one row
override ROWS: u32;        // rows of a workgroup
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
    // Of one row a workgroup everything but the lane is the same for all, and an adapter can see that it is.
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
