//! Text from a file, made safe for messages.

use crate::error::{self, escaped};

/// A shape as Python writes it.
pub(super) fn shape_text<T: ToString>(shape: &[T]) -> String {
    match shape {
        [only] => format!("({},)", only.to_string()),
        _ => format!("({})", shape.iter().map(T::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// A name from a file, in quotes, without characters that control a terminal.
#[cfg(any(feature = "npz", feature = "safetensors"))]
pub(super) fn quoted(name: &str) -> String {
    error::one_line(&format!("{name:?}"))
}

/// A parser's message on one line. It may span lines, and field names in it may have characters that control a
/// terminal.
pub(super) fn one_line(message: &impl ToString) -> String {
    let message = escaped(&message.to_string(), char::is_whitespace);
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A list on one line, shortened if it is long.
#[cfg(any(feature = "npz", feature = "safetensors"))]
pub(super) fn list<T: std::fmt::Display>(things: impl ExactSizeIterator<Item = T>) -> String {
    const SHOWN: usize = 8;
    let more = things.len().saturating_sub(SHOWN);
    let mut names: Vec<String> = things.take(SHOWN).map(|thing| thing.to_string()).collect();
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
