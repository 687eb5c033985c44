//! The examples give what they say, on whatever adapter there is. `llm_vocab` does what `xent demo` does, which other tests run.

use std::path::Path;
use std::process::Command;

use crate::guide::missing;

/// Runs an example, and gives what it prints.
fn output(name: &str) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_xent")).with_file_name("examples");
    let example = folder.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    let built = "cargo build --locked --all-features --examples";
    assert!(example.exists(), "{} is not built: {built}", example.display());
    let run = crate::support::run(Command::new(example));
    assert_eq!(run.status, Some(0), "{name}: {run:?}");
    run.stdout
}

/// The numbers of the first line that begins like this, without signs of per cent and commas.
fn numbers(output: &str, begin: &str) -> Vec<f64> {
    let line = output.lines().find_map(|line| line.trim_start().strip_prefix(begin));
    let line = line.unwrap_or_else(|| panic!("no line begins with {begin}: {output}"));
    line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn examples_whose_answers_are_known() {
    for (name, shown) in [
        ("hello_softmax", &["[0.609, 0.224, 0.136, 0.030]"][..]),
        (
            "attention",
            &[
                // Equal words have scores that are 2 higher: e² / (e² + 1), and so on.
                "cat 0.119 0.881 – – – –",
                "small 0.306 0.041 0.041 0.306 0.306 –",
                // 4·cos of the angle to the word before, 45° a word: e^2.83 / e^4 = 0.31 beside it.
                "cat 0.000 0.001 0.011 0.189 0.610 0.189",
                // 4 and 2.83: the word before alone.
                "cat – – – – 1.000 –",
                "weights of exactly 0: 30 by softmax, 56 by sparsemax",
            ],
        ),
        ("bring_your_own_buffers", &["mean loss 14.7173 over 64 rows, flags: []"]),
    ] {
        let output = output(name);
        assert_eq!(missing(&output, shown), None, "{name}: {output}");
    }
}

#[test]
fn a_next_token_model_learns() {
    let output = output("next_token");
    // Twelve letters, nothing learned: ln 12 nats, perplexity 12.
    assert_eq!(
        missing(&output, &["step 0 loss 2.4849 nats = 3.5850 bits, perplexity 12.000"]),
        None,
        "{output}"
    );
    let learned = numbers(&output, "step 200");
    assert!(learned[0] < 1.0 && (learned[0].exp() - learned[2]).abs() < 2e-3, "{output}");
}

/// By all three losses nearly as much is found.
#[test]
fn a_retrieval_model_learns_from_few_negatives() {
    let output = output("retrieval");
    let [full, in_batch, sampled] =
        ["the full loss", "in-batch negatives", "64 sampled negatives"].map(|name| numbers(&output, name)[1]);
    assert!(full > 90.0 && in_batch > full - 6.0 && sampled > full - 10.0, "{output}");
}

#[test]
fn a_text_is_written_the_same_way_twice() {
    let text = output("sample_tokens");
    assert_eq!(text, output("sample_tokens"));
    let begins = ["greedy", "temperature 1.5", "  and top-k 3", "  and top-p 0.9", "  and min-p 0.1"];
    let line = |begin: &str| text.lines().find(|line| line.starts_with(begin)).unwrap_or_default();
    for begin in begins {
        assert!(line(begin).chars().count() == 18 + 9 + 150, "{begin}: {text}");
    }
}

#[test]
fn weights_and_focal_loss_find_more_of_a_rare_class() {
    let output = output("train_classifier");
    let [plain, weights, focal] = ["plain", "class weights", "focal loss"].map(|name| numbers(&output, name));
    // Recall of the rare class, and the mean probability that it is given.
    assert!(weights[2] > focal[2] && focal[2] > plain[2], "{output}");
    assert!(weights[4] > 2.0 * weights[5] && (plain[4] - plain[5]).abs() < 0.01, "{output}");
}

#[test]
fn pos_weight_finds_more_of_a_rare_tag() {
    let output = output("multi_label_tags");
    let (plain, weighted) = output.split_once("pos_weight\n").expect("two parts");
    let [plain, weighted] = [plain, weighted].map(|part| numbers(part, "far corner"));
    assert!(weighted[1] > plain[1] + 10.0 && weighted[2] < plain[2], "{output}");
}

#[test]
fn a_student_learns_more_from_logits_than_from_classes() {
    let output = output("distillation");
    let [hard, cold, warm] = ["hard targets", "teacher's logits, T = 1", "teacher's logits, T = 4"]
        .map(|name| *numbers(&output, name).last().expect("a divergence"));
    assert!(warm < cold && cold < hard / 4.0, "{output}");
}
