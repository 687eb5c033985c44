// Uses: params, seat, row_span, scores, order_key, row_stats, lane_tops, top_values

// The k largest classes of short rows, for a small k. Other than in `top_k`, a workgroup has several rows, each with its own
// lanes. The first read gives the stats and says which blocks may have classes among the k largest, and from which key on a class
// is a candidate: only those blocks are read again. Each candidate finds its own place.
//
// If they are more than the row's list holds (because values are equal), the row is read once for each of the k classes.
//
// If a row has one lane, there is no barrier: software adapters take twice as long with one.

const MOST_LISTED: u32 = 64u; // candidates of a row

var<workgroup> list_lengths: array<atomic<u32>, INVOCATIONS>; // at the place of a row's first lane
var<workgroup> rows_without_room: atomic<u32>;
var<workgroup> is_any_without_room: u32;

var<private> own_length: u32; // of the row's list, if it has one lane

// Candidates are in the pool: a key and a column each.
fn list_capacity() -> u32 {
    return min(POOL_WORDS / 2u / ROWS, MOST_LISTED);
}

fn candidate_place(at: Seat, i: u32) -> u32 {
    return 2u * (at.first / LANES * list_capacity() + i);
}

fn candidate_at(at: Seat, i: u32) -> vec2<u32> {
    let place = candidate_place(at, i);
    return vec2(pool[place], pool[place + 1u]);
}

fn list_class(key: u32, col: u32, at: Seat) {
    var i = own_length;
    own_length++;
    if LANES > 1u {
        i = atomicAdd(&list_lengths[at.first], 1u);
    }
    if i < list_capacity() {
        let place = candidate_place(at, i);
        pool[place] = key;
        pool[place + 1u] = col;
    }
}

fn list_four(scores: vec4<u32>, col: u32, at: Seat, floor: u32) {
    let keys = unsigned_keys(scores);
    let takes = (keys >= vec4(floor)) & (four_cols(col) < vec4(params.cols));
    if !any(takes) {
        return;
    }
    if takes.x { list_class(keys.x, col, at); }
    if takes.y { list_class(keys.y, col + 1u, at); }
    if takes.z { list_class(keys.z, col + 2u, at); }
    if takes.w { list_class(keys.w, col + 3u, at); }
}

fn list_pack(span: RowSpan, pack: u32, at: Seat, floor: u32) {
    let scores = score_edge(span, pack);
    let col = pack_col(span, pack);
    list_four(scores.a, col, at, floor);
    if PACKED {
        list_four(scores.b, col + 4u, at, floor);
    }
}

// Lists the classes with this key or a larger one of some blocks.
fn sweep_listed(span: RowSpan, at: Seat, blocks: u32, floor: u32) {
    let steps = full_steps(span);
    let rest = rest_packs(span);
    let all = steps + (max(rest, at.lane) - at.lane + LANES - 1u) / LANES;
    var left = blocks;
    while left != 0u {
        var n = firstTrailingBit(left);
        left &= left - 1u;
        for (; n < all; n += lane_blocks()) {
            if n < steps {
                for (var i = 0u; i < STEP_PACKS; i++) {
                    list_pack(span, step_pack(span, n, at.lane) + i * LANES, at, floor);
                }
            } else {
                list_pack(span, rest_pack(span, at.lane + (n - steps) * LANES), at, floor);
            }
        }
    }
}

// Each candidate goes to its place among them, if that is one of the first k.
fn place_listed(at: Seat, first: u32, length: u32) {
    for (var i = at.lane; i < length; i += LANES) {
        let own = candidate_at(at, i);
        var place = 0u;
        for (var j = 0u; j < length; j++) {
            place += select(0u, 1u, comes_before(candidate_at(at, j), own));
        }
        if place < params.entries {
            top_indices[first + place] = own.y;
            top_values[first + place] = own.x;
        }
    }
}

// The better of a class found so far and of four others, among those after `last`: a key, and the column before which classes
// with this key do not count.
fn better_of_four(best: vec2<u32>, scores: vec4<u32>, col: u32, last: vec2<u32>) -> vec2<u32> {
    let keys = unsigned_keys(scores);
    var next = best;
    for (var i = 0u; i < 4u; i++) {
        let class_of_four = vec2(keys[i], col + i);
        let is_after = col + i < params.cols && comes_before(last, class_of_four + vec2(0u, 1u));
        if is_after && comes_before(class_of_four, next) {
            next = class_of_four;
        }
    }
    return next;
}

fn next_class(span: RowSpan, lane: u32, last: vec2<u32>) -> vec2<u32> {
    var best = vec2(0u, NO_CLASS);
    for (var i = lane; i < all_packs(span); i += LANES) {
        let pack = nth_pack(span, i);
        let scores = score_edge(span, pack);
        let col = pack_col(span, pack);
        best = better_of_four(best, scores.a, col, last);
        if PACKED {
            best = better_of_four(best, scores.b, col + 4u, last);
        }
    }
    return best;
}

// Finds the classes of a row with one lane one by one.
fn find_alone(span: RowSpan, first: u32) {
    var last = vec2(0xffffffffu, 0u);
    for (var n = 0u; n < params.entries; n++) {
        let best = next_class(span, 0u, last);
        top_indices[first + n] = best.y;
        top_values[first + n] = best.x;
        last = best + vec2(0u, 1u);
    }
}

// The same for any lanes. The row is read only if `reads`. Call this in uniform control flow.
fn find_together(span: RowSpan, at: Seat, first: u32, reads: bool) {
    var last = vec2(0xffffffffu, 0u);
    for (var n = 0u; n < params.entries; n++) {
        var own = vec2(0u, NO_CLASS);
        if reads {
            own = next_class(span, at.lane, last);
        }
        let best = best_head(own, at);
        if reads && at.lane == 0u {
            top_indices[first + n] = best.y;
            top_values[first + n] = best.x;
        }
        last = best + vec2(0u, 1u);
    }
}

@compute @workgroup_size(INVOCATIONS)
fn top_k_rows(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let span = row_span(at);
    let first = (params.first_row + at.row) * params.entries;
    own_length = 0u;
    if LANES > 1u {
        atomicStore(&list_lengths[at.first + at.lane], 0u);
        if at.first + at.lane == 0u {
            atomicStore(&rows_without_room, 0u);
        }
    }
    let stats = row_stats(span, at, at.taken);
    let floor = top_with_rank(at, params.entries);
    let blocks = select(0u, blocks_from(floor), at.taken);
    if LANES > 1u {
        workgroupBarrier();
    }
    sweep_listed(span, at, blocks, floor);
    if LANES == 1u {
        if own_length <= list_capacity() {
            place_listed(at, first, own_length);
        } else {
            find_alone(span, first);
        }
    } else {
        workgroupBarrier();
        let length = atomicLoad(&list_lengths[at.first]);
        let has_room = length <= list_capacity();
        if has_room {
            place_listed(at, first, length);
        } else if at.lane == 0u {
            atomicAdd(&rows_without_room, 1u);
        }
        workgroupBarrier();
        if at.first + at.lane == 0u {
            is_any_without_room = atomicLoad(&rows_without_room);
        }
        if workgroupUniformLoad(&is_any_without_room) > 0u {
            find_together(span, at, first, !has_room);
        }
    }
    finish_values(stats, at, first);
}
