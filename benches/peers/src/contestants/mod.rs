//! Those that are compared, one a file.

mod burn;
mod burn_0_20;
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
        "burn-0.20" => answer(burn_0_20::Burn::open),
        "burn-0.20-unfused" => answer(burn_0_20::Burn::open_unfused),
        "candle" => answer(candle::Candle::open),
        "simd" => answer(simd::Simd::open),
        _ => Err(format!("no contestant '{name}'").into()),
    }
}

/// The version of a crate that was compiled in: of those that begin so, the first.
pub fn version(name: &str, start: &str) -> &'static str {
    let lock: &'static str = include_str!("../../Cargo.lock");
    let head = format!("name = \"{name}\"\nversion = \"{start}");
    let found = lock.find(&head).and_then(|at| lock[at + head.len() - start.len()..].split_once('"'));
    found.map_or("of an unknown version", |(version, _)| version)
}
