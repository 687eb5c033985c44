//! Targets of every width, and what counts as ignored.

use crate::support::{Folder, npy, tensor};

/// Three rows of 300 classes: what the file holds, and whether row 1 is ignored.
fn eval(descr: &str, data: &[u8], args: &str) -> Result<i64, String> {
    let folder = Folder::new();
    folder.logits(&[0.0; 900], 300).write("targets.npy", npy(descr, "(3,)", data));
    let run = folder.run(&format!("eval logits.npy --targets targets.npy --json {args}"));
    match run.status {
        Some(0) => {
            Ok(serde_json::from_str::<serde_json::Value>(&run.stdout).unwrap()["ignored"].as_i64().unwrap())
        }
        Some(2) => Err(run.stderr),
        _ => panic!("{run:?}"),
    }
}

#[test]
fn every_width() {
    macro_rules! width {
        ($type:ty, $descr:literal, $ignored:expr) => {
            let ignored: i32 = $ignored;
            let data: [$type; 3] = [0, ignored as $type, 126];
            let args = format!("--ignore-index {ignored}");
            assert_eq!(eval($descr, bytemuck::cast_slice(&data), &args), Ok(1), "{}", $descr);
            assert_eq!(eval($descr, bytemuck::cast_slice(&[0 as $type, 1, 127]), &args), Ok(0), "{}", $descr);
        };
    }
    width!(i8, "|i1", -100);
    width!(i16, "<i2", -100);
    width!(i32, "<i4", -100);
    width!(i64, "<i8", -100);
    width!(u8, "|u1", 255);
    width!(u16, "<u2", 65_535);
    width!(u32, "<u4", -100);
    width!(u64, "<u8", 100);
}

#[test]
fn classes_reach_the_right_row() {
    // Row r's target has logit r, the others 0: only with the targets in place is the sum this.
    let mut logits = vec![0.0; 3 * 300];
    for (row, class) in [(0, 5), (1, 299), (2, 256)] {
        logits[row * 300 + class] = 50.0 * (row + 1) as f32;
    }
    let folder = Folder::new();
    folder.logits(&logits, 300);
    for (descr, data) in [
        ("<i2", bytemuck::bytes_of(&[5i16, 299, 256])),
        ("<u2", bytemuck::bytes_of(&[5u16, 299, 256])),
        ("<i4", bytemuck::bytes_of(&[5i32, 299, 256])),
        ("<u4", bytemuck::bytes_of(&[5u32, 299, 256])),
        ("<i8", bytemuck::bytes_of(&[5i64, 299, 256])),
        ("<u8", bytemuck::bytes_of(&[5u64, 299, 256])),
    ] {
        folder.write("targets.npy", npy(descr, "(3,)", data));
        let report = folder.eval("");
        assert_eq!(report["accuracy"], 1.0, "{descr}: {report:#}");
        assert!(report["sum"].as_f64().unwrap() < 1e-5, "{descr}: {report:#}");
    }
}

#[test]
fn ignore_index_is_a_value_and_for_u32_bits() {
    let u32s = |second: u32| eval("<u4", bytemuck::cast_slice(&[0, second, 1]), "");
    let u64s = |second: u64| eval("<u8", bytemuck::cast_slice(&[0, second, 1]), "");
    let i64s = |second: i64| eval("<i8", bytemuck::cast_slice(&[0, second, 1]), "");
    let refused = |value: &str| {
        Err(format!(
            "xent: targets.npy: targets[1] = {value} is outside 0..300 and is not ignore_index (-100)\n"
        ))
    };
    assert_eq!(u32s(4_294_967_196), Ok(1), "-100 in the bits of a u32");
    assert_eq!(u32s(4_294_967_195), refused("4294967195"), "-101 in the bits of a u32");
    assert_eq!(u64s(4_294_967_196), refused("4294967196"));
    assert_eq!(u64s(u64::MAX - 99), refused("18446744073709551516"), "-100 in the bits of a u64");
    assert_eq!(i64s(4_294_967_196), refused("4294967196"));
    assert_eq!(i64s(-100 - (1 << 32)), refused("-4294967396"), "-100 in the low bits of an i64");
    assert_eq!(i64s(1 << 32), refused("4294967296"), "0 in the low bits of an i64");
    assert_eq!(eval("|u1", &[0, 156, 1], ""), Ok(0), "156 is a class");
}

#[test]
fn another_ignore_index() {
    let targets: &[u8] = bytemuck::cast_slice(&[7i64, -1, 7]);
    assert_eq!(eval("<i8", targets, "--ignore-index -1"), Ok(1));
    assert_eq!(eval("<i8", targets, "--ignore-index=-1"), Ok(1));
    let said = eval("<i8", targets, "--ignore-index 7").unwrap_err();
    assert!(said.contains("targets[1] = -1 is outside 0..300 and is not ignore_index (7)"), "{said}");
    let below = [7i64, i32::MIN.into(), 7];
    assert_eq!(eval("<i8", bytemuck::cast_slice(&below), "--ignore-index -2147483648"), Ok(1));
}

/// Messages that lead to the flag.
#[test]
fn targets_that_are_elsewhere() {
    let folder = Folder::new();
    let logits = || tensor("logits", &[2, 3], &[0.5f32; 6]);
    let [ids, mask] = ["ids", "mask"].map(|name| move || tensor(name, &[2], &[0i64, 1]));
    folder.tensors("one.safetensors", &[logits(), ids()]);
    folder.tensors("two.safetensors", &[logits(), ids(), mask()]);
    folder.tensors("none.safetensors", &[logits()]);
    let hint = ", or --targets-key: there are integers beside the logits";
    for (file, hint) in [("one", hint), ("two", hint), ("none", "")] {
        let run = folder.run(&format!("eval {file}.safetensors"));
        let line = format!("xent: --targets: is needed by --loss cross-entropy{hint}");
        assert_eq!((run.status, run.complaints()), (Some(2), vec![&*line]), "{file}");
    }
    assert_eq!(folder.run("eval one.safetensors --targets-key ids --adapter cpu").status, Some(0));
    folder.logits(&[0.0; 6], 3).array("hot.npy", &[2, 3], &[1i64, 0, 0, 0, 1, 0]);
    let run = folder.run("eval logits.npy --targets hot.npy --adapter cpu");
    let says = "as one-hot targets have, they are soft targets: --soft-targets takes them";
    assert!(run.status == Some(2) && run.stderr.trim_end().ends_with(says), "{run:?}");
}
