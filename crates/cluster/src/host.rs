//! Facts about this machine.

/// The bit of CAP_SYS_RESOURCE in a capability set, from `linux/capability.h`.
const CAP_SYS_RESOURCE: u64 = 1 << 24;

/// What the machine is and what we may do on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `debian 12`, `ubuntu 24.04`, `fedora 42`, …; empty when unknown.
    pub system: String,
    /// Whether packages are installed by apt.
    pub has_apt: bool,
    /// Whether we are root.
    pub is_root: bool,
    /// Whether systemd manages the services.
    pub has_systemd: bool,
    /// Whether privileged containers can have every capability that they ask for.
    pub has_sys_resource: bool,
    /// Free memory, in MiB.
    pub memory_free_mib: u64,
}

impl Host {
    /// Reads the facts from where Linux keeps them.
    #[must_use]
    pub fn read() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let release = read("/etc/os-release");
        let status = read("/proc/self/status");
        Self {
            system: format!("{} {}", value_of(&release, "ID="), value_of(&release, "VERSION_ID=")),
            has_apt: process::find("apt-get").is_some(),
            is_root: rustix::process::geteuid().is_root(),
            has_systemd: std::path::Path::new("/run/systemd/system").is_dir(),
            has_sys_resource: bounding_set(&status) & CAP_SYS_RESOURCE != 0,
            memory_free_mib: memory_free_mib(&read("/proc/meminfo")),
        }
    }
}

fn value_of<'a>(release: &'a str, key: &str) -> &'a str {
    let value = release.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    value.trim_matches('"')
}

fn bounding_set(status: &str) -> u64 {
    let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or_default();
    u64::from_str_radix(set.trim(), 16).unwrap_or_default()
}

fn memory_free_mib(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_is_seen() {
        assert_eq!(bounding_set("CapBnd:\t000001fffeffffff\n") & CAP_SYS_RESOURCE, 0);
        assert_ne!(bounding_set("CapBnd:\t000001ffffffffff\n") & CAP_SYS_RESOURCE, 0);
    }

    #[test]
    fn memory_and_release_are_read() {
        assert_eq!(memory_free_mib("MemTotal: 1 kB\nMemAvailable:   2097152 kB\n"), 2048);
        assert_eq!(value_of("ID=debian\nVERSION_ID=\"12\"\n", "VERSION_ID="), "12");
    }
}
