// f32 logits: how values are loaded and stored. Bits in, bits out.

@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> logit_quads: array<vec4<u32>>; // the same buffer, four values a load
@group(0) @binding(3) var<storage, read_write> output: array<u32>;

fn load_logit(index: u32) -> u32 {
    return logits[index];
}

fn load_quad(quad: u32) -> vec4<u32> {
    return logit_quads[quad];
}

fn store_output(index: u32, bits: u32) {
    output[index] = bits;
}
