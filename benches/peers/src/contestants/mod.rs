//! Those that are compared, one a file.

mod burn;
mod candle;
mod simd;
mod xent;

use crate::Result;
use crate::serve::serve as answer;

/// Answers as the contestant of this name.
pub fn serve(name: &str) -> Result<()> {
    match name {
        "xent" => answer(xent::OnDevice::open),
        "xent-host" => answer(xent::FromHost::open),
        "burn" => answer(burn::Burn::open),
        "candle" => answer(candle::Candle::open),
        "simd" => answer(simd::Simd::open),
        _ => Err(format!("no contestant '{name}'").into()),
    }
}

/// The version of a crate that was compiled in.
pub fn version(name: &str) -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let after = |text: &'static str, start: &str| text.split_once(start).map(|(_, rest)| rest);
    after(lock, &format!("name = \"{name}\"\n"))
        .and_then(|rest| after(rest, "version = \""))
        .and_then(|rest| rest.split_once('"'))
        .map_or("of an unknown version", |(version, _)| version)
}
