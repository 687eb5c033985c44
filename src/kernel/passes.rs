//! The passes: which files of `shaders/` make a module, and what each binding is. One table, no GPU needed to check it.

/// How a storage buffer is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}
use Access::{Read, Write};

/// A pass: its name is that of its file, its entry point, its label and its CPU twin.
pub(crate) struct Pass {
    pub name: &'static str,
    /// The module's source for each element type, by the type's name; for passes that read no logit, the same source.
    sources: fn(element: &str) -> &'static str,
    /// The storage bindings beside the `Params` at binding 0.
    pub bindings: &'static [(u32, Access)],
    /// The override constants that the module has.
    pub overrides: &'static [&'static str],
}

impl Pass {
    pub fn source(&self, element: &str) -> &'static str {
        (self.sources)(element)
    }

    /// The pass's label on every object made for it.
    pub fn label(&self) -> String {
        format!("xent::{}", self.name)
    }
}

/// Puts files of `shaders/` one behind the other.
macro_rules! compose {
    ($($file:literal),+ $(,)?) => {
        concat!($(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $file)), "\n"),+)
    };
}

/// A module over logits: the prelude of the element type (f32 is the only one so far), then how rows are read, then
/// the files named.
macro_rules! over_logits {
    ($($file:literal),+ $(,)?) => {
        |_element| {
            compose!(
                "common/params.wgsl",
                "element/f32.wgsl",
                "common/row_span.wgsl",
                "common/order_key.wgsl",
                "common/row_stats.wgsl",
                "common/sweep_stats.wgsl",
                $($file),+
            )
        }
    };
}

/// A module over rows, which reads no logit.
macro_rules! over_rows {
    ($($file:literal),+ $(,)?) => {
        |_| compose!("common/params.wgsl", "common/totals.wgsl", $($file),+)
    };
}

pub(crate) const LANES: &str = "LANES";
pub(crate) const MASKED_ROW_ZERO: &str = "MASKED_ROW_ZERO";
pub(crate) const TRACK_ARGMAX: &str = "TRACK_ARGMAX";
pub(crate) const WRITE_ROW_LOSSES: &str = "WRITE_ROW_LOSSES";
pub(crate) const WRITE_LSE: &str = "WRITE_LSE";
pub(crate) const WRITE_ARGMAX: &str = "WRITE_ARGMAX";

const ROW_OVERRIDES: &[&str] = &[LANES, MASKED_ROW_ZERO, TRACK_ARGMAX];

/// The two views of the logits that every module over logits has.
pub(crate) const LOGITS: u32 = 1;
pub(crate) const LOGIT_QUADS: u32 = 2;
/// Where passes with a value for each logit write it.
pub(crate) const OUTPUT: u32 = 3;

pub(crate) static SOFTMAX: Pass = Pass {
    name: "softmax",
    sources: over_logits!("common/sweep_output.wgsl", "softmax.wgsl"),
    bindings: &[(LOGITS, Read), (LOGIT_QUADS, Read), (OUTPUT, Write)],
    overrides: ROW_OVERRIDES,
};

pub(crate) static LOG_SOFTMAX: Pass = Pass {
    name: "log_softmax",
    sources: over_logits!("common/sweep_output.wgsl", "log_softmax.wgsl"),
    bindings: &[(LOGITS, Read), (LOGIT_QUADS, Read), (OUTPUT, Write)],
    overrides: ROW_OVERRIDES,
};

pub(crate) static LOGSUMEXP: Pass = Pass {
    name: "logsumexp",
    sources: over_logits!("logsumexp.wgsl"),
    bindings: &[(LOGITS, Read), (LOGIT_QUADS, Read), (4, Write)],
    overrides: ROW_OVERRIDES,
};

pub(crate) static ARGMAX: Pass = Pass {
    name: "argmax",
    sources: over_logits!("argmax.wgsl"),
    bindings: &[(LOGITS, Read), (LOGIT_QUADS, Read), (4, Write)],
    overrides: ROW_OVERRIDES,
};

pub(crate) static ROW_INPUTS: Pass = Pass {
    name: "row_inputs",
    sources: over_rows!("common/row_input.wgsl", "row_inputs.wgsl"),
    bindings: &[(4, Read), (5, Write), (6, Write)],
    overrides: &[],
};

pub(crate) static MERGE_TOTALS: Pass = Pass {
    name: "merge_totals",
    sources: over_rows!("common/sweep_blocks.wgsl", "merge_totals.wgsl"),
    bindings: &[(4, Read), (5, Write)],
    overrides: &[],
};

pub(crate) static ROW_LOSSES: Pass = Pass {
    name: "row_losses",
    sources: over_logits!(
        "common/row_input.wgsl",
        "target/class.wgsl",
        "common/row_result.wgsl",
        "row_losses.wgsl"
    ),
    bindings: &[(LOGITS, Read), (LOGIT_QUADS, Read), (4, Read), (5, Write)],
    overrides: ROW_OVERRIDES,
};

pub(crate) static DLOGITS: Pass = Pass {
    name: "dlogits",
    sources: over_logits!(
        "common/row_input.wgsl",
        "target/class.wgsl",
        "common/row_result.wgsl",
        "common/totals.wgsl",
        "common/sweep_output.wgsl",
        "dlogits.wgsl"
    ),
    bindings: &[(LOGITS, Read), (LOGIT_QUADS, Read), (OUTPUT, Write), (4, Read), (5, Write), (6, Read)],
    overrides: ROW_OVERRIDES,
};

pub(crate) static REDUCE_LOSS: Pass = Pass {
    name: "reduce_loss",
    sources: over_rows!("reduce_loss.wgsl"),
    bindings: &[(4, Read), (5, Write), (6, Write), (7, Write), (8, Write)],
    overrides: &[WRITE_ROW_LOSSES, WRITE_LSE, WRITE_ARGMAX],
};

pub(crate) static FINISH_LOSS: Pass = Pass {
    name: "finish_loss",
    sources: over_rows!("common/sweep_blocks.wgsl", "finish_loss.wgsl"),
    bindings: &[(4, Read), (5, Read), (6, Write)],
    overrides: &[],
};

/// Every pass there is.
#[cfg(test)]
pub(crate) static ALL: [&Pass; 10] = [
    &SOFTMAX,
    &LOG_SOFTMAX,
    &LOGSUMEXP,
    &ARGMAX,
    &ROW_INPUTS,
    &MERGE_TOTALS,
    &ROW_LOSSES,
    &DLOGITS,
    &REDUCE_LOSS,
    &FINISH_LOSS,
];
