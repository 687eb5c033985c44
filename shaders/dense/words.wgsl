// Uses: row_span

// A value for each logit, in f32 whatever the logits' type, and laid out like them: soft targets, or the targets of a binary
// cross-entropy.
// Value by value, because a stage with weights has no room for another binding.

@group(0) @binding(7) var<storage, read> dense: array<u32>; // f32 bits

fn dense_at(span: RowSpan, col: u32) -> u32 {
    return dense[span.second + col_offset(col)];
}

// Four columns. One outside the row has some value of the array.
fn dense_quad(span: RowSpan, col: u32) -> vec4<u32> {
    return vec4(dense_at(span, col), dense_at(span, col + 1u), dense_at(span, col + 2u), dense_at(span, col + 3u));
}
