//! Attention weights with a causal mask, by softmax and by sparsemax, and their backward pass: two heads, one short
//! sentence.
//!
//! `cargo run --release --example attention`

use xent::{
    Causal, Context, Entmax, EntmaxOptions, MaskedSoftmax, MaskedSoftmaxOptions, Masks, Result, Shape,
    SoftmaxBackward, SoftmaxBackwardOptions,
};

const WORDS: [&str; 6] = ["the", "cat", "saw", "the", "small", "cat"];
const LENGTH: usize = WORDS.len();
const HEADS: usize = 2;
const WIDTH: usize = 4;

fn main() -> Result<()> {
    let gpu = Context::new().wait()?;
    // Rows are heads · queries, cols are keys. A query attends to itself and to what comes before it.
    let shape = Shape::new(HEADS * LENGTH, LENGTH);
    let scale = 1.0 / (WIDTH as f32).sqrt();
    let causal = Some(Causal::lower_right(LENGTH));
    let options = MaskedSoftmaxOptions { scale, causal, ..Default::default() };
    let softmax = MaskedSoftmax::<f32>::new(&gpu, &options)?;

    let scores: Vec<f32> = (0..HEADS).flat_map(head_scores).collect();
    let weights = softmax.softmax(&scores, Masks::NONE, shape).wait()?;
    for (head, of_head) in weights.chunks(LENGTH * LENGTH).enumerate() {
        println!("head {head}: {}", ["looks at equal words", "looks at the word before"][head]);
        print_weights(of_head);
    }

    // Sparsemax of the same scores is 0 at every key that is 1 or more below the best. It takes scores that are scaled and
    // masked already; −∞ forbids a key.
    let masked: Vec<f32> = scores
        .iter()
        .enumerate()
        .map(|(at, score)| {
            let (query, key) = (at / LENGTH % LENGTH, at % LENGTH);
            if key <= query { scale * score } else { f32::NEG_INFINITY }
        })
        .collect();
    let sparsemax = Entmax::<f32>::new(&gpu, &EntmaxOptions::sparsemax())?;
    let sparse = sparsemax.entmax(&masked, shape).wait()?;
    println!("head 1 by sparsemax");
    print_weights(&sparse[LENGTH * LENGTH..]);
    let zeros = |weights: &[f32]| weights.iter().filter(|&&weight| weight == 0.0).count();
    println!("weights of exactly 0: {} by softmax, {} by sparsemax", zeros(&weights), zeros(&sparse));

    // Backward: for a loss that wants more weight on key 0 in every row, which scores should move?
    let dweights: Vec<f32> = (0..shape.len()).map(|at| if at % LENGTH == 0 { -1.0 } else { 0.0 }).collect();
    let backward =
        SoftmaxBackward::<f32>::new(&gpu, &SoftmaxBackwardOptions { scale, ..Default::default() })?;
    let dscores = backward.backward(&weights, &dweights, shape).wait()?;
    let last = &dscores[(LENGTH - 1) * LENGTH..][..LENGTH];
    println!("gradient of the last query of head 0: {last:.4?}, sum {:.1e}", last.iter().sum::<f32>().abs());
    Ok(())
}

/// Prints the weights (queries, keys) of a head. A dash is exactly 0: a key in the future, or one that is left out.
fn print_weights(of_head: &[f32]) {
    println!("{:>8}{}", "", WORDS.map(|word| format!("{word:>7}")).concat());
    for (word, row) in WORDS.iter().zip(of_head.chunks(LENGTH)) {
        let shown = |weight: &f32| match weight {
            0.0 => format!("{:>7}", "–"),
            weight => format!("{weight:>7.3}"),
        };
        println!("{word:>8}{}", row.iter().map(shown).collect::<String>());
    }
}

/// The dot products (queries, keys) of a head. Head 0 has a vector for each word, head 1 one for each position.
fn head_scores(head: usize) -> Vec<f32> {
    let angle = |position: usize| position as f32 * std::f32::consts::TAU / 8.0;
    let query = |position: usize| -> [f32; WIDTH] {
        match head {
            0 => word_vector(WORDS[position]).map(|x| 4.0 * x),
            // Turned by one position: it fits the key of the word before.
            _ => vector_at(angle(position) - angle(1)).map(|x| 8.0 * x),
        }
    };
    let key = |position: usize| match head {
        0 => word_vector(WORDS[position]),
        _ => vector_at(angle(position)),
    };
    let dot = |(at_query, at_key): (usize, usize)| -> f32 {
        query(at_query).iter().zip(key(at_key)).map(|(q, k)| q * k).sum()
    };
    (0..LENGTH * LENGTH).map(|at| dot((at / LENGTH, at % LENGTH))).collect()
}

/// A unit vector for each word.
fn word_vector(word: &str) -> [f32; WIDTH] {
    let at = WORDS.iter().position(|&other| other == word).unwrap_or(0) % WIDTH;
    std::array::from_fn(|i| if i == at { 1.0 } else { 0.0 })
}

fn vector_at(angle: f32) -> [f32; WIDTH] {
    [angle.cos(), angle.sin(), 0.0, 0.0]
}
