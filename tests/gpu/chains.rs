//! Chains of drafts, against the reference.

use xent::reference::sampling::accept_chain;
use xent::{
    ChainBuffers, Error, Flags, NO_CLASS, Sampler, Sampling, Shape, SoftmaxOptions, SpeculativeChain, Tuning,
    reference,
};

use crate::batch::noise;
use crate::harness::{Region, gpu, in_pass, is_mine};

/// Probabilities of rows of noise.
fn probs(seed: u64, rows: usize, cols: usize) -> Vec<f32> {
    let batch = noise("logits", seed, rows, cols);
    let options = SoftmaxOptions { temperature: 2.0, ..Default::default() };
    let of_row = |row: usize| reference::softmax_row(&batch.row(row), &options);
    (0..rows).flat_map(of_row).map(|p| p as f32).collect()
}

/// Chains with drafts that are likely under both distributions, some of them special.
struct Chains {
    target: Vec<f32>,
    draft: Vec<f32>,
    drafts: Vec<u32>,
}

fn chains(count: usize, each: usize, cols: usize) -> Chains {
    let mut target = probs(3, count * (each + 1), cols);
    // The draft's distribution is near the target's.
    let other = probs(4, count * each, cols);
    let mut draft: Vec<f32> = (0..count * each * cols)
        .map(|at| {
            let (chain, rest) = (at / (each * cols), at % (each * cols));
            0.7 * target[chain * (each + 1) * cols + rest] + 0.3 * other[at]
        })
        .collect();
    let drafts: Vec<u32> = (0..count * each)
        .map(|at| {
            let row = &draft[at * cols..][..cols];
            // The most likely class, or some other.
            let best = (0..cols).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
            if at % 3 == 0 { (at * 31 % cols) as u32 } else { best as u32 }
        })
        .collect();
    for chain in 0..count {
        let (t, d) = (chain * (each + 1) * cols, chain * each * cols);
        match chain % 9 {
            3 => target[t + drafts[chain * each] as usize] = f32::NAN,
            4 => draft[d + drafts[chain * each] as usize] = f32::INFINITY,
            5 => target[t..t + cols].fill(0.0),
            6 => {
                // Refused, and nothing left of the target.
                draft[d..d + cols].fill(1.0);
                target[t + drafts[chain * each] as usize] = 0.0;
            }
            7 => target[t] = -0.5,
            _ => {}
        }
    }
    Chains { target, draft, drafts }
}

#[test]
fn the_references_chains() {
    for (case, (count, each, cols)) in
        [(40, 1, 3), (30, 4, 33), (12, 7, 1030), (3, 2, 50_257)].into_iter().enumerate()
    {
        if !is_mine(case) && cols != 33 {
            continue;
        }
        let Chains { target, draft, drafts } = chains(count, each, cols);
        let tuning = [None, Some(Tuning::fixed(4, 2)), Some(Tuning::fixed(32, 1)), None][case];
        let op = SpeculativeChain::new(gpu(), each).unwrap();
        let op = tuning.map_or(Ok(op.clone()), |tuning| op.clone().with_tuning(tuning)).unwrap();
        let one = Sampling { seed: 21, counter: 1 << 33, ..Default::default() };
        let shape = Shape::new(count, cols);
        let found = op.accept(&target, &draft, &drafts, &[one], shape).wait().unwrap();
        let mut accepted = 0;
        for chain in 0..count {
            let counter = one.counter + (chain * (each + 1)) as u64;
            let (size, positions) = (each * cols, (each + 1) * cols);
            let expected = accept_chain(
                &target[chain * positions..][..positions],
                &draft[chain * size..][..size],
                &drafts[chain * each..][..each],
                cols,
                &Sampling { counter, ..one },
            );
            let context = format!("{each} drafts of {cols}, chain {chain}");
            assert_eq!(found.tokens[chain * (each + 1)..][..=each], expected.tokens, "{context}");
            assert_eq!(
                (found.accepted[chain], found.flags[chain]),
                (expected.accepted, expected.flags),
                "{context}"
            );
            accepted += found.accepted[chain] as usize;
        }
        assert!(accepted > 0 && accepted < count * each, "{accepted} of {count} × {each}");
        if count > 9 {
            let all = found.flags.iter().fold(Flags::empty(), |all, &flags| all | flags);
            assert_eq!(all, Flags::NAN_LOGIT | Flags::INFINITE_LOGIT | Flags::MASKED_ROW);
        }

        let records: Vec<_> = (0..count)
            .map(|chain| {
                op.record(&Sampling { counter: one.counter + (chain * (each + 1)) as u64, ..one }).unwrap()
            })
            .collect();
        let probs = [Region::new(gpu(), 256, &target), Region::new(gpu(), 256, &draft)];
        let (tokens, told) =
            (Region::unwritten(gpu(), count * (each + 1)), Region::unwritten(gpu(), 2 * count));
        let (drafts, records) = (Region::new(gpu(), 256, &drafts), Region::new(gpu(), 256, &records));
        let [target, draft] = [probs[0].binding(), probs[1].binding()];
        let to = ChainBuffers::new(
            [target, draft],
            drafts.binding(),
            records.binding(),
            tokens.binding(),
            told.binding(),
        );
        let bound = op.bind(shape, &to).unwrap();
        in_pass(gpu(), |pass| bound.encode(pass));
        assert_eq!(tokens.read(gpu()), found.tokens, "in a buffer");
        assert_eq!(told.read(gpu()).iter().copied().step_by(2).collect::<Vec<u32>>(), found.accepted);
    }
}

