//! The machine and the build, for the record.

use webnibble_common::record::HostInfo;

/// What is known of this machine.
pub fn info() -> HostInfo {
    HostInfo {
        os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cpu: std::fs::read_to_string("/proc/cpuinfo").ok().as_deref().and_then(cpu_name),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// The version, with the revision that it was built from where that is known.
pub fn revision(revision: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if revision.is_empty() { version.into() } else { format!("{version} ({revision})") }
}

/// The processor's name in `/proc/cpuinfo`.
fn cpu_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_where_the_system_tells() {
        assert_eq!(cpu_name("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n"), Some("Some CPU @ 2 GHz".into()));
        assert_eq!(cpu_name("processor\t: 0\n"), None);
    }

    #[test]
    fn the_revision_follows_the_version() {
        assert_eq!(revision("abc"), format!("{} (abc)", env!("CARGO_PKG_VERSION")));
        assert_eq!(revision(""), env!("CARGO_PKG_VERSION"));
    }
}
