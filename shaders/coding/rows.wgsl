// Uses: params

// Codes with a scale and a minimum for each row: value = scale · code + minimum, in f32, with the product rounded before the
// minimum is added. The two numbers are in the two words before the row's codes. An invocation works on one row, so it keeps
// them.
//
// If they are not finite, or reach beyond f32's range, no value of the row is a number.

const CODED: bool = true;
const CODE_MAX: f32 = 65535.0;

struct Coding {
    scale: f32,
    minimum: f32,
    all: u32, // bits that all values have: those of a NaN, or none
}

var<private> coding: Coding;
var<private> teacher_coding: Coding;

fn coding_of(lead: vec2<u32>) -> Coding {
    let magnitudes = bitcast<vec2<f32>>(lead & vec2(MAGNITUDE));
    let are_finite = is_finite(lead.x) && is_finite(lead.y);
    // A sixteenth of the largest magnitude, kept from overflowing.
    let reach = min(0.0625 * magnitudes.x, 1e33) * CODE_MAX + 0.0625 * magnitudes.y;
    if !are_finite || reach >= 0.0625 * -LOWEST {
        return Coding(0.0, 0.0, NAN);
    }
    return Coding(bitcast<f32>(lead.x), bitcast<f32>(lead.y), 0u);
}

fn begin_codes(lead: vec2<u32>) {
    coding = coding_of(lead);
}

fn begin_teacher_codes(lead: vec2<u32>) {
    teacher_coding = coding_of(lead);
}

// The max keeps a compiler from fusing the product and the sum, which would be rounded once.
fn values_of(codes: vec4<u32>, by: Coding) -> vec4<u32> {
    let products = max(by.scale * vec4<f32>(codes), vec4(LOWEST));
    return bitcast<vec4<u32>>(products + by.minimum) | vec4(by.all);
}

fn decoded(codes: vec4<u32>) -> vec4<u32> {
    return values_of(codes, coding);
}

fn decoded_teacher(codes: vec4<u32>) -> vec4<u32> {
    return values_of(codes, teacher_coding);
}
