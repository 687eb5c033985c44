//! `xent adapters`: the adapters of this machine.

use serde_json::json;
use xent::{AdapterInfo, Context, Error, Result};

use crate::args::AdaptersArgs;
use crate::choose::is_cpu;
use crate::computer::choice;
use crate::limits::complain_if_tight;
use crate::outcome::Outcome;
use crate::output::{self, one_line};

pub fn run(args: &AdaptersArgs) -> Result<Outcome> {
    let is_tight = complain_if_tight();
    let choice = choice(&args.adapter);
    let adapters = pollster::block_on(choice.list());
    if args.json {
        let adapters: Vec<_> = adapters.iter().map(json).collect();
        output::print_json(&format!("{:#}\n", json!(adapters)))?;
    } else {
        output::print(&adapters.iter().map(text).collect::<Vec<_>>().join("\n"))?;
    }
    if is_cpu(args.adapter.name()) || adapters.iter().any(|adapter| adapter.chosen) {
        return Ok(Outcome::Done);
    }
    match Context::open(&choice).wait() {
        Err(error @ Error::NoAdapter { .. }) if args.adapter.name().is_none() => {
            output::complain(format!(
                "{error}\nUntil then all commands but bench and tune compute on the CPU."
            ));
            Ok(if is_tight { Outcome::TooTight } else { Outcome::Done })
        }
        opened => opened.map(|_| Outcome::Done),
    }
}

fn text(adapter: &AdapterInfo) -> String {
    let AdapterInfo { profile, chosen, .. } = adapter;
    let mut text = format!("{}{}\n", one_line(&profile.name), if *chosen { "  <- taken" } else { "" });
    let subgroups = match profile.subgroup_sizes {
        (least, most) if least == most => format!("{least}"),
        (least, most) => format!("{least} to {most}"),
    };
    for (name, value) in [
        ("kind", profile.kind.to_string()),
        ("backend", profile.backend.to_string()),
        ("driver", profile.driver.clone()),
        (
            "binding",
            format!(
                "{} at most, at multiples of {} bytes",
                binary(profile.max_binding_bytes),
                profile.offset_alignment
            ),
        ),
        ("buffer", format!("{} at most", binary(profile.max_buffer_bytes))),
        (
            "workgroup",
            format!(
                "{} invocations and {} at most, subgroups of {subgroups}",
                profile.max_invocations,
                binary(u64::from(profile.workgroup_memory))
            ),
        ),
    ] {
        text += &format!("  {name:<11}{}\n", one_line(&value));
    }
    text
}

fn json(adapter: &AdapterInfo) -> serde_json::Value {
    let AdapterInfo { profile, chosen, .. } = adapter;
    json!({
        "name": profile.name,
        "kind": profile.kind.to_string(),
        "backend": profile.backend.to_string(),
        "driver": profile.driver,
        "max_binding_bytes": profile.max_binding_bytes,
        "max_buffer_bytes": profile.max_buffer_bytes,
        "offset_alignment": profile.offset_alignment,
        "max_invocations": profile.max_invocations,
        "workgroup_memory": profile.workgroup_memory,
        "subgroup_sizes": [profile.subgroup_sizes.0, profile.subgroup_sizes.1],
        "taken": chosen,
    })
}

/// A limit in binary units, such as 128 MiB. Limits are often a power of two, or one byte less.
fn binary(bytes: u64) -> String {
    let (unit, name) = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
        .into_iter()
        .find(|&(unit, _)| bytes >= unit - 4)
        .unwrap_or((1, "bytes"));
    let scaled = bytes as f64 / unit as f64;
    if (scaled - scaled.round()).abs() < 1e-3 {
        format!("{scaled:.0} {name}")
    } else {
        format!("{scaled:.1} {name}")
    }
}
