//! Every module that an operation may use: each pass, in each variant that a plan can choose.

use std::collections::HashSet;

use crate::element::Element;
use crate::kernel::passes::*;

/// Loads, whether a written buffer is bound twice, and whether floats are trusted, as devices have them: in a browser;
/// elsewhere, without and with 64-bit integers.
const DEVICES: [(Load, bool, bool); 5] = [
    (Load::Words32, false, false),
    (Load::Words32, true, false),
    (Load::Words32, true, true),
    (Load::Words64, true, false),
    (Load::Words64, true, true),
];

/// Every distinct module, by pass and variant.
pub(in crate::kernel) fn modules() -> Vec<(&'static Pass, Variant)> {
    let mut modules = Vec::new();
    let mut seen = HashSet::new();
    for (pass, targets) in ALL {
        for &target in targets {
            for element in [f32::NAME, half::f16::NAME, half::bf16::NAME, CODES] {
                for output in [Output::Element, Output::F32, Output::InPlace] {
                    for variant in of_devices(pass, (element, output, target)) {
                        let files: Vec<&str> = pass.files(variant).map(|file| file.path).collect();
                        if seen.insert((pass.id(), files)) {
                            modules.push((pass, variant));
                        }
                    }
                }
            }
        }
    }
    modules
}

/// The variants of a pass for every device, for rows that are split or not, with and without readouts, with and without
/// weights.
fn of_devices(
    pass: &'static Pass,
    (element, output, target): (&'static str, Output, Target),
) -> impl Iterator<Item = Variant> {
    // Only a pass that writes a value for each logit can overwrite the logits.
    let writes = output == Output::Element || pass.writes();
    // Codes have no soft targets beside them, and values go to f32.
    let is_coded = element == CODES;
    let takes =
        !is_coded || (pass.takes_codes && target != Target::Soft && (output == Output::F32) == pass.writes());
    // Only split rows have segments: never rows with sparse targets, and never in place. Shards of rows with a class as their target
    // have their statistics from the call.
    let is_shard = target == Target::Class && !is_coded;
    let splits =
        pass.segments.is_some() && target != Target::Sparse && (output != Output::InPlace || is_shard);
    let settings = (0..8).map(|bits| [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0]);
    settings.filter(move |&[merged, ..]| writes && takes && (splits || !merged)).flat_map(
        move |[merged, reads_out, weighted]| {
            DEVICES.map(|(load, second_view, trusts_floats)| {
                pass.fitted(Variant {
                    element,
                    output,
                    target,
                    load,
                    merged,
                    reads_out,
                    second_view,
                    trusts_floats,
                    weighted,
                })
            })
        },
    )
}
