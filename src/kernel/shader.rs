//! The composed WGSL, for readers and for programs that embed it.

use std::fmt::Write;

use crate::element::Element;
use crate::kernel::passes::{Load, Output, Pass, Target, Variant, modules};

/// One WGSL module as the operations compose it: a pass, for one type of logits, kind of target and way to load and write
/// them. [`shaders`] gives all of them.
///
/// The source is complete. It begins with a comment that says what the module computes, for what data, its bindings and
/// its override constants. A module has one entry point; all its bindings are in group 0. Binding 0 is the uniform
/// `Params`, whose fields the source explains. No override has a default: set each of them when you make a pipeline.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Shader {
    /// A name that no other module has, of lower-case letters, digits, `_` and `-`: `row_losses-f32-class`.
    pub name: String,
    /// The entry point, which is the pass's name.
    pub entry_point: &'static str,
    /// What the pass computes: a sentence.
    pub about: String,
    /// The override constants.
    pub overrides: Vec<&'static str>,
    /// Whether it loads words of 64 bits. wgpu compiles such a module on devices with
    /// [`SHADER_INT64`](wgpu::Features::SHADER_INT64); the WGSL of browsers has no such type.
    pub needs_int64: bool,
    /// The source.
    pub source: String,
}

/// Every WGSL module that an operation may use, in an order that does not change between calls. The tool writes them to
/// files: `xent shaders --export DIR`.
///
/// ```
/// let shaders = xent::shaders();
/// let loss = shaders.iter().find(|shader| shader.name == "row_losses-f32-class").expect("listed");
/// assert_eq!(loss.entry_point, "row_losses");
/// assert!(loss.source.contains("fn row_losses("));
/// ```
pub fn shaders() -> Vec<Shader> {
    modules().into_iter().map(|(pass, variant)| Shader::of(pass, variant)).collect()
}

impl Shader {
    fn of(pass: &'static Pass, variant: Variant) -> Self {
        let (name, about) = (name(pass, variant), pass.about(variant));
        let overrides = pass.overrides(variant);
        let needs_int64 = pass.loads_by(variant) == Some(Load::Words64);
        let source = pass.source(variant);
        let source = format!("{}\n{source}", head(&name, &about, pass, variant, &source));
        Self { name, entry_point: pass.name, about, overrides, needs_int64, source }
    }
}

/// The pass's name, and what distinguishes the variant from the pass's others.
fn name(pass: &Pass, variant: Variant) -> String {
    let score = pass.score.name();
    let element = pass.reads_elements().then_some(variant.element);
    let target = match variant.target {
        Target::None => None,
        Target::Class => Some("class"),
        Target::Soft => Some("soft"),
        Target::Sparse => Some("sparse"),
    };
    let output = match variant.output {
        Output::Element => None,
        Output::F32 => Some("to_f32"),
        Output::InPlace => Some("in_place"),
    };
    let merged = variant.merged.then_some("merged");
    let readouts = variant.reads_out.then_some("readouts");
    let load = (pass.loads_by(variant) == Some(Load::Words64)).then_some("int64");
    let store = (pass.writes() && !variant.second_view).then_some("words");
    let weights = (variant.weighted && pass.takes_weights()).then_some("weights");
    let unpacked = unpacks(pass, variant).then_some("unpacked");
    let parts =
        [Some(pass.name), score, element, target, output, merged, readouts, weights, unpacked, load, store];
    parts.into_iter().flatten().collect::<Vec<_>>().join("-")
}

/// Whether it widens f16 by an instruction.
fn unpacks(pass: &Pass, variant: Variant) -> bool {
    pass.reads_elements() && variant.element == half::f16::NAME && variant.trusts_floats
}

