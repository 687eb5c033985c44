// Uses: params, seat, pack, logits, coding

// Where a row is. An array consists of packs; one load brings one pack. With an odd row length or a padded stride, rows
// begin and end anywhere. So a row consists of whole packs and, at either end, a pack that it may share with its
// neighbours. If the values of other rows lie between (STRIDED), packs are gathered from single values, from the row's
// first on.
//
// How a row is cut depends only on where it begins within a pack, not on the window it is in.

struct QuadPair {
    a: vec4<u32>,
    b: vec4<u32>, // used by packs of eight values
}

// Whether values to be stored may be NaN. If not, they are narrowed without a test of each.
var<private> stores_nan: bool = true;

struct RowSpan {
    row: u32,
    segment: u32,
    start: u32, // start of the row in the array, in values
    origin: u32, // start of its first pack in the array, in packs
    shift: u32, // values of its first pack that come before it
    target_col: u32, // the class that is its target, if there is one; else NO_CLASS
    second: u32,        // start of the row in a second array laid out like the logits
    second_alike: bool, // its quads match those of the row
    // The packs of this segment:
    lead: u32,  // packs that begin before the row: 0 or 1
    begin: u32, // the first whole pack
    whole: u32, // the end of the whole packs
    end: u32,   // the end of all packs
}

override STEPS: bool;       // rows are long enough for a whole step of all lanes
override WHOLE_PACKS: bool; // the whole last pack of the last row is within the array; likewise in a second array

const PACKED: bool = PACK_VALUES == 8u;

const STEP_VALUES: u32 = 16u; // values that an invocation loads before it uses the first
const STEP_PACKS: u32 = STEP_VALUES / PACK_VALUES;
const HALF_PACKS: u32 = STEP_PACKS / 2u;

// The start of a row in an array whose rows begin at `base`, `stride` values apart.
fn row_start(row: u32, base: u32, stride: u32) -> u32 {
    if STRIDED {
        return base + (row / params.inner) * stride + row % params.inner;
    }
    return base + row * stride;
}

fn row_span(seat: Seat) -> RowSpan {
    let start = row_start(seat.row, params.logits_base, params.row_stride);
    if CODED && seat.taken {
        let lead = vec2(load_logit(start - 4u), load_logit(start - 2u));
        begin_codes(lead | (vec2(load_logit(start - 3u), load_logit(start - 1u)) << vec2(16u)));
    }
    return span_from(seat.row, seat.segment, start);
}

// The span of a row with a class as its target.
fn row_span_to(seat: Seat, target_col: u32) -> RowSpan {
    var span = row_span(seat);
    span.target_col = target_col;
    return span;
}

fn span_from(row: u32, segment: u32, start: u32) -> RowSpan {
    let shift = select(start % PACK_VALUES, 0u, STRIDED);
    let origin = start / PACK_VALUES;
    let second = row_start(row, params.second_base, params.row_stride);
    let second_alike = !STRIDED && second % 4u == shift % 4u;
    let past = shift + params.cols;
    let lead = (shift + PACK_VALUES - 1u) / PACK_VALUES;
    let whole = max(past / PACK_VALUES, lead);
    let end = (past + PACK_VALUES - 1u) / PACK_VALUES;
    if SPLIT {
        let packs = params.segment_values / PACK_VALUES;
        let begin = min(lead + segment * packs, whole);
        let is_last = segment + 1u == params.segments;
        let own_whole = select(min(begin + packs, whole), whole, is_last);
        return RowSpan(
            row, segment, start, origin, shift, NO_CLASS, second, second_alike,
            select(0u, lead, segment == 0u), begin, own_whole, select(own_whole, end, is_last),
        );
    }
    return RowSpan(row, segment, start, origin, shift, NO_CLASS, second, second_alike, lead, lead, whole, end);
}

// The distance of a column from the start of its row, in values.
fn col_offset(col: u32) -> u32 {
    if STRIDED {
        return col * params.inner;
    }
    return col;
}

