//! Each error of a caller's buffer, by the misuse that it names.

use wgpu::BufferUsages as Usage;
use xent::{
    ArgmaxBuffers, CrossEntropyBuffers, CrossEntropyOptions, Error, LogSumExpBuffers, LossOutputs,
    OutputBuffer, Result, RowFields, Shape, SoftmaxBuffers, wgpu,
};

use crate::batch::ops;
use crate::errors::still_works;
use crate::harness::{Region, buffer_of, gpu};

/// Bindings of a right cross-entropy of 2 × 4: name, bytes needed, where it may begin.
struct Binds {
    buffers: Vec<wgpu::Buffer>,
    offsets: Vec<u64>,
    sizes: Vec<Option<u64>>,
}

const NAMES: [&str; 6] = ["logits", "targets", "loss", "row_losses", "row_results", "dlogits"];
const NEEDED: [u64; 6] = [32, 8, 32, 8, 32, 32];

impl Binds {
    fn right() -> Self {
        let buffer = || buffer_of(gpu(), Usage::STORAGE, &[0; 256]);
        Self { buffers: NAMES.map(|_| buffer()).to_vec(), offsets: vec![0; 6], sizes: vec![None; 6] }
    }

    fn bind(&self) -> Result<()> {
        let bound = |i: usize| wgpu::BufferBinding {
            buffer: &self.buffers[i],
            offset: self.offsets[i],
            size: self.sizes[i].and_then(wgpu::BufferSize::new),
        };
        let to = CrossEntropyBuffers {
            row_results: Some(bound(4)),
            outputs: LossOutputs {
                loss: Some(bound(2)),
                row_losses: Some(bound(3)),
                dlogits: Some(OutputBuffer::To(bound(5))),
            },
            ..CrossEntropyBuffers::new(bound(0), bound(1))
        };
        ops().loss.bind(Shape::new(2, 4), &to).map(drop)
    }
}

#[test]
fn buffers_too_small() {
    assert_eq!(Binds::right().bind(), Ok(()));
    for (i, (what, needed)) in NAMES.into_iter().zip(NEEDED).enumerate() {
        let mut exact = Binds::right();
        exact.buffers[i] = buffer_of(gpu(), Usage::STORAGE, &vec![0; needed as usize / 4]);
        assert_eq!(exact.bind(), Ok(()), "{what}");
        let mut short = Binds::right();
        short.buffers[i] = buffer_of(gpu(), Usage::STORAGE, &vec![0; needed as usize / 4 - 1]);
        let error = Err(Error::BufferTooSmall { what, found: needed - 4, needed });
        assert_eq!(short.bind(), error, "by the buffer");
        let mut short = Binds::right();
        short.sizes[i] = Some(needed - 4);
        assert_eq!(short.bind(), error, "by the binding");
        for offset in [1024, 2048] {
            let mut beyond = Binds::right();
            beyond.offsets[i] = offset;
            assert_eq!(beyond.bind(), Err(Error::BufferTooSmall { what, found: 0, needed }), "by the offset");
        }
    }
    still_works(ops());
}

#[test]
fn buffer_offsets() {
    let own = u64::from(gpu().device.limits().min_storage_buffer_offset_alignment).max(16);
    for (i, what) in NAMES.into_iter().enumerate() {
        let is_values = matches!(what, "logits" | "dlogits");
        let alignment = if is_values { 4 } else { own };
        for offset in [1, 2, 3, 6].into_iter().chain((!is_values).then_some(own / 2)) {
            let mut misplaced = Binds::right();
            misplaced.offsets[i] = offset;
            assert_eq!(misplaced.bind(), Err(Error::BufferOffset { what, offset, alignment }));
        }
        let mut placed = Binds::right();
        placed.offsets[i] = alignment;
        assert_eq!(placed.bind(), Ok(()), "{what}");
    }
    still_works(ops());
}

#[test]
fn buffer_usages() {
    for (i, what) in NAMES.into_iter().enumerate() {
        let mut unusable = Binds::right();
        unusable.buffers[i] = buffer_of(gpu(), Usage::COPY_DST | Usage::UNIFORM, &[0; 256]);
        assert_eq!(unusable.bind(), Err(Error::BufferUsage { what, needed: "BufferUsages::STORAGE" }));
    }
    still_works(ops());
}

#[test]
fn buffer_aliases() {
    for i in 0..5 {
        for j in i + 1..6 {
            let mut aliased = Binds::right();
            aliased.buffers[j] = aliased.buffers[i].clone();
            // Disjoint ranges, which wgpu refuses too.
            aliased.offsets[j] = 512;
            let error = Error::BufferAlias { first: NAMES[i], second: NAMES[j] };
            // Logits and targets are both read: that is allowed.
            assert_eq!(aliased.bind(), if (i, j) == (0, 1) { Ok(()) } else { Err(error) });
        }
    }
    let [a, b] = [(); 2].map(|()| Region::unwritten(gpu(), 16));
    let bind = |probs: &Region, log_probs: &Region| {
        let to = SoftmaxBuffers {
            logits: a.binding(),
            probs: Some(probs.binding()),
            log_probs: Some(log_probs.binding()),
        };
        ops().softmax.bind(Shape::new(2, 4), &to).map(drop)
    };
    let alias = |first, second| Err(Error::BufferAlias { first, second });
    assert_eq!(bind(&a, &b), alias("logits", "probs"));
    assert_eq!(bind(&b, &a), alias("logits", "log_probs"));
    assert_eq!(bind(&b, &b), alias("probs", "log_probs"));
    let to = LogSumExpBuffers { logits: a.binding(), lse: a.binding() };
    let bound = ops().logsumexp.bind(Shape::new(2, 4), &to).map(drop);
    assert_eq!(bound, alias("logits", "lse"));
    let to = ArgmaxBuffers { logits: a.binding(), argmax: a.binding() };
    let bound = ops().argmax.bind(Shape::new(2, 4), &to).map(drop);
    assert_eq!(bound, alias("logits", "argmax"));
    still_works(ops());
}

#[test]
fn no_output() {
    let values = Region::unwritten(gpu(), 16);
    let to = CrossEntropyBuffers::new(values.binding(), values.binding());
    let error = ops().loss.bind(Shape::new(2, 4), &to).err();
    let options = "loss, row_losses, row_results, dlogits";
    assert_eq!(error, Some(Error::NoOutput { options }));
    // Records without a field have no bytes to bind.
    let none = ops()
        .loss
        .with_options(&CrossEntropyOptions { row_fields: RowFields::empty(), ..Default::default() });
    let to = CrossEntropyBuffers { row_results: Some(values.binding()), ..to };
    let error = none.expect("options").bind(Shape::new(2, 4), &to).err();
    assert!(matches!(error, Some(Error::InvalidOption { option: "row_fields", .. })), "{error:?}");
    let to = SoftmaxBuffers { logits: values.binding(), probs: None, log_probs: None };
    let error = ops().softmax.bind(Shape::new(2, 4), &to).err();
    assert_eq!(error, Some(Error::NoOutput { options: "probs, log_probs" }));
}
