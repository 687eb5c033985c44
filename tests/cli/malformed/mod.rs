//! Files that are broken in every way that a header can be: one clear line, status 2, and nothing written.

mod tensors;

use crate::files::{bad_logits, refuses};
use crate::support::{Folder, npy, safetensors, safetensors_of, tensor};

const FLOATS: [f32; 12] = [0.5; 12];
const NOT_UNDERSTOOD: &str = "header not understood: ";

/// A file, the arguments behind its name, and what the line says behind that.
struct Case {
    name: &'static str,
    file: &'static str,
    bytes: Vec<u8>,
    args: &'static str,
    says: String,
}

fn of_tensors(name: &'static str, bytes: Vec<u8>, says: impl Into<String>) -> Case {
    Case { name, file: "bad.safetensors", bytes, args: "", says: says.into() }
}

/// A header of one tensor, of 48 bytes of data.
fn of_info(name: &'static str, info: &str, says: &str) -> Case {
    let header = format!("{{\"logits\":{{{info}}}}}");
    of_tensors(name, safetensors_of(&header, bytemuck::cast_slice(&FLOATS)), says)
}

fn with_length(len: u64, rest: &[u8]) -> Vec<u8> {
    [&len.to_le_bytes()[..], rest].concat()
}

fn bad_prefixes() -> Vec<Case> {
    let good = safetensors(&[tensor("logits", &[4, 3], &FLOATS)]);
    let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize + 8;
    let swapped = [&(header as u64 - 8).to_be_bytes()[..], &good[8..]].concat();
    let at_most = "bytes; at most 100000000 are read";
    let truncated = "truncated: a .safetensors file begins with 8 bytes of length; there are";
    let huge = u64::from_be_bytes((header as u64 - 8).to_le_bytes());
    vec![
        of_tensors("empty", vec![], format!("{truncated} 0")),
        of_tensors("half a length", good[..5].to_vec(), format!("{truncated} 5")),
        of_tensors(
            "a length alone",
            good[..8].to_vec(),
            format!("truncated: a header of {header} bytes in a file of 8"),
        ),
        of_tensors("text", b"loss,perplexity\n1.0,2.7\n".to_vec(), "a header of 8243118029189377900 bytes"),
        of_tensors(
            "cut in the header",
            good[..60].to_vec(),
            format!("truncated: a header of {header} bytes in a file of 60"),
        ),
        of_tensors(
            "a length beyond the file",
            with_length(5000, &good[8..]),
            format!("truncated: a header of 5008 bytes in a file of {}", good.len()),
        ),
        of_tensors("a big-endian length", swapped, format!("a header of {huge} {at_most}")),
        of_tensors(
            "the longest length",
            with_length(u64::MAX, &good[8..]),
            format!("a header of {} {at_most}", u64::MAX),
        ),
        of_tensors(
            "a byte too long a header",
            with_length(100_000_001, &good[8..]),
            format!("a header of 100000001 {at_most}"),
        ),
        of_tensors(
            "a header of nothing",
            with_length(0, &[]),
            format!("{NOT_UNDERSTOOD}it does not begin with '{{'"),
        ),
        of_tensors(
            "cut by a value",
            good[..good.len() - 4].to_vec(),
            "truncated: its tensor needs 48 bytes of data; there are 44",
        ),
        of_tensors(
            "cut by a byte",
            good[..good.len() - 1].to_vec(),
            "truncated: its tensor needs 48 bytes of data; there are 47",
        ),
        of_tensors(
            "no data",
            good[..header].to_vec(),
            "truncated: its tensor needs 48 bytes of data; there are 0",
        ),
        of_tensors(
            "bytes behind the last tensor",
            [&good[..], &[0]].concat(),
            "too long: its tensor needs 48 bytes of data; there are 49",
        ),
    ]
}

