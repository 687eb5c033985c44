//! Misuse: what the host refuses, and what binding refuses.

use xent::half::f16;
use xent::{BackwardBuffers, Error, OutputBuffer, Shape, SoftmaxBackward, SoftmaxBackwardOptions};

use crate::harness::{Region, aligned_offset, bound_exactly, gpu};
use crate::softmax_backward::INF;

#[test]
fn misuse() {
    let gpu = gpu();
    for scale in [0.0, f32::NAN, INF, f32::MIN_POSITIVE / 2.0, 2e38] {
        let options = SoftmaxBackwardOptions { scale, ..Default::default() };
        let error = SoftmaxBackward::<f32>::new(gpu, &options).err();
        assert!(matches!(error, Some(Error::InvalidOption { option: "scale", .. })), "{error:?}");
    }
    let op = SoftmaxBackward::<f16>::new(gpu, &Default::default()).expect("an operation");
    let shape = Shape::new(4, 6);
    let (full, short) = (vec![f16::ONE; 24], vec![f16::ONE; 23]);
    let length = |what| Some(Error::Length { what, found: 23, needed: 24 });
    assert_eq!(op.backward(&short, &full, shape).wait().err(), length("probs"));
    assert_eq!(op.backward(&full, &short, shape).wait().err(), length("dprobs"));

    let at = aligned_offset(gpu);
    let [probs, dprobs, dlogits] = [(); 3].map(|()| Region::unwritten_at(gpu, at, 64));
    let small = bound_exactly(|| Region::unwritten_at(gpu, at, 11));
    let buffers = BackwardBuffers {
        probs: probs.binding(),
        dprobs: dprobs.binding(),
        dlogits: OutputBuffer::To(dlogits.binding()),
    };
    let refused = |shape: Shape, to: &BackwardBuffers<'_>| op.bind(shape, to).err();
    assert_eq!(refused(shape, &buffers), None);
    let odd = Error::OddStride { what: "dlogits", row_stride: 7, needed: 8 };
    assert_eq!(refused(shape.row_stride(7), &buffers), Some(odd.clone()));
    let over = BackwardBuffers { dlogits: OutputBuffer::InPlace, ..buffers.clone() };
    assert_eq!(refused(shape, &over), None);
    assert_eq!(refused(shape.row_stride(7), &over), Some(odd));
    let packed = Error::PackedLayout { what: "dlogits", inner: 2 };
    assert_eq!(refused(Shape::nchw(2, 6, 2), &buffers), Some(packed));
    let alias = |first, second| Some(Error::BufferAlias { first, second });
    let onto_probs = BackwardBuffers { dlogits: OutputBuffer::To(probs.binding()), ..buffers.clone() };
    assert_eq!(refused(shape, &onto_probs), alias("probs", "dlogits"));
    let onto_itself = BackwardBuffers { probs: dprobs.binding(), ..over };
    assert_eq!(refused(shape, &onto_itself), alias("probs", "dprobs"));
    let too_small = |what| Some(Error::BufferTooSmall { what, found: 44, needed: 48 });
    let to = BackwardBuffers { probs: small.binding(), ..buffers.clone() };
    assert_eq!(refused(shape, &to), too_small("probs"));
    let to = BackwardBuffers { dprobs: small.binding(), ..buffers.clone() };
    assert_eq!(refused(shape, &to), too_small("dprobs"));
    let to = BackwardBuffers { dlogits: OutputBuffer::To(small.binding()), ..buffers };
    assert_eq!(refused(shape, &to), too_small("dlogits"));
}
