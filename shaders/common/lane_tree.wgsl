// Uses: sums

// A fold of several lanes' sums as a tree. The order is always the same, so that the same batch gives the same bits.

// The total of the sums of `lanes` lanes, valid in each of them. `lanes` is a power of two; the lanes keep their sums
// at the places from `first` on. Call this in uniform control flow, once.
fn over_lanes(own: LaneSum, first: u32, lane: u32, lanes: u32) -> LaneSum {
    var sum = own;
    if lanes > 1u {
        let at = first + lane;
        put_lane(at, sum);
        workgroupBarrier();
        for (var half = lanes / 2u; half > 0u; half /= 2u) {
            if lane < half {
                put_lane(at, combine(lane_at(at), lane_at(at + half)));
            }
            workgroupBarrier();
        }
        sum = lane_at(first);
    }
    return sum;
}
