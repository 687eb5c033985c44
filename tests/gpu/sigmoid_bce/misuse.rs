//! Misuse: what the host refuses, and what binding refuses.

use xent::half::f16;
use xent::{
    Error, LossOutputs, OutputBuffer, Reduction, Shape, SigmoidBce, SigmoidBceBuffers, SigmoidBceInputs,
    SigmoidBceOptions, Tuning,
};

use crate::harness::{Region, bound_exactly, gpu};
use crate::losses::Calls;
use crate::sigmoid_bce::{INF, MEAN};

#[test]
fn misuse() {
    let gpu = gpu();
    let op = MEAN.op::<f32>(gpu);
    let shape = Shape::new(2, 3);
    let (x, t) = ([0.0; 6], [0.5; 6]);
    let inputs = SigmoidBceInputs::new(&t);
    let short = Error::Length { what: "logits", found: 5, needed: 6 };
    assert_eq!(op.loss(&x[..5], inputs, shape).wait(), Err(short));
    let short = Error::Length { what: "targets", found: 5, needed: 6 };
    assert_eq!(op.loss(&x, &t[..5], shape).wait(), Err(short));
    let bad = op.loss(&x, inputs.pos_weight(&[1.0, -2.0, 1.0]), shape).wait();
    assert!(matches!(bad, Err(Error::InvalidOption { option: "pos_weight", at: Some(1), .. })), "{bad:?}");
    let bad = op.loss(&x, &[0.5, 0.5, 0.5, 0.5, INF, 0.5], shape).wait();
    assert!(matches!(bad, Err(Error::InvalidTarget { row: 1, at: 1, .. })), "{bad:?}");
    assert_eq!(op.loss(&[], &[], Shape::new(2, 0)).wait(), Err(Error::NoCols { rows: 2 }));
    let options = SigmoidBceOptions { reduction: Reduction::MeanOver(-1.0), ..MEAN };
    assert!(matches!(SigmoidBce::<f32>::new(gpu, &options), Err(Error::InvalidOption { .. })));
    assert!(op.with_options(&options).is_err());
    let tuned = op.clone().with_tuning(Tuning::fixed(3, 1)).map(drop);
    assert!(matches!(tuned, Err(Error::InvalidOption { option: "tuning.lanes", .. })));

    let (logits, targets) = (Region::of_f32(gpu, 256, &x), Region::of_f32(gpu, 256, &t));
    let output = bound_exactly(|| Region::unwritten(gpu, 6));
    let bind = |buffers: &SigmoidBceBuffers<'_>| op.bind(shape, buffers).map(|_| ());
    let plain = SigmoidBceBuffers::new(logits.binding(), targets.binding());
    assert_eq!(bind(&plain), Err(Error::NoOutput { options: "loss, row_losses, dlogits" }));
    let with = |dlogits| SigmoidBceBuffers {
        outputs: LossOutputs { dlogits: Some(dlogits), ..Default::default() },
        ..plain.clone()
    };
    assert_eq!(bind(&with(OutputBuffer::To(output.binding()))), Ok(()));
    assert_eq!(bind(&with(OutputBuffer::InPlace)), Ok(()));
    let alias = Error::BufferAlias { first: "targets", second: "dlogits" };
    assert_eq!(bind(&with(OutputBuffer::To(targets.binding()))), Err(alias));
    let small = SigmoidBceBuffers {
        outputs: LossOutputs { loss: Some(output.binding()), ..Default::default() },
        ..plain.clone()
    };
    assert_eq!(bind(&small), Err(Error::BufferTooSmall { what: "loss", found: 24, needed: 32 }));
    let one = bound_exactly(|| Region::of_f32(gpu, 256, &[1.0]));
    let small = SigmoidBceBuffers { pos_weight: Some(one.binding()), ..with(OutputBuffer::InPlace) };
    assert_eq!(bind(&small), Err(Error::BufferTooSmall { what: "pos_weight", found: 4, needed: 12 }));
    let halves = SigmoidBce::<f16>::new(gpu, &MEAN).expect("an operation");
    let odd = halves.bind(shape, &with(OutputBuffer::InPlace)).map(|_| ());
    assert_eq!(odd, Err(Error::OddStride { what: "dlogits", row_stride: 3, needed: 4 }));
    let side = halves.bind(Shape::nchw(1, 3, 2), &with(OutputBuffer::InPlace)).map(|_| ());
    assert_eq!(side, Err(Error::PackedLayout { what: "dlogits", inner: 2 }));
}
