// Logits that are only read. Bits of f32 come out, whatever the type.

const IN_PLACE: bool = false;

@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> logit_quads: array<Quad>; // the same buffer, four values a load

fn load_logit(index: u32) -> u32 {
    return widened(logits[index / LOGITS_PER_WORD], index % LOGITS_PER_WORD);
}

// Four values from an index that is a multiple of four on.
fn load_quad(index: u32) -> vec4<u32> {
    return widened_quad(logit_quads[index / 4u]);
}
