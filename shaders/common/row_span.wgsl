// Where a row lies. Its columns are taken four at a time: by one aligned load where the class axis is last (an odd row
// length or a padded stride lets rows begin anywhere, so a row is at most 3 values of head, quads, at most 3 values of
// tail), by four loads where other rows lie between.

struct RowSpan {
    row: u32,
    start: u32, // of the row in the logits, in values
    head: u32,  // columns before the first quad
    quads: u32,
    tail: u32,  // columns behind the last one
}

// Where a row begins among values that begin at `base` and come `stride` apart.
fn row_start(row: u32, base: u32, stride: u32) -> u32 {
    if STRIDED {
        return base + (row / params.inner) * stride + row % params.inner;
    }
    return base + row * stride;
}

fn row_span(row: u32) -> RowSpan {
    return span_from(row, row_start(row, params.logits_base, params.row_stride));
}

fn span_from(row: u32, start: u32) -> RowSpan {
    let head = select(min((4u - (start & 3u)) & 3u, params.cols), 0u, STRIDED);
    let quads = (params.cols - head) / 4u;
    return RowSpan(row, start, head, quads, params.cols - head - 4u * quads);
}

// How far a column is from its row's start, in values.
fn col_offset(col: u32) -> u32 {
    if STRIDED {
        return col * params.inner;
    }
    return col;
}

fn quad_col(span: RowSpan, q: u32) -> u32 {
    return span.head + 4u * q;
}

fn raw_logit(span: RowSpan, col: u32) -> u32 {
    return load_logit(span.start + col_offset(col));
}

// The q-th quad of the row.
fn raw_quad(span: RowSpan, q: u32) -> vec4<u32> {
    let index = span.start + col_offset(quad_col(span, q));
    if STRIDED {
        let inner = params.inner;
        return vec4(
            load_logit(index),
            load_logit(index + inner),
            load_logit(index + 2u * inner),
            load_logit(index + 3u * inner),
        );
    }
    return load_quad(index);
}

// The column of the i-th value outside the quads: first the head, then the tail.
fn edge_col(span: RowSpan, i: u32) -> u32 {
    return select(i + 4u * span.quads, i, i < span.head);
}
