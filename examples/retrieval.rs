//! A retrieval model: a query vector finds its item among thousands. It is trained with the full loss over all items, with
//! a contrastive loss among the items of the batch (InfoNCE), and with a sampled softmax; then their recalls are compared.
//!
//! `cargo run --release --example retrieval`
//!
//! All three are cross-entropies of different logits. InfoNCE (van den Oord, Li, Vinyals 2018, arXiv:1807.03748; both ways
//! as in CLIP, arXiv:2103.00020) compares each query with the batch's items, and each item with its queries: `InfoNce` takes
//! their similarities and gives the gradient of the scale, too. Sampled softmax (Jean et al. 2015, arXiv:1412.2007) compares
//! a query with its item and a few drawn items. A drawn item's logit gets minus the logarithm of how often it is expected to
//! be drawn, the query's own item too, and a draw that hits the query's own item counts as −∞.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use xent::{Context, CrossEntropy, InfoNce, InfoNceOptions, Result, Shape};

const ITEMS: usize = 2000;
const WIDTH: usize = 16;
const BATCH: usize = 64;
const NEGATIVES: usize = 64;
const STEPS: usize = 300;
const TESTED: usize = 500;

/// The losses to compare.
#[derive(Clone, Copy, PartialEq)]
enum Training {
    Full,
    InBatch,
    Sampled,
}

fn main() -> Result<()> {
    let gpu = Context::new().wait()?;
    let cross_entropy = CrossEntropy::<f32>::new(&gpu, &Default::default())?;
    let info_nce = InfoNce::<f32>::new(&gpu, &Default::default())?;
    println!("{ITEMS} items, {STEPS} steps of {BATCH} queries; recall of {TESTED} other queries");
    println!("{:<28}{:>12}{:>12}", "trained with", "recall at 1", "at 10");
    for (name, training) in [
        ("the full loss", Training::Full),
        ("in-batch negatives", Training::InBatch),
        ("64 sampled negatives", Training::Sampled),
    ] {
        let [first, tenth] = recall(&train(&cross_entropy, &info_nce, training)?);
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

/// How often so many draws are expected to give an item.
fn expected_count(item: usize, draws: usize) -> f32 {
    let item = item as f64;
    (draws as f64 * ((item + 2.0) / (item + 1.0)).ln() / (ITEMS as f64 + 1.0).ln()) as f32
}

/// Trains the model: a matrix (width, width) that turns a query into a vector like those of the items, and the logarithm of
/// the scale of their dot products, the inverse temperature.
fn train(cross_entropy: &CrossEntropy<f32>, info_nce: &InfoNce<f32>, training: Training) -> Result<Vec<f32>> {
    let mut data = Data::new(2);
    let (mut model, mut log_scale) = (vec![0.0f32; WIDTH * WIDTH], 2.0f32);
    for _ in 0..STEPS {
        let own: Vec<usize> = (0..BATCH).map(|_| data.draw()).collect();
        let queries: Vec<Vec<f32>> = own.iter().map(|&item| data.query(item)).collect();
        let found: Vec<Vec<f32>> = queries.iter().map(|query| product(&model, query)).collect();
        // The items that each query is compared with; its own item has a known place.
        let drawn: Vec<usize> = (0..NEGATIVES).map(|_| data.draw()).collect();
        let compared = |row: usize| -> Vec<usize> {
            match training {
                Training::Full => (0..ITEMS).collect(),
                Training::InBatch => own.clone(),
                Training::Sampled => std::iter::once(own[row]).chain(drawn.iter().copied()).collect(),
            }
        };
        let similarities: Vec<Vec<f32>> = (0..BATCH)
            .map(|row| compared(row).iter().map(|&item| dot(&found[row], data.item(item))).collect())
            .collect();
        // The gradients of the loss by the similarities, and by the logarithm of their scale.
        let (dsimilarities, dlog_scale) = if training == Training::InBatch {
            // An item that is there twice is no negative of itself.
            let of_row = |row: usize| {
                let is_twice = |place: usize| place != row && own[place] == own[row];
                let of = |(place, &s)| if is_twice(place) { f32::NEG_INFINITY } else { s };
                similarities[row].iter().enumerate().map(of).collect::<Vec<f32>>()
            };
            let matrix: Vec<f32> = (0..BATCH).flat_map(of_row).collect();
            let op = info_nce.with_options(&InfoNceOptions::of_log_scale(log_scale))?;
            let (_, gradients) = op.loss_and_gradients(&matrix, Shape::new(BATCH, BATCH)).wait()?;
            (gradients.dsimilarities, gradients.dlog_scale as f32)
        } else {
            let scale = log_scale.exp();
            let logits: Vec<f32> = (0..BATCH)
                .flat_map(|row| {
                    let items = compared(row);
                    let corrected = |(place, (&item, similarity)): (usize, (&usize, &f32))| match training {
                        Training::Sampled if place > 0 && item == own[row] => f32::NEG_INFINITY,
                        Training::Sampled => scale * similarity - expected_count(item, NEGATIVES).ln(),
                        _ => scale * similarity,
                    };
                    items.iter().zip(&similarities[row]).enumerate().map(corrected).collect::<Vec<f32>>()
                })
                .collect();
            let target = |row: usize| if training == Training::Full { own[row] as i32 } else { 0 };
            let targets: Vec<i32> = (0..BATCH).map(target).collect();
            let shape = Shape::new(BATCH, logits.len() / BATCH);
            let (_, mut dlogits) = cross_entropy.loss_and_dlogits(&logits, &targets, shape).wait()?;
            dlogits.iter_mut().for_each(|dx| *dx *= scale);
            let dlog_scale = dlogits.iter().zip(similarities.iter().flatten()).map(|(ds, s)| ds * s).sum();
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
