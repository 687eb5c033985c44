//! The inputs that a loss's passes read besides the logits, described once for the caller's buffers and for host
//! slices.

use std::borrow::Cow;

use crate::inputs::{RowInputs, mask_words};
use crate::kernel::passes::binding::{self, row_inputs};
use crate::kernel::passes::constant;
use crate::results::RowPartials;
use crate::shape::Shape;
use crate::targets::{Indices, narrowed};

/// Values of 4 bytes besides the logits: their name in messages, their number, and the passes that read them.
#[derive(Debug)]
pub(crate) struct Input {
    pub name: &'static str,
    pub count: Count,
    /// The binding in the pass that makes the row inputs.
    pub row_inputs: Option<u32>,
    /// The binding in the passes over the logits.
    pub sweep: Option<u32>,
    /// The constant that says whether the input is present.
    pub switch: Option<&'static str>,
}

/// How many values an input has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
    One,
    Rows,
    Cols,
    /// A fixed number for each row.
    Entries,
    /// The words of a row's partials.
    Partials,
    /// Two for each negative: for those that all rows share, and for those of each row.
    SharedNegatives,
    Negatives,
}

impl Count {
    pub fn of(self, shape: Shape, entries: usize) -> usize {
        match self {
            Self::One => 1,
            Self::Rows => shape.rows,
            Self::Cols => shape.cols,
            Self::Partials => shape.rows.saturating_mul(size_of::<RowPartials>() / 4),
            Self::Entries => shape.rows.saturating_mul(entries),
            Self::SharedNegatives => 2 * (shape.cols - 1),
            Self::Negatives => shape.rows.saturating_mul(2 * (shape.cols - 1)),
        }
    }
}

impl Input {
    /// Whether it is the statistics of the rows.
    pub fn is_partials(&self) -> bool {
        matches!(self.count, Count::Partials)
    }

    const fn new(name: &'static str, count: Count) -> Self {
        Self { name, count, row_inputs: None, sweep: None, switch: None }
    }
}

// The inputs of cross-entropy.
pub(crate) static CLASSES: Input =
    Input { row_inputs: Some(row_inputs::CLASSES), ..Input::new("targets", Count::Rows) };
pub(crate) static INDICES: Input = Input {
    row_inputs: Some(row_inputs::CLASSES),
    sweep: Some(binding::TARGETS),
    ..Input::new("targets: indices", Count::Entries)
};
pub(crate) static PROBS: Input =
    Input { sweep: Some(binding::TARGET_PROBS), ..Input::new("targets: probs", Count::Entries) };
/// Class weights of the targets' classes, which are part of the row's weight.
pub(crate) static TARGET_CLASS_WEIGHTS: Input =
    Input { row_inputs: Some(row_inputs::CLASS_WEIGHTS), ..CLASS_WEIGHTS };
/// What all shards of the rows together tell of them.
pub(crate) static PARTIALS: Input =
    Input { sweep: Some(binding::SEGMENTS), ..Input::new("partials", Count::Partials) };

// The inputs of sampled softmax.
pub(crate) static SHARED_NEGATIVES: Input = Input { count: Count::SharedNegatives, ..NEGATIVES };
pub(crate) static NEGATIVES: Input =
    Input { sweep: Some(binding::NEGATIVES), ..Input::new("negatives", Count::Negatives) };
pub(crate) static TARGET_LOG_COUNTS: Input =
    Input { sweep: Some(binding::TARGET_LOG_COUNTS), ..Input::new("target_log_counts", Count::Rows) };

// The inputs of the multi-label loss.
pub(crate) static CLASS_WEIGHTS: Input = Input {
    sweep: Some(binding::CLASS_WEIGHTS),
    switch: Some(constant::CLASS_WEIGHTS),
    ..Input::new("class_weights", Count::Cols)
};
pub(crate) static POS_WEIGHT: Input = Input {
    sweep: Some(binding::POS_WEIGHT),
    switch: Some(constant::POS_WEIGHT),
    ..Input::new("pos_weight", Count::Cols)
};

// The inputs of every loss.
pub(crate) static ROW_WEIGHTS: Input = Input {
    row_inputs: Some(row_inputs::ROW_WEIGHTS),
    switch: Some(constant::ROW_WEIGHTS),
    ..Input::new("row_weights", Count::Rows)
};
pub(crate) static ROW_MASK: Input = Input {
    row_inputs: Some(row_inputs::ROW_MASK),
    switch: Some(constant::ROW_MASK),
    ..Input::new("row_mask", Count::Rows)
};
pub(crate) static UPSTREAM: Input = Input {
    row_inputs: Some(row_inputs::UPSTREAM),
    switch: Some(constant::UPSTREAM),
    ..Input::new("upstream", Count::One)
};
pub(crate) static ROW_UPSTREAM: Input = Input {
    row_inputs: Some(row_inputs::ROW_UPSTREAM),
    switch: Some(constant::ROW_UPSTREAM),
    ..Input::new("row_upstream", Count::Rows)
};

/// The switches of all inputs. The switch of an absent input is off.
pub(crate) const SWITCHES: [&str; 6] = [
    constant::CLASS_WEIGHTS,
    constant::POS_WEIGHT,
    constant::ROW_WEIGHTS,
    constant::ROW_MASK,
    constant::UPSTREAM,
    constant::ROW_UPSTREAM,
];

/// The inputs of a host call besides the logits.
pub(crate) struct HostInputs<'a, E> {
    /// An array with the logits' layout: targets of every class, or a teacher's logits.
    pub second: Option<Second<'a, E>>,
    pub values: Vec<HostInput<'a>>,
}

/// An input, and its values as the device reads them.
pub(crate) type HostInput<'a> = (&'static Input, Cow<'a, [u32]>);

/// Values with the logits' layout.
pub(crate) enum Second<'a, E> {
    F32(&'a [f32]),
    Logits(&'a [E]),
}

/// An input in a host slice of 4-byte values.
pub(crate) fn host<'a, T: bytemuck::Pod>(input: &'static Input, values: &'a [T]) -> HostInput<'a> {
    (input, Cow::Borrowed(bytemuck::cast_slice(values)))
}

/// Class indices, of i32 or narrowed to it.
pub(crate) fn host_classes(classes: Indices<'_>) -> HostInput<'_> {
    match classes {
        Indices::I32(classes) => host(&CLASSES, classes),
        Indices::I64(classes) => (&CLASSES, classes.iter().map(|&class| narrowed(class) as u32).collect()),
    }
}

/// Like `host`, for an optional input.
pub(crate) fn host_if<'a>(input: &'static Input, values: Option<&'a [f32]>) -> Option<HostInput<'a>> {
    values.map(|values| host(input, values))
}

/// The per-row inputs. The upstream gradient of the whole batch is a parameter instead.
pub(crate) fn host_rows<'a>(rows: &RowInputs<'a>) -> impl Iterator<Item = HostInput<'a>> + use<'a> {
    let mask = rows.row_mask.map(|mask| (&ROW_MASK, Cow::Owned(mask_words(mask))));
    let weights = host_if(&ROW_WEIGHTS, rows.row_weights);
    weights.into_iter().chain(mask).chain(host_if(&ROW_UPSTREAM, rows.row_upstream))
}
