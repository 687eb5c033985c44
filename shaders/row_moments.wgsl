// Uses: params, seat, row_span, cap, scores, order_key, row_stats

// The sums over a row that give its loss at eight inverse temperatures β, and the loss's derivatives in β. With the distance
// d_j = max s − s_j,
//
//     Σ exp(−β·d_j),     Σ d_j·exp(−β·d_j),     Σ d_j²·exp(−β·d_j)
//
// The first read finds the maximum; the second, from cache if the row fits there, the sums. No sum is ever rescaled.
//
// A row's record is {its maximum before the cap, where that is, the three sums at each β}.

@group(0) @binding(4) var<storage, read_write> moments: array<u32>;

const MOMENT_WORDS: u32 = 26u;
const CHUNK_PACKS: u32 = 64u;

// Where a class is so far below the maximum, its term is 0 at every β that is asked for. The square does not overflow.
const FAR: f32 = 1e9;

// The three sums at the first four β, and at the others.
struct Moments {
    zeroth_a: vec4<f32>,
    zeroth_b: vec4<f32>,
    first_a: vec4<f32>,
    first_b: vec4<f32>,
    second_a: vec4<f32>,
    second_b: vec4<f32>,
}

var<workgroup> lane_vectors: array<vec4<f32>, INVOCATIONS>;

fn no_moments() -> Moments {
    return Moments(vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0));
}

fn both_moments(a: Moments, b: Moments) -> Moments {
    return Moments(
        a.zeroth_a + b.zeroth_a,
        a.zeroth_b + b.zeroth_b,
        a.first_a + b.first_a,
        a.first_b + b.first_b,
        a.second_a + b.second_a,
        a.second_b + b.second_b,
    );
}

// One class.
fn moments_at(distance: f32) -> Moments {
    let a = exp2(max(params.moment_scales_a * -distance, vec4(-150.0)));
    let b = exp2(max(params.moment_scales_b * -distance, vec4(-150.0)));
    return Moments(a, b, distance * a, distance * b, distance * (distance * a), distance * (distance * b));
}

// Four classes. Halves, because scores may be 6.8e38 apart.
fn moments_of_four(scores: vec4<u32>, maximum: f32) -> Moments {
    let halves = vec4(0.5 * maximum) - 0.5 * capped(bitcast<vec4<f32>>(scores));
    let near = 2.0 * min(halves, vec4(0.5 * FAR));
    let distances = select(near, vec4(FAR), scores == vec4(NEG_INFINITY));
    return both_moments(
        both_moments(moments_at(distances.x), moments_at(distances.y)),
        both_moments(moments_at(distances.z), moments_at(distances.w)),
    );
}

fn moments_of_pack(span: RowSpan, pack: u32, maximum: f32) -> Moments {
    let scores = score_edge(span, pack);
    let a = moments_of_four(scores.a, maximum);
    if PACKED {
        return both_moments(a, moments_of_four(scores.b, maximum));
    }
    return a;
}

// One lane's part of the row, in chunks that are summed separately, so that rounding does not grow with the row.
fn sweep_moments(span: RowSpan, lane: u32, maximum: f32) -> Moments {
    var sum = no_moments();
    let packs = all_packs(span);
    var pack = lane;
    while pack < packs {
        let chunk_end = min(packs, pack + CHUNK_PACKS * LANES);
        var chunk = no_moments();
        for (; pack < chunk_end; pack += LANES) {
            chunk = both_moments(chunk, moments_of_pack(span, nth_pack(span, pack), maximum));
        }
        sum = both_moments(sum, chunk);
    }
    return sum;
}

// The total over a row's lanes, in each of them. Call this in uniform control flow.
fn over_lanes_of(own: vec4<f32>, at: Seat) -> vec4<f32> {
    let place = at.first + at.lane;
    lane_vectors[place] = own;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if at.lane < half {
            lane_vectors[place] += lane_vectors[place + half];
        }
    }
    workgroupBarrier();
    let total = lane_vectors[at.first];
    workgroupBarrier();
    return total;
}

fn store_moments(row: u32, beta: u32, zeroth: vec4<f32>, first: vec4<f32>, second: vec4<f32>) {
    let start = row * MOMENT_WORDS + 2u + 3u * beta;
    for (var i = 0u; i < 4u; i++) {
        moments[start + 3u * i] = bitcast<u32>(zeroth[i]);
        moments[start + 3u * i + 1u] = bitcast<u32>(first[i]);
        moments[start + 3u * i + 2u] = bitcast<u32>(second[i]);
    }
}

@compute @workgroup_size(INVOCATIONS)
fn row_moments(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let span = row_span(at);
    let stats = row_stats(span, at, at.taken);
    var own = no_moments();
    if at.taken {
        own = sweep_moments(span, at.lane, stats.base);
    }
    let all = Moments(
        over_lanes_of(own.zeroth_a, at),
        over_lanes_of(own.zeroth_b, at),
        over_lanes_of(own.first_a, at),
        over_lanes_of(own.first_b, at),
        over_lanes_of(own.second_a, at),
        over_lanes_of(own.second_b, at),
    );
    if at.taken && at.lane == 0u {
        let row = params.first_row + at.row;
        moments[row * MOMENT_WORDS] = unless_special(stats, row_max(stats.key));
        moments[row * MOMENT_WORDS + 1u] = stats.position;
        store_moments(row, 0u, all.zeroth_a, all.first_a, all.second_a);
        store_moments(row, 4u, all.zeroth_b, all.first_b, all.second_b);
    }
}
