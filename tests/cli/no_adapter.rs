//! Where no adapter is found, the reference computes: a newcomer always gets an answer.

#![cfg(target_os = "linux")]

use serde_json::Value;

use xent::half::f16;
use xent::{CrossEntropyInputs, CrossEntropyOptions, Element, Sequences, Shape, Targets};

use crate::expected::Batch;
use crate::support::{self, Folder, Run, logits, run};

fn without_adapters(folder: &Folder, args: &str) -> Run {
    run(support::without_adapters(folder.command(args)))
}

const NOTICE: &str = "xent: no adapter found: computing on the CPU (`xent adapters` says how to get one)";

#[test]
fn eval_gives_the_same_answers() {
    let folder = Folder::new();
    let mut values = logits(30 * 4001);
    values[4001 * 7] = f32::NAN;
    values[4001 * 8] = f32::INFINITY;
    values[4001 * 9..4001 * 10].fill(f32::NEG_INFINITY);
    values[4001 * 10 + 11] = f32::NEG_INFINITY;
    folder.logits(&values, 4001);
    for (name, ignored) in [("finite", &[3, 7, 8, 9, 10][..]), ("not finite", &[3])] {
        let target = |row: i64| if ignored.contains(&row) { -100 } else { row + 1 };
        folder.targets(&(0..30).map(target).collect::<Vec<_>>());
        let on_gpu = folder.eval("--rows-out gpu_rows.npy --grad-out gpu_grad.npy");
        let run = without_adapters(
            &folder,
            "eval logits.npy --targets targets.npy --json --verify 5 --rows-out rows.npy --grad-out grad.npy",
        );
        assert_eq!((run.status, run.complaints()), (Some(0), vec![]), "{name}: {run:?}");
        let on_cpu: Value = serde_json::from_str(&run.stdout).unwrap();
        assert!(on_cpu["adapter"].as_str().unwrap().starts_with("processor ("), "{on_cpu:#}");
        assert_eq!(on_cpu["adapter_reason"], "a small input");
        assert_eq!(
            (&on_cpu["flags"], &on_cpu["accuracy"]),
            (&on_gpu["flags"], &on_gpu["accuracy"]),
            "{name}"
        );
        assert_eq!(on_cpu["verification"]["rows_checked"], 5);
        for (of_cpu, of_gpu) in [("rows.npy", "gpu_rows.npy"), ("grad.npy", "gpu_grad.npy")] {
            let ((shape, a), (gpu_shape, b)) = (folder.values(of_cpu), folder.values(of_gpu));
            assert_eq!((shape, a.len()), (gpu_shape, b.len()));
            let same = |a: f32, b: f32| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-5;
            let differs = a.iter().zip(&b).position(|(&a, &b)| !same(a, b));
            assert_eq!(differs, None, "{name}: {of_cpu}");
        }
    }
}

#[test]
fn every_option_is_there_too() {
    let dims = [2, 13, 6];
    let half: Vec<f16> = logits(156).into_iter().map(f16::from_f32).collect();
    let classes: Vec<i32> = (0..12).map(|row| if row == 5 { -100 } else { row }).collect();
    let class_weights: Vec<f32> = (0..13).map(|class| (class % 4) as f32).collect();
    let mask: Vec<bool> = (0..12).map(|row| row != 2).collect();
    let folder = Folder::new();
    folder.array("logits.npy", &dims, &half).array("targets.npy", &[2, 6], &classes);
    folder.array("class.npy", &[13], &class_weights);
    folder.array("mask.npy", &[12], &mask.iter().map(|&scored| scored.into()).collect::<Vec<u8>>());
    let classes = CrossEntropyInputs::new(Targets::Classes(&classes));
    let options = CrossEntropyOptions {
        label_smoothing: 0.1,
        temperature: 2.0,
        softcap: Some(9.0),
        z_loss: 1e-2,
        sequences: Some(Sequences::shifted(12, 1)),
        ..Default::default()
    };
    let batch = Batch {
        logits: &half[..],
        inputs: classes.class_weights(&class_weights).row_mask(&mask),
        shape: Shape::nchw(2, 13, 6),
        options,
        dims: (&dims, &[2, 6]),
    };
    let args = "--targets targets.npy --class-axis 1 --class-weights class.npy --row-mask mask.npy --shift 1 \
        --label-smoothing 0.1 --temperature 2 --softcap 9 --z-loss 1e-2";
    batch.check_on(&folder, args, |args| without_adapters(&folder, args));

    let soft: Vec<f32> = (0..156).map(|at| (at % 5) as f32 / 8.0).collect();
    folder.array("soft.npy", &dims, &soft);
    let batch = Batch {
        inputs: Targets::Soft(&soft).into(),
        options: CrossEntropyOptions { sequences: None, ..options },
        ..batch
    };
    let args = "--soft-targets soft.npy --class-axis 1 --label-smoothing 0.1 --temperature 2 --softcap 9 --z-loss 1e-2";
    batch.check_on(&folder, args, |args| without_adapters(&folder, args));

    let at = 13 * 6 + 6 + 2;
    let mut bad = soft.clone();
    bad[at] = f32::NAN;
    folder.array("soft.npy", &dims, &bad);
    let run = without_adapters(&folder, "eval logits.npy --soft-targets soft.npy --class-axis 1");
    let line = "xent: soft.npy: targets[8, 1] = NaN is not a finite number";
    assert_eq!((run.status, run.complaints()), (Some(2), vec![NOTICE, line]));

    let run = without_adapters(
        &folder,
        "softmax logits.npy -o out.npy --class-axis 1 --temperature 2 --out-dtype f32",
    );
    assert_eq!(run.status, Some(0), "{run:?}");
    let options = xent::SoftmaxOptions { temperature: 2.0, ..Default::default() };
    let expected = xent::reference::softmax(&half, Shape::nchw(2, 13, 6), &options).unwrap();
    let (_, probs) = folder.values("out.npy");
    assert!(probs.iter().zip(expected).all(|(a, b)| (a.to_f64() - b).abs() < 1e-6));
}

