//! A retrieval model: a query vector finds its item among thousands. It is trained with the full loss over all items, with
//! a contrastive loss among the items of the batch (InfoNCE), and with a sampled softmax; then their recalls are compared.
//!
//! `cargo run --release --example retrieval`
//!
//! All three are cross-entropies, of different logits. InfoNCE (van den Oord, Li, Vinyals 2018, arXiv:1807.03748; both ways
//! as in CLIP, arXiv:2103.00020) compares each query with the batch's items, and each item with its queries: `InfoNce` takes
//! their similarities and gives the gradient of the scale, too. Sampled softmax (Jean et al. 2015, arXiv:1412.2007) compares
//! a query with its item and a few drawn items: `NegativeSampler` draws them, log-uniformly and each at most once, and
//! `SampledSoftmax` takes their logits, corrects them by how often each item is expected to be drawn, and leaves out a draw
//! that is the query's own item.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use xent::{
    Context, CrossEntropy, InfoNce, InfoNceOptions, NegativeSampler, Result, SampledSoftmax,
    SampledSoftmaxInputs, SampledSoftmaxOptions, Shape, Targets,
};

const ITEMS: usize = 2000;
const WIDTH: usize = 16;
const BATCH: usize = 64;
const NEGATIVES: usize = 64;
const STEPS: usize = 300;
const TESTED: usize = 500;

/// The operations, and what draws negatives.
struct Losses {
    cross_entropy: CrossEntropy<f32>,
    info_nce: InfoNce<f32>,
    sampled: SampledSoftmax<f32>,
    sampler: NegativeSampler,
}

/// The losses to compare.
#[derive(Clone, Copy, PartialEq)]
enum Training {
    Full,
    InBatch,
    Sampled,
}

fn main() -> Result<()> {
    let gpu = Context::new().wait()?;
    let losses = Losses {
        cross_entropy: CrossEntropy::new(&gpu, &Default::default())?,
        info_nce: InfoNce::new(&gpu, &Default::default())?,
        sampled: SampledSoftmax::new(&gpu, &SampledSoftmaxOptions::new(ITEMS))?,
        sampler: NegativeSampler::log_uniform(ITEMS)?.without_replacement(),
    };
    println!("{ITEMS} items, {STEPS} steps of {BATCH} queries; recall of {TESTED} other queries");
    println!("{:<28}{:>12}{:>12}", "trained with", "recall at 1", "at 10");
    for (name, training) in [
        ("the full loss", Training::Full),
        ("in-batch negatives", Training::InBatch),
        ("64 sampled negatives", Training::Sampled),
    ] {
        let [first, tenth] = recall(&train(&losses, training)?);
        println!("{name:<28}{:>10.1} %{:>10.1} %", 100.0 * first, 100.0 * tenth);
    }
    Ok(())
}

/// Items, and queries that point at them.
struct Data {
    /// A unit vector for each item (items, width). The first items are the most frequent.
    items: Vec<f32>,
    /// What turns an item into its queries (width, width); the model must find its inverse.
    mixing: Vec<f32>,
    random: StdRng,
}

impl Data {
    fn new(seed: u64) -> Self {
        // Items and mixing are the same for training and tests.
        let mut fixed = StdRng::seed_from_u64(1);
        let mut normal =
            |len: usize| -> Vec<f32> { StandardNormal.sample_iter(&mut fixed).take(len).collect() };
        let mut items = normal(ITEMS * WIDTH);
        for item in items.chunks_mut(WIDTH) {
            let norm = item.iter().map(|x| x * x).sum::<f32>().sqrt();
            item.iter_mut().for_each(|x| *x /= norm);
        }
        Self { items, mixing: normal(WIDTH * WIDTH), random: StdRng::seed_from_u64(seed) }
    }

    fn item(&self, item: usize) -> &[f32] {
        &self.items[item * WIDTH..][..WIDTH]
    }

    /// An item, log-uniform: P(k) = ln((k + 2) / (k + 1)) / ln(items + 1).
    fn draw(&mut self) -> usize {
        let u = self.random.random_range(0.0..1.0f64);
        ((u * (ITEMS as f64 + 1.0).ln()).exp() as usize).clamp(1, ITEMS) - 1
    }

    /// A query for an item: its vector, mixed, with noise.
    fn query(&mut self, item: usize) -> Vec<f32> {
        let mut query = product(&self.mixing, self.item(item));
        for x in &mut query {
            let noise: f32 = StandardNormal.sample(&mut self.random);
            *x += 0.3 * noise;
        }
        query
    }
}

