// Uses: params, seat, row_span

// The scores of a masked softmax: scale·x + mask, or −∞ if a row may not attend to a class.
//
// So that they do not overflow, they are multiplied by a power of two, which changes no digit. The scale of the exponential
// takes it back.

override ADDITIVE_MASK: bool;
override BOOLEAN_MASK: bool;
override CAUSAL: bool; // a row attends only to its first columns, one more with each position

@group(0) @binding(4) var<storage, read> additive_mask: array<u32>; // f32 bits, (additive_rows, cols)
@group(0) @binding(5) var<storage, read> boolean_mask: array<u32>;  // 0: not attended to, (boolean_rows, cols)

// For the invocation's row: where it begins in the masks, and how many columns causality leaves visible.
var<private> additive_start: u32;
var<private> boolean_start: u32;
var<private> visible: u32;

fn begin_row(seat: Seat) {
    // The row's index in the whole batch, however it is cut into windows.
    let row = params.mask_first_row + params.first_row + seat.row;
    if ADDITIVE_MASK {
        additive_start = (row / params.additive_repeat) % params.additive_rows * params.cols;
    }
    if BOOLEAN_MASK {
        boolean_start = (row / params.boolean_repeat) % params.boolean_rows * params.cols;
    }
    if CAUSAL {
        let columns = row % params.sequence_length + 1u;
        let offset = bitcast<u32>(params.causal_offset);
        let before = select(0u, 0u - offset, params.causal_offset < 0);
        visible = select(columns + offset, max(columns, before) - before, params.causal_offset < 0);
    }
}

// Special values are decided on bits: an infinity gets its sign times the sign of the scale, infinities of both signs make
// NaN, and a NaN stays.
fn masked(bits: vec4<u32>, mask: vec4<u32>, attended: vec4<bool>) -> vec4<u32> {
    let sign = bitcast<u32>(params.score_scale) & 0x80000000u;
    let product = bitcast<vec4<u32>>(bitcast<vec4<f32>>(bits) * params.score_scale);
    var scores = select(product, bits ^ vec4(sign), (bits & vec4(MAGNITUDE)) >= vec4(INFINITY));
    if ADDITIVE_MASK {
        let is_special = (scores & vec4(MAGNITUDE)) >= vec4(INFINITY);
        let adds_special = (mask & vec4(MAGNITUDE)) >= vec4(INFINITY);
        let sum = bitcast<vec4<u32>>(bitcast<vec4<f32>>(scores) + bitcast<vec4<f32>>(mask) * params.mask_scale);
        let clash = is_special & adds_special & (scores != mask);
        let special = select(select(mask, scores, is_special), vec4(NAN), clash);
        scores = select(sum, special, is_special | adds_special);
    }
    // Selected, not added: a value that may not be attended to may be NaN.
    return select(vec4(NEG_INFINITY), scores, attended);
}

// The column that has the logit of a row's class.
fn column_of(class_index: u32) -> u32 {
    return class_index;
}

// Scores as bits, −∞ if a class is impossible.
fn score(span: RowSpan, col: u32) -> u32 {
    if CAUSAL && col >= visible {
        return NEG_INFINITY;
    }
    var mask = 0u;
    if ADDITIVE_MASK {
        mask = additive_mask[additive_start + col];
    }
    var attended = true;
    if BOOLEAN_MASK {
        attended = boolean_mask[boolean_start + col] != 0u;
    }
    return masked(vec4(raw_logit(span, col)), vec4(mask), vec4(attended)).x;
}

// The scores of four columns from `col` on; `quad` are their logits.
fn masked_quad(quad: vec4<u32>, col: u32) -> vec4<u32> {
    var mask = vec4(0u);
    if ADDITIVE_MASK {
        let at = additive_start + col;
        mask = vec4(additive_mask[at], additive_mask[at + 1u], additive_mask[at + 2u], additive_mask[at + 3u]);
    }
    var attended = vec4(true);
    if BOOLEAN_MASK {
        let at = boolean_start + col;
        let words = vec4(boolean_mask[at], boolean_mask[at + 1u], boolean_mask[at + 2u], boolean_mask[at + 3u]);
        attended = words != vec4(0u);
    }
    if CAUSAL {
        attended = attended & (four_cols(col) < vec4(visible));
    }
    return masked(quad, mask, attended);
}

// The scores of a pack of logits whose first column is `col`.
fn scores_of(logits: QuadPair, col: u32) -> QuadPair {
    var scores = QuadPair(masked_quad(logits.a, col), vec4(0u));
    if PACKED {
        scores.b = masked_quad(logits.b, col + 4u);
    }
    return scores;
}

// Whether the logits from a column on need not be read. A column before the row has wrapped below 0.
fn is_hidden(col: u32) -> bool {
    return CAUSAL && bitcast<i32>(col) >= bitcast<i32>(visible);
}
