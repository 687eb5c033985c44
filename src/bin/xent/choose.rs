//! Which computer a run takes, and why.

use xent::AdapterKind;

/// The most logits of a small input. An `eval` of 2,000 × 5 takes 4 ms on the processor path and 118 ms on lavapipe (Mesa 22.3.6),
/// nearly all to start it and to make pipelines; 51 million logits take 38 ms (AVX2, two cores). What a hardware adapter's driver
/// takes has not been measured.
pub const SMALL: usize = 1 << 20;

/// What a run asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The logits to be read.
    pub logits: usize,
    /// What the processor path does not have of it, in words; `None` if it has everything.
    pub missing: Option<String>,
}

/// The computers to choose from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Taken {
    /// The adapter that was named, or the best one.
    Adapter,
    /// The processor path.
    Processor,
    /// The f64 reference.
    Reference,
}

/// Why `xent demo` takes whatever adapter there is: its purpose is to run the shaders.
pub const FOUND: &str = "an adapter was found";

/// The name that takes the processor instead of an adapter.
const CPU: &str = "cpu";

/// Whether the processor is named.
pub fn is_cpu(named: Option<&str>) -> bool {
    named.is_some_and(|name| name.eq_ignore_ascii_case(CPU))
}

/// Chooses a computer: what was named; for small inputs the processor path; a hardware adapter; the processor path; a
/// software adapter; the reference. The processor path is left out if it lacks something. `look` gives the kind of the best
/// adapter, and is called only if the answer depends on it, because looking starts drivers.
pub fn choose(
    named: Option<&str>,
    asked: &Asked,
    look: impl FnOnce() -> Option<AdapterKind>,
) -> (Taken, String) {
    let but = |reason: &str| match &asked.missing {
        Some(missing) => format!("{reason}, and the processor path has no {missing}"),
        None => reason.to_owned(),
    };
    let processor = |otherwise| if asked.missing.is_none() { Taken::Processor } else { otherwise };
    match named {
        Some(_) if is_cpu(named) => return (processor(Taken::Reference), but("named")),
        Some(_) => return (Taken::Adapter, "named".to_owned()),
        None if asked.missing.is_none() && asked.logits <= SMALL => {
            return (Taken::Processor, "a small input".to_owned());
        }
        None => {}
    }
    match look() {
        None => (processor(Taken::Reference), but("no adapter")),
        Some(AdapterKind::Software) => (processor(Taken::Adapter), but("no hardware adapter")),
        Some(_) => (Taken::Adapter, "hardware".to_owned()),
    }
}

/// A computer's name for a report in text, with the reason unless that is the usual one.
pub fn with_reason(name: &str, why: &str) -> String {
    match why {
        "named" | "hardware" | FOUND => name.to_owned(),
        why => format!("{name} ({why})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order() {
        use AdapterKind::{Discrete, Integrated, Other, Software, Virtual};
        use Taken::{Adapter, Processor, Reference};
        const HAS: Option<&str> = None;
        const LACKS: Option<&str> = Some("softcap");
        // `None` beside the kinds: nobody looks.
        for (named, missing, logits, found, taken, why) in [
            (Some("nvidia"), HAS, 1, None, Adapter, "named"),
            (Some("nvidia"), LACKS, usize::MAX, None, Adapter, "named"),
            (Some("cpu"), HAS, usize::MAX, None, Processor, "named"),
            (Some("CPU"), LACKS, 1, None, Reference, "named, and the processor path has no softcap"),
            (Some("cpu 0"), HAS, 1, None, Adapter, "named"),
            (None, HAS, 0, None, Processor, "a small input"),
            (None, HAS, SMALL, None, Processor, "a small input"),
            (None, HAS, SMALL + 1, Some(Some(Discrete)), Adapter, "hardware"),
            (None, HAS, SMALL + 1, Some(Some(Integrated)), Adapter, "hardware"),
            (None, HAS, SMALL + 1, Some(Some(Virtual)), Adapter, "hardware"),
            (None, HAS, SMALL + 1, Some(Some(Other)), Adapter, "hardware"),
            (None, HAS, SMALL + 1, Some(Some(Software)), Processor, "no hardware adapter"),
            (None, HAS, SMALL + 1, Some(None), Processor, "no adapter"),
            (None, LACKS, 1, Some(Some(Discrete)), Adapter, "hardware"),
            (
                None,
                LACKS,
                1,
                Some(Some(Software)),
                Adapter,
                "no hardware adapter, and the processor path has no softcap",
            ),
            (None, LACKS, 1, Some(None), Reference, "no adapter, and the processor path has no softcap"),
        ] {
            let asked = Asked { logits, missing: missing.map(str::to_owned) };
            let found = choose(named, &asked, || found.expect("nobody looks"));
            assert_eq!(found, (taken, why.to_owned()), "{named:?}, {asked:?}");
        }
    }
}
