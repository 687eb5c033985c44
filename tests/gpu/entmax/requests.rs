//! Worked answers and calls: verification, other options, streams, parts of a bound batch, misuse.

use xent::{
    Entmax, EntmaxBackward, EntmaxBackwardOptions, EntmaxBuffers, EntmaxOptions, Error, OutputBuffer, Shape,
    Softmax, SoftmaxOptions,
};

use crate::entmax::{Batch, of};
use crate::harness::{Region, gpu};
use crate::maps::{Map, fewer_rows_than_bound};
use crate::typed::noise;

fn near(found: &[f32], expected: &[f64]) -> bool {
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(&f, &e)| (f64::from(f) - e).abs() <= 3e-6 * e.abs() && (e != 0.0 || f == 0.0))
}

#[test]
fn worked_answers() {
    let op = Entmax::<f32>::new(gpu(), &EntmaxOptions::sparsemax()).expect("an operation");
    let row = [1.0, 0.5, -1.0];
    for (alpha, row, expected) in [
        (2.0, &row[..], &[0.75, 0.25, 0.0][..]),
        (1.5, &row, &[0.673992636, 0.326007364, 0.0]),
        (1.25, &row, &[0.631466617, 0.345057624, 0.023475759]),
        (2.0, &[2.0, 1.0, 0.0, -1.0], &[1.0, 0.0, 0.0, 0.0]),
        (1.5, &[2.0, 1.0, 0.0, -1.0], &[0.830718914, 0.169281086, 0.0, 0.0]),
        (3.0, &[0.25, 0.0], &[0.75, 0.25]),
    ] {
        let op = op.with_options(&of(alpha)).expect("other options");
        let found = op.entmax(row, Shape::new(1, row.len())).wait().expect("probabilities");
        assert!(near(&found, expected), "{alpha}: {found:?}, expected {expected:?}");
    }
    let backward = EntmaxBackward::<f32>::new(gpu(), &Default::default()).expect("an operation");
    for (alpha, probs, expected) in [
        (2.0, [0.75, 0.25, 0.0], [-0.5, 0.5, 0.0]),
        (1.5, [0.6739926, 0.3260074, 0.0], [-0.336759941, 0.336759941, 0.0]),
    ] {
        let op = backward.with_options(&EntmaxBackwardOptions { alpha }).expect("other options");
        let found = op.backward(&probs, &[1.0, 2.0, 3.0], Shape::new(1, 3)).wait().expect("a gradient");
        assert!(near(&found, &expected), "{alpha}: {found:?}, expected {expected:?}");
    }
}

/// A sparsemax's zeros are where its threshold says, to the bit; its probabilities sum to 1; and with an α near 1 entmax is
/// closer to softmax than with one further away.
#[test]
fn properties() {
    let shape = Shape::new(8, 300);
    let logits: Vec<f32> = noise(1, shape.len(), 1.5).iter().map(|x| (x * 64.0).round() / 64.0).collect();
    let op = Entmax::<f32>::new(gpu(), &of(2.0)).expect("an operation");
    let probs = op.entmax(&logits, shape).wait().expect("probabilities");
    for (x, p) in logits.chunks(300).zip(probs.chunks(300)) {
        let (sum, support) = (p.iter().sum::<f32>(), p.iter().filter(|&&p| p > 0.0).count());
        assert!((sum - 1.0).abs() < 1e-6 && support > 0, "{sum}");
        // Sums of multiples of 1/64 are exact.
        let of_support: f32 = x.iter().zip(p).filter(|&(_, &p)| p > 0.0).map(|(x, _)| x).sum();
        let tau = (f64::from(of_support) - 1.0) / support as f64;
        for (&x, &p) in x.iter().zip(p) {
            assert_eq!(p > 0.0, f64::from(x) > tau, "{x} {p} {tau}");
        }
    }
    let softmax = Softmax::<f32>::new(gpu(), &SoftmaxOptions::default()).expect("an operation");
    let dense = softmax.softmax(&logits, shape).wait().expect("probabilities");
    let mut before = f32::INFINITY;
    for alpha in [3.0, 1.5, 1.0625] {
        let op = op.with_options(&of(alpha)).expect("other options");
        let probs = op.entmax(&logits, shape).wait().expect("probabilities");
        let away = probs.iter().zip(&dense).map(|(p, q)| (p - q).abs()).fold(0.0, f32::max);
        assert!(away < 0.8 * before, "{alpha}: {away}");
        before = away;
        let verified = op.verify(&logits, shape, 5).wait().expect("verified");
        assert!(verified.passed && verified.rows_checked == 5, "{alpha}: {verified:?}");
    }
}

#[test]
fn streams_and_fewer_rows() {
    let shape = Shape::new(6, 50);
    let batch = Batch { labels: vec![], shape, logits: noise(2, shape.len(), 1.0), options: of(1.5) };
    let op = batch.op(gpu());
    let whole = batch.host(&op);
    assert_eq!(fewer_rows_than_bound(&batch, 4), whole[..200]);
    let mut stream = op.stream(shape).expect("a stream");
    let mut found = vec![0.0; shape.len()];
    for rows in [0..4, 4..6] {
        let values = rows.start * 50..rows.end * 50;
        stream.push(&batch.logits[values.clone()], rows.len(), &mut found[values]).wait().expect("pushed");
    }
    assert_eq!(found, whole);
    let mut wide = vec![0.0f32; shape.len()];
    op.entmax_into(&batch.logits, shape, &mut wide).wait().expect("probabilities");
    assert_eq!(wide, whole);
}

#[test]
fn misuse() {
    for alpha in [1.0, 1.05, 3.5, f32::NAN] {
        let error = Entmax::<f32>::new(gpu(), &of(alpha)).err();
        assert!(matches!(error, Some(Error::InvalidOption { option: "alpha", .. })), "{error:?}");
    }
    let op = Entmax::<f32>::new(gpu(), &of(1.5)).expect("an operation");
    let length = Error::Length { what: "logits", found: 5, needed: 6 };
    assert_eq!(op.entmax(&[0.0; 5], Shape::new(2, 3)).wait().err(), Some(length));
    let logits = Region::unwritten(gpu(), 64);
    let to = EntmaxBuffers::new(logits.binding(), OutputBuffer::To(logits.binding()));
    let alias = Error::BufferAlias { first: "logits", second: "probs" };
    assert_eq!(op.bind(Shape::new(2, 3), &to).err(), Some(alias));
    // A row that may be read 64 times has a limit below the binding's.
    let refused = op.entmax(&[], Shape::new(0, 30_000_000)).wait().err();
    assert!(matches!(refused, Some(Error::RowTooLarge { .. })), "{refused:?}");
}
