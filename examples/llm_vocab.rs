//! A language model's loss over 16,384 tokens and a vocabulary of 50,000: 3.3 GB of logits, but only a few windows are in
//! memory at a time. `xent demo` does the same with more options.
//!
//! `cargo run --release --features cli --example llm_vocab`

use indicatif::ProgressBar;
use xent::eval::{EvaluateOptions, SyntheticLogits, evaluate};
use xent::{Context, CrossEntropy, Shape, Targets};

fn main() -> xent::Result<()> {
    let gpu = Context::new().wait()?;
    let op = CrossEntropy::<f32>::new(&gpu, &Default::default())?;

    // 32 sequences of 512 tokens. Your own source needs two methods: its shape, and the logits of a range of rows.
    let shape = Shape::new(32 * 512, 50_000);
    let mut logits = SyntheticLogits::new(shape, 0)?;
    let targets = logits.targets().to_vec();

    let bar = ProgressBar::new(shape.rows as u64);
    let options = EvaluateOptions { verify_rows: 64, ..Default::default() };
    let report = evaluate(&op, &mut logits, Targets::Classes(&targets), &options, |window| {
        bar.set_position(window.rows.end as u64);
        Ok(())
    })?;
    bar.finish_and_clear();

    println!("loss {:.4} nats, perplexity {:.2}", report.loss.value, report.perplexity());
    println!("accuracy {:.1} %", 100.0 * report.accuracy().unwrap_or(f64::NAN));
    let seconds = report.computing.as_secs_f64();
    let per_second = shape.len() as f64 / seconds;
    println!(
        "{seconds:.2} s on the device, transfers included: {:.0} M logits/s, {:.2} GB/s",
        per_second / 1e6,
        per_second * size_of::<f32>() as f64 / 1e9
    );
    println!("{:.2} s making the logits", report.reading.as_secs_f64());
    if let Some(check) = report.verification {
        let verdict = if check.passed { "within bounds" } else { "NOT within bounds" };
        println!("{} rows against f64: {verdict}, worst off by {:.1e}", check.rows_checked, check.worst_abs);
    }
    Ok(())
}
