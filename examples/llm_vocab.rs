//! A language model's loss over 16,384 tokens of a vocabulary of 50,000: 3.3 GB of logits, of which no more than a
//! window is ever in memory.
//!
//! `cargo run --release --features cli --example llm_vocab`

use xent::eval::{EvaluateOptions, SyntheticLogits, evaluate};
use xent::{Context, CrossEntropy, Shape};

fn main() -> xent::Result<()> {
    let gpu = Context::new_blocking()?;
    let op = CrossEntropy::<f32>::new(&gpu.device, &Default::default())?;

    // 32 sequences of 512 tokens. A source of your own is two methods: its shape, and the logits of a range of rows.
    let mut logits = SyntheticLogits::new(Shape::new(32 * 512, 50_000), 0)?;
    let targets = logits.targets().to_vec();

    let options = EvaluateOptions { verify_rows: 64, ..Default::default() };
    let report = evaluate(&gpu, &op, &mut logits, &targets, &options, |window| {
        eprint!("\r{} rows", window.rows.end);
        Ok(())
    })?;

    println!("\nloss {:.4} nats, perplexity {:.2}", report.loss.value, report.perplexity());
    println!("accuracy {:.1} %", 100.0 * report.accuracy().unwrap_or(f64::NAN));
    if let Some(check) = report.verification {
        println!("{} rows against f64: worst off by {:.1e}", check.rows_checked, check.worst_abs);
    }
    println!(
        "{:.1} s computing, {:.1} s making logits",
        report.computing.as_secs_f64(),
        report.reading.as_secs_f64()
    );
    Ok(())
}
