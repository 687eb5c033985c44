//! What a part of a row tells.

use super::of_this_input;
use crate::element::Element;
use crate::options::CrossEntropyOptions;
use crate::reference::argmax_row;
use crate::reference::distribution::capped;
use crate::results::RowPartials;

/// What the columns of a [`shard`](CrossEntropyOptions::shard) tell of one row: (cols,) logits of the shard, which may be none.
/// `class` is the row's target, a class of the whole row; class weights are those of the whole row (`total_cols`,). Sums are in f64,
/// of capped logits rounded to f32, relative to the shard's largest. Without a shard, the logits are the whole row.
///
/// [`CrossEntropyOptions::merged_loss`] gives the loss of combined ones. A row whose target is
/// [ignored](CrossEntropyOptions::ignore_index) has [`RowPartials::NONE`].
pub fn row_partials<E: Element>(
    row: &[E],
    class: i64,
    class_weights: Option<&[f32]>,
    options: &CrossEntropyOptions,
) -> RowPartials {
    if class == i64::from(options.ignore_index) {
        return RowPartials::NONE;
    }
    let options = &of_this_input(options);
    let first_col = options.first_col();
    let scores: Vec<f32> = row.iter().map(|x| capped(x.to_f64(), options.softcap) as f32).collect();
    let target = usize::try_from(class).ok().and_then(|class| class.checked_sub(first_col));
    let weight = |at: usize| match class_weights {
        Some(weights) => weights.get(first_col.saturating_add(at)).copied().unwrap_or(f32::NAN),
        None => 1.0,
    };
    let target = target.filter(|&at| at < row.len());
    let mut partials = RowPartials::weighted(&scores, target, options.temperature, weight);
    // A cap may make equals of large logits.
    if !row.is_empty() {
        partials.argmax = argmax_row(row);
    }
    let partials = partials.from_col(first_col);
    let is_valid = |weight: f32| weight >= 0.0 && weight.is_finite();
    let uses_all = options.label_smoothing > 0.0;
    let mut used = (0..row.len()).filter(|&at| uses_all || target == Some(at));
    if used.all(|at| is_valid(weight(at))) { partials } else { partials.with_invalid_weight() }
}
