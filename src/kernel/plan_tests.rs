//! Checks the plan against every limit, for a hundred thousand shapes and devices, without a GPU.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::Tuning;
use super::plan::{
    LANE_BYTES, MAX_ITERATIONS, Needs, Plan, SAVED_BYTES, Split, Work, iterations, largest_window,
};
use crate::device::{AdapterKind, Profile};
use crate::error::Error;
use crate::row_fields::RowFields;
use crate::shape::Shape;

const F32: u64 = 4;

/// f32 logits, with no wider array.
fn work(shape: Shape) -> Work {
    Work {
        shape,
        element_bytes: F32,
        widest_bytes: F32,
        entries: 0,
        writes: false,
        splits: false,
        needs: Needs::default(),
        tuning: None,
    }
}

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
        unified_memory: false,
        max_binding_bytes,
        max_buffer_bytes: 2 * max_binding_bytes,
        offset_alignment,
        max_workgroups: 65_535,
        max_invocations,
        workgroup_memory: 16 << 10,
        subgroup_sizes: (4, 8),
        shader_int64: kind == AdapterKind::Software && offset_alignment == 32,
        keeps_specials: true,
    }
}

fn lavapipe() -> Profile {
    profile(AdapterKind::Software, 128 << 20, 32, 1024)
}

fn profiles() -> Vec<Profile> {
    vec![
        lavapipe(),
        Profile { subgroup_sizes: (4, 4), ..profile(AdapterKind::Software, 1 << 30, 256, 256) }, // SwiftShader
        profile(AdapterKind::Discrete, (1 << 31) - 4, 16, 1024),
        profile(AdapterKind::Integrated, 128 << 20, 256, 256), // WebGPU's defaults
    ]
}

/// A random number up to `most`, with every magnitude equally likely.
fn any_magnitude(random: &mut StdRng, most: u64) -> u64 {
    let bits = random.random_range(0..=most.ilog2());
    random.random_range(1..=(2u64 << bits) - 1).min(most)
}

/// Bytes of workgroup memory for an invocation, and for a workgroup besides.
fn lane_memory(work: &Work) -> (u32, u32) {
    let Needs { lane_bytes, shared_bytes, .. } = work.needs;
    (LANE_BYTES + lane_bytes, shared_bytes + if work.entries > 0 { SAVED_BYTES } else { 0 })
}

/// Checks everything that a plan promises. `offset` is the start of the batch in its buffer, which has values of
/// `value_bytes` bytes.
fn hold(profile: &Profile, work: Work, plan: &Plan, offset: u64, value_bytes: u64) {
    let shape = work.shape;
    let context = || format!("{work:?} at {offset} on {profile:?}: {plan:?}");
    let (lanes, invocations) = (plan.seats.lanes, plan.seats.lanes * plan.seats.rows);
    assert!(lanes.is_power_of_two() && invocations.is_power_of_two(), "{}", context());
    assert!(invocations <= profile.max_invocations, "{}", context());
    let (lane_bytes, saved) = lane_memory(&work);
    assert!(invocations * lane_bytes + saved <= profile.workgroup_memory, "{}", context());
    let Split { segments, segment_values } = plan.split;
    let cols = if segments > 1 { u64::from(segment_values) } else { shape.cols as u64 };
    let all = iterations(cols, work.entries, lanes) + work.needs.iterations(cols, lanes);
    assert!(all <= MAX_ITERATIONS, "{}", context());
    assert!(segments == 1 || (work.splits && plan.seats.rows == 1), "{}", context());
    assert!(u64::from(segments) * cols >= shape.cols as u64, "{}", context());

    // The first, second and last window represent the others.
    let step = plan.window_rows().max(1);
    assert!(step.is_multiple_of(shape.inner) || shape.rows == 0, "{}", context());
    let count = shape.rows.div_ceil(step);
    let mut next = 0;
    for window in plan.windows(shape.rows).take(2).chain(plan.windows(shape.rows).last()) {
        assert!(window.first_row == next || window.first_row == (count - 1) * step, "{}", context());
        next = window.first_row + window.rows;
        let [x, y] = window.grid;
        assert!(x <= profile.max_workgroups && y <= profile.max_workgroups, "{}", context());
        let seats = u64::from(x) * u64::from(y) * u64::from(plan.seats.rows);
        assert!(seats >= window.rows as u64, "{}", context());

        let place = plan.place(
            &window,
            value_bytes,
            (offset, shape.len() as u64 * value_bytes),
            profile.offset_alignment,
        );
        assert!(place.size <= profile.max_binding_bytes, "{}", context());
        assert_eq!((place.size % 4, place.offset % profile.offset_alignment), (0, 0), "{}", context());
        let begins = place.offset + u64::from(place.base) * value_bytes;
        let start = shape.row_start(window.first_row) as u64 * value_bytes;
        assert_eq!(begins, offset + start, "{}", context());
        let last = u64::from(place.base) + shape.with_rows(window.rows).len() as u64;
        assert!(last * value_bytes <= place.size && u32::try_from(last).is_ok(), "{}", context());
    }
    assert_eq!(next, shape.rows, "every row is in a window: {}", context());
}

