//! Which adapter each rank of a host takes.

use std::path::Path;

use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

use crate::Failure;
use crate::children;

/// The number of this rank among those of its host, and how many these are.
pub fn local(world: &SimpleCommunicator) -> (usize, usize) {
    let host = world.split_shared(world.rank());
    (host.rank() as usize, host.size() as usize)
}

/// The adapter that this rank takes, as `xent eval --adapter` names it; `None` leaves the choice to the tool. Where a host has
/// several adapters like the one that the tool takes, its ranks take them by turns; where it has one, they share it.
pub fn adapter(
    tool: &Path,
    named: Option<&str>,
    (local, locals): (usize, usize),
) -> Result<Option<String>, Failure> {
    let named_one = named.map(str::to_owned);
    if locals < 2 || named.is_some_and(|name| name.eq_ignore_ascii_case("cpu") || name.contains('#')) {
        return Ok(named_one);
    }
    let mut command = children::command(tool, ["adapters", "--json"])?;
    command.env_remove("XENT_ADAPTER");
    if let Some(name) = named {
        command.args(["--adapter", name]);
    }
    // The tool may end with an error where there is no adapter, and then computes on the processor.
    let found = serde_json::from_slice(&command.output()?.stdout).unwrap_or_default();
    Ok(by_turns(&found, named.is_some(), local).or(named_one))
}

/// One of the adapters like the one that is taken, by the number of the rank. Unless an adapter was named, only hardware.
fn by_turns(found: &serde_json::Value, is_named: bool, local: usize) -> Option<String> {
    let all = found.as_array()?;
    let taken = all.iter().find(|adapter| adapter["taken"] == true)?;
    if !is_named && taken["kind"] == "software" {
        return None;
    }
    let is_like = |adapter: &&serde_json::Value| {
        ["name", "backend", "driver"].iter().all(|key| adapter[key] == taken[key])
    };
    let like = all.iter().filter(is_like).count();
    // Those of the name are counted, whatever their driver: the number is one among them.
    let name = taken["name"].as_str()?;
    let of_the_name = all.iter().filter(|adapter| adapter["name"].as_str().is_some_and(|n| n.contains(name)));
    let places: Vec<usize> =
        of_the_name.enumerate().filter(|(_, adapter)| is_like(adapter)).map(|(place, _)| place).collect();
    (like > 1).then(|| format!("{name}#{}", places[local % like]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn alike_adapters_are_taken_by_turns() {
        let adapter = |name: &str, kind: &str, backend: &str, taken: bool| json!({"name": name, "kind": kind, "backend": backend, "driver": "1", "taken": taken});
        let take = |all: &[serde_json::Value], named, ranks: usize| {
            (0..ranks).map(|local| by_turns(&json!(all), named, local)).collect::<Vec<_>>()
        };
        let some = |name: &str| Some(name.to_owned());
        let [first, second] = [true, false].map(|taken| adapter("H200", "discrete", "vulkan", taken));
        let other = adapter("Radeon", "integrated", "vulkan", false);
        let gl = adapter("H200", "discrete", "gl", false);
        let all = [first.clone(), gl, other.clone(), second];
        assert_eq!(take(&all, false, 3), [some("H200#0"), some("H200#2"), some("H200#0")]);
        assert_eq!(take(&[first, other], false, 2), [None, None]);
        let software = [true, false].map(|taken| adapter("llvmpipe", "software", "vulkan", taken));
        assert_eq!(take(&software, false, 2), [None, None]);
        assert_eq!(take(&software, true, 2), [some("llvmpipe#0"), some("llvmpipe#1")]);
        assert_eq!(take(&[], false, 1), [None]);
    }
}