/// The comment before a module.
fn head(name: &str, about: &str, pass: &Pass, variant: Variant, source: &str) -> String {
    let mut head = format!("// xent {}: {name}\n// {about}\n//\n", env!("CARGO_PKG_VERSION"));
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(head, "// {key:<11}{value}");
    };
    if pass.reads_elements() {
        let load = match pass.loads_by(variant) {
            Some(Load::Words64) => ", loaded 8 values at a time in words of 64 bits",
            Some(Load::Words32) => ", loaded 16 bytes at a time",
            None => ", loaded 4 values at a time",
        };
        let widened = if unpacks(pass, variant) { ", widened by unpack2x16float" } else { "" };
        line("logits", &format!("{}{load}{widened}", variant.element));
    }
    match variant.target {
        Target::None => {}
        Target::Class => line("targets", "a class for each row"),
        Target::Soft => line("targets", "a probability for each class"),
        Target::Sparse => line("targets", "a few classes of each row, with probabilities"),
    }
    if pass.writes() {
        let to = match variant.output {
            Output::Element => variant.element,
            Output::F32 => "f32",
            Output::InPlace => "written over the logits",
        };
        let by = if variant.second_view { "several words" } else { "one word" };
        line("output", &format!("{to}, {by} at a time"));
    }
    if pass.has_segments() {
        let rows = if variant.merged {
            "split over workgroups: their statistics come from their segments"
        } else {
            "each read by one workgroup"
        };
        line("rows", rows);
    }
    if variant.weighted && pass.takes_weights() {
        line("weights", "of classes");
    }
    if variant.reads_out {
        line("readouts", "the sweep also sums what readouts of a row need");
    }
    line("entry", pass.name);
    line("bindings", "all in group 0");
    for declared in declarations(source, "@group(0) @binding(") {
        line("", &declared.replacen(") var", " ", 1));
    }
    let overrides = if pass.overrides(variant).is_empty() { "none" } else { "none has a default" };
    line("overrides", overrides);
    for declared in declarations(source, "override ") {
        line("", &declared);
    }
    head
}

/// The declarations of a module that begin in this way, without that beginning and the semicolon, each with the comment
/// behind it.
fn declarations<'a>(source: &'a str, begin: &'a str) -> impl Iterator<Item = String> + 'a {
    source.lines().filter_map(move |line| {
        let (declared, comment) = line.strip_prefix(begin)?.split_once(';')?;
        let comment = comment.trim().trim_start_matches('/').trim();
        Some(if comment.is_empty() { declared.to_owned() } else { format!("{declared} // {comment}") })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_module_has_its_name_and_says_what_it_is() {
        let shaders = shaders();
        let names: HashSet<&str> = shaders.iter().map(|shader| &*shader.name).collect();
        assert_eq!(names.len(), shaders.len(), "each name once");
        for Shader { name, entry_point, about, .. } in &shaders {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
            assert!(name.chars().all(is_plain) && name.starts_with(entry_point), "{name}");
            assert!(about.len() > 20 && about.ends_with(|c: char| ".)".contains(c)), "{name}: {about}");
        }
        for name in ["row_inputs", "softmax-masked-bf16-words", "dlogits-f16-soft-in_place-int64"] {
            assert!(names.contains(name), "{name} is missing");
        }
    }

    /// The comment lists what the source declares, and the source is one that compiles.
    #[test]
    fn the_comment_is_the_modules() {
        for (pass, variant) in modules() {
            let shader = Shader::of(pass, variant);
            let (head, body) = shader.source.split_once("\n\n").expect("a comment, then the files");
            assert_eq!(body, pass.source(variant));
            assert!(head.lines().all(|line| line.starts_with("//")), "{head}");
            let listed = |begin: fn(&str) -> bool| {
                let lines = head.lines().filter_map(|line| line.strip_prefix("//            "));
                lines.filter(|line| begin(line)).count()
            };
            let bindings = listed(|line| line.starts_with(|c: char| c.is_ascii_digit()));
            assert_eq!(bindings, 1 + pass.bindings(variant).len(), "{head}");
            let overrides = listed(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
            assert_eq!(overrides, shader.overrides.len(), "{head}");
            let uses_int64 = body.contains("u64");
            assert!(shader.needs_int64 || !uses_int64, "{}", shader.name);
        }
    }
}
