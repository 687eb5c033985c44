//! Both ways give the same, bit for bit.

use xent::half::{bf16, f16};
use xent::{
    Causal, Context, CrossEntropyOptions, Element, KlDivergence, KlDivergenceInputs, MaskRows, MaskedSoftmax,
    MaskedSoftmaxOptions, Masks, RowResult, Shape, SigmoidBce, SigmoidBceInputs, SoftmaxBackward, TargetKind,
};

use crate::batch::{Batch, Ops, noise};
use crate::harness::{device_with, gpu};
use crate::host::{all, both_ways, same};
use crate::outputs::{Outputs, run_host_loss};

/// The results of each device are those of the first; debug text of f32 tells all bits but a NaN's.
fn assert_same(name: &str, of: impl Fn(&Context) -> String) {
    let results: Vec<String> = both_ways().iter().map(&of).collect();
    assert!(results.iter().all(|result| *result == results[0]), "{name}: the two ways differ");
}

#[test]
fn both_ways_agree() {
    let wide = noise("both ways", 1, 300, 257).with_stride(259);
    let weighted = |batch: &Batch| {
        let rows = batch.shape.rows;
        let mut batch = batch.clone();
        batch.given.class_weights = Some((0..257).map(|class| (class % 5) as f32).collect());
        batch.given.row_weights = Some((0..rows).map(|row| 0.5 + (row % 3) as f32).collect());
        batch.given.row_mask = Some((0..rows).map(|row| row % 7 != 0).collect());
        batch.given.row_upstream = Some((0..rows).map(|row| row as f32).collect());
        batch
    };
    let side_by_side = noise("side by side", 2, 120, 33).laid_out(Shape::nchw(30, 33, 4));
    let mut batches = vec![wide.clone(), weighted(&wide), side_by_side];
    batches.push(weighted(&wide.with_targets(TargetKind::Soft, 3)));
    batches.push(weighted(&wide.with_targets(TargetKind::Sparse { entries: 3 }, 4)));
    // All operations, or the loss alone.
    fn agree<E: Element>(batch: &Batch<E>, run: impl Fn(&Context, &Batch<E>) -> Outputs) {
        let results: Vec<Outputs> = both_ways().iter().map(|gpu| run(gpu, batch)).collect();
        assert!(results.iter().all(|result| same(result, &results[0])), "{}", batch.name);
    }
    fn loss<E: Element>(gpu: &Context, batch: &Batch<E>) -> Outputs {
        run_host_loss(&Ops::new(gpu, Default::default()), batch)
    }
    agree(&batches[0], all);
    batches[1..].iter().for_each(|batch| agree(batch, loss));
    // Of 16 bits, side by side in one type and soft targets, which are wider than their logits, in the other.
    agree(&batches[2].cast::<f16>(), loss);
    agree(&batches[3].cast::<bf16>(), loss);
}

#[test]
fn both_ways_agree_of_the_other_operations() {
    let (a, b) = (noise("a", 5, 200, 301), noise("b", 6, 200, 301));
    let shape = a.shape;
    let weights: Vec<f32> = (0..200).map(|row| (row % 4) as f32).collect();
    assert_same("divergence", |gpu| {
        let op = KlDivergence::<f32>::new(gpu, &Default::default()).unwrap();
        let inputs = KlDivergenceInputs::new(&b.logits).row_weights(&weights);
        format!("{:?}", op.loss_and_dlogits(&a.logits, inputs, shape).wait().unwrap())
    });
    let labels: Vec<f32> = b.logits.iter().map(|x| if *x > 0.0 { 1.0 } else { 0.0 }).collect();
    let of_classes = vec![0.5; 301];
    assert_same("multi-label loss", |gpu| {
        let op = SigmoidBce::<f32>::new(gpu, &Default::default()).unwrap();
        let inputs = SigmoidBceInputs::new(&labels).pos_weight(&of_classes).row_weights(&weights);
        format!("{:?}", op.loss_and_dlogits(&a.logits, inputs, shape).wait().unwrap())
    });
    assert_same("softmax backward", |gpu| {
        let op = SoftmaxBackward::<f32>::new(gpu, &Default::default()).unwrap();
        let probs: Vec<f32> = a.logits.iter().map(|x| x.abs()).collect();
        format!("{:?}", op.backward(&probs, &b.logits, shape).wait().unwrap())
    });
    let additive: Vec<f32> = b.logits[..20 * 301].to_vec();
    let boolean: Vec<bool> = b.logits[..4 * 301].iter().map(|x| *x > -1.0).collect();
    assert_same("masked softmax", |gpu| {
        let options = MaskedSoftmaxOptions { causal: Some(Causal::lower_right(50)), ..Default::default() };
        let op = MaskedSoftmax::<f32>::new(gpu, &options).unwrap();
        let masks =
            Masks::NONE.boolean(&boolean, MaskRows::repeated(4, 50)).additive(&additive, MaskRows::each(20));
        // The buffers of the masks are used again, and by fewer rows.
        let first = op.softmax(&a.logits, masks, shape).wait().unwrap();
        let fewer = op.softmax(&a.logits[..100 * 301], Masks::NONE, Shape::new(100, 301)).wait().unwrap();
        let again = op.softmax(&a.logits, masks, shape).wait().unwrap();
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        assert_eq!(bits(&first), bits(&again), "in used buffers");
        format!("{:?}", (bits(&first), bits(&fewer)))
    });
}

/// Of each row's result a loss alone needs little, and no more is written: what an earlier batch left in the buffers must
/// not be taken for it.
#[test]
fn a_loss_needs_no_more_of_its_rows() {
    let (batch, other) = (noise("alone", 15, 300, 257), noise("other", 16, 300, 257));
    for gpu in both_ways() {
        for z_loss in [0.0, 1e-3] {
            let op = || {
                let options = CrossEntropyOptions { z_loss, ..Default::default() };
                Ops::<f32>::new(&gpu, options).loss
            };
            let (rows, used) =
                (op().row_results(&batch.logits, batch.inputs(), batch.shape).wait().unwrap(), op());
            let sum = |of: fn(&RowResult) -> f32| rows.iter().map(|row| f64::from(of(row))).sum::<f64>();
            let losses = [
                op().loss(&batch.logits, batch.inputs(), batch.shape).wait().unwrap(),
                op().loss_and_dlogits(&batch.logits, batch.inputs(), batch.shape).wait().unwrap().0,
                {
                    used.row_results(&other.logits, other.inputs(), other.shape).wait().unwrap();
                    used.loss(&batch.logits, batch.inputs(), batch.shape).wait().unwrap()
                },
            ];
            for loss in losses {
                assert_eq!(loss.sum, sum(|row| row.loss), "z-loss {z_loss}");
                assert_eq!(loss.z_loss, sum(|row| row.z_loss) / loss.row_weight, "z-loss {z_loss}");
            }
        }
    }
}

/// A device made without the feature is taken as it is, and so is one whose adapter has memory of its own.
#[test]
fn a_device_of_ones_own() {
    let own = device_with(|_| {});
    assert!(!own.profile().unwrap().unified_memory);
    let batch = noise("one's own", 50, 40, 129);
    assert!(same(&all(&own, &batch), &all(gpu(), &batch)));
}
