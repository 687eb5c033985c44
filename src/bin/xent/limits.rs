//! The limits that a shell or a container has set for this process.

use std::sync::OnceLock;

use crate::memory;
use crate::output::complain;

/// A limit of `/proc/self/limits`, with the value below which drivers were seen to fail: Mesa's lavapipe needs 700 MB of
/// address space, and opens a dozen files.
struct Limit {
    name: &'static str,
    /// The option of `ulimit` that sets it.
    option: &'static str,
    enough: u64,
    shown: fn(u64) -> String,
}

const LIMITS: [Limit; 4] = [
    Limit {
        name: "Max address space",
        option: "-v",
        enough: 1 << 30,
        shown: |bytes| format!("{} of address space", memory::shown(bytes)),
    },
    Limit {
        name: "Max data size",
        option: "-d",
        enough: 1 << 30,
        shown: |bytes| format!("{} of data", memory::shown(bytes)),
    },
    Limit { name: "Max open files", option: "-n", enough: 16, shown: |files| format!("{files} open files") },
    Limit { name: "Max processes", option: "-u", enough: 16, shown: |threads| format!("{threads} threads") },
];

/// Warns, once, that drivers may fail if this process has tight limits. Returns whether it has. Drivers do not tell why
/// they are missing, and some crash, so the warning comes before the tool looks for one.
pub fn complain_if_tight() -> bool {
    static IS_TIGHT: OnceLock<bool> = OnceLock::new();
    let complain = || {
        let tight = tight();
        if let Some(tight) = &tight {
            complain(format!("a driver may fail or crash: this process is allowed only {tight}"));
        }
        tight.is_some()
    };
    *IS_TIGHT.get_or_init(complain)
}

fn tight() -> Option<String> {
    match std::fs::read_to_string("/proc/self/limits") {
        Ok(limits) => tight_of(&limits),
        // EMFILE and ENFILE; std has no error kind for them.
        Err(error) if cfg!(target_os = "linux") && matches!(error.raw_os_error(), Some(23 | 24)) => {
            Some(format!("the files that are already open (ulimit -n): {error}"))
        }
        Err(_) => None,
    }
}

fn tight_of(limits: &str) -> Option<String> {
    let words = LIMITS.iter().filter_map(|limit| {
        let allowed = soft_limit(limits, limit.name).filter(|&value| value < limit.enough)?;
        Some(format!("{} (ulimit {})", (limit.shown)(allowed), limit.option))
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// The soft limit of this name, if there is one.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let values = limits.lines().find_map(|line| line.strip_prefix(name))?;
    values.split_whitespace().next()?.parse().ok()
}

/// Whether the process's own stack is smaller than this.
pub fn has_less_stack(bytes: u64) -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    soft_limit(&limits, "Max stack size").is_some_and(|size| size < bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_lines_of_the_system() {
        let limits = "\
Limit                     Soft Limit           Hard Limit           Units     
Max data size             unlimited            unlimited            bytes     
Max processes             63432                63432                processes 
Max open files            7                    524288               files     
Max address space         204800000            unlimited            bytes     
";
        let expected = "195.3 MiB of address space (ulimit -v), 7 open files (ulimit -n)";
        assert_eq!(tight_of(limits).as_deref(), Some(expected));
        let enough = limits.replace(" 7  ", " 16 ").replace("204800000", "1073741824");
        assert_eq!(
            [tight_of(&enough), tight_of(""), tight_of("Max open files\nMax processes many")],
            [const { None }; 3]
        );
    }
}
