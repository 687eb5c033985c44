// Uses: params, seat, row_span, scores, order_key, sweep_steps

// The classes of a row that may be in the support of its entmax: those less than 1 / (α − 1) below the maximum. The first sweep
// finds the maximum, and each lane lists such classes of its part of the row, as far as its list has room. Lists keep the order
// of the sweep, so that sums over them have a fixed order.

const LISTED: u32 = 2048u;     // classes in the lists of a workgroup
const MOST_LISTED: u32 = 256u; // of these, a lane's

// Scores at first, then how far they are below the maximum.
var<workgroup> lists: array<f32, LISTED>;
var<workgroup> lane_keys: array<i32, INVOCATIONS>;

var<private> own_list: u32;   // where the lane's list begins
var<private> own_listed: u32; // its classes; if they are more than it holds, not all are there
var<private> own_key: i32;    // order key of the largest score so far
var<private> own_floor: i32;  // below this key, a class has probability 0

// The sum that the first sweep folds is the order key of the maximum.
alias LaneSum = i32;
alias Swept = RowSpan;

fn identity() -> i32 {
    return KEY_NONE;
}

fn combine(a: i32, b: i32) -> i32 {
    return max(a, b);
}

fn put_lane(at: u32, key: i32) {
    lane_keys[at] = key;
}

fn lane_at(at: u32) -> i32 {
    return lane_keys[at];
}

fn list_capacity() -> u32 {
    return min(LISTED / INVOCATIONS, MOST_LISTED);
}

// An empty list.
fn begin_list(seat: Seat) {
    own_list = (seat.first + seat.lane) * list_capacity();
    own_listed = 0u;
    own_key = KEY_NONE;
    own_floor = KEY_LOWEST;
}

// Whether all classes of the lane's part of the row that may be in the support are in its list.
fn is_listed() -> bool {
    return own_listed <= list_capacity();
}

fn push_class(value: f32) {
    if own_listed < list_capacity() {
        lists[own_list + own_listed] = value;
    }
    own_listed++;
}

// The floor under a new largest key: 1 / (α − 1) below it, with room for rounding. Halves do not overflow.
fn raise_floor(key: i32) {
    own_key = max(own_key, key);
    let half = 0.5 * row_max(own_key);
    let floor = max(half - (0.51 * params.entmax_power + 2.5e-7 * abs(half)), 0.5 * LOWEST);
    own_floor = order_keys(vec4(bitcast<u32>(2.0 * floor))).x;
}

fn list_quad(scores: vec4<u32>) {
    let keys = order_keys(scores);
    for (var i = 0u; i < 4u; i++) {
        if keys[i] >= own_floor {
            push_class(bitcast<f32>(scores[i]));
        }
    }
}

// A pack with this largest key. Most packs have no class above the floor.
fn list_pack(scores: QuadPair, largest: i32) {
    if largest < own_floor { return; }
    raise_floor(largest);
    list_quad(scores.a);
    if PACKED {
        list_quad(scores.b);
    }
}

fn pack_key(scores: QuadPair) -> i32 {
    let b = select(scores.a, scores.b, PACKED);
    return largest_key(scores.a, b, scores.a, b);
}

fn with_step(key: i32, span: RowSpan, pack: u32) -> i32 {
    let a = score_pack(span, pack);
    let b = score_pack(span, pack + LANES);
    var largest = max(pack_key(a), pack_key(b));
    if STEP_PACKS == 4u {
        let c = score_pack(span, pack + 2u * LANES);
        let d = score_pack(span, pack + 3u * LANES);
        largest = max(largest, largest_key(c.a, d.a, c.a, d.a));
    }
    if largest >= own_floor {
        for (var i = 0u; i < STEP_PACKS; i++) {
            let scores = score_pack(span, pack + i * LANES);
            list_pack(scores, pack_key(scores));
        }
    }
    return max(key, largest);
}

// One lane's part of the row: its largest key, and its list.
fn sweep_classes(span: RowSpan, lane: u32) -> i32 {
    var key = sweep_steps(identity(), span, span, lane);
    let rest = rest_packs(span);
    for (var i = lane; i < rest; i += LANES) {
        let scores = score_edge(span, rest_pack(span, i));
        let largest = pack_key(scores);
        list_pack(scores, largest);
        key = max(key, largest);
    }
    return key;
}
