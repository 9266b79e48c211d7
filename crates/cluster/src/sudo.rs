//! Root's rights for an ordinary user: through sudo, after somebody has said yes.

use std::time::Duration;

use process::{Call, Cmd, Shell, cmd};

use crate::error::Error;
use crate::host::Host;
use crate::program::shell;

const LIMIT: Duration = Duration::from_secs(30);

/// What stands before a command that only root may run, as a person would type it.
pub(crate) fn shown(host: &Host) -> &'static str {
    if host.is_root { "" } else { "sudo " }
}

/// A command as root. Nobody is asked for a password here: that is [`unlock`]'s part, and where nobody
/// could answer sudo must fail at once instead of waiting.
pub(crate) fn command<'a>(
    sh: &'a Shell,
    host: &Host,
    variables: &[(&str, &str)],
    words: &[String],
) -> Cmd<'a> {
    if let (true, Some((program, words))) = (host.is_root, words.split_first()) {
        return cmd!(sh, "{program} {words...}").envs(variables.iter().copied());
    }
    // sudo keeps no variables, so they go in front of the command.
    let variables: Vec<String> =
        variables.iter().map(|(name, it)| format!("{name}={it}")).collect();
    cmd!(sh, "sudo -n env {variables...} {words...}")
}

/// Lets sudo ask on the terminal for whatever it wants to know, so that `command` need not.
///
/// # Errors
/// There is no sudo, or it says no.
pub fn unlock() -> Result<(), Error> {
    let sh = shell()?;
    let status = Call::new(cmd!(sh, "sudo --validate"), LIMIT).interact()?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::Other(format!("sudo does not let this user act as root ({status})"))),
    }
}
