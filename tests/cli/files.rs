//! Files that are not what they should be: one clear line, status 2, and nothing written.

use crate::support::{Folder, npy, npy_of};

const FLOATS: [f32; 12] = [0.5; 12];

/// The name of a case; the file; what the line says behind the file's name.
pub type Case = (&'static str, Vec<u8>, &'static str);

fn with_prefix(prefix: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    bytes.resize(len, b' ');
    bytes
}

/// Logits that are no logits of shape (4, 3).
pub fn bad_logits() -> Vec<Case> {
    let floats: &[u8] = bytemuck::cast_slice(&FLOATS);
    let header = |order: &str, descr: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")
    };
    let good = npy("<f4", "(4, 3)", floats);
    let not_npy = "not a .npy file: it does not begin with \\x93NUMPY, version and header length";
    let too_far = {
        let mut values = [0.0f64; 12];
        values[7] = -3.5e38;
        npy("<f8", "(4, 3)", bytemuck::cast_slice(&values))
    };
    let mut newer = good.clone();
    newer[6] = 4;
    let mut no_header = good.clone();
    no_header[8..10].copy_from_slice(&[0, 0]);
    vec![
        ("empty", vec![], not_npy),
        ("text", b"loss,perplexity\n1.0,2.7\n".to_vec(), not_npy),
        ("a zip", with_prefix(b"PK\x03\x04", 200), "archive not understood: "),
        ("gzip", with_prefix(b"\x1f\x8b", 200), "compressed with gzip: unpack it with `gunzip -k`"),
        (
            "a pickle",
            with_prefix(b"\x80\x04", 200),
            "a Python pickle: convert it in Python with `numpy.save(",
        ),
        ("GGUF", with_prefix(b"GGUF", 200), "it holds the weights of a model, not logits"),
        ("magic alone", b"\x93NUMPY".to_vec(), not_npy),
        ("a newer version", newer, "version 4.0 of the .npy format; 1.0, 2.0 and 3.0 are read"),
        ("no header text", no_header, "header not understood: could not parse Python expression"),
        ("cut in the header", good[..60].to_vec(), "truncated: a header of 128 bytes in a file of 60"),
        (
            "a header of 4 GiB",
            with_prefix(b"\x93NUMPY\x02\x00\xff\xff\xff\xff", 4096),
            "a header of 4294967295 bytes; at most 10000 are read",
        ),
        (
            "a header of 60 KiB",
            with_prefix(b"\x93NUMPY\x01\x00\x00\xf0", 70_000),
            "a header of 61440 bytes; at most 10000 are read",
        ),
        (
            "no text",
            npy_of("\u{1}\u{2}", floats),
            "header not understood: it holds '\\u{1}' outside of a string",
        ),
        (
            "nested",
            npy_of(&header("False", "'<f4'", &"(".repeat(9000)), floats),
            "header not understood: its brackets are nested more than 4 deep",
        ),
        (
            "shape overflows",
            npy("<f4", "(4294967296, 4294967296)", floats),
            "header not understood: its shape overflows 2^64 values",
        ),
        (
            "shape overflows beside a zero",
            npy("<f4", "(0, 18446744073709551615, 2)", &[]),
            "header not understood: its shape overflows 2^64 values",
        ),
        (
            "bytes overflow",
            npy("<f4", "(4611686018427387904, 1)", floats),
            "shape (4611686018427387904, 1) is larger than memory can be",
        ),
        (
            "a negative axis",
            npy("<f4", "(-4, 3)", floats),
            "header not understood: dimension cannot be negative",
        ),
        (
            "no descr",
            npy_of("{'fortran_order': False, 'shape': (4, 3), }", floats),
            "header not understood: dict is missing key 'descr'",
        ),
        (
            "cut by a value",
            good[..good.len() - 4].to_vec(),
            "truncated: shape (4, 3) of '<f4' needs 48 bytes of data; there are 44",
        ),
        (
            "cut by a byte",
            good[..good.len() - 1].to_vec(),
            "truncated: shape (4, 3) of '<f4' needs 48 bytes of data; there are 47",
        ),
        (
            "no data",
            good[..good.len() - 48].to_vec(),
            "truncated: shape (4, 3) of '<f4' needs 48 bytes of data; there are 0",
        ),
        (
            "too long",
            [&good[..], &[0; 4]].concat(),
            "too long: shape (4, 3) of '<f4' needs 48 bytes of data; there are 52",
        ),
        (
            "a terabyte announced",
            npy("<f4", "(1000000, 250000)", floats),
            "truncated: shape (1000000, 250000) of '<f4' needs 1000000000000 bytes of data; there are 48",
        ),
        ("no axis", npy("<f4", "()", &floats[..4]), "class axis -1 is out of range: the array has 0 axes"),
        ("no classes", npy("<f4", "(4, 0)", &[]), "shape of 4 rows × 0 cols: a row needs at least one class"),
        ("i4", npy("<i4", "(4, 3)", floats), "type '<i4': logits must be f16, bf16, f32 or f64"),
        (
            "u2",
            npy("<u2", "(4, 6)", floats),
            "type '<u2': logits must be f16, bf16, f32 or f64; 16-bit integers are taken as the bits of bf16 or f16 if \
             that type is given",
        ),
        ("complex", npy("<c8", "(2, 3)", floats), "type '<c8': logits must be f16, bf16, f32 or f64"),
        (
            "structured",
            npy_of(&header("False", "[('a', '<f4'), ('b', '<f4')]", "(2, 3)"), floats),
            "structured type [('a', '<f4'), ('b', '<f4'), ]: plain numbers are needed",
        ),
        ("objects", npy("|O", "(4, 3)", floats), "type '|O': plain numbers are needed"),
        ("f64 beyond f32", too_far, "logits[2, 1] = -3.5e38 is beyond f32's range"),
    ]
}

