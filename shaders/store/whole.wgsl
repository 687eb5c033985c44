// Uses: seat, row_span, sweep_output

// A whole pack of the output, in one store if its values are contiguous.

fn store_pack(out: RowSpan, pack: u32, pair: QuadPair) {
    if STRIDED {
        store_pack_words(out, pack, pair);
    } else {
        put_pack(out.origin + pack, pair);
    }
}
