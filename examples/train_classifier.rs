//! A classifier of imbalanced data, trained three times with the GPU's gradient: plain, with class weights, and with focal
//! loss. Softmax regression, `logits = W x + b`, on points around three centres in the plane. The third class is rare.
//!
//! `cargo run --release --example train_classifier`

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, StandardNormal};
use xent::{
    Argmax, Context, CrossEntropy, CrossEntropyInputs, CrossEntropyOptions, Result, Shape, Softmax, Targets,
};

const CLASSES: usize = 3;
const INPUTS: usize = 2;
const POINTS: usize = 2000;
/// The share of each class.
const SHARES: [f32; CLASSES] = [0.57, 0.40, 0.03];
const STEPS: usize = 200;
const LEARNING_RATE: f32 = 0.5;

fn main() -> Result<()> {
    let gpu = Context::new().wait()?;
    let (training, test) = (Points::new(1), Points::new(2));
    let counts = training.counts();
    println!("rows of each class: {counts:?} to train, {:?} to test", test.counts());

    // Each class has the same total weight.
    let balanced = counts.map(|count| POINTS as f32 / (CLASSES * count) as f32);
    let plain = CrossEntropyOptions::default();
    let focal = CrossEntropyOptions { focal_gamma: 2.0, ..plain };
    println!(
        "\n                 recall of each class    accuracy   mean p of class 2, and its share in training"
    );
    for (name, options, weights) in
        [("plain", plain, None), ("class weights", plain, Some(&balanced)), ("focal loss", focal, None)]
    {
        let model = train(&gpu, &training, &options, weights)?;
        let Scores { recall, accuracy, rare } = scores(&gpu, &model, &test)?;
        let recall = recall.map(|share| format!("{:5.1} %", 100.0 * share)).join(" ");
        let share = counts[2] as f64 / POINTS as f64;
        println!("{name:<14} {recall}   {:5.1} %   {rare:.3}, {share:.3}", 100.0 * accuracy);
    }
    println!(
        "\nClass weights find more rare points and give too many others that class: their probabilities are"
    );
    println!("those of a world in which the classes are equally frequent.");
    Ok(())
}

/// Trains by gradient descent on all points at once.
fn train(
    gpu: &Context,
    points: &Points,
    options: &CrossEntropyOptions,
    class_weights: Option<&[f32; CLASSES]>,
) -> Result<Model> {
    let cross_entropy = CrossEntropy::<f32>::new(gpu, options)?;
    let inputs = CrossEntropyInputs {
        class_weights: class_weights.map(|weights| &weights[..]),
        ..CrossEntropyInputs::new(Targets::Classes(&points.classes))
    };
    let mut model = Model::default();
    for _ in 0..STEPS {
        let logits = model.logits(points);
        let (_loss, dlogits) = cross_entropy.loss_and_dlogits(&logits, inputs, SHAPE).wait()?;
        // dlogits is the gradient of the mean loss already: dW = dlogitsᵀ x, db = Σ dlogits.
        for (x, row) in points.inputs.iter().zip(dlogits.chunks(CLASSES)) {
            for class in 0..CLASSES {
                for input in 0..INPUTS {
                    model.weights[class][input] -= LEARNING_RATE * row[class] * x[input];
                }
                model.bias[class] -= LEARNING_RATE * row[class];
            }
        }
    }
    Ok(model)
}

const SHAPE: Shape = Shape::new(POINTS, CLASSES);

struct Scores {
    /// Of the points of a class, the share that is recognised.
    recall: [f64; CLASSES],
    accuracy: f64,
    /// The mean probability of the rare class.
    rare: f64,
}

fn scores(gpu: &Context, model: &Model, points: &Points) -> Result<Scores> {
    let logits = model.logits(points);
    let predictions = Argmax::<f32>::new(gpu)?.argmax(&logits, SHAPE).wait()?;
    let probs = Softmax::<f32>::new(gpu, &Default::default())?.softmax(&logits, SHAPE).wait()?;
    let mut hits = [0; CLASSES];
    for (&prediction, &class) in predictions.iter().zip(&points.classes) {
        hits[class as usize] += usize::from(prediction == class as u32);
    }
    let counts = points.counts();
    Ok(Scores {
        recall: std::array::from_fn(|class| hits[class] as f64 / counts[class] as f64),
        accuracy: hits.iter().sum::<usize>() as f64 / POINTS as f64,
        rare: probs.chunks(CLASSES).map(|row| f64::from(row[2])).sum::<f64>() / POINTS as f64,
    })
}

#[derive(Default)]
struct Model {
    weights: [[f32; INPUTS]; CLASSES],
    bias: [f32; CLASSES],
}

impl Model {
    /// Logits (POINTS, CLASSES).
    fn logits(&self, points: &Points) -> Vec<f32> {
        let of_point = |x: &[f32; INPUTS]| -> [f32; CLASSES] {
            std::array::from_fn(|class| {
                let products = self.weights[class].iter().zip(x).map(|(weight, value)| weight * value);
                self.bias[class] + products.sum::<f32>()
            })
        };
        points.inputs.iter().flat_map(of_point).collect()
    }
}

/// Points around three centres that overlap.
struct Points {
    /// (POINTS, INPUTS)
    inputs: Vec<[f32; INPUTS]>,
    /// (POINTS,)
    classes: Vec<i32>,
}

impl Points {
    fn new(seed: u64) -> Self {
        let centres = [[0.0, 1.2], [-1.4, -0.8], [1.0, -0.6]];
        let mut random = StdRng::seed_from_u64(seed);
        let point = |_| {
            let draw: f32 = random.random();
            let class = usize::from(draw >= SHARES[0]) + usize::from(draw >= SHARES[0] + SHARES[1]);
            let mut offset = || -> f32 { StandardNormal.sample(&mut random) };
            (centres[class].map(|centre| centre + 0.8 * offset()), class as i32)
        };
        let (inputs, classes) = (0..POINTS).map(point).unzip();
        Self { inputs, classes }
    }

    /// The points of each class.
    fn counts(&self) -> [usize; CLASSES] {
        std::array::from_fn(|class| self.classes.iter().filter(|&&of| of as usize == class).count())
    }
}