/// The page's distributions: with drafts drawn from p by the sampler, tokens have the distribution q, within five
/// deviations, and 0.7 of the drafts are accepted.
#[test]
fn tokens_have_the_targets_distribution() {
    let (q, p) = ([0.5f32, 0.3, 0.2], [0.2f32, 0.5, 0.3]);
    let count = 8_000;
    let sampler = Sampler::<f32>::new(gpu(), &crate::changes::options(1)).unwrap();
    let logits = p.map(f32::ln).repeat(count);
    let shape = Shape::new(count, 3);
    let drafts =
        sampler.sample(&logits, &[Sampling { seed: 1, ..Default::default() }], shape).wait().unwrap().tokens;
    let op = SpeculativeChain::new(gpu(), 1).unwrap();
    let sampling = Sampling { seed: 2, ..Default::default() };
    let found =
        op.accept(&q.repeat(2 * count), &p.repeat(count), &drafts, &[sampling], shape).wait().unwrap();
    let share =
        |is: &dyn Fn(usize) -> bool| (0..count).filter(|&chain| is(chain)).count() as f64 / count as f64;
    let near = |found: f64, expected: f64| {
        let deviation = (expected * (1.0 - expected) / count as f64).sqrt();
        assert!((found - expected).abs() < 5.0 * deviation, "{found}, expected {expected}");
    };
    near(share(&|chain| found.accepted[chain] == 1), 0.7);
    for (class, q) in q.into_iter().enumerate() {
        near(share(&|chain| found.tokens[2 * chain] == class as u32), f64::from(q));
    }
    // A refused draft leaves class 0 only.
    assert!(
        (0..count).all(|chain| found.accepted[chain] == 1 || found.tokens[2 * chain..][..2] == [0, NO_CLASS])
    );
}

/// The other way: a token at each position from the target itself; they are those without drafts.
#[test]
fn drafts_that_the_target_draws_itself() {
    let (count, each, cols) = (20, 3, 40);
    let batch = noise("positions", 12, count * (each + 1), cols);
    let sampler = Sampler::<f32>::new(gpu(), &crate::changes::options(1)).unwrap();
    let samplings = [Sampling { seed: 6, ..Default::default() }];
    let samples = sampler.sample(&batch.logits, &samplings, batch.shape).wait().unwrap();
    let drafts: Vec<u32> = (0..count * each)
        .map(|at| {
            let own = samples.tokens[at / each * (each + 1) + at % each];
            if at % 4 == 3 { (own + 1) % cols as u32 } else { own }
        })
        .collect();
    let found = samples.accept_drafts(&drafts, each).unwrap();
    for chain in 0..count {
        let first_wrong = (0..each).find(|i| (chain * each + i) % 4 == 3).unwrap_or(each);
        assert_eq!(found.accepted[chain] as usize, first_wrong);
        let tokens = &found.tokens[chain * (each + 1)..][..=first_wrong];
        assert_eq!(tokens, &samples.tokens[chain * (each + 1)..][..=first_wrong]);
    }
}

#[test]
fn what_is_no_chain() {
    assert!(matches!(SpeculativeChain::new(gpu(), 0), Err(Error::InvalidOption { option: "drafts", .. })));
    let op = SpeculativeChain::new(gpu(), 1).unwrap();
    let (target, one) = ([0.5f32; 4], [Sampling::default()]);
    let error = |draft: &[f32], drafts: &[u32], shape| {
        op.accept(&target, draft, drafts, &one, shape).wait().unwrap_err()
    };
    let found = error(&[0.5; 2], &[2], Shape::new(1, 2));
    assert!(matches!(found, Error::TargetOutOfRange { row: 0, target: 2, cols: 2 }), "{found}");
    let found = error(&[0.5], &[1], Shape::new(1, 2));
    assert!(matches!(found, Error::Length { what: "draft_probs", found: 1, needed: 2 }), "{found}");
    let found = error(&[0.5; 2], &[1], Shape { rows: 1, cols: 2, row_stride: 2, inner: 1 }.row_stride(3));
    assert!(matches!(found, Error::Length { what: "row_stride", found: 3, needed: 2 }), "{found}");
    let regions: Vec<Region> = [7, 4, 2, 16, 4, 4].map(|words| Region::unwritten(gpu(), words)).into();
    let [target, draft, drafts, records, tokens, told] = [0, 1, 2, 3, 4, 5].map(|at| regions[at].binding());
    let to = ChainBuffers::new([target, draft], drafts, records, tokens, told);
    let found = op.bind(Shape::new(20, 2), &to).unwrap_err();
    assert!(matches!(found, Error::BufferTooSmall { what: "target_probs", needed: 320, .. }), "{found}");
    let none = op.accept(&[], &[], &[], &one, Shape::new(0, 2)).wait().unwrap();
    assert!(none.tokens.is_empty());
}
