//! Where no adapter is found, the reference computes: a newcomer always gets an answer.

#![cfg(target_os = "linux")]

use serde_json::{Value, json};

use crate::support::{Folder, Run, logits, run};

/// Without Vulkan's and EGL's drivers, nothing is found.
fn without_adapters(folder: &Folder, args: &str) -> Run {
    let mut command = folder.command(args);
    command.env_remove("XENT_ADAPTER").env_remove("VK_ADD_DRIVER_FILES");
    for variable in
        ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "__EGL_VENDOR_LIBRARY_FILENAMES", "LIBGL_DRIVERS_PATH"]
    {
        command.env(variable, "/nonexistent");
    }
    run(command)
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
        assert_eq!((run.status, run.complaints()), (Some(0), vec![NOTICE]), "{name}: {run:?}");
        let on_cpu: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(on_cpu["adapter"], "CPU reference (f64)");
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
fn softmax_and_demo_compute_too() {
    let folder = Folder::new();
    folder.logits(&[0.0, 2f32.ln(), 5f32.ln()], 3);
    for (args, expected) in [("", [0.125f32, 0.25, 0.625]), ("--log", [0.125f32, 0.25, 0.625].map(f32::ln))] {
        let run = without_adapters(&folder, &format!("softmax logits.npy -o out.npy {args}"));
        assert_eq!((run.status, run.complaints()), (Some(0), vec![NOTICE]), "{run:?}");
        let (_, values) = folder.values("out.npy");
        assert!(values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{args}: {values:?}");
    }
    let run = without_adapters(&folder, "demo --rows 8 --cols 1000 --json");
    assert_eq!((run.status, run.complaints()), (Some(0), vec![NOTICE]), "{run:?}");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&report["rows"], &report["adapter"]), (&json!(8), &json!("CPU reference (f64)")));
}

#[test]
fn adapters_says_how_to_get_one() {
    let run = without_adapters(&Folder::new(), "adapters");
    assert_eq!((run.status, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    assert!(run.stderr.contains("apt-get install mesa-vulkan-drivers"), "{run:?}");
}

#[test]
fn a_named_adapter_is_not_replaced_by_the_cpu() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]);
    let run = without_adapters(&folder, "eval logits.npy --targets targets.npy --adapter llvmpipe");
    assert_eq!(run.status, Some(2), "{run:?}");
    assert_eq!(run.complaints(), ["xent: no adapter named 'llvmpipe'; found none at all"]);
}
