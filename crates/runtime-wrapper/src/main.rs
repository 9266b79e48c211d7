//! An OCI runtime that drops from a container what the host cannot give, then hands over to `runc`.
//!
//! Some hosts (sandboxed CI machines above all) run without CAP_SYS_RESOURCE in their bounding set.
//! There `docker run --privileged` fails: runc may not set a capability that the bounding set lacks,
//! nor a negative `oom_score_adj`, nor raise a resource limit. kind needs privileged containers.
//! Docker calls this program as its runtime, and containerd inside the node calls it again for pods.
//! It edits `config.json` (for `create` and `run`) or the process file (for `exec`) and nothing else.
//! It changes no container of a host that lacks nothing, for it is installed only where needed.

mod spec;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use spec::Host;

/// The runtime that does the work; the same path on Debian hosts and in the node image.
const RUNC: &str = "/usr/sbin/runc";

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(file) = file_to_edit(&args)
        && let Err(message) = edit(&file)
    {
        return fail(&format!("{}: {message}", file.display()));
    }
    #[expect(clippy::disallowed_methods, reason = "it becomes runc; there is no child to bound")]
    let error = std::process::Command::new(RUNC).args(&args).exec();
    fail(&format!("{RUNC}: {error}"))
}

/// Docker and containerd show a runtime's stderr as the reason why a container did not start.
#[expect(clippy::print_stderr, reason = "stderr is a runtime's one way to say why")]
fn fail(message: &str) -> ExitCode {
    eprintln!("runtime-wrapper: {message}");
    ExitCode::FAILURE
}

/// The file that says what the container or process may do, if this call has one.
fn file_to_edit(args: &[OsString]) -> Option<PathBuf> {
    let command = args.iter().find(|arg| ["create", "run", "exec"].iter().any(|it| arg == it))?;
    if command == "exec" {
        return value_of(args, &["--process", "-p"]).map(PathBuf::from);
    }
    let bundle = value_of(args, &["--bundle", "-b"]).unwrap_or_else(|| OsString::from("."));
    Some(Path::new(&bundle).join("config.json"))
}

/// The value of a flag, given as `--flag value` or `--flag=value`.
fn value_of(args: &[OsString], names: &[&str]) -> Option<OsString> {
    for (index, arg) in args.iter().enumerate() {
        let Some(text) = arg.to_str() else { continue };
        if names.contains(&text) {
            return args.get(index + 1).cloned();
        }
        if let Some((name, value)) = text.split_once('=')
            && names.contains(&name)
        {
            return Some(OsString::from(value));
        }
    }
    None
}

fn edit(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let host = Host::from_status(&status).ok_or("/proc/self/status has no CapBnd line")?;
    let edited = spec::fit(&text, &host).map_err(|error| error.to_string())?;
    std::fs::write(file, edited).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<&str>) {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        assert_eq!(file_to_edit(&args), expected.map(PathBuf::from), "{line}");
    }

    #[test]
    fn create_edits_the_config_of_its_bundle() {
        check("--root /r --log l create --bundle /b --pid-file p id", Some("/b/config.json"));
        check("run -b /b id", Some("/b/config.json"));
        check("create --bundle=/b id", Some("/b/config.json"));
        check("run id", Some("./config.json"));
    }

    #[test]
    fn exec_edits_its_process_file() {
        check("exec --process /p.json --detach id", Some("/p.json"));
        check("exec -p /p.json id", Some("/p.json"));
        check("exec id ls", None);
    }

    #[test]
    fn other_commands_edit_nothing() {
        check("state id", None);
        check("delete --force id", None);
        check("features", None);
    }
}
