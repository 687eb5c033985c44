// Uses: params, seat, row_span, load_row_input

// The scores of a sampled softmax: x − T·ln(count), where count is how often the column's class is expected among the
// negatives. Column 0 is the row's own class, and the others are its negatives. One that is the own class again is none: −∞.

// {class, bits of ln(count)}: (cols − 1,) for all rows, or (rows, cols − 1)
@group(0) @binding(7) var<storage, read> negatives: array<vec2<u32>>;
@group(0) @binding(8) var<storage, read> target_log_counts: array<u32>; // f32 bits, (rows,)

const MOST_LOG_COUNT: u32 = 0x447a0000u; // 1000: beyond it, a finite score could exceed f32

// For the invocation's row: its class, ln(count) of that as bits, and where its negatives begin.
var<private> own_class: u32;
var<private> own_log_count: u32;
var<private> first_negative: u32;

fn begin_row(seat: Seat) {
    own_class = load_row_input(seat).class_index;
    if seat.taken {
        let row = params.first_row + seat.row;
        own_log_count = target_log_counts[row];
        first_negative = row * params.row_negatives;
    }
}

// Special values are decided on bits: a logit that is one stays, and a count that is no number makes NaN.
fn corrected(bits: vec4<u32>, log_counts: vec4<u32>, are_hits: vec4<bool>) -> vec4<u32> {
    let sums = bitcast<vec4<f32>>(bits) - params.count_scale * bitcast<vec4<f32>>(log_counts);
    var scores = select(bitcast<vec4<u32>>(sums), bits, (bits & vec4(MAGNITUDE)) >= vec4(INFINITY));
    scores = select(scores, vec4(NAN), (log_counts & vec4(MAGNITUDE)) > vec4(MOST_LOG_COUNT));
    // Selected, not added: the logit of a hit may be NaN.
    return select(scores, vec4(NEG_INFINITY), are_hits);
}

// The column that has the logit of a row's class.
fn column_of(class_index: u32) -> u32 {
    return 0u;
}

// The negative of a column. Column 0 has none, and gets any.
fn negative_at(col: u32) -> vec2<u32> {
    return negatives[first_negative + select(col - 1u, 0u, col == 0u)];
}

// Scores as bits, −∞ if a class is impossible.
fn score(span: RowSpan, col: u32) -> u32 {
    let bits = vec4(raw_logit(span, col));
    if col == 0u {
        return corrected(bits, vec4(own_log_count), vec4(false)).x;
    }
    let negative = negative_at(col);
    return corrected(bits, vec4(negative.y), vec4(negative.x == own_class)).x;
}

// The scores of four columns from `col` on; `quad` are their logits.
fn sampled_quad(quad: vec4<u32>, col: u32) -> vec4<u32> {
    let a = negative_at(col);
    let b = negative_at(col + 1u);
    let c = negative_at(col + 2u);
    let d = negative_at(col + 3u);
    let is_own = four_cols(col) == vec4(0u);
    let classes = vec4(a.x, b.x, c.x, d.x);
    let log_counts = select(vec4(a.y, b.y, c.y, d.y), vec4(own_log_count), is_own);
    return corrected(quad, log_counts, (classes == vec4(own_class)) & !is_own);
}

// The scores of a pack of logits whose first column is `col`.
fn scores_of(logits: QuadPair, col: u32) -> QuadPair {
    var scores = QuadPair(sampled_quad(logits.a, col), vec4(0u));
    if PACKED {
        scores.b = sampled_quad(logits.b, col + 4u);
    }
    return scores;
}

// Whether the logits from a column on need not be read.
fn is_hidden(col: u32) -> bool {
    return false;
}
