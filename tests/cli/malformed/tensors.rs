//! Headers of safetensors: what is no JSON, and JSON that describes no tensors.

use super::{Case, FLOATS, NOT_UNDERSTOOD, of_info, of_tensors, with_length};
use crate::support::{safetensors, safetensors_of, tensor};

pub fn bad_json() -> Vec<Case> {
    let of = |name, json: &str, says: &str| {
        of_tensors(name, safetensors_of(json, &[]), format!("{NOT_UNDERSTOOD}{says}"))
    };
    let deep = |open: &str| format!("{{\"a\":{}", open.repeat(20_000));
    vec![
        of("an array", "[]", "it does not begin with '{'"),
        of("spaces first", "  {}", "it does not begin with '{'"),
        of("no JSON", "{logits}", "key must be a string"),
        of("cut JSON", "{\"logits\":{\"dtype\":\"F32\"", "tensor \"logits\": EOF while parsing"),
        of("two objects", "{}{}", "trailing characters"),
        of("a comma too many", "{\"__metadata__\":{},}", "trailing comma"),
        of_tensors(
            "no UTF-8",
            with_length(8, b"{\"\xff\xfe\":1}"),
            format!("{NOT_UNDERSTOOD}invalid unicode code point"),
        ),
        of("deep arrays", &deep("["), "tensor \"a\": expected value"),
        of("deep objects", &deep("{\"dtype\":"), "tensor \"a\": unknown variant `dtype`, expected"),
        of("deep metadata", &deep("[").replace("\"a\"", "\"__metadata__\""), "EOF while parsing"),
        of("null", "{\"logits\":null}", "tensor \"logits\": invalid type: null, expected struct TensorInfo"),
        of(
            "a name that colours the terminal",
            "{\"\\u001b[31m\":null}",
            "tensor \"\\u{1b}[31m\": invalid type: null",
        ),
    ]
}