/// Trains the model: a matrix (width, width) that turns a query into a vector like those of the items, and the logarithm of
/// the scale of their dot products, the inverse temperature.
fn train(losses: &Losses, training: Training) -> Result<Vec<f32>> {
    let mut data = Data::new(2);
    let (mut model, mut log_scale) = (vec![0.0f32; WIDTH * WIDTH], 2.0f32);
    for step in 0..STEPS as u64 {
        let own: Vec<usize> = (0..BATCH).map(|_| data.draw()).collect();
        let queries: Vec<Vec<f32>> = own.iter().map(|&item| data.query(item)).collect();
        let found: Vec<Vec<f32>> = queries.iter().map(|query| product(&model, query)).collect();
        let drawn = losses.sampler.draw(1, NEGATIVES, 7, step)?;
        // The items that each query is compared with; its own item has a known place.
        let compared = |row: usize| -> Vec<usize> {
            let drawn = drawn.values().iter().map(|negative| negative.class as usize);
            match training {
                Training::Full => (0..ITEMS).collect(),
                Training::InBatch => own.clone(),
                Training::Sampled => std::iter::once(own[row]).chain(drawn).collect(),
            }
        };
        let similarities: Vec<f32> = (0..BATCH)
            .flat_map(|row| compared(row).into_iter().map(move |item| (row, item)))
            .map(|(row, item)| dot(&found[row], data.item(item)))
            .collect();
        let shape = Shape::new(BATCH, similarities.len() / BATCH);
        // The gradients of the loss by the similarities, and by the logarithm of their scale.
        let (dsimilarities, dlog_scale) = if training == Training::InBatch {
            // An item that is there twice is no negative of itself.
            let is_twice = |row: usize, place: usize| place != row && own[place] == own[row];
            let at = |(at, &s)| if is_twice(at / BATCH, at % BATCH) { f32::NEG_INFINITY } else { s };
            let matrix: Vec<f32> = similarities.iter().enumerate().map(at).collect();
            let op = losses.info_nce.with_options(&InfoNceOptions::of_log_scale(log_scale))?;
            let (_, gradients) = op.loss_and_gradients(&matrix, shape).wait()?;
            (gradients.dsimilarities, gradients.dlog_scale as f32)
        } else {
            let scale = log_scale.exp();
            let logits: Vec<f32> = similarities.iter().map(|s| scale * s).collect();
            let (_, mut dlogits) = if training == Training::Sampled {
                let log_counts = drawn.log_counts(&own);
                let targets = Targets::ClassesUsize(&own);
                let inputs = SampledSoftmaxInputs::new(targets, &log_counts, drawn.negatives());
                losses.sampled.loss_and_dlogits(&logits, inputs, shape).wait()?
            } else {
                losses.cross_entropy.loss_and_dlogits(&logits, &own, shape).wait()?
            };
            dlogits.iter_mut().for_each(|dx| *dx *= scale);
            let dlog_scale = dlogits.iter().zip(&similarities).map(|(ds, s)| ds * s).sum();
            (dlogits, dlog_scale)
        };
        let rate = 0.1;
        for (row, of_row) in dsimilarities.chunks(dsimilarities.len() / BATCH).enumerate() {
            for (&item, ds) in compared(row).iter().zip(of_row) {
                for (weights, x) in model.chunks_mut(WIDTH).zip(data.item(item)) {
                    let step = rate * ds * x;
                    weights.iter_mut().zip(&queries[row]).for_each(|(weight, q)| *weight -= step * q);
                }
            }
        }
        log_scale = (log_scale - 0.02 * dlog_scale).clamp(0.0, 100f32.ln());
    }
    Ok(model)
}

/// The shares of queries whose own item is the first, or among the first ten.
fn recall(model: &[f32]) -> [f64; 2] {
    let mut data = Data::new(3);
    let mut hits = [0usize; 2];
    for _ in 0..TESTED {
        let own = data.random.random_range(0..ITEMS);
        let query = data.query(own);
        let found = product(model, &query);
        let best = dot(&found, data.item(own));
        let ahead = (0..ITEMS).filter(|&item| dot(&found, data.item(item)) > best).count();
        hits[0] += usize::from(ahead < 1);
        hits[1] += usize::from(ahead < 10);
    }
    hits.map(|hits| hits as f64 / TESTED as f64)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A matrix (width, width) times a vector (width,).
fn product(matrix: &[f32], vector: &[f32]) -> Vec<f32> {
    matrix.chunks(WIDTH).map(|row| dot(row, vector)).collect()
}
