// Uses: row_span, sweep_output

// Packs of f32 output for logits of any type, a quad at a time.

@group(0) @binding(12) var<storage, read_write> output_quads: array<vec4<u32>>; // the same buffer as the output

fn put_pack(at: u32, pair: QuadPair) {
    if PACKED {
        output_quads[2u * at] = pair.a;
        output_quads[2u * at + 1u] = pair.b;
    } else {
        output_quads[at] = pair.a;
    }
}

fn store_own_words(out: RowSpan, pack: u32, pair: QuadPair) {
    store_edge(out, pack, pair);
}