/// A random layout: rows one after another, or side by side; 16-bit logits, wider arrays, sparse targets.
/// Those of losses with no fields, the usual ones or all, of a search of the largest classes, of sums at several
/// temperatures, and of sampling.
fn any_needs(random: &mut StdRng) -> Needs {
    let of_fields = [RowFields::empty(), RowFields::default(), RowFields::all()].map(Needs::of);
    let mut sampling = crate::options::SamplerOptions::default();
    if random.random_bool(0.5) {
        sampling = crate::options::SamplerOptions {
            samples: 256,
            truncations: crate::options::Truncations::empty(),
            ..sampling
        };
    }
    let others = [
        crate::op::top_k_needs(50),
        crate::op::top_k_rows_needs(),
        crate::op::row_moments_needs(),
        crate::op::sampler_needs(&sampling),
        crate::op::entmax_needs(),
    ];
    [&of_fields[..], &others].concat()[random.random_range(0..8)]
}

fn any_work(random: &mut StdRng) -> Work {
    let cols = any_magnitude(random, 1 << 30) as usize;
    let rows = any_magnitude(random, 1 << 33) as usize;
    let padding = if random.random_bool(0.5) { 0 } else { any_magnitude(random, 1 << 12) as usize };
    let inner = if random.random_bool(0.7) { 1 } else { any_magnitude(random, 1 << 20) as usize };
    let shape = Shape::nchw(rows.div_ceil(inner), cols, inner);
    let element_bytes = if random.random_bool(0.5) { 2 } else { 4 };
    let widest_bytes = if random.random_bool(0.5) { element_bytes } else { 4 };
    let entries = if random.random_bool(0.8) { 0 } else { random.random_range(1..=512) };
    let shape = shape.row_stride(shape.row_stride.saturating_add(padding));
    let (writes, splits) = (random.random_bool(0.5), random.random_bool(0.5));
    Work {
        shape,
        element_bytes,
        widest_bytes,
        entries,
        writes,
        splits,
        needs: any_needs(random),
        tuning: None,
    }
}

