//! `ndarray` views as the logits of an operation.

use std::slice;

use ndarray::{ArrayView, Dimension};

use crate::element::Element;
use crate::error::{Error, Result};
use crate::shape::Shape;

/// The values of an array, without a copy, and their [`Shape`], with the classes along `class_axis` (−1 is the last
/// axis). The rows come in the order of the array without its class axis. With the feature `ndarray`.
///
/// The axes may have any order that a shape can describe, see [`Shape::strided`]. For a view that is only a part of an
/// array, use [`from_ndarray_part`].
///
/// ```
/// use ndarray::Array4;
/// use xent::{Shape, from_ndarray, reference};
///
/// // 2 images of 3 classes and 4 × 5 pixels.
/// let logits = Array4::from_shape_fn((2, 3, 4, 5), |(_, class, ..)| class as f32);
/// let (values, shape) = from_ndarray(logits.view(), 1)?;
/// assert_eq!(shape, Shape::nchw(2, 3, 4 * 5));
/// // Every operation takes them, for example `softmax.softmax(values, shape)`.
/// let lse = reference::logsumexp(values, shape)?;
/// assert_eq!(lse.len(), 2 * 4 * 5);
/// # Ok::<(), xent::Error>(())
/// ```
///
/// A result as large as the logits has their layout. If that is the standard layout, `ArrayView::from_shape` makes it
/// an array again: `ArrayView::from_shape(logits.raw_dim(), &probs)`.
///
/// # Errors
/// [`Error::Strides`] if no shape describes the view, for example with a reversed axis; [`Error::Gaps`] if it is only a
/// part of an array; [`Error::ClassAxis`]; what [`Shape::check`] refuses.
pub fn from_ndarray<E: Element, D: Dimension>(
    view: ArrayView<'_, E, D>,
    class_axis: isize,
) -> Result<(&[E], Shape)> {
    let shape = Shape::strided(view.shape(), view.strides(), class_axis)?;
    Ok((gapless(view)?, shape))
}

/// Like [`from_ndarray`], for a part of an array: some columns, every second row. `part` is a view of `whole`, the array
/// that holds its values, which must have no gaps itself. The values between those of the part are not used. With the
/// feature `ndarray`.
///
/// ```
/// use ndarray::{Array2, s};
/// use xent::{Shape, from_ndarray_part};
///
/// let logits = Array2::from_shape_fn((8, 1000), |(row, class)| (row * class) as f32);
/// let part = logits.slice(s![1..;2, 10..]);
/// let (values, shape) = from_ndarray_part(logits.view(), part, -1)?;
/// assert_eq!(shape, Shape::new(4, 990).row_stride(2 * 1000));
/// assert_eq!(values[0], logits[[1, 10]]);
/// # Ok::<(), xent::Error>(())
/// ```
///
/// # Errors
/// As for [`from_ndarray`], with [`Error::Gaps`] for `whole`; [`Error::NotAPart`] if `part` is a view of another array.
pub fn from_ndarray_part<'a, E: Element, W: Dimension, D: Dimension>(
    whole: ArrayView<'a, E, W>,
    part: ArrayView<'_, E, D>,
    class_axis: isize,
) -> Result<(&'a [E], Shape)> {
    let shape = Shape::strided(part.shape(), part.strides(), class_axis)?;
    let values = gapless(whole)?;
    if shape.is_empty() {
        return Ok((&[], shape));
    }
    // Where the part begins in the array. A view does not say so itself, and the values between its own may belong to
    // somebody who changes them, so that only the array can lend them.
    let bytes = part.as_ptr().addr().checked_sub(values.as_ptr().addr());
    let start =
        bytes.filter(|bytes| bytes.is_multiple_of(size_of::<E>())).map(|bytes| bytes / size_of::<E>());
    let values = start.and_then(|start| values.get(start..start.checked_add(shape.len())?));
    let values = values
        .ok_or_else(|| Error::NotAPart { dims: part.shape().to_vec(), strides: part.strides().to_vec() })?;
    Ok((values, shape))
}

/// The values of a view in the order in which they lie in memory.
fn gapless<E, D: Dimension>(view: ArrayView<'_, E, D>) -> Result<&[E]> {
    let values = match view.len() {
        0 => Some(&[][..]),
        // ndarray does not take one value with a stride for a slice.
        1 => view.clone().into_iter().next().map(slice::from_ref),
        _ => view.to_slice_memory_order(),
    };
    let gaps = || Error::Gaps { dims: view.shape().to_vec(), strides: view.strides().to_vec() };
    values.ok_or_else(gaps)
}

#[cfg(test)]
#[path = "views_tests.rs"]
mod tests;