/// Targets that do not go with logits of shape (4, 3).
fn bad_targets() -> Vec<Case> {
    let ints = |values: [i64; 4]| npy("<i8", "(4,)", bytemuck::cast_slice(&values));
    let good = ints([0, 1, 2, -100]);
    vec![
        ("empty", vec![], "not a .npy file: it does not begin with \\x93NUMPY, version and header length"),
        ("floats", npy("<f4", "(4,)", &[0; 16]), "type '<f4': targets must be integers"),
        ("booleans", npy("|b1", "(4,)", &[0; 4]), "type '|b1': targets must be integers"),
        ("too few", npy("<i8", "(3,)", &[0; 24]), "shape (3,): 4 rows of logits need (4,)"),
        ("too many", npy("<i8", "(5,)", &[0; 40]), "shape (5,): 4 rows of logits need (4,)"),
        (
            "one-hot",
            npy("<i8", "(4, 3)", &[0; 96]),
            "shape (4, 3): 4 rows of logits need (4,); with a value for each class",
        ),
        ("no axis", npy("<i8", "()", &[0; 8]), "shape (): 4 rows of logits need (4,)"),
        (
            "cut",
            good[..good.len() - 8].to_vec(),
            "truncated: shape (4,) of '<i8' needs 32 bytes of data; there are 24",
        ),
        (
            "a class too many",
            ints([0, 1, 3, 0]),
            "targets[2] = 3 is outside 0..3 and is not ignore_index (-100)",
        ),
        ("negative", ints([0, -1, 3, 0]), "targets[1] = -1 is outside 0..3 and is not ignore_index (-100)"),
        (
            "beyond i32",
            ints([0, 1, 2, i64::MAX]),
            "targets[3] = 9223372036854775807 is outside 0..3 and is not ignore_index (-100)",
        ),
    ]
}

/// Runs the tool and holds it to one line that begins like this, status 2, and files left as they were.
pub fn refuses(folder: &Folder, name: &str, args: &str, line: &str) {
    folder.write("out.npy", "whole");
    let before = folder.names();
    let run = folder.run(args);
    assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{name}: {run:?}");
    let complaints = run.complaints();
    let said: Vec<_> = complaints.iter().filter(|line| !line.ends_with(", narrowed to f32")).collect();
    assert_eq!(said.len(), 1, "{name}: {run:?}");
    assert!(!run.stderr.contains("panicked"), "{name}: {run:?}");
    assert!(said[0].starts_with(line), "{name}:\n{}\n{line}", said[0]);
    assert_eq!((folder.names(), folder.read("out.npy")), (before, b"whole".to_vec()), "{name}");
}