#[test]
fn a_hundred_thousand_shapes_within_every_limit() {
    let mut random = StdRng::seed_from_u64(1);
    let profiles = profiles();
    let mut planned = 0;
    for _ in 0..100_000 {
        let profile = &profiles[random.random_range(0..profiles.len())];
        let work = any_work(&mut random);
        let Shape { rows, cols, row_stride, inner } = work.shape;
        let offset = 4 * random.random_range(0..1000);
        let (lane_bytes, saved) = lane_memory(&work);
        let most = ((profile.workgroup_memory - SAVED_BYTES) / LANE_BYTES).min(profile.max_invocations);
        let most = most.min((profile.workgroup_memory - saved) / lane_bytes);
        let lanes = 1 << most.ilog2();
        let all = iterations(cols as u64, work.entries, lanes) + work.needs.iterations(cols as u64, lanes);
        let is_long = all > MAX_ITERATIONS;
        let group = cols as u128 * inner as u128 * u128::from(work.widest_bytes);
        let is_large = group > u128::from(largest_window(profile, work.widest_bytes));
        // Walking all windows would take too long, so fewer rows are used, with the same effect.
        let walked = |plan: &Plan| {
            let shape = work.shape.with_rows(rows.min(1000 * plan.window_rows().max(1)));
            Work { shape, ..work }
        };
        match Plan::resident(profile, work) {
            Ok(plan) => {
                assert!(!is_large && !is_long, "{work:?}");
                hold(profile, walked(&plan), &plan, offset, work.element_bytes);
                hold(profile, walked(&plan), &plan, offset, work.widest_bytes);
                let streamed = Plan::streamed(profile, work, None).expect("as the resident plan");
                hold(profile, walked(&streamed), &streamed, 0, work.widest_bytes);
                assert_eq!(streamed.seats, plan.seats, "one kernel for one shape");
                planned += 1;
            }
            Err(Error::RowTooLarge { .. } | Error::GroupTooLarge { .. }) => {
                assert!(is_large || is_long, "{work:?}");
            }
            Err(Error::TooManyRows { .. }) => {
                // The results of rows side by side must fit into one binding.
                assert!((inner * work.needs.row_words * 4) as u64 > profile.max_binding_bytes, "{work:?}");
            }
            Err(Error::ShapeOverflow { .. }) => {
                let groups = (rows / inner.max(1)) as u128;
                assert!(groups * row_stride as u128 * 8 > usize::MAX as u128, "{work:?}");
            }
            Err(error) => panic!("{work:?}: {error}"),
        }
    }
    assert!(planned > 65_000, "most shapes can be planned, not {planned}");
}

#[test]
fn a_streamed_row_lies_among_the_quads_as_in_the_whole_batch() {
    for (rows, cols, row_stride) in
        [(9, 9_000_001, 9_000_001), (5, 7, 9), (4_000_000, 5, 6), (50, 16_000_001, 16_000_003)]
    {
        let shape = Shape::new(rows, cols).row_stride(row_stride);
        let plan = Plan::streamed(&lavapipe(), work(shape), None).expect("planned");
        for window in plan.windows(rows) {
            let whole = window.first_row * row_stride % 8;
            assert_eq!(plan.streamed_base(window.first_row) as usize, whole, "{shape:?} {window:?}");
        }
    }
}

#[test]
fn a_row_larger_than_a_binding_is_refused() {
    let limit = largest_window(&lavapipe(), F32);
    let cols = (limit / F32) as usize;
    assert!(Plan::resident(&lavapipe(), work(Shape::new(3, cols))).is_ok());
    let refused = Plan::resident(&lavapipe(), work(Shape::new(3, cols + 1)));
    assert_eq!(refused, Err(Error::RowTooLarge { cols: cols + 1, bytes: limit + F32, limit }));
    let side_by_side = Plan::resident(&lavapipe(), work(Shape::nchw(2, cols / 2 + 1, 2)));
    let cols = cols / 2 + 1;
    let bytes = 2 * cols as u64 * F32;
    assert_eq!(side_by_side, Err(Error::GroupTooLarge { cols, inner: 2, bytes, limit }));
}

#[test]
fn a_tuning_is_checked_against_device_and_row() {
    let plan = |lanes, cols| {
        let tuning = Some(Tuning::fixed(lanes, 1));
        Plan::resident(&lavapipe(), Work { tuning, ..work(Shape::new(1, cols)) })
    };
    for lanes in [0, 3, 512] {
        assert!(matches!(plan(lanes, 10), Err(Error::InvalidOption { .. })), "{lanes} lanes");
    }
    for lanes in [1, 8, 256] {
        assert_eq!(plan(lanes, 10).map(|plan| plan.seats.lanes), Ok(lanes));
    }
    // After 65,535 iterations a software adapter would silently stop in the middle of the row.
    assert_eq!(plan(1, 1_000_000).map(|plan| plan.seats.lanes), Ok(8));
}

