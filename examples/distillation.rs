//! Distillation with temperature: a small model learns from a larger one. The teacher's logits say more than the class of
//! a point: also how near it is to the other classes. The student sees only a few points. With hard targets it learns
//! their noise, with the teacher's logits it learns the teacher.
//!
//! `cargo run --release --example distillation`

use rand::{RngExt, SeedableRng, rngs::StdRng};
use xent::{
    Argmax, Context, CrossEntropy, CrossEntropyOptions, KlDivergence, KlDivergenceOptions, Result, Shape,
};

const CLASSES: usize = 4;
const FEATURES: usize = 6;
const FEW: usize = 40;
const MANY: usize = 2000;
const STEPS: usize = 400;
const LEARNING_RATE: f32 = 0.5;

fn main() -> Result<()> {
    let gpu = Context::new().wait()?;
    let (few, many) = (features(1, FEW), features(2, MANY));
    let (few_logits, many_logits) = (teacher(&few), teacher(&many));
    let argmax = Argmax::<f32>::new(&gpu)?;
    // What a person would write down: one class for each point, sometimes the wrong one.
    let mut classes = argmax.argmax(&few_logits, Shape::new(FEW, CLASSES)).wait()?;
    let mut random = StdRng::seed_from_u64(3);
    classes.iter_mut().filter(|_| random.random_bool(0.15)).for_each(|class| *class = (*class + 1) % 4);
    println!("{FEW} points to learn from, {MANY} new ones to compare student and teacher on\n");

    let shape = Shape::new(FEW, CLASSES);
    let hard = CrossEntropy::<f32>::new(&gpu, &CrossEntropyOptions::default())?;
    let student =
        train(&few, |logits| hard.loss_and_dlogits(logits, &classes, shape).wait().map(|(_, d)| d))?;
    let divergence = KlDivergence::<f32>::new(&gpu, &KlDivergenceOptions::default())?;
    let report = |name: &str, student: &Model| -> Result<()> {
        let (shape, logits) = (Shape::new(MANY, CLASSES), student.logits(&many));
        let kl = divergence.loss(&logits, &many_logits, shape).wait()?.value;
        let teacher = argmax.argmax(&many_logits, shape).wait()?;
        let found = argmax.argmax(&logits, shape).wait()?;
        let agreed = found.iter().zip(&teacher).filter(|(student, teacher)| student == teacher).count();
        let share = 100.0 * agreed as f64 / MANY as f64;
        println!("{name:<24} the teacher's class in {share:5.1} %, KL at T = 1 {kl:.4} nats");
        Ok(())
    };
    report("hard targets", &student)?;
    for temperature in [1.0, 4.0] {
        // T² keeps the gradient about as large at any temperature.
        let options = KlDivergenceOptions { temperature, scale_by_t_squared: true, ..Default::default() };
        let soft = KlDivergence::<f32>::new(&gpu, &options)?;
        let student =
            train(&few, |logits| soft.loss_and_dlogits(logits, &few_logits, shape).wait().map(|(_, d)| d))?;
        report(&format!("teacher's logits, T = {temperature}"), &student)?;
    }
    Ok(())
}

/// Gradient descent on all points at once. `gradient` gives dlogits (rows, CLASSES) of logits (rows, CLASSES).
fn train(features: &[[f32; FEATURES]], gradient: impl Fn(&[f32]) -> Result<Vec<f32>>) -> Result<Model> {
    let mut model = Model([[0.0; FEATURES]; CLASSES]);
    for _ in 0..STEPS {
        let dlogits = gradient(&model.logits(features))?;
        for (x, row) in features.iter().zip(dlogits.chunks(CLASSES)) {
            for (weights, dx) in model.0.iter_mut().zip(row) {
                weights.iter_mut().zip(x).for_each(|(weight, x)| *weight -= LEARNING_RATE * dx * x);
            }
        }
    }
    Ok(model)
}

/// The student: logits = W x.
struct Model([[f32; FEATURES]; CLASSES]);

impl Model {
    /// Logits (rows, CLASSES).
    fn logits(&self, features: &[[f32; FEATURES]]) -> Vec<f32> {
        let product = |weights: &[f32; FEATURES], x: &[f32; FEATURES]| -> f32 {
            weights.iter().zip(x).map(|(weight, x)| weight * x).sum()
        };
        features.iter().flat_map(|x| self.0.each_ref().map(|weights| product(weights, x))).collect()
    }
}

/// Points of the square as features (rows, FEATURES): 1, x, y, x², y², xy.
fn features(seed: u64, rows: usize) -> Vec<[f32; FEATURES]> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut coordinate = || random.random_range(-1.5..1.5);
    (0..rows)
        .map(|_| {
            let [x, y]: [f32; 2] = [coordinate(), coordinate()];
            [1.0, x, y, x * x, y * y, x * y]
        })
        .collect()
}

/// The teacher's logits (rows, CLASSES): the nearer a centre, the larger its score, and a wave that the student cannot
/// follow.
fn teacher(features: &[[f32; FEATURES]]) -> Vec<f32> {
    let centres = [[-0.8, -0.8], [0.8, -0.6], [-0.5, 0.9], [0.9, 0.8]];
    let score = |[cx, cy]: [f32; 2], x: f32, y: f32| {
        3.0 - 2.0 * ((x - cx).powi(2) + (y - cy).powi(2)) + 0.5 * (4.0 * (x + cx * y)).sin()
    };
    features.iter().flat_map(|of| centres.map(|centre| score(centre, of[1], of[2]))).collect()
}
