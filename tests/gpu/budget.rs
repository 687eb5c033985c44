//! How many pipelines the suite makes, on all its devices: nearly all of its time goes into compiling them.

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pipelines that a run may make by itself, and where another adapter takes a part of the cases. Before you raise them, see
/// what CONTRIBUTING says about arrays of cases, and about `XENT_PIPELINES`, which tells the tests that make most.
const MOST: usize = 4720;
const MOST_SHARED: usize = 2990;

static MADE: AtomicUsize = AtomicUsize::new(0);

/// Counts what wgpu says of its work. It says so on every device, those of the tests' own included.
struct Counter;

impl log::Log for Counter {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == "wgpu_core::device::global"
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata())
            || !record.args().to_string().starts_with("Device::create_compute_pipeline ")
        {
            return;
        }
        MADE.fetch_add(1, Ordering::Relaxed);
        if let Some(path) = std::env::var_os("XENT_PIPELINES") {
            let test = std::thread::current().name().unwrap_or("another thread").to_owned();
            let file = std::fs::File::options().append(true).create(true).open(path);
            file.and_then(|mut file| writeln!(file, "{test}")).expect("the file that XENT_PIPELINES names");
        }
    }

    fn flush(&self) {}
}

/// Begins to count.
pub fn begin() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        log::set_logger(&Counter).expect("no other logger");
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// Fails where the suite has made too many.
pub fn check() {
    let (made, most) =
        (MADE.load(Ordering::Relaxed), if crate::harness::is_shared() { MOST_SHARED } else { MOST });
    assert!(made <= most, "the suite has made {made} pipelines, more than {most}: see tests/gpu/budget.rs");
}

#[test]
fn every_pipeline_is_counted() {
    let gpu = &crate::harness::device_with(|_| {});
    let before = MADE.load(Ordering::Relaxed);
    let ops = crate::batch::Ops::<f32>::new(gpu, Default::default());
    ops.argmax.argmax(&[1.0, 2.0], xent::Shape::new(1, 2)).wait().expect("argmax");
    // Other tests make theirs at the same time.
    let counted = MADE.load(Ordering::Relaxed) - before;
    assert!(gpu.pipelines() > 0 && counted >= gpu.pipelines(), "{counted} of {}", gpu.pipelines());
}
