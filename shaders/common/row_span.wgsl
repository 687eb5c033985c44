// Where a row lies among the aligned quads (4 values, one load) of its buffer: an odd row length or a padded stride
// lets rows begin anywhere, so a row is at most 3 values of head, aligned quads, at most 3 values of tail.

override LANES: u32 = 64u; // invocations that share one row: the workgroup's size

struct RowSpan {
    start: u32,      // of the row in the logits, in values
    head: u32,       // values before the first aligned quad
    quads: u32,      // aligned quads
    tail: u32,       // values behind the last one
    first_quad: u32, // of the row in the buffer
}

fn row_span(row: u32) -> RowSpan {
    let start = params.logits_base + row * params.row_stride;
    let head = min((4u - (start & 3u)) & 3u, params.cols);
    let quads = (params.cols - head) / 4u;
    return RowSpan(start, head, quads, params.cols - head - 4u * quads, (start + head) / 4u);
}

// The column of the i-th value outside the quads: first the head, then the tail.
fn edge_col(span: RowSpan, i: u32) -> u32 {
    return select(i + 4u * span.quads, i, i < span.head);
}