fn bad_raw() -> Vec<Case> {
    let raw = |name, len: usize, args, says: &str| Case {
        name,
        file: "bad.raw",
        bytes: vec![0; len],
        args,
        says: says.to_owned(),
    };
    let npy = npy("<f4", "(4, 3)", bytemuck::cast_slice(&FLOATS));
    let has_header = "it has a header with its type and shape: do not give them as well";
    vec![
        raw(
            "nothing told",
            48,
            "",
            "neither .npy nor .safetensors; for raw values, type and cols must be given",
        ),
        raw(
            "a row cut",
            44,
            "--dtype f32 --cols 3",
            "44 bytes are not a multiple of a row: 3 cols of f32 take 12 bytes, and 8 are left over",
        ),
        raw(
            "a value cut",
            47,
            "--dtype bf16 --cols 3",
            "47 bytes are not a multiple of a row: 3 cols of bf16 take 6 bytes, and 5 are left over",
        ),
        raw("no cols", 48, "--dtype f16 --cols 0", "0 cols of f16: a row cannot have this size"),
        raw(
            "cols overflow",
            48,
            "--dtype f64 --cols 9223372036854775807",
            "9223372036854775807 cols of f64: a row cannot have this size",
        ),
        raw(
            "fewer rows than told",
            48,
            "--dtype f32 --cols 3 --rows 5",
            "truncated: 5 rows were given; there are 4",
        ),
        raw(
            "more rows than told",
            48,
            "--dtype f32 --cols 3 --rows 3",
            "too long: 3 rows were given; there are 4",
        ),
        Case { bytes: npy.clone(), ..raw(".npy", 0, "--dtype f32 --cols 3", has_header) },
        Case {
            file: "bad.safetensors",
            ..raw(".safetensors by its name", 48, "--dtype f32 --cols 3", has_header)
        },
        Case {
            file: "bad.npy",
            bytes: npy,
            ..raw(
                "a key in .npy",
                0,
                "--key logits",
                "a .npy file has one array without a name, so it has no key \"logits\"",
            )
        },
    ]
}

#[test]
fn one_line_and_status_2() {
    let of_npy = bad_logits().into_iter().map(|(name, bytes, says)| Case {
        name,
        file: "bad.npy",
        bytes,
        args: "",
        says: says.to_owned(),
    });
    let cases: Vec<Case> = of_npy
        .chain(bad_prefixes())
        .chain(tensors::bad_json())
        .chain(tensors::bad_tensors())
        .chain(bad_raw())
        .collect();
    assert!(cases.len() >= 60, "{}", cases.len());
    let folder = Folder::new();
    folder.targets(&[0, 1, 2, -100]);
    for Case { name, file, bytes, args, says } in cases {
        folder.write(file, bytes);
        let line = format!("xent: {file}: {says}");
        for command in
            ["eval --targets targets.npy --rows-out rows.npy --grad-out out.npy", "softmax -o out.npy"]
        {
            refuses(&folder, name, &format!("{command} {file} {args}"), &line);
        }
    }
}

#[test]
fn targets_of_a_file_that_is_broken() {
    let folder = Folder::new();
    folder.logits(&FLOATS, 3);
    let good = safetensors(&[tensor("a", &[4], &[0i64; 4]), tensor("b", &[4], &[1u8; 4])]);
    let floats = safetensors(&[tensor("a", &[4], &[0.5f32; 4])]);
    for (name, bytes, args, says) in [
        (
            "two of integers",
            good.clone(),
            "",
            "2 tensors of integers; give the key of one: \"a\" (I64 (4,)), \"b\" (U8 (4,))",
        ),
        (
            "no such key",
            good.clone(),
            "--targets-key c",
            "no tensor \"c\"; it has \"a\" (I64 (4,)), \"b\" (U8 (4,))",
        ),
        (
            "cut",
            good[..good.len() - 1].to_vec(),
            "--targets-key a",
            "truncated: its 2 tensors need 36 bytes of data; there are 35",
        ),
        ("floats", floats, "", "type F32: targets must be integers"),
        (
            "out of range",
            safetensors(&[tensor("a", &[4], &[0u16, 1, 2, 3])]),
            "",
            "targets[3] = 3 is outside 0..3 and is not ignore_index (-100)",
        ),
    ] {
        folder.write("t.safetensors", bytes);
        let args = format!("eval logits.npy --targets t.safetensors {args} --rows-out out.npy");
        refuses(&folder, name, &args, &format!("xent: t.safetensors: {says}"));
    }
    for (name, args, line) in [
        (
            "a key of .npy",
            "logits.npy --targets-key t",
            "logits.npy: a .npy file has one array without a name, so it has no key \"t\"",
        ),
        (
            "a key of raw values",
            "raw.bin --dtype f32 --cols 3 --targets-key t",
            "--targets-key: raw values have no names",
        ),
        ("a key beside stdin", "- --targets-key t", "--targets-key: stdin is read once, for the logits"),
        (
            "stdin and a file",
            "- logits.npy --targets logits.npy",
            "-: stdin cannot be combined with other files",
        ),
        (
            "stdin of unknown rows",
            "- --dtype f32 --cols 3 --targets logits.npy",
            "stdin: the number of rows is needed: give --rows",
        ),
        ("nothing on stdin", "- --targets logits.npy", "stdin: neither .npy nor .safetensors"),
    ] {
        folder.write("raw.bin", bytemuck::cast_slice(&FLOATS));
        refuses(&folder, name, &format!("eval {args} --rows-out out.npy"), &format!("xent: {line}"));
    }
}