#[test]
fn bad_logits_are_refused() {
    for (name, logits, says) in bad_logits() {
        let folder = Folder::new();
        folder.write("logits.npy", logits).targets(&[0, 1, 2, -100]);
        let line = format!("xent: logits.npy: {says}");
        for args in [
            "eval logits.npy --targets targets.npy --rows-out rows.npy --grad-out out.npy",
            "softmax logits.npy -o out.npy",
        ] {
            refuses(&folder, name, args, &line);
        }
    }
}

#[test]
fn bad_targets_are_refused() {
    for (name, targets, says) in bad_targets() {
        let folder = Folder::new();
        folder.logits(&FLOATS, 3).write("targets.npy", targets);
        let args = "eval logits.npy --targets targets.npy --grad-out grad.npy --rows-out out.npy --json";
        refuses(&folder, name, args, &format!("xent: targets.npy: {says}"));
    }
}

#[test]
fn class_axes_that_are_not_there() {
    let folder = Folder::new();
    folder.logits(&FLOATS, 3).targets(&[0, 1, 2, -100]);
    for axis in [2, -3, isize::MIN, isize::MAX] {
        let line = format!("xent: logits.npy: class axis {axis} is out of range: the array has 2 axes");
        for args in
            ["eval logits.npy --targets targets.npy --rows-out out.npy", "softmax logits.npy -o out.npy"]
        {
            refuses(&folder, "class axis", &format!("{args} --class-axis {axis}"), &line);
        }
    }
    let line = "xent: targets.npy: shape (4,): 3 rows of logits need (3,)";
    refuses(&folder, "rows", "eval logits.npy --targets targets.npy --class-axis 0", line);
    folder.array("logits.npy", &[2, 3, 2], &FLOATS);
    let line = "xent: targets.npy: shape (4,): 6 rows of logits need (2, 3) or (6,)";
    refuses(&folder, "rows of many axes", "eval logits.npy --targets targets.npy", line);
}

#[test]
fn good_files_are_not_refused() {
    // The tables above break these.
    let folder = Folder::new();
    folder.logits(&FLOATS, 3).targets(&[0, 1, 2, -100]);
    assert_eq!(folder.eval("")["counted"], 3);
    for (name, version) in [("2.0", [2, 0]), ("3.0", [3, 0])] {
        let good = npy("<f4", "(4, 3)", bytemuck::cast_slice(&FLOATS));
        let mut bytes = good[..6].to_vec();
        bytes.extend(version);
        bytes.extend(u32::from(good[8]).to_le_bytes());
        bytes.extend(&good[10..]);
        folder.write("logits.npy", bytes);
        assert_eq!(folder.eval("")["counted"], 3, "{name}");
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = Folder::new();
    folder.logits(&FLOATS, 3).targets(&[0, 1, 2, -100]);
    std::fs::create_dir(folder.path("folder.npy")).unwrap();
    for (name, args, line) in [
        ("missing logits", "eval none.npy --targets targets.npy", "xent: none.npy: No such file"),
        ("missing targets", "eval logits.npy --targets none.npy", "xent: none.npy: No such file"),
        ("missing logits of softmax", "softmax none.npy -o out.npy", "xent: none.npy: No such file"),
        (
            "a folder",
            "eval folder.npy --targets targets.npy",
            "xent: folder.npy: the folder has no files named .npy or .safetensors",
        ),
        (
            "targets in a folder",
            "eval logits.npy --targets folder.npy",
            "xent: folder.npy: the folder has no files named .npy or .safetensors",
        ),
    ] {
        refuses(&folder, name, args, line);
    }
    #[cfg(unix)]
    refuses(
        &folder,
        "a device",
        "eval /dev/zero --targets targets.npy",
        "xent: /dev/zero: not a regular file:",
    );
}
