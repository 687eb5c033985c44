//! The contestants, one per file.

mod burn;
mod burn_0_20;
mod candle;
mod processor;
mod simd;
mod xent;

use crate::error::Result;
use crate::serve::serve as answer;

/// Answers as the contestant of this name.
pub fn serve(name: &str) -> Result<()> {
    match name {
        "xent" => answer(xent::OnDevice::open),
        "xent-host" => answer(xent::FromHost::open),
        "xent-cpu" => answer(processor::OnProcessor::open),
        "burn" => answer(burn::Burn::open),
        "burn-0.20" => answer(burn_0_20::Burn::open),
        "burn-0.20-unfused" => answer(burn_0_20::Burn::open_unfused),
        "candle" => answer(candle::Candle::open),
        "simd" => answer(simd::Simd::open),
        _ => Err(format!("no contestant '{name}'").into()),
    }
}
