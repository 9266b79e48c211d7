//! Exit codes: one for each kind of ending that a script would tell apart.

/// It failed in a way that has no code of its own.
pub(crate) const FAILED: u8 = 1;
/// Asked for something that there is not; clap's own code for wrong usage.
pub(crate) const USAGE: u8 = 2;
/// A dry run found changes.
pub(crate) const CHANGES: u8 = 3;
/// A prerequisite is missing; `doctor` names it.
pub(crate) const PREREQUISITE: u8 = 10;
/// A tool that was called failed.
pub(crate) const TOOL: u8 = 20;
/// Not healthy within the time that was granted.
pub(crate) const LATE: u8 = 30;
/// Never going to be healthy as it is.
pub(crate) const DOOMED: u8 = 31;
/// Refused before anything was written.
pub(crate) const REFUSED: u8 = 40;
/// Ended by Ctrl-C, as shells count it.
pub(crate) const INTERRUPTED: u8 = 130;

/// An error that carries its exit code.
#[derive(Debug)]
pub(crate) struct Coded {
    code: u8,
    message: String,
}

impl Coded {
    /// An error for those who take no `anyhow::Error`: boxed by that, it would hide its code.
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl std::fmt::Display for Coded {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Coded {}

/// An error with an exit code of its own.
pub(crate) fn error(code: u8, message: impl Into<String>) -> anyhow::Error {
    Coded::new(code, message).into()
}

/// The exit code of an error, by the first cause that has one.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(FAILED)
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(coded) = cause.downcast_ref::<Coded>() {
        return Some(coded.code);
    }
    if let Some(error) = cause.downcast_ref::<cluster::Error>() {
        return Some(match error {
            cluster::Error::NoDaemon { .. }
            | cluster::Error::DiskFull { .. }
            | cluster::Error::NoCluster { .. } => PREREQUISITE,
            cluster::Error::ForeignCluster { .. } | cluster::Error::OtherCache { .. } => REFUSED,
            cluster::Error::Late { .. } => LATE,
            cluster::Error::RegistryName { .. } => USAGE,
            cluster::Error::Registry { .. } => TOOL,
            cluster::Error::Process(error) => code_of_process(error),
            _ => FAILED,
        });
    }
    if let Some(error) = cause.downcast_ref::<rollout::Error>() {
        return match error {
            rollout::Error::Refused { .. } | rollout::Error::Busy { .. } => Some(REFUSED),
            // The waiter's error, which is the cause of it, has the code.
            _ => None,
        };
    }
    cause.downcast_ref::<process::Error>().map(code_of_process)
}

fn code_of_process(error: &process::Error) -> u8 {
    match error {
        process::Error::Missing { .. } => PREREQUISITE,
        _ => TOOL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_with_a_code_decides() {
        let missing = process::Error::Missing { program: "docker".into() };
        let wrapped = anyhow::Error::new(cluster::Error::Process(missing)).context("cluster up");
        assert_eq!(code(&wrapped), PREREQUISITE);
        assert_eq!(code(&error(REFUSED, "no").context("deploy")), REFUSED);
        assert_eq!(code(&anyhow::anyhow!("plain")), FAILED);
    }
}