pub fn bad_tensors() -> Vec<Case> {
    let pair = |offsets: &str| {
        format!(
            "{{\"a\":{{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}},\"b\":{{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":{offsets}}}}}"
        )
    };
    let two = |name, offsets: &str, says: &str| {
        of_tensors(name, safetensors_of(&pair(offsets), bytemuck::cast_slice(&FLOATS)), says)
    };
    let named = |what: &str| format!("{NOT_UNDERSTOOD}tensor \"logits\": {what}");
    let twice = "{\"logits\":{\"dtype\":\"F32\",\"shape\":[4,3],\"data_offsets\":[0,48]},\"logits\":{\"dtype\":\"F32\",\"shape\":[4,3],\"data_offsets\":[0,48]}}";
    vec![
        of_tensors(
            "a name twice",
            safetensors_of(twice, bytemuck::cast_slice(&FLOATS)),
            "tensor \"logits\" occurs twice",
        ),
        of_info(
            "a field twice",
            r#""dtype":"F32","dtype":"F32","shape":[4,3],"data_offsets":[0,48]"#,
            &named("duplicate field `dtype`"),
        ),
        of_info("no shape", r#""dtype":"F32","data_offsets":[0,48]"#, &named("missing field `shape`")),
        of_info("no type", r#""shape":[4,3],"data_offsets":[0,48]"#, &named("missing field `dtype`")),
        of_info("no place", r#""dtype":"F32","shape":[4,3]"#, &named("missing field `data_offsets`")),
        of_info(
            "an unknown type",
            r#""dtype":"F128","shape":[4,3],"data_offsets":[0,48]"#,
            &named("unknown variant `F128`"),
        ),
        of_info(
            "a type in lower case",
            r#""dtype":"f32","shape":[4,3],"data_offsets":[0,48]"#,
            &named("unknown variant `f32`"),
        ),
        of_info(
            "a negative axis",
            r#""dtype":"F32","shape":[-4,3],"data_offsets":[0,48]"#,
            &named("invalid value: integer `-4`"),
        ),
        of_info(
            "a fraction of an axis",
            r#""dtype":"F32","shape":[4.5,3],"data_offsets":[0,48]"#,
            &named("invalid type: floating point `4.5`"),
        ),
        of_info(
            "a truth as an axis",
            r#""dtype":"F32","shape":[true,3],"data_offsets":[0,48]"#,
            &named("invalid type: boolean `true`"),
        ),
        of_info(
            "an axis above 2^64",
            r#""dtype":"F32","shape":[99999999999999999999,3],"data_offsets":[0,48]"#,
            &named("invalid type: floating point"),
        ),
        of_info(
            "a number as the shape",
            r#""dtype":"F32","shape":12,"data_offsets":[0,48]"#,
            &named("invalid type: integer `12`"),
        ),
        of_info(
            "one offset",
            r#""dtype":"F32","shape":[4,3],"data_offsets":[48]"#,
            &named("invalid length 1"),
        ),
        of_info(
            "a negative offset",
            r#""dtype":"F32","shape":[4,3],"data_offsets":[-1,47]"#,
            &named("invalid value: integer `-1`"),
        ),
        of_info(
            "shape overflows",
            r#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,48]"#,
            "tensor \"logits\": shape (4294967296, 4294967296) is larger than memory can be",
        ),
        of_info(
            "shape overflows beside a zero",
            r#""dtype":"F32","shape":[0,18446744073709551615,2],"data_offsets":[0,0]"#,
            "tensor \"logits\": shape (0, 18446744073709551615, 2) is larger",
        ),
        of_info(
            "bytes overflow",
            r#""dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,48]"#,
            "tensor \"logits\": shape (4611686018427387904,) is larger",
        ),
        of_info(
            "ends before it begins",
            r#""dtype":"F32","shape":[4,3],"data_offsets":[48,0]"#,
            "tensor \"logits\": it ends at byte 0, before it begins at 48",
        ),
        of_info(
            "a gap before the first",
            r#""dtype":"F32","shape":[4,2],"data_offsets":[16,48]"#,
            "tensor \"logits\": a gap: it begins at byte 16, and the data before it ends at 0",
        ),
        of_info(
            "too few bytes",
            r#""dtype":"F32","shape":[4,3],"data_offsets":[0,44]"#,
            "tensor \"logits\": shape (4, 3) of F32 needs 48 bytes; it has 44, 0 to 44",
        ),
        of_info(
            "half a byte",
            r#""dtype":"F4","shape":[3],"data_offsets":[0,2]"#,
            "tensor \"logits\": shape (3,) of F4 has 12 bits, which are not whole bytes",
        ),
        of_info(
            "a tensor beyond the file",
            r#""dtype":"F32","shape":[4,4],"data_offsets":[0,64]"#,
            "truncated: its tensor needs 64 bytes of data; there are 48",
        ),
        two(
            "a gap between two",
            "[25,49]",
            "tensor \"b\": a gap: it begins at byte 25, and the data before it ends at 24",
        ),
        two(
            "an overlap",
            "[20,44]",
            "tensor \"b\": an overlap: it begins at byte 20, and the data before it ends at 24",
        ),
        two(
            "one place for both",
            "[0,24]",
            "tensor \"b\": an overlap: it begins at byte 0, and the data before it ends at 24",
        ),
        two(
            "two candidates",
            "[24,48]",
            "2 tensors of floats of 2 or 3 axes; give the key of one: \"a\" (F32 (2, 3)), \"b\" (F32 (2, 3))",
        ),
        Case {
            args: "--key c",
            ..two("no such key", "[24,48]", "no tensor \"c\"; it has \"a\" (F32 (2, 3)), \"b\" (F32 (2, 3))")
        },
        of_tensors("no tensor", safetensors_of("{}", &[]), "no tensor of floats of 2 or 3 axes; it has none"),
        of_tensors(
            "integers",
            safetensors(&[tensor("x", &[4, 3], &[1i32; 12])]),
            "type I32: logits must be f16, bf16, f32 or f64",
        ),
        of_tensors(
            "none of two fits",
            safetensors(&[tensor("x", &[2, 3], &[1i32; 6]), tensor("y", &[3], &[0.5f32; 3])]),
            "no tensor of floats of 2 or 3 axes; it has \"x\" (I32 (2, 3)), \"y\" (F32 (3,))",
        ),
        of_tensors(
            "no classes",
            safetensors(&[tensor::<f32>("x", &[4, 0], &[])]),
            "shape of 4 rows × 0 cols: a row needs at least one class",
        ),
        of_info(
            "floats of 8 bits",
            r#""dtype":"F8_E4M3","shape":[16,3],"data_offsets":[0,48]"#,
            "type F8_E4M3: logits must be f16, bf16, f32 or f64",
        ),
    ]
}
