// Uses: params, pack, row_span

// A row by its quads, where packs are quads: at most 3 values of head, quads, at most 3 values of tail.

const STEP_QUADS: u32 = 4u;   // quads of each array that an invocation loads before it uses the first
const CHUNK_STEPS: u32 = 32u; // steps summed apart, so that rounding grows with the root of the row and not with it

fn head_cols(span: RowSpan) -> u32 {
    return select(0u, min(PACK_VALUES - span.shift, params.cols), span.lead > 0u);
}

fn quads_of(span: RowSpan) -> u32 {
    return span.whole - span.begin;
}

fn quad_col(span: RowSpan, q: u32) -> u32 {
    return pack_col(span, span.begin + q);
}

fn raw_quad(span: RowSpan, q: u32) -> vec4<u32> {
    return raw_pack(span, span.begin + q).a;
}
