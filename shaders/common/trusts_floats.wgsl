// Uses: nothing

// Whether the adapter's floats are trusted where WGSL promises nothing: that exp2(−∞) is 0, and that a product or a sum with
// NaN or an infinity is not finite, unless it is a product with 0. If not, kernels decide on bits, with more instructions.

override TRUSTS_FLOATS: bool;

// exp2 of exponents that may be −∞. Below −150 it is 0 in f32.
fn exp2_or_zero(exponents: vec4<f32>) -> vec4<f32> {
    if TRUSTS_FLOATS {
        return exp2(exponents);
    }
    return exp2(max(exponents, vec4(-150.0)));
}
