//! Tags: any number of classes may apply, so each of them is a question of its own, with a sigmoid instead of a softmax.
//! The tags are regions of the plane that overlap; the last one is rare. `pos_weight` makes it count.
//!
//! `cargo run --release --example multi_label_tags`

use rand::{RngExt, SeedableRng, rngs::StdRng};
use xent::{Context, Result, Shape, SigmoidBce, SigmoidBceInputs};

const ROWS: usize = 2000;
const TAGS: usize = 4;
const NAMES: [&str; TAGS] = ["left", "lower", "near", "far corner"];
const FEATURES: usize = 6;
const STEPS: usize = 300;
const LEARNING_RATE: f32 = 4.0;
const SHAPE: Shape = Shape::new(ROWS, TAGS);

fn main() -> Result<()> {
    let gpu = Context::new().wait()?;
    let bce = SigmoidBce::<f32>::new(&gpu, &Default::default())?;
    let (features, tags) = pictures();
    let per_row = |row: &[f32]| row.iter().sum::<f32>() as usize;
    let with = |count: usize| tags.chunks(TAGS).filter(|row| per_row(row) == count).count();
    println!("rows with 0 to {TAGS} tags: {:?}", (0..=TAGS).map(with).collect::<Vec<_>>());

    let positives: Vec<f32> = (0..TAGS).map(|tag| tags.iter().skip(tag).step_by(TAGS).sum()).collect();
    let pos_weight: Vec<f32> = positives.iter().map(|count| (ROWS as f32 - count) / count).collect();
    let plain = SigmoidBceInputs::new(&tags);
    for (name, inputs) in [("plain", plain), ("pos_weight", plain.pos_weight(&pos_weight))] {
        let mut weights = [[0.0f32; FEATURES]; TAGS];
        println!("\n{name}");
        for step in 0..=STEPS {
            let logits = logits(&weights, &features);
            let (loss, dlogits) = bce.loss_and_dlogits(&logits, inputs, SHAPE).wait()?;
            if step % (STEPS / 3) == 0 {
                // Without pos_weight it begins with ln 2: every answer is a guess.
                println!("  step {step:3}  loss {:.4}", loss.value);
            }
            for (x, row) in features.iter().zip(dlogits.chunks(TAGS)) {
                for (weights, dx) in weights.iter_mut().zip(row) {
                    weights.iter_mut().zip(x).for_each(|(weight, x)| *weight -= LEARNING_RATE * dx * x);
                }
            }
        }
        report(&logits(&weights, &features), &tags);
    }
    Ok(())
}

/// A tag is given where its sigmoid is above 1/2, which is where its logit is above 0.
fn report(logits: &[f32], tags: &[f32]) {
    for (tag, name) in NAMES.iter().enumerate() {
        let pairs = || logits.iter().zip(tags).skip(tag).step_by(TAGS);
        let count = |is: fn(bool, bool) -> bool| pairs().filter(|&(&x, &t)| is(x > 0.0, t > 0.5)).count();
        let (both, given, there) = (count(|x, t| x && t), count(|x, _| x), count(|_, t| t));
        let share = |of: usize| if of == 0 { f64::NAN } else { 100.0 * both as f64 / of as f64 };
        println!(
            "  {name:<11} {there:4} rows  recall {:5.1} %  precision {:5.1} %",
            share(there),
            share(given)
        );
    }
}

/// Logits (ROWS, TAGS).
fn logits(weights: &[[f32; FEATURES]; TAGS], features: &[[f32; FEATURES]]) -> Vec<f32> {
    let product =
        |x: &[f32; FEATURES], weights: &[f32; FEATURES]| weights.iter().zip(x).map(|(w, x)| w * x).sum();
    features.iter().flat_map(|x| weights.iter().map(move |weights| product(x, weights))).collect()
}

/// Points of the square as features (ROWS, FEATURES): 1, x, y, x², y², xy. Their tags (ROWS, TAGS), a few of which are
/// wrong.
fn pictures() -> (Vec<[f32; FEATURES]>, Vec<f32>) {
    let mut random = StdRng::seed_from_u64(1);
    let mut tags = Vec::with_capacity(SHAPE.len());
    let features = (0..ROWS)
        .map(|_| {
            let [x, y]: [f32; 2] = std::array::from_fn(|_| random.random_range(-1.0..1.0));
            for applies in [x < -0.2, y < 0.0, x * x + y * y < 0.4, x > 0.5 && y > 0.6] {
                tags.push(f32::from(u8::from(applies != random.random_bool(0.02))));
            }
            [1.0, x, y, x * x, y * y, x * y]
        })
        .collect();
    (features, tags)
}
