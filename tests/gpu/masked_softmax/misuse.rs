//! Misuse: what the host refuses, and what binding refuses.

use xent::half::f16;
use xent::{
    Causal, Error, MaskRows, MaskedSoftmax, MaskedSoftmaxBuffers, MaskedSoftmaxOptions, Masks, OutputBuffer,
    Shape, wgpu,
};

use crate::harness::{Region, aligned_offset, bound_exactly, device_of_bindings, gpu};
use crate::masked_softmax::INF;

#[test]
fn misuse() {
    let gpu = gpu();
    let of = |options: MaskedSoftmaxOptions| MaskedSoftmax::<f16>::new(gpu, &options);
    for scale in [0.0, f32::NAN, INF, f32::MIN_POSITIVE / 2.0, 2e38] {
        let error = of(MaskedSoftmaxOptions { scale, ..Default::default() }).err();
        assert!(matches!(error, Some(Error::InvalidOption { option: "scale", .. })), "{error:?}");
    }
    let none = MaskedSoftmaxOptions { causal: Some(Causal::lower_right(0)), ..Default::default() };
    assert!(matches!(of(none).err(), Some(Error::InvalidOption { option: "causal: q_len", .. })));

    let op = of(Default::default()).expect("an operation");
    let shape = Shape::new(4, 6);
    let logits = vec![f16::ONE; 24];
    let host = |masks: Masks<'_>, shape: Shape| op.softmax(&logits, masks, shape).wait().err();
    let mask = [0.0; 18];
    let three = MaskRows::each(3);
    let error = Error::MaskRows { what: "masks: additive", rows: 4, mask_rows: 3, repeat: 1 };
    assert_eq!(host(Masks::NONE.additive(&mask, three), shape), Some(error));
    let error = Error::Length { what: "masks: additive", found: 18, needed: 12 };
    assert_eq!(host(Masks::NONE.additive(&mask, MaskRows::each(2)), shape), Some(error));
    let inner = Error::ClassAxisNotLast { inner: 2 };
    assert_eq!(host(Masks::NONE, Shape::nchw(2, 6, 2)), Some(inner.clone()));
    let error = Error::Length { what: "logits", found: 24, needed: 30 };
    assert_eq!(host(Masks::NONE, Shape::new(5, 6)), Some(error));
    let causal = MaskedSoftmaxOptions { causal: Some(Causal::lower_right(3)), ..Default::default() };
    let error = Error::MaskRows { what: "causal: q_len", rows: 4, mask_rows: 3, repeat: 1 };
    let causal = op.with_options(&causal).expect("an operation");
    assert_eq!(causal.softmax(&logits, Masks::NONE, shape).wait().err(), Some(error.clone()));

    let small = device_of_bindings(wgpu::Features::empty(), 16 << 10);
    let on_small = MaskedSoftmax::<f16>::new(&small, &Default::default()).expect("an operation");
    let (wide, rows) = (Shape::new(50, 100), MaskRows::each(50));
    let too_large = Error::MaskTooLarge { what: "masks: boolean", bytes: 20_000, limit: 16 << 10 };
    let flags = [true; 5000];
    let found = on_small.softmax(&[f16::ONE; 5000], Masks::NONE.boolean(&flags, rows), wide).wait();
    assert_eq!(found.err(), Some(too_large));

    let at = aligned_offset(gpu);
    let values = Region::unwritten_at(gpu, at, 64);
    let (other, mask) =
        (Region::unwritten_at(gpu, at, 64), bound_exactly(|| Region::unwritten_at(gpu, at, 18)));
    let buffers = MaskedSoftmaxBuffers {
        logits: values.binding(),
        additive: None,
        boolean: None,
        probs: OutputBuffer::To(other.binding()),
    };
    let refused = |shape: Shape, to: &MaskedSoftmaxBuffers<'_>| op.bind(shape, to).err();
    assert_eq!(refused(shape, &buffers), None);
    assert_eq!(refused(Shape::nchw(2, 6, 2), &buffers), Some(inner));
    assert_eq!(causal.bind(shape, &buffers).err(), Some(error));
    let odd = Error::OddStride { what: "probs", row_stride: 7, needed: 8 };
    assert_eq!(refused(shape.row_stride(7), &buffers), Some(odd.clone()));
    let over = MaskedSoftmaxBuffers { probs: OutputBuffer::InPlace, ..buffers.clone() };
    assert_eq!(refused(shape.row_stride(7), &over), Some(odd));
    let wide = MaskedSoftmaxBuffers { probs: OutputBuffer::F32(other.binding()), ..buffers.clone() };
    assert_eq!(refused(shape.row_stride(7), &wide), None);
    let alias = MaskedSoftmaxBuffers { probs: OutputBuffer::To(values.binding()), ..buffers.clone() };
    let error = Error::BufferAlias { first: "logits", second: "probs" };
    assert_eq!(refused(shape, &alias), Some(error));
    let boolean = Some((values.binding(), MaskRows::each(4)));
    let alias = MaskedSoftmaxBuffers { boolean, ..over.clone() };
    let error = Error::BufferAlias { first: "logits", second: "boolean" };
    assert_eq!(refused(shape, &alias), Some(error));
    let additive = |rows| Some((mask.binding(), rows));
    let to = MaskedSoftmaxBuffers { additive: additive(MaskRows::each(4)), ..buffers.clone() };
    let error = Error::BufferTooSmall { what: "additive", found: 72, needed: 96 };
    assert_eq!(refused(shape, &to), Some(error));
    let to = MaskedSoftmaxBuffers { additive: additive(MaskRows::repeated(2, 4)), ..buffers };
    let error = Error::MaskRows { what: "additive", rows: 4, mask_rows: 2, repeat: 4 };
    assert_eq!(refused(shape, &to), Some(error));
}
