//! A very small language model: it predicts each letter of a text from the letter before. Its next-token loss falls from
//! ln C, and its perplexity from C, the number of letters.
//!
//! `cargo run --release --example next_token`

use xent::{
    Argmax, Context, CrossEntropy, CrossEntropyInputs, CrossEntropyOptions, Result, Sequences, Shape, Targets,
};

/// Lines of the same length are the sequences of a batch.
const TEXT: [&str; 4] = [
    "the cat sat on the mat and the rat sat",
    "the rat ran to the hat that the cat ha",
    "a hat on the cat and a mat on the rat ",
    "that cat ran at the rat and that rat r",
];
const STEPS: usize = 200;
const LEARNING_RATE: f32 = 20.0;

fn main() -> Result<()> {
    let gpu = Context::new().wait()?;
    let mut letters: Vec<char> = TEXT.iter().flat_map(|line| line.chars()).collect();
    letters.sort_unstable();
    letters.dedup();
    let token = |letter| letters.binary_search(&letter).expect("a letter of the text");
    let tokens: Vec<usize> = TEXT.iter().flat_map(|line| line.chars()).map(token).collect();

    // Position t is compared with the token at t + 1 of the same line. The last position of a line has no target.
    let length = TEXT[0].chars().count();
    let options =
        CrossEntropyOptions { sequences: Some(Sequences::shifted(length, 1)), ..Default::default() };
    let next_token = CrossEntropy::<f32>::new(&gpu, &options)?;
    let (cols, shape) = (letters.len(), Shape::new(tokens.len(), letters.len()));

    // The model is one row of scores for each letter: those of the letter that follows.
    let mut scores = vec![0.0f32; cols * cols];
    for step in 0..=STEPS {
        let logits: Vec<f32> =
            tokens.iter().flat_map(|&token| &scores[token * cols..][..cols]).copied().collect();
        let inputs = CrossEntropyInputs::new(Targets::ClassesUsize(&tokens));
        let (loss, dlogits) = next_token.loss_and_dlogits(&logits, inputs, shape).wait()?;
        if step % 40 == 0 {
            let (bits, perplexity) = (loss.value / std::f64::consts::LN_2, loss.value.exp());
            println!(
                "step {step:3}  loss {:.4} nats = {bits:.4} bits, perplexity {perplexity:6.3}",
                loss.value
            );
        }
        if step == 0 {
            println!(
                "          {} of {} positions count; ln {cols} = {:.4}",
                loss.counted,
                loss.rows,
                ln(cols)
            );
        }
        for (&token, row) in tokens.iter().zip(dlogits.chunks(cols)) {
            let of_token = &mut scores[token * cols..][..cols];
            of_token.iter_mut().zip(row).for_each(|(score, dx)| *score -= LEARNING_RATE * dx);
        }
    }

    let likeliest = Argmax::<f32>::new(&gpu)?.argmax(&scores, Shape::new(cols, cols)).wait()?;
    let after = |letter: char| letters[likeliest[token(letter)] as usize];
    let pairs: Vec<String> = "thcnr".chars().map(|letter| format!("{letter} → {}", after(letter))).collect();
    println!("likeliest letter after: {}", pairs.join(", "));
    Ok(())
}

fn ln(count: usize) -> f64 {
    (count as f64).ln()
}
