//! Fits an OCI runtime specification to the host, as text in and text out.
//!
//! The shapes are those of the OCI runtime specification 1.1: `config.json` has `process` at its
//! top, the file of `exec --process` is a process itself.

use serde_json::Value;

/// The number of CAP_SYS_RESOURCE in `linux/capability.h`.
const CAP_SYS_RESOURCE: usize = 24;

/// The capabilities by number, as in `linux/capability.h` of Linux 6.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What the host can give to a container.
pub(crate) struct Host {
    bounding: u64,
}

impl Host {
    /// Reads the bounding set from the text of `/proc/self/status`.
    pub(crate) fn from_status(status: &str) -> Option<Self> {
        let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"))?;
        Some(Self { bounding: u64::from_str_radix(line.trim(), 16).ok()? })
    }

    fn has(&self, number: usize) -> bool {
        self.bounding & (1 << number) != 0
    }

    /// A capability that is not in our table is left for runc to judge.
    fn grants(&self, name: &str) -> bool {
        NAMES.iter().position(|it| *it == name).is_none_or(|number| self.has(number))
    }
}

/// The specification with what the host cannot give taken out.
///
/// # Errors
/// The text is not JSON.
pub(crate) fn fit(text: &str, host: &Host) -> Result<String, serde_json::Error> {
    let mut spec: Value = serde_json::from_str(text)?;
    let process = if spec.get("process").is_some() { &mut spec["process"] } else { &mut spec };
    if let Some(sets) = process.get_mut("capabilities").and_then(Value::as_object_mut) {
        for set in sets.values_mut().filter_map(Value::as_array_mut) {
            set.retain(|name| name.as_str().is_none_or(|name| host.grants(name)));
        }
    }
    if !host.has(CAP_SYS_RESOURCE) {
        drop_limits(process);
    }
    serde_json::to_string(&spec)
}

/// Without CAP_SYS_RESOURCE a process may neither raise its limits nor lower its OOM score.
fn drop_limits(process: &mut Value) {
    let Some(process) = process.as_object_mut() else { return };
    process.remove("rlimits");
    if process.get("oomScoreAdj").and_then(Value::as_i64).is_some_and(|score| score < 0) {
        process.insert("oomScoreAdj".to_owned(), Value::from(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const WITHOUT: &str = "Name:\tx\nCapBnd:\t000001fffeffffff\n";
    const WITH: &str = "CapBnd:\t000001ffffffffff\n";

    #[track_caller]
    fn check(status: &str, spec: Value, expected: Value) {
        let host = Host::from_status(status).expect("a CapBnd line");
        let fitted = fit(&spec.to_string(), &host).expect("JSON");
        assert_eq!(serde_json::from_str::<Value>(&fitted).unwrap(), expected);
    }

    fn privileged() -> Value {
        json!({
            "capabilities": {
                "bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"],
                "effective": ["CAP_SYS_RESOURCE"],
            },
            "oomScoreAdj": -999,
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1, "soft": 1 }],
        })
    }

    fn fitted() -> Value {
        json!({ "capabilities": { "bounding": ["CAP_CHOWN"], "effective": [] }, "oomScoreAdj": 0 })
    }

    #[test]
    fn a_missing_capability_is_dropped_from_every_set() {
        check(WITHOUT, json!({ "process": privileged() }), json!({ "process": fitted() }));
    }

    #[test]
    fn the_process_file_of_exec_is_fitted_too() {
        check(WITHOUT, privileged(), fitted());
    }

    #[test]
    fn a_host_that_lacks_nothing_changes_nothing() {
        check(WITH, json!({ "process": privileged() }), json!({ "process": privileged() }));
    }

    #[test]
    fn a_positive_oom_score_is_kept() {
        check(WITHOUT, json!({ "oomScoreAdj": 100 }), json!({ "oomScoreAdj": 100 }));
    }

    #[test]
    fn an_unknown_capability_is_left_to_runc() {
        let spec = json!({ "capabilities": { "bounding": ["CAP_NEXT"] } });
        check(WITHOUT, spec.clone(), spec);
    }

    #[test]
    fn the_table_follows_the_kernels_numbers() {
        assert_eq!(NAMES[CAP_SYS_RESOURCE], "CAP_SYS_RESOURCE");
        assert_eq!(NAMES[40], "CAP_CHECKPOINT_RESTORE");
    }
}
