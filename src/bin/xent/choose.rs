//! Which computer a run takes, and why.

use xent::AdapterKind;

/// The most logits of a small input. Two cores take a quarter of a millisecond for so many; starting a driver and making
/// one pipeline takes more than 100 milliseconds (lavapipe).
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
pub const CPU: &str = "cpu";

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
        Some(name) if name.eq_ignore_ascii_case(CPU) => return (processor(Taken::Reference), but("named")),
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
