// Uses: element, coding, row_span

// The teacher: a second batch of logits with the type and layout of the first. It is in its own buffer and may begin at
// another place within a quad; then its values are loaded one by one.

@group(0) @binding(9) var<storage, read> teacher: array<u32>;
@group(0) @binding(10) var<storage, read> teacher_quads: array<Quad>; // the same buffer, four values per load

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

// Four columns from `col` on.
fn teacher_quad(span: RowSpan, col: u32) -> vec4<u32> {
    if is_second_quad(span, col) {
        return decoded_teacher(widened_quad(teacher_quads[(span.second + col) / 4u]));
    }
    return vec4(
        teacher_logit(span, col),
        teacher_logit(span, col + 1u),
        teacher_logit(span, col + 2u),
        teacher_logit(span, col + 3u),
    );
}
