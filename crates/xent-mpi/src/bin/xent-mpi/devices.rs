//! Which adapter each rank of a host takes.

use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;
use xent::{AdapterChoice, AdapterInfo, AdapterKind};

/// Whether the processor is named.
pub fn is_cpu(named: Option<&str>) -> bool {
    named.is_some_and(|name| name.eq_ignore_ascii_case("cpu"))
}

/// The adapter that this rank takes, as `xent eval --adapter` names it; `None` leaves the choice to the tool. Where a host has
/// several adapters like the one that would be taken, its ranks take them by turns; where it has one, they share it. Unless an
/// adapter was named, software adapters are not shared out.
pub fn adapter(world: &SimpleCommunicator, named: Option<&str>) -> Option<String> {
    let host = world.split_shared(world.rank());
    let named_one = named.map(str::to_owned);
    // A number is a choice of the user.
    if host.size() < 2 || is_cpu(named) || named.is_some_and(|name| name.contains('#')) {
        return named_one;
    }
    let choice = named.map(AdapterChoice::parse).unwrap_or_default();
    let found: Vec<Found> = pollster::block_on(choice.list()).iter().map(Found::of).collect();
    by_turns(&found, named.is_some(), host.rank() as usize).or(named_one)
}

/// An adapter.
#[derive(Clone, PartialEq)]
struct Found {
    name: String,
    /// What makes it another one than its namesakes, such as the same adapter by another API.
    by: String,
    is_software: bool,
    is_taken: bool,
}

impl Found {
    fn of(info: &AdapterInfo) -> Self {
        let AdapterInfo { profile, chosen, .. } = info;
        Self {
            name: profile.name.clone(),
            by: format!("{} {}", profile.backend, profile.driver),
            is_software: profile.kind == AdapterKind::Software,
            is_taken: *chosen,
        }
    }
}

/// One of the adapters like the one that would be taken, by the number of the rank on its host.
fn by_turns(found: &[Found], is_named: bool, local: usize) -> Option<String> {
    let taken = found.iter().find(|adapter| adapter.is_taken)?;
    if taken.is_software && !is_named {
        return None;
    }
    // The tool counts whatever has this name, in upper or lower case.
    let of_name = |adapter: &&Found| adapter.name.to_lowercase().contains(&taken.name.to_lowercase());
    let of_name = found.iter().filter(of_name).enumerate();
    let like = of_name.filter(|(_, adapter)| (&adapter.name, &adapter.by) == (&taken.name, &taken.by));
    let places: Vec<usize> = like.map(|(place, _)| place).collect();
    (places.len() > 1).then(|| format!("{}#{}", taken.name, places[local % places.len()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_adapters_are_taken_by_turns() {
        let adapter = |name: &str, by: &str, is_software, is_taken| Found {
            name: name.to_owned(),
            by: by.to_owned(),
            is_software,
            is_taken,
        };
        let take = |all: &[Found], is_named, ranks: usize| {
            (0..ranks).map(|local| by_turns(all, is_named, local)).collect::<Vec<_>>()
        };
        let some = |name: &str| Some(name.to_owned());
        let [first, second] = [true, false].map(|taken| adapter("H200", "vulkan 1", false, taken));
        let other = adapter("Radeon", "vulkan 1", false, false);
        let gl = adapter("H200", "gl 1", false, false);
        let all = [first.clone(), gl, other.clone(), second];
        assert_eq!(take(&all, false, 3), [some("H200#0"), some("H200#2"), some("H200#0")]);
        assert_eq!(take(&[first, other], false, 2), [None, None]);
        let software = [true, false].map(|taken| adapter("llvmpipe", "vulkan 1", true, taken));
        assert_eq!(take(&software, false, 2), [None, None]);
        assert_eq!(take(&software, true, 2), [some("llvmpipe#0"), some("llvmpipe#1")]);
        assert_eq!(take(&[], false, 1), [None]);
    }
}