#[test]
fn rows_side_by_side_share_a_workgroup_as_far_as_the_iterations_allow() {
    let seats = |cols, inner, entries| {
        let work = Work { entries, ..work(Shape::nchw(1, cols, inner)) };
        Plan::resident(&profiles()[2], work).map(|plan| (plan.seats.rows, plan.seats.lanes))
    };
    assert_eq!(seats(21, 4096, 0), Ok((64, 1)));
    assert_eq!(seats(21, 3, 0), Ok((4, 16)));
    assert_eq!(seats(1_000_000, 64, 0).map(|(rows, lanes)| rows * lanes), Ok(64));
    assert!(seats(1_000_000, 64, 0).is_ok_and(|(_, lanes)| lanes > 1), "60,000 iterations");
    assert_eq!(seats(21, 4096, 5), Ok((1, 64)), "entries are kept for one row");
}

/// The choice for a shape: lanes, rows per workgroup, segments per row.
#[test]
fn the_choice_by_shape() {
    let [lavapipe, swiftshader, discrete, integrated] = [0, 1, 2, 3].map(|at| profiles()[at].clone());
    for (profile, rows, cols, expected) in [
        (&lavapipe, 1_000_000, 10, (1, 64, 1)),
        (&lavapipe, 4096, 1000, (1, 8, 1)),
        (&lavapipe, 256, 50_304, (8, 1, 1)),
        (&lavapipe, 10, 400_000, (8, 1, 2)),
        (&lavapipe, 1, 8_000_000, (8, 1, 16)),
        (&lavapipe, 1, 100_000, (8, 1, 1)),
        (&swiftshader, 4096, 1000, (1, 4, 1)),
        (&swiftshader, 256, 50_304, (4, 1, 1)),
        (&discrete, 1_000_000, 10, (1, 128, 1)),
        (&discrete, 4096, 1000, (32, 4, 1)),
        (&discrete, 4096, 128_256, (256, 1, 1)),
        (&discrete, 64, 128_256, (256, 1, 11)),
        (&discrete, 1, 262_144, (256, 1, 32)),
        (&integrated, 1, 262_144, (256, 1, 32)),
    ] {
        let shape = Shape::new(rows, cols);
        for writes in [false, true] {
            let plan =
                |splits| Plan::resident(profile, Work { writes, splits, ..work(shape) }).expect("planned");
            let chosen = |plan: Plan| (plan.seats.lanes, plan.seats.rows, plan.split.segments);
            assert_eq!(chosen(plan(true)), expected, "{rows} x {cols} on {profile:?}");
            // Without a split, a long row may need more lanes to stay within the iterations that an adapter allows.
            let (lanes, of_workgroup, segments) = chosen(plan(false));
            assert!(lanes >= expected.0 && (of_workgroup, segments) == (expected.1, 1), "{rows} x {cols}");
        }
    }
}

/// With many rows a lane has more values, of rows that are only read more than of rows that are written.
#[test]
fn lanes_follow_from_the_number_of_rows() {
    let [_, _, discrete, integrated] = [0, 1, 2, 3].map(|at| profiles()[at].clone());
    for (profile, rows, cols, read, written) in [
        (&discrete, 65_536, 10, (1, 128), (1, 128)),
        (&discrete, 65_536, 128, (4, 32), (4, 32)),
        (&discrete, 65_536, 256, (4, 32), (8, 16)),
        (&discrete, 65_536, 1000, (8, 16), (16, 8)),
        (&discrete, 65_536, 4096, (32, 4), (128, 1)),
        (&discrete, 2048, 4096, (64, 2), (128, 1)),
        (&discrete, 512, 4096, (256, 1), (256, 1)),
        (&discrete, 4096, 1000, (32, 4), (32, 4)),
        (&discrete, 16_384, 1000, (8, 16), (16, 8)),
        (&integrated, 4096, 1000, (8, 16), (16, 8)),
        (&integrated, 512, 1000, (32, 4), (32, 4)),
    ] {
        for (writes, expected) in [(false, read), (true, written)] {
            let work = Work { writes, ..work(Shape::new(rows, cols)) };
            let seats = Plan::resident(profile, work).expect("planned").seats;
            assert_eq!((seats.lanes, seats.rows), expected, "{rows} x {cols}, {writes}, {:?}", profile.kind);
        }
    }
}
