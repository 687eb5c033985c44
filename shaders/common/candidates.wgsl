// Uses: params, seat, order_key

// A pool of workgroup memory for the search of a row's largest classes. First it counts order keys by some of their bits,
// then it holds the candidates: a key and a column each. There is one row per workgroup.

const POOL_WORDS: u32 = 2048u; // one count for each value of 11 bits
const CAPACITY: u32 = 1024u;   // candidates, of two words

var<workgroup> pool: array<atomic<u32>, 2048>;
var<workgroup> candidates: atomic<u32>; // how many are in the pool
var<workgroup> lane_counts: array<u32, INVOCATIONS>;
var<workgroup> found: vec4<u32>;

// An order key as a u32 that sorts alike.
fn unsigned_keys(scores: vec4<u32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(order_keys(scores)) ^ vec4(0x80000000u);
}

// Empties the pool. Call this in uniform control flow.
fn clear_pool(lane: u32) {
    workgroupBarrier();
    for (var i = lane; i < POOL_WORDS; i += LANES) {
        atomicStore(&pool[i], 0u);
    }
    if lane == 0u {
        atomicStore(&candidates, 0u);
    }
    workgroupBarrier();
}

fn put_candidate(at: u32, key: u32, col: u32) {
    if at < CAPACITY {
        atomicStore(&pool[2u * at], key);
        atomicStore(&pool[2u * at + 1u], col);
    }
}

fn push_candidate(key: u32, col: u32) {
    put_candidate(atomicAdd(&candidates, 1u), key, col);
}

// What the first read does with a key: all classes of a short row are candidates.
fn take_first(key: u32, col: u32) {
    if col >= params.cols {
        return;
    }
    if params.cols <= CAPACITY {
        push_candidate(key, col);
    } else {
        atomicAdd(&pool[key >> 21u], 1u);
    }
}

fn take_first_four(scores: vec4<u32>, col: u32) {
    let keys = unsigned_keys(scores);
    take_first(keys.x, col);
    take_first(keys.y, col + 1u);
    take_first(keys.z, col + 2u);
    take_first(keys.w, col + 3u);
}

// Finds the highest count at which this many keys are reached, from the top: {its place, the keys above it, its keys}. Call
// this in uniform control flow, after a barrier.
fn search_pool(wanted: u32, lane: u32) -> vec3<u32> {
    let share = POOL_WORDS / LANES;
    var sum = 0u;
    for (var i = 0u; i < share; i++) {
        sum += atomicLoad(&pool[POOL_WORDS - 1u - lane * share - i]);
    }
    lane_counts[lane] = sum;
    workgroupBarrier();
    if lane == 0u {
        var above = 0u;
        var part = 0u;
        while part + 1u < LANES && above + lane_counts[part] < wanted {
            above += lane_counts[part];
            part++;
        }
        var place = POOL_WORDS - 1u - part * share;
        var inside = atomicLoad(&pool[place]);
        while place > 0u && above + inside < wanted {
            above += inside;
            place--;
            inside = atomicLoad(&pool[place]);
        }
        found = vec4(place, above, inside, 0u);
    }
    return workgroupUniformLoad(&found).xyz;
}

// How many candidates there are. Call this in uniform control flow, after a barrier.
fn candidate_count(lane: u32) -> u32 {
    if lane == 0u {
        found = vec4(min(atomicLoad(&candidates), CAPACITY), 0u, 0u, 0u);
    }
    return workgroupUniformLoad(&found).x;
}

// Whether one candidate comes before another: the higher key, or the lower column.
fn comes_before(a: u32, b: u32) -> bool {
    let a_key = atomicLoad(&pool[2u * a]);
    let b_key = atomicLoad(&pool[2u * b]);
    return a_key > b_key || (a_key == b_key && atomicLoad(&pool[2u * a + 1u]) < atomicLoad(&pool[2u * b + 1u]));
}

fn swap_candidates(a: u32, b: u32) {
    for (var word = 0u; word < 2u; word++) {
        let of_a = atomicLoad(&pool[2u * a + word]);
        atomicStore(&pool[2u * a + word], atomicLoad(&pool[2u * b + word]));
        atomicStore(&pool[2u * b + word], of_a);
    }
}

// Sorts the candidates by a bitonic network (Batcher 1968), the first place first. Call this in uniform control flow.
fn sort_candidates(count: u32, lane: u32) {
    var size = 1u;
    while size < count {
        size *= 2u;
    }
    for (var i = count + lane; i < size; i += LANES) {
        put_candidate(i, 0u, NO_CLASS);
    }
    workgroupBarrier();
    for (var run = 2u; run <= size; run *= 2u) {
        for (var stride = run / 2u; stride > 0u; stride /= 2u) {
            for (var i = lane; i < size / 2u; i += LANES) {
                let a = i / stride * 2u * stride + i % stride;
                let b = a + stride;
                let falls = (a & run) == 0u;
                if comes_before(select(a, b, falls), select(b, a, falls)) {
                    swap_candidates(a, b);
                }
            }
            workgroupBarrier();
        }
    }
}
