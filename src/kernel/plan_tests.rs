//! The plan held to every limit, for a hundred thousand shapes and devices, with no GPU.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::plan::{LANE_BYTES, MAX_ITERATIONS, Plan, Tuning, iterations};
use crate::device::{AdapterKind, Profile};
use crate::error::Error;
use crate::shape::Shape;

const F32: u64 = 4;

fn profile(
    kind: AdapterKind,
    max_binding_bytes: u64,
    offset_alignment: u64,
    max_invocations: u32,
) -> Profile {
    Profile {
        name: "a device".to_owned(),
        driver: String::new(),
        backend: wgpu::Backend::Vulkan,
        kind,
        max_binding_bytes,
        max_buffer_bytes: 2 * max_binding_bytes,
        offset_alignment,
        max_workgroups: 65_535,
        max_invocations,
        workgroup_memory: 16 << 10,
        subgroup_sizes: (4, 8),
    }
}

fn lavapipe() -> Profile {
    profile(AdapterKind::Software, 128 << 20, 32, 1024)
}

fn profiles() -> Vec<Profile> {
    vec![
        lavapipe(),
        profile(AdapterKind::Software, 1 << 30, 256, 256), // SwiftShader
        profile(AdapterKind::Discrete, (1 << 31) - 4, 16, 1024),
        profile(AdapterKind::Integrated, 128 << 20, 256, 256), // WebGPU's defaults
    ]
}

/// A number with every magnitude up to `most` as likely.
fn any_magnitude(random: &mut StdRng, most: u64) -> u64 {
    let bits = random.random_range(0..=most.ilog2());
    random.random_range(1..=(2u64 << bits) - 1).min(most)
}

/// Holds a plan to all that it promises: `offset` is where the batch begins in its buffer.
fn hold(profile: &Profile, shape: Shape, plan: &Plan, offset: u64) {
    let context = || format!("{shape:?} at {offset} on {profile:?}: {plan:?}");
    let lanes = plan.tuning.lanes;
    assert!(lanes.is_power_of_two() && lanes <= profile.max_invocations, "{}", context());
    assert!(lanes * LANE_BYTES <= profile.workgroup_memory, "{}", context());
    assert!(iterations(shape.cols as u64, plan.tuning) <= MAX_ITERATIONS, "{}", context());

    // First, second and last window stand for the rest.
    let step = plan.window_rows().max(1);
    let count = shape.rows.div_ceil(step);
    let mut next = 0;
    for window in plan.windows(shape.rows).take(2).chain(plan.windows(shape.rows).last()) {
        assert!(window.first_row == next || window.first_row == (count - 1) * step, "{}", context());
        next = window.first_row + window.rows;
        let [x, y] = window.grid;
        assert!(x <= profile.max_workgroups && y <= profile.max_workgroups, "{}", context());
        assert!(u64::from(x) * u64::from(y) >= window.rows as u64, "{}", context());

        let place = plan.place(&window, offset, profile.offset_alignment);
        assert!(place.size <= profile.max_binding_bytes, "{}", context());
        assert_eq!((place.size % 4, place.offset % profile.offset_alignment), (0, 0), "{}", context());
        let begins = place.offset + u64::from(place.base) * F32;
        assert_eq!(begins, offset + (window.first_row * shape.row_stride) as u64 * F32, "{}", context());
        let last = u64::from(place.base) + ((window.rows - 1) * shape.row_stride + shape.cols) as u64;
        assert!(last * F32 <= place.size && u32::try_from(last).is_ok(), "{}", context());
    }
    assert_eq!(next, shape.rows, "every row is in a window: {}", context());
}

