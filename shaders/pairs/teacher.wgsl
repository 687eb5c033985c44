// Uses: params, seat, element, row_span

// The teacher: a second batch of logits with the type and layout of the first. It is in its own buffer and may begin at
// another place within a quad; then its values are loaded one by one.

@group(0) @binding(9) var<storage, read> teacher: array<u32>;
@group(0) @binding(10) var<storage, read> teacher_quads: array<Quad>; // the same buffer, four values per load

fn teacher_start(row: u32) -> u32 {
    return row_start(row, params.second_base, params.row_stride);
}

fn teacher_logit(start: u32, col: u32) -> u32 {
    let index = start + col_offset(col);
    return widened(teacher[index / LOGITS_PER_WORD], index % LOGITS_PER_WORD);
}

// Four columns from `col` on.
fn teacher_quad(start: u32, col: u32) -> vec4<u32> {
    if !STRIDED && ((start + col) & 3u) == 0u {
        return widened_quad(teacher_quads[(start + col) / 4u]);
    }
    return vec4(
        teacher_logit(start, col),
        teacher_logit(start, col + 1u),
        teacher_logit(start, col + 2u),
        teacher_logit(start, col + 3u),
    );
}
