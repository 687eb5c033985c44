// Uses: row_span

// A value for each logit, in f32 whatever the logits' type, and laid out like them: soft targets, or the targets of a binary
// cross-entropy.

@group(0) @binding(7) var<storage, read> dense: array<u32>;             // f32 bits
@group(0) @binding(13) var<storage, read> dense_quads: array<vec4<u32>>; // the same buffer, four values per load

fn dense_at(span: RowSpan, col: u32) -> u32 {
    return dense[span.second + col_offset(col)];
}

// Four columns. One outside the row has some value of the array.
fn dense_quad(span: RowSpan, col: u32) -> vec4<u32> {
    if is_second_quad(span, col) {
        return dense_quads[(span.second + col) / 4u];
    }
    return vec4(dense_at(span, col), dense_at(span, col + 1u), dense_at(span, col + 2u), dense_at(span, col + 3u));
}