#[test]
fn a_hundred_thousand_shapes_within_every_limit() {
    let mut random = StdRng::seed_from_u64(1);
    let profiles = profiles();
    let mut planned = 0;
    for _ in 0..100_000 {
        let profile = &profiles[random.random_range(0..profiles.len())];
        let cols = any_magnitude(&mut random, 1 << 30) as usize;
        let rows = any_magnitude(&mut random, 1 << 33) as usize;
        let padding = if random.random_bool(0.5) { 0 } else { any_magnitude(&mut random, 1 << 12) as usize };
        let shape = Shape::new(rows, cols).row_stride(cols + padding);
        let offset = 4 * random.random_range(0..1000);
        let widest = Tuning { lanes: profile.max_invocations };
        let too_large = cols as u64 * F32 > profile.max_binding_bytes - profile.offset_alignment
            || iterations(cols as u64, widest) > MAX_ITERATIONS;
        // More windows than a test can walk in time: fewer rows say the same.
        let walked = |plan: &Plan| shape.with_rows(rows.min(1000 * plan.window_rows().max(1)));
        match Plan::resident(profile, shape, F32, None) {
            Ok(plan) => {
                assert!(!too_large);
                hold(profile, walked(&plan), &plan, offset);
                let streamed = Plan::streamed(profile, shape, F32, None).expect("as the resident plan");
                hold(profile, walked(&streamed), &streamed, 0);
                assert_eq!(streamed.tuning, plan.tuning, "one kernel for one shape");
                planned += 1;
            }
            Err(Error::RowTooLarge { .. }) => assert!(too_large, "{shape:?}"),
            Err(Error::ShapeOverflow { .. }) => {
                assert!(rows as u128 * shape.row_stride as u128 * 8 > usize::MAX as u128, "{shape:?}");
            }
            Err(error) => panic!("{shape:?}: {error}"),
        }
    }
    assert!(planned > 80_000, "most shapes can be planned, not {planned}");
}

#[test]
fn a_streams_buffers_stay_under_half_a_gigabyte() {
    for profile in profiles() {
        for cols in [1, 2, 10, 1000, 50_257, 128_256, 1_000_000, 16_000_000, 33_554_000] {
            for rows in [1, 1000, 1 << 20, 1 << 33] {
                for padding in [0, 1, 47] {
                    let shape = Shape::new(rows, cols).row_stride(cols + padding);
                    let plan = Plan::streamed(&profile, shape, F32, None).expect("planned");
                    let bytes = plan.buffer_bytes(true);
                    assert!(bytes < 512 << 20, "{shape:?} on {profile:?} takes {bytes} bytes");
                }
            }
        }
    }
}

#[test]
fn a_streamed_row_lies_among_the_quads_as_in_the_whole_batch() {
    for (rows, cols, row_stride) in
        [(9, 9_000_001, 9_000_001), (5, 7, 9), (4_000_000, 5, 6), (50, 16_000_001, 16_000_003)]
    {
        let shape = Shape::new(rows, cols).row_stride(row_stride);
        let plan = Plan::streamed(&lavapipe(), shape, F32, None).expect("planned");
        for window in plan.windows(rows) {
            let whole = window.first_row * row_stride % 4;
            assert_eq!(plan.streamed_base(&window) as usize, whole, "{shape:?} {window:?}");
        }
    }
}

#[test]
fn a_row_larger_than_a_binding_is_refused() {
    let limit = lavapipe().max_binding_bytes - lavapipe().offset_alignment;
    let cols = (limit / F32) as usize;
    assert!(Plan::resident(&lavapipe(), Shape::new(3, cols), F32, None).is_ok());
    let refused = Plan::resident(&lavapipe(), Shape::new(3, cols + 1), F32, None);
    assert_eq!(refused, Err(Error::RowTooLarge { cols: cols + 1, bytes: limit + F32, limit }));
}

#[test]
fn a_tuning_is_checked_against_device_and_row() {
    let plan = |lanes, cols| Plan::resident(&lavapipe(), Shape::new(1, cols), F32, Some(Tuning { lanes }));
    for lanes in [0, 3, 2048] {
        assert!(matches!(plan(lanes, 10), Err(Error::InvalidOption { .. })), "{lanes} lanes");
    }
    for lanes in [1, 8, 1024] {
        assert_eq!(plan(lanes, 10).map(|plan| plan.tuning.lanes), Ok(lanes));
    }
    // 65,535 iterations: a software adapter would stop in the middle of the row, silently.
    assert!(matches!(plan(1, 1_000_000), Err(Error::InvalidOption { .. })));
    assert!(plan(8, 1_000_000).is_ok());
}