#[test]
fn soft_targets_pass_in_windows() {
    // Windows of 16 MiB of logits: two.
    let dims = [3, 2_000_000];
    let folder = Folder::new();
    let logits: Vec<f32> = logits(3 * 1000).repeat(2000);
    let mut soft = vec![0.0f32; logits.len()];
    (soft[7], soft[2_000_008], soft[5_999_999]) = (1.0, 1.0, 1.0);
    folder.array("logits.npy", &dims, &logits).array("soft.npy", &dims, &soft);
    let run = without_adapters(&folder, "eval logits.npy --soft-targets soft.npy --json --rows-out rows.npy");
    assert_eq!(run.status, Some(0), "{run:?}");
    let (_, rows) = folder.values("rows.npy");
    let classes = Targets::Classes(&[7, 8, 1_999_999]);
    let shape = Shape::new(dims[0], dims[1]);
    let options = Default::default();
    let expected = xent::reference::cross_entropy::row_losses(&logits, classes, shape, &options).unwrap();
    assert!(rows.iter().zip(expected).all(|(&a, b)| (f64::from(a) - b).abs() < 1e-5), "{rows:?}");
}

#[test]
fn softmax_and_demo_compute_too() {
    let folder = Folder::new();
    folder.logits(&[0.0, 2f32.ln(), 5f32.ln()], 3);
    for (args, expected) in [("", [0.125f32, 0.25, 0.625]), ("--log", [0.125f32, 0.25, 0.625].map(f32::ln))] {
        for (more, complaints, adapter) in [
            ("", vec![], "(a small input)"),
            (
                "--softcap 1e6",
                vec![NOTICE],
                "CPU reference (f64) (no adapter, and the processor path has no softcap)",
            ),
            ("--adapter cpu", vec![], "processor ("),
            (
                "--adapter cpu --softcap 1e6",
                vec![],
                "CPU reference (f64) (named, and the processor path has no softcap)",
            ),
        ] {
            let run = without_adapters(&folder, &format!("softmax logits.npy -o out.npy {args} {more}"));
            assert_eq!((run.status, run.complaints()), (Some(0), complaints), "{run:?}");
            let line = run.stdout.lines().find(|line| line.starts_with("adapter ")).unwrap();
            assert!(line.contains(adapter), "{args} {more}: {line}");
            let (_, values) = folder.values("out.npy");
            assert!(values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{args}: {values:?}");
        }
    }
    let run = without_adapters(&folder, "demo --rows 8 --cols 1000 --json");
    assert_eq!((run.status, run.complaints()), (Some(0), vec![NOTICE]), "{run:?}");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["rows"], 8);
    assert!(report["adapter"].as_str().unwrap().starts_with("processor ("), "{report:#}");
}

#[test]
fn adapters_says_how_to_get_one() {
    let run = without_adapters(&Folder::new(), "adapters");
    assert_eq!((run.status, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    assert!(run.stderr.contains("apt-get install mesa-vulkan-drivers"), "{run:?}");
    assert!(run.stderr.contains("all commands but bench and tune compute on the CPU"), "{run:?}");
}

#[test]
fn a_named_adapter_is_not_replaced_by_the_cpu() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]);
    let run = without_adapters(&folder, "eval logits.npy --targets targets.npy --adapter llvmpipe");
    assert_eq!(run.status, Some(2), "{run:?}");
    assert_eq!(run.complaints(), ["xent: no adapter named 'llvmpipe'; found none at all"]);
}