// The first column of a pack. If the pack begins before the row, the column has wrapped below 0.
fn pack_col(span: RowSpan, pack: u32) -> u32 {
    return pack * PACK_VALUES - span.shift;
}

// The number of full steps in the segment; they consist of whole packs.
fn full_steps(span: RowSpan) -> u32 {
    return (span.whole - span.begin) / (STEP_PACKS * LANES);
}

// A lane's first pack of a step; the others follow LANES apart.
fn step_pack(span: RowSpan, step: u32, lane: u32) -> u32 {
    return span.begin + step * STEP_PACKS * LANES + lane;
}

// The number of packs outside the steps: first the one that begins before the row, then those after the steps.
fn rest_packs(span: RowSpan) -> u32 {
    return span.lead + span.end - step_pack(span, full_steps(span), 0u);
}

fn rest_pack(span: RowSpan, i: u32) -> u32 {
    return select(step_pack(span, full_steps(span), i - span.lead), i, i < span.lead);
}

// All packs of the segment: those of the steps, then the rest. A lane that takes every LANES-th pack takes the same
// packs as in steps.
fn all_packs(span: RowSpan) -> u32 {
    return span.lead + span.end - span.begin;
}

fn nth_pack(span: RowSpan, n: u32) -> u32 {
    let stepped = full_steps(span) * STEP_PACKS * LANES;
    if n < stepped {
        return span.begin + n;
    }
    return rest_pack(span, n - stepped);
}

// Whether a pack holds only values of this row.
fn is_whole(span: RowSpan, pack: u32) -> bool {
    return pack * PACK_VALUES >= span.shift && !reaches_behind(span, pack);
}

fn reaches_behind(span: RowSpan, pack: u32) -> bool {
    return (pack + 1u) * PACK_VALUES > span.shift + params.cols;
}

fn four_cols(col: u32) -> vec4<u32> {
    return vec4(col, col + 1u, col + 2u, col + 3u);
}

fn raw_logit(span: RowSpan, col: u32) -> u32 {
    return decoded(vec4(load_logit(span.start + col_offset(col)))).x;
}

// Whether the four columns from one on, the first of a quad of the row, are one quad of the second array, within it.
fn is_second_quad(span: RowSpan, col: u32) -> bool {
    return span.second_alike && (WHOLE_PACKS || col + 4u <= params.cols);
}

// Whether a pack of the row is one pack of a second array of the same type, within it.
fn is_second_pack(span: RowSpan, pack: u32) -> bool {
    let is_alike = !STRIDED && span.second % PACK_VALUES == span.shift;
    return is_alike && (WHOLE_PACKS || !reaches_behind(span, pack));
}

// Four values, loaded one by one. For a column outside the row, this is some value of the row.
fn gathered(span: RowSpan, col: u32) -> vec4<u32> {
    let cols = min(four_cols(col), vec4(params.cols - 1u));
    return vec4(raw_logit(span, cols.x), raw_logit(span, cols.y), raw_logit(span, cols.z), raw_logit(span, cols.w));
}

fn gathered_pack(span: RowSpan, pack: u32) -> QuadPair {
    let col = pack_col(span, pack);
    var pair = QuadPair(gathered(span, col), vec4(0u));
    if PACKED {
        pair.b = gathered(span, col + 4u);
    }
    return pair;
}

// A whole pack.
fn raw_pack(span: RowSpan, pack: u32) -> QuadPair {
    if STRIDED {
        return gathered_pack(span, pack);
    }
    let pair = load_pack(span.origin + pack);
    return QuadPair(decoded(pair.a), decoded(pair.b));
}

// Any pack. Its values outside the row do not matter. A pack that reaches behind the row may reach behind the array.
fn raw_edge(span: RowSpan, pack: u32) -> QuadPair {
    if !STRIDED && !WHOLE_PACKS && reaches_behind(span, pack) {
        return gathered_pack(span, pack);
    }
    return raw_pack(span, pack);
}
