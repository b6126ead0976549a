//! Limits that the system sets to this process and to the browsers that it starts, which fail under them without naming them.

/// A limit under which browsers fail.
#[cfg(unix)]
struct Limit {
    resource: rustix::process::Resource,
    of: &'static str,
    /// What the shell calls it.
    set_by: &'static str,
    /// With as much it is no reason for anything.
    enough_bytes: u64,
}

#[cfg(unix)]
const LIMITS: &[Limit] = &[
    // Chromium 156 shows a page of ours from some 130 GB on: it reserves room for what may come.
    Limit {
        resource: rustix::process::Resource::As,
        of: "address space",
        set_by: "ulimit -v",
        enough_bytes: 256 << 30,
    },
    Limit { resource: rustix::process::Resource::Data, of: "data", set_by: "ulimit -d", enough_bytes: 16 << 30 },
    Limit { resource: rustix::process::Resource::Fsize, of: "a file", set_by: "ulimit -f", enough_bytes: 1 << 30 },
];

/// What to do about such limits.
const HINT: &str = "browsers reserve far more address space than they use, Chromium over 100 GB: start webnibble without the \
                    limit, as after `ulimit -v unlimited`, or have it raised by who sets it (a batch system, a container)";

/// The limits under which browsers may fail; `None` where there is none.
pub(crate) fn described() -> Option<String> {
    join(&found())
}

/// The limits of this process, as the end of a message about what they may have ended.
pub(crate) fn message_ending() -> String {
    described().map(|told| format!("; {told}")).unwrap_or_default()
}

/// What to do about them; `None` where there is none.
pub(crate) fn hint() -> Option<&'static str> {
    (!found().is_empty()).then_some(HINT)
}

/// Amounts in bytes, with what they limit and what sets them.
type LowLimits = Vec<(u64, &'static str, &'static str)>;

#[cfg(unix)]
fn found() -> LowLimits {
    let bytes = |limit: &Limit| rustix::process::getrlimit(limit.resource).current;
    let low = |limit: &Limit| bytes(limit).filter(|bytes| *bytes < limit.enough_bytes);
    LIMITS.iter().filter_map(|limit| Some((low(limit)?, limit.of, limit.set_by))).collect()
}

#[cfg(not(unix))]
fn found() -> LowLimits {
    Vec::new()
}

fn join(limits: &[(u64, &str, &str)]) -> Option<String> {
    let told = limits.iter().map(|(bytes, of, set_by)| format!("{:.1} GB for {of} ({set_by})", *bytes as f64 / 1e9));
    let told = told.collect::<Vec<_>>().join(" and ");
    (!told.is_empty()).then(|| format!("this process may take no more than {told}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_with_what_sets_them() {
        assert_eq!(join(&[]), None);
        let told = join(&[(4_096_000_000, "address space", "ulimit -v"), (500_000_000, "a file", "ulimit -f")]);
        let expected =
            "this process may take no more than 4.1 GB for address space (ulimit -v) and 0.5 GB for a file (ulimit -f)";
        assert_eq!(told.as_deref(), Some(expected));
    }
}
