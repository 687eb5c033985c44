// Uses: params, element, coding, pack, row_span

// The teacher: a second batch of logits with the type and layout of the first. It is in its own buffer and may begin at
// another place within a pack; then its values are loaded one by one.

@group(0) @binding(9) var<storage, read> teacher: array<u32>;
@group(0) @binding(10) var<storage, read> teacher_packs: array<Pack>; // the same buffer, a pack per load

// Call it before a value of the row is read.
fn begin_teacher(span: RowSpan) {
    if CODED {
        begin_teacher_codes(vec2(teacher[span.second / 2u - 2u], teacher[span.second / 2u - 1u]));
    }
}

fn teacher_logit(span: RowSpan, col: u32) -> u32 {
    let index = span.second + col_offset(col);
    return decoded_teacher(vec4(widened(teacher[index / LOGITS_PER_WORD], index % LOGITS_PER_WORD))).x;
}

// Four columns from `col` on, loaded one by one. One outside the row has some value of the row.
fn teacher_quad(span: RowSpan, col: u32) -> vec4<u32> {
    let cols = min(four_cols(col), vec4(params.cols - 1u));
    return vec4(
        teacher_logit(span, cols.x),
        teacher_logit(span, cols.y),
        teacher_logit(span, cols.z),
        teacher_logit(span, cols.w),
    );
}

// A pack's columns.
fn second_pack(span: RowSpan, pack: u32) -> QuadPair {
    if is_second_pack(span, pack) {
        let pair = unpacked(teacher_packs[span.second / PACK_VALUES + pack]);
        return QuadPair(decoded_teacher(pair.a), decoded_teacher(pair.b));
    }
    let col = pack_col(span, pack);
    var pair = QuadPair(teacher_quad(span, col), vec4(0u));
    if PACKED {
        pair.b = teacher_quad(span, col + 4u);
    }
    return pair;
}
