//! Text from a small language model, to see what temperature, top-k, top-p and min-p do. The model counts which letter
//! follows each group of one to five letters in the guide (`docs/guide/`), and uses the longest group that it has seen. The
//! settings are the rows of one batch.
//!
//! `cargo run --release --example sample_tokens`

use std::collections::HashMap;

use xent::{Context, Result, Sampler, Sampling, Shape};

const CHAPTERS: [&str; 6] = [
    include_str!("../docs/guide/01-scores.md"),
    include_str!("../docs/guide/04-cross-entropy.md"),
    include_str!("../docs/guide/07-temperature.md"),
    include_str!("../docs/guide/09-pitfalls.md"),
    include_str!("../docs/guide/10-imbalance.md"),
    include_str!("../docs/guide/14-sampling.md"),
];
/// Letters that the model looks back, at most.
const CONTEXT: usize = 5;
/// What an unseen letter counts for: without truncation, it is drawn now and then.
const UNSEEN: f32 = 2e-4;
const START: &str = "The loss ";
const LETTERS: usize = 150;

fn main() -> Result<()> {
    let plain = Sampling { seed: 7, ..Default::default() };
    let settings = [
        ("greedy", Sampling::greedy()),
        ("temperature 0.5", Sampling { temperature: 0.5, ..plain }),
        ("temperature 1", plain),
        ("temperature 1.5", Sampling { temperature: 1.5, ..plain }),
        ("  and top-k 3", Sampling { temperature: 1.5, top_k: 3, ..plain }),
        ("  and top-p 0.9", Sampling { temperature: 1.5, top_p: 0.9, ..plain }),
        ("  and min-p 0.1", Sampling { temperature: 1.5, min_p: 0.1, ..plain }),
    ];
    let text: Vec<char> = prose().collect();
    let mut letters = text.clone();
    letters.sort_unstable();
    letters.dedup();
    let class = |letter: &char| letters.binary_search(letter).unwrap_or_default();
    let mut counts: HashMap<&[char], Vec<f32>> = HashMap::new();
    for end in 1..text.len() {
        for begin in end.saturating_sub(CONTEXT)..end {
            let unseen = || vec![UNSEEN; letters.len()];
            counts.entry(&text[begin..end]).or_insert_with(unseen)[class(&text[end])] += 1.0;
        }
    }

    let gpu = Context::new().wait()?;
    let sampler = Sampler::<f32>::new(&gpu, &Default::default())?;
    let mut written: Vec<Vec<char>> = vec![START.chars().collect(); settings.len()];
    for position in 0..LETTERS {
        let after = |text: &Vec<char>| {
            let seen = (1..=CONTEXT).rev().find_map(|len| counts.get(&text[text.len() - len..]));
            seen.into_iter().flatten().map(|count| count.ln()).collect::<Vec<f32>>()
        };
        let logits: Vec<f32> = written.iter().flat_map(after).collect();
        // The position is the counter of the random numbers. Each row has its own seed.
        let rows: Vec<Sampling> = (1..)
            .zip(&settings)
            .map(|(seed, (_, row))| Sampling { seed: seed * row.seed, counter: position as u64, ..*row })
            .collect();
        let found = sampler.sample(&logits, &rows, Shape::new(rows.len(), letters.len())).wait()?;
        written.iter_mut().zip(&found.tokens).for_each(|(text, &token)| text.push(letters[token as usize]));
    }
    for ((name, _), text) in settings.iter().zip(&written) {
        println!("{name:17} {}", text.iter().collect::<String>());
    }
    Ok(())
}

/// The words of the guide, without its samples and tables.
fn prose() -> impl Iterator<Item = char> {
    let mut is_code = false;
    let lines = CHAPTERS.iter().flat_map(|chapter| chapter.lines()).filter(move |line| {
        is_code ^= line.starts_with("```");
        !is_code && !line.starts_with(['`', '|', '#', '['])
    });
    let words = lines.flat_map(str::split_whitespace);
    words.flat_map(|word| word.chars().chain([' ']))
}
