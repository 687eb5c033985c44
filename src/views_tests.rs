//! Views of every kind, against naive indexing.

use ndarray::{Array, ArrayD, ArrayView2, ArrayViewD, Axis, IxDyn, Slice};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// The values of each row, class by class, in the order of the array without its class axis.
fn rows_of(view: &ArrayViewD<'_, f32>, axis: usize) -> Vec<Vec<f32>> {
    view.lanes(Axis(axis)).into_iter().map(|row| row.iter().copied().collect()).collect()
}

/// The same by the shape.
fn rows_by(values: &[f32], shape: Shape) -> Vec<Vec<f32>> {
    (0..shape.rows).map(|row| shape.row_vec(values, row)).collect()
}

/// Whether any shape at all describes the view, whose values are their own indices in the array.
fn is_describable(rows: &[Vec<f32>]) -> bool {
    let (first, cols) = (rows[0][0], rows[0].len());
    let strides = |inner: usize| cols * inner..=600;
    let is_right = |inner: usize, row_stride: usize| {
        rows.iter().enumerate().all(|(row, values)| {
            let start = row / inner * row_stride + row % inner;
            values.iter().enumerate().all(|(col, &value)| value - first == (start + col * inner) as f32)
        })
    };
    let inners = (1..=rows.len()).filter(|&inner| rows.len().is_multiple_of(inner));
    inners.flat_map(|inner| strides(inner).map(move |stride| (inner, stride))).any(|(i, s)| is_right(i, s))
}

/// Random parts of arrays of up to four axes: steps, reversals, other orders of the axes, values repeated.
#[test]
fn random_views() {
    let mut rng = StdRng::seed_from_u64(7);
    let (mut described, mut refused, mut gapped) = (0, 0, 0);
    for case in 0..20_000 {
        let axes = rng.random_range(1..=4);
        let dims: Vec<usize> = (0..axes).map(|_| rng.random_range(1..=4)).collect();
        let len = dims.iter().product();
        let whole: ArrayD<f32> =
            Array::from_iter((0..len).map(|at| at as f32)).into_shape_with_order(IxDyn(&dims)).unwrap();
        let mut view = whole.view();
        for axis in 0..axes {
            let len = view.len_of(Axis(axis));
            if rng.random_range(0..3) == 0 {
                let start = rng.random_range(0..len);
                let end = rng.random_range(start + 1..=len) as isize;
                let step = if rng.random_range(0..4) == 0 { 2 } else { 1 };
                view.slice_axis_inplace(Axis(axis), Slice::new(start as isize, Some(end), step));
            }
            if rng.random_range(0..20) == 0 {
                view.invert_axis(Axis(axis));
            }
        }
        if rng.random_range(0..2) == 0 {
            let mut order: Vec<usize> = (0..axes).collect();
            order.swap(rng.random_range(0..axes), rng.random_range(0..axes));
            order.rotate_left(rng.random_range(0..axes));
            view = view.permuted_axes(IxDyn(&order));
        }
        if rng.random_range(0..10) == 0 {
            view = view.insert_axis(Axis(rng.random_range(0..=axes)));
        }
        let original = view.clone();
        if rng.random_range(0..20) == 0 {
            let repeated: Vec<usize> = std::iter::once(2).chain(view.shape().iter().copied()).collect();
            view = original.broadcast(IxDyn(&repeated)).unwrap();
        }
        let axis = rng.random_range(0..view.ndim());
        let counted = if rng.random() { axis as isize } else { axis as isize - view.ndim() as isize };
        let rows = rows_of(&view, axis);
        let context =
            format!("case {case}: {:?}, strides {:?}, axis {counted}", view.shape(), view.strides());
        match from_ndarray_part(whole.view(), view.clone(), counted) {
            Ok((values, shape)) => {
                described += 1;
                assert_eq!(shape.check_slice("values", values), Ok(()), "{context}");
                assert_eq!(values.len(), shape.len(), "{context}");
                assert_eq!(rows_by(values, shape), rows, "{context}");
                match from_ndarray(view.clone(), counted) {
                    Ok(found) => assert_eq!(found, (values, shape), "{context}"),
                    Err(Error::Gaps { .. }) => {
                        gapped += 1;
                        assert!(values.len() > view.len(), "{context}");
                    }
                    Err(other) => panic!("{context}: {other}"),
                }
            }
            Err(Error::Strides { dims, strides, class_axis }) => {
                refused += 1;
                assert_eq!((&dims[..], &strides[..], class_axis), (view.shape(), view.strides(), counted));
                assert!(!is_describable(&rows), "{context}");
            }
            Err(other) => panic!("{context}: {other}"),
        }
    }
    assert!(described > 2000 && refused > 2000 && gapped > 200, "{described} {refused} {gapped}");
}

/// Some rows and columns.
fn part<'a>(of: &ArrayView2<'a, f32>, rows: impl Into<Slice>, cols: impl Into<Slice>) -> ArrayView2<'a, f32> {
    let mut part = *of;
    part.slice_axis_inplace(Axis(0), rows.into());
    part.slice_axis_inplace(Axis(1), cols.into());
    part
}

#[test]
fn parts_of_other_arrays() {
    let [whole, other] = [0.0f32, 1.0].map(|value| Array::from_elem((6, 4), value));
    let (whole, other) = (whole.view(), other.view());
    let not_a_part = Error::NotAPart { dims: vec![3, 3], strides: vec![8, 1] };
    let every_second = part(&other, Slice::new(0, None, 2), 1..);
    assert_eq!(from_ndarray_part(whole, every_second, 1), Err(not_a_part));
    // Parts that begin before the array, or end after it.
    let (rows, columns) = (part(&other, 2..5, ..), part(&other, .., 1..));
    for part in [columns, other, part(&other, 4.., ..)] {
        let refused = from_ndarray_part(rows, part, 1);
        assert!(matches!(refused, Err(Error::NotAPart { .. })), "{refused:?}");
    }
    let found = from_ndarray_part(rows, part(&rows, 1.., 2..), 1).unwrap();
    assert_eq!(found, (&[1.0; 6][..], Shape::new(2, 2).row_stride(4)));
    // An array with gaps cannot lend the values between its own.
    let gaps = Error::Gaps { dims: vec![6, 3], strides: vec![4, 1] };
    assert_eq!(from_ndarray_part(columns, part(&columns, .., 1..), 1), Err(gaps.clone()));
    assert_eq!(from_ndarray(columns, 1), Err(gaps));
}

#[test]
fn empty_views_and_axes_out_of_range() {
    let whole = Array::from_elem((6, 4), 1.0f32);
    let whole = whole.view();
    let none = part(&whole, 2..2, 1..);
    assert_eq!(from_ndarray(none, 1), Ok((&[][..], Shape::new(0, 3))));
    assert_eq!(from_ndarray_part(whole, none, 1), Ok((&[][..], Shape::new(0, 3))));
    assert_eq!(from_ndarray(part(&whole, .., 2..2), 1), Err(Error::NoCols { rows: 6 }));
    for axis in [2, -3, isize::MAX, isize::MIN] {
        assert_eq!(from_ndarray(whole, axis), Err(Error::ClassAxis { axis, axes: 2 }));
    }
    let scalar = ndarray::arr0(1.0f32);
    assert_eq!(from_ndarray(scalar.view(), -1), Err(Error::ClassAxis { axis: -1, axes: 0 }));
}
