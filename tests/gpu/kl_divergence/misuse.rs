//! Misuse: what the host refuses, and what binding refuses.

use xent::half::f16;
use xent::{
    Error, KlDivergence, KlDivergenceBuffers, KlDivergenceInputs, LossOutputs, OutputBuffer, RowInputs,
    Shape, Tuning,
};

use crate::harness::{Region, bound_exactly, gpu};
use crate::kl_divergence::{INF, Options};
use crate::losses::Calls;

#[test]
fn misuse() {
    let gpu = gpu();
    let op = Options::default().op::<f32>(gpu);
    let shape = Shape::new(2, 3);
    let (good, bad) = ([0.0; 6], [0.0; 5]);
    let run = |x: &[f32], b: &[f32], rows: RowInputs<'_>| {
        op.loss(x, KlDivergenceInputs::new(b).rows(rows), shape).wait().map(drop)
    };
    let length = |what, found, needed| Err(Error::Length { what, found, needed });
    let none = RowInputs::default();
    assert_eq!(run(&bad, &good, none), length("student", 5, 6));
    assert_eq!(run(&good, &bad, none), length("teacher", 5, 6));
    assert_eq!(
        run(&good, &good, RowInputs { row_weights: Some(&[1.0]), ..none }),
        length("row_weights", 1, 2)
    );
    assert_eq!(run(&good, &good, RowInputs { row_mask: Some(&[true; 3]), ..none }), length("row_mask", 3, 2));
    assert_eq!(
        run(&good, &good, RowInputs { row_upstream: Some(&[1.0; 3]), ..none }),
        length("row_upstream", 3, 2)
    );
    for weight in [-1.0, f32::NAN, INF] {
        let found = run(&good, &good, RowInputs { row_weights: Some(&[1.0, weight]), ..none });
        assert!(matches!(found, Err(Error::InvalidOption { option: "row_weights", at: Some(1), .. })));
    }
    assert_eq!(run(&good, &good, none), Ok(()));
    assert_eq!(op.loss(&[], &[], Shape::new(2, 0)).wait().map(|_| ()), Err(Error::NoCols { rows: 2 }));

    let of = |words: usize| Region::unwritten(gpu, words);
    let (x, b, small, output, losses) = (of(6), of(6), bound_exactly(|| of(5)), of(6), of(2));
    let bind = |buffers: &KlDivergenceBuffers<'_>| op.bind(shape, buffers).map(|_| ());
    let plain = || KlDivergenceBuffers::new(x.binding(), b.binding());
    assert!(matches!(bind(&plain()), Err(Error::NoOutput { .. })));
    let with = |dlogits| KlDivergenceBuffers {
        outputs: LossOutputs { dlogits: Some(dlogits), ..Default::default() },
        ..plain()
    };
    assert_eq!(bind(&with(OutputBuffer::To(output.binding()))), Ok(()));
    assert_eq!(bind(&with(OutputBuffer::InPlace)), Ok(()));
    let alias = |first, second| Err(Error::BufferAlias { first, second });
    assert_eq!(bind(&with(OutputBuffer::To(x.binding()))), alias("student", "dlogits"));
    assert_eq!(bind(&with(OutputBuffer::To(b.binding()))), alias("teacher", "dlogits"));
    // A batch against itself is no error, unless one of the two is written.
    let itself = KlDivergenceBuffers {
        outputs: LossOutputs { row_losses: Some(losses.binding()), ..Default::default() },
        ..KlDivergenceBuffers::new(x.binding(), x.binding())
    };
    assert_eq!(bind(&itself), Ok(()));
    let over = KlDivergenceBuffers {
        outputs: LossOutputs { dlogits: Some(OutputBuffer::InPlace), ..Default::default() },
        ..itself
    };
    assert_eq!(bind(&over), alias("student", "teacher"));
    let too_small = |what| Err(Error::BufferTooSmall { what, found: 20, needed: 24 });
    let output = || Some(OutputBuffer::To(output.binding()));
    let of_two = |x: &Region, b: &Region| {
        bind(&KlDivergenceBuffers {
            outputs: LossOutputs { dlogits: output(), ..Default::default() },
            ..KlDivergenceBuffers::new(x.binding(), b.binding())
        })
    };
    assert_eq!(of_two(&small, &b), too_small("student"));
    assert_eq!(of_two(&x, &small), too_small("teacher"));
    assert_eq!(bind(&with(OutputBuffer::To(small.binding()))), too_small("dlogits"));

    let half = KlDivergence::<f16>::new(gpu, &Options::default()).unwrap();
    let bind = |shape, dlogits| {
        half.bind(
            shape,
            &KlDivergenceBuffers {
                outputs: LossOutputs { dlogits: Some(dlogits), ..Default::default() },
                ..plain()
            },
        )
        .map(|_| ())
    };
    let odd = Err(Error::OddStride { what: "dlogits", row_stride: 3, needed: 4 });
    assert_eq!(bind(shape, OutputBuffer::InPlace), odd);
    let packed = Err(Error::PackedLayout { what: "dlogits", inner: 2 });
    assert_eq!(bind(Shape::nchw(1, 3, 2), OutputBuffer::InPlace), packed);
    let invalid = KlDivergence::<f32>::new(gpu, &Options { temperature: f32::NAN, ..Options::default() });
    assert!(matches!(invalid, Err(Error::InvalidOption { option: "temperature", .. })));
    let found = op.clone().with_tuning(Tuning::fixed(3, 1)).map(drop);
    assert!(matches!(found, Err(Error::InvalidOption { option: "tuning.lanes", .. })));
}
