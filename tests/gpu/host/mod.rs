//! The way of host slices: into the kernels' own buffers or through staging, in buffers that one call leaves to the next.

mod kept;
mod slices;
mod ways;

use xent::{Context, Element, wgpu};

use crate::batch::{Batch, Ops};
use crate::harness::{adapter, device_of_bindings, gpu};
use crate::outputs::{Outputs, run_host};

/// Devices whose windows hold a few rows: one that writes into the kernels' own buffers, if the adapter has such, and one
/// that goes through staging.
fn both_ways() -> Vec<Context> {
    let mappable = wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
    let small = |features| device_of_bindings(features, 32 << 10);
    let staged = small(wgpu::Features::empty());
    assert!(!staged.profile().unwrap().unified_memory, "a device without the feature");
    let kind = staged.profile().unwrap().kind;
    let is_shared = matches!(kind, xent::AdapterKind::Software | xent::AdapterKind::Integrated);
    if !is_shared || !adapter().features().contains(mappable) {
        eprintln!("one way only: the adapter's memory is not the host's, or cannot be mapped");
        return vec![staged];
    }
    let unified = small(mappable);
    assert!(unified.profile().unwrap().unified_memory, "a device with the feature");
    assert!(gpu().profile().unwrap().unified_memory, "a Context asks for the feature");
    vec![unified, staged]
}

/// Every bit; of a loss, a NaN equals a NaN.
fn same(a: &Outputs, b: &Outputs) -> bool {
    let loss = |of: &Outputs| format!("{:?}", of.host_loss);
    a.bits() == b.bits() && a.row_flags == b.row_flags && loss(a) == loss(b)
}

fn all<E: Element>(gpu: &Context, batch: &Batch<E>) -> Outputs {
    run_host(&Ops::new(gpu, Default::default()), batch)
}
