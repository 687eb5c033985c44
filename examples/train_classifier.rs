//! Softmax regression, `logits = W x + b`, trained with the GPU's gradient on points around three centres in the plane.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, StandardNormal};
use xent::{Context, CrossEntropy, Shape, Targets};

const POINTS: usize = 600;
const CLASSES: usize = 3;
const INPUTS: usize = 2;
const STEPS: usize = 100;
const LEARNING_RATE: f32 = 0.5;

fn main() -> xent::Result<()> {
    let gpu = Context::new().wait()?;
    let cross_entropy = CrossEntropy::<f32>::new(&gpu, &Default::default())?;
    let shape = Shape::new(POINTS, CLASSES);
    let (points, classes) = three_clouds();

    let mut weights = [[0.0f32; INPUTS]; CLASSES];
    let mut bias = [0.0f32; CLASSES];
    for step in 0..=STEPS {
        let logits: Vec<f32> = points.iter().flat_map(|x| forward(&weights, &bias, x)).collect();
        let (loss, dlogits) =
            cross_entropy.loss_and_dlogits(&logits, Targets::Classes(&classes), shape).wait()?;
        if step % 20 == 0 {
            let accuracy = accuracy(&logits, &classes);
            println!("step {step:3}  loss {:.4}  accuracy {:5.1} %", loss.value, 100.0 * accuracy);
        }
        // dlogits is already the gradient of the mean loss: dW = dlogitsᵀ x, db = Σ dlogits.
        for (x, row) in points.iter().zip(dlogits.chunks(CLASSES)) {
            for class in 0..CLASSES {
                for input in 0..INPUTS {
                    weights[class][input] -= LEARNING_RATE * row[class] * x[input];
                }
                bias[class] -= LEARNING_RATE * row[class];
            }
        }
    }
    Ok(())
}

fn forward(weights: &[[f32; INPUTS]; CLASSES], bias: &[f32; CLASSES], x: &[f32; INPUTS]) -> [f32; CLASSES] {
    std::array::from_fn(|class| {
        bias[class] + weights[class].iter().zip(x).map(|(weight, value)| weight * value).sum::<f32>()
    })
}

fn accuracy(logits: &[f32], classes: &[i32]) -> f64 {
    let hits = logits.chunks(CLASSES).zip(classes).filter(|(row, class)| {
        let best = (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b]));
        best == Some(**class as usize)
    });
    hits.count() as f64 / classes.len() as f64
}

/// Points (POINTS, INPUTS) around three centres that overlap a little, and the centre of each.
fn three_clouds() -> (Vec<[f32; INPUTS]>, Vec<i32>) {
    let centres = [[0.0, 1.6], [-1.4, -0.8], [1.4, -0.8]];
    let mut random = StdRng::seed_from_u64(1);
    let mut noise = StdRng::seed_from_u64(2);
    (0..POINTS)
        .map(|_| {
            let class = random.random_range(0..CLASSES);
            let point = centres[class].map(|centre: f32| {
                let offset: f32 = StandardNormal.sample(&mut noise);
                centre + 0.8 * offset
            });
            (point, class as i32)
        })
        .unzip()
}
