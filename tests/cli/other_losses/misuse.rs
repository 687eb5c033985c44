//! Options, targets and files that a loss does not take.

use super::{DIMS, folder, labels, said};
use crate::support::tensor;

#[test]
fn what_does_not_apply_to_a_loss_is_refused() {
    let (folder, _) = folder();
    folder.array("ids.npy", &[24, 1], &[0i32; 24]).array("probs.npy", &[24, 1], &[1.0f32; 24]);
    let (kl, bce) = ("--loss kl --teacher teacher.npy", "--loss bce --targets labels.npy");
    for (args, flag, why) in [
        (format!("{kl} --label-smoothing 0.1"), "--label-smoothing", "does not apply to --loss kl"),
        (format!("{bce} --label-smoothing 0.1"), "--label-smoothing", "does not apply to --loss bce"),
        (format!("{bce} --temperature 2"), "--temperature", "does not apply to --loss bce"),
        (format!("{bce} --masked-row zero"), "--masked-row", "does not apply to --loss bce"),
        (format!("{bce} --scale-by-t-squared"), "--scale-by-t-squared", "does not apply to --loss bce"),
        (format!("{kl} --class-weights class.npy"), "--class-weights", "does not apply to --loss kl"),
        (format!("{kl} --pos-weight pos.npy"), "--pos-weight", "does not apply to --loss kl"),
        (format!("{kl} --softcap 3"), "--softcap", "does not apply to --loss kl"),
        (format!("{kl} --z-loss 1"), "--z-loss", "does not apply to --loss kl"),
        (format!("{bce} --focal-gamma 1"), "--focal-gamma", "does not apply to --loss bce"),
        (format!("{kl} --input log-probs"), "--input", "does not apply to --loss kl"),
        (format!("{kl} --ignore-index 0"), "--ignore-index", "does not apply to --loss kl"),
        (format!("{bce} --shift 1"), "--shift", "does not apply to --loss bce"),
        (format!("{kl} --score-from 1"), "--score-from", "does not apply to --loss kl"),
        (format!("{kl} --score-to 1"), "--score-to", "does not apply to --loss kl"),
        (format!("{kl} --lse-out x.npy"), "--lse-out", "does not apply to --loss kl"),
        (format!("{bce} --argmax-out x.npy"), "--argmax-out", "does not apply to --loss bce"),
        (format!("{kl} --targets-key a"), "--targets-key", "does not apply to --loss kl"),
        (format!("{kl} --sequence 0"), "--sequence", "must be at least 1"),
        ("--loss bce --soft-targets labels.npy".into(), "--soft-targets", "does not apply to --loss bce"),
        (
            "--loss bce --sparse-targets ids.npy --sparse-probs probs.npy".into(),
            "--sparse-targets",
            "does not apply to --loss bce",
        ),
        ("--loss kl --targets targets.npy".into(), "--targets", "does not apply to --loss kl"),
        ("--loss kl".into(), "--teacher", "is needed by --loss kl"),
        ("--loss bce".into(), "--targets", "is needed by --loss bce"),
        ("--loss entmax".into(), "--targets", "is needed by --loss entmax"),
        (
            "--loss entmax --targets targets.npy --alpha 1".into(),
            "--alpha 1",
            "must be from 1.0625 to 3; towards 1, entmax becomes softmax",
        ),
        (
            "--loss sparsemax --targets targets.npy --alpha 1.5".into(),
            "--alpha",
            "does not apply to --loss sparsemax",
        ),
        (
            "--loss entmax --targets targets.npy --class-weights class.npy".into(),
            "--class-weights",
            "does not apply to --loss entmax",
        ),
        ("--loss cross-entropy".into(), "--targets", "is needed by --loss cross-entropy"),
        ("--teacher teacher.npy".into(), "--teacher", "does not apply to --loss cross-entropy"),
        (
            "--targets targets.npy --pos-weight pos.npy".into(),
            "--pos-weight",
            "does not apply to --loss cross-entropy",
        ),
    ] {
        let run = folder.run(&format!("eval logits.npy {args}"));
        let says = format!("xent: {flag}: {why}");
        assert_eq!((run.status, run.complaints(), &*run.stdout), (Some(2), vec![&*says], ""), "{args}");
    }
    for (args, says) in [
        ("--loss nll --targets targets.npy", "cross-entropy, kl, bce"),
        ("--loss kl --teacher teacher.npy --targets targets.npy", "cannot be used with"),
        ("--loss kl --teacher-key a", "--teacher <FILE>"),
    ] {
        let run = folder.run(&format!("eval logits.npy {args}"));
        assert!(run.status == Some(2) && run.stderr.contains(says), "{args}: {run:?}");
    }
}

/// Any type of tensor may be the targets, so if there are two, a key says which: never the logits themselves.
#[test]
fn the_tensor_of_the_labels_is_named_if_two_fit() {
    let (folder, student) = folder();
    let integers: Vec<i64> = (0..168).map(|i| i % 2).collect();
    folder.tensors(
        "both.safetensors",
        &[tensor("logits", &DIMS, &student), tensor("labels", &DIMS, &integers)],
    );
    let run = folder.run("eval both.safetensors --loss bce --targets both.safetensors");
    let says = run.complaints().join("\n");
    assert!(run.status == Some(2) && says.contains("\"labels\"") && says.contains("key"), "{run:?}");
    let of = |args: &str| {
        said(&folder.run(&format!("eval both.safetensors --loss bce {args} --json")))["loss"].clone()
    };
    folder.array("integers.npy", &DIMS, &integers);
    assert_eq!(of("--targets-key labels"), of("--targets integers.npy"));
}

#[test]
fn files_that_do_not_fit_are_named() {
    let (folder, student) = folder();
    let nan = [&[f32::NAN], &labels()[1..]].concat();
    folder.array("flat.npy", &[7, 24], &student).array("ints.npy", &DIMS, &[1i32; 168]);
    folder.array("nan.npy", &DIMS, &nan).array("minus.npy", &[7], &[-1.0f32; 7]);
    for (args, says) in [
        (
            "--loss kl --teacher flat.npy",
            "flat.npy: shape (7, 24): the teacher's logits need the shape of the logits, (24, 7)",
        ),
        (
            "--loss kl --teacher ints.npy",
            "ints.npy: type '<i4': the teacher's logits must be f16, bf16, f32 or f64",
        ),
        ("--loss kl --teacher none.npy", "none.npy: No such file or directory (os error 2)"),
        (
            "--loss bce --targets flat.npy",
            "flat.npy: shape (7, 24): targets of a binary cross-entropy need the shape of the logits, (24, 7)",
        ),
        ("--loss bce --targets nan.npy", "nan.npy: targets[0, 0] = NaN is not a finite number"),
        (
            "--loss bce --targets labels.npy --pos-weight minus.npy",
            "minus.npy: pos_weight[0] = -1.0: must be finite in f32 and at least 0",
        ),
        (
            "--loss kl --teacher teacher.npy --rows-out teacher.npy",
            "teacher.npy: cannot be written: it is also the teacher",
        ),
    ] {
        let run = folder.run(&format!("eval logits.npy {args}"));
        let says = format!("xent: {says}");
        assert_eq!((run.status, run.complaints()), (Some(2), vec![&*says]), "{args}");
    }
}
