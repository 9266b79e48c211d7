//! What must be on the machine: found, wanted, and how to get it.

use std::path::PathBuf;
use std::time::Duration;

use process::{Call, cmd};

use crate::error::Error;
use crate::host::Host;
use crate::program::shell;
use crate::{daemon, docker, sudo};

const QUICK: Duration = Duration::from_secs(30);
const INSTALL_LIMIT: Duration = Duration::from_secs(20 * 60);

/// What a prerequisite is needed for; a command asks for the needs that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Building and running the local cluster.
    Cluster,
    /// Running the tests besides.
    Tests,
    /// Running Google's clients against the emulated cloud, in a network of their own.
    Google,
}

/// One prerequisite as it stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The prerequisite.
    pub name: &'static str,
    /// What is there; empty when nothing is.
    pub found: String,
    /// What is wanted.
    pub wanted: String,
    /// Whether that is good enough.
    pub is_good: bool,
    /// What mends it, as a command or a sentence.
    pub fix: String,
    /// The Debian package that mends it, where one does.
    #[serde(skip)]
    pub package: Option<&'static str>,
}

/// A program that must be there.
struct Program {
    name: &'static str,
    package: Option<&'static str>,
    need: Need,
    /// How its version is asked for, and the least that will do.
    version: Option<(&'static [&'static str], (u32, u32))>,
}

/// Debian's registry, and the name of its package and of the service that comes with it.
const REGISTRY: &str = "docker-registry";
/// Tests want the program alone. Installed, its service would run on port 5000, which is MLflow's.
const MASK: [&str; 3] = ["systemctl", "mask", "docker-registry.service"];

const PROGRAMS: [Program; 18] = [
    Program { name: "git", package: Some("git"), need: Need::Cluster, version: None },
    Program { name: "cc", package: Some("gcc"), need: Need::Cluster, version: None },
    Program {
        name: "go",
        package: None,
        need: Need::Cluster,
        version: Some((&["version"], (1, 26))),
    },
    Program {
        name: "python3",
        package: Some("python3"),
        need: Need::Cluster,
        version: Some((&["--version"], (3, 9))),
    },
    Program { name: "docker", package: Some("docker.io"), need: Need::Cluster, version: None },
    Program { name: "iptables", package: Some("iptables"), need: Need::Cluster, version: None },
    Program { name: "runc", package: Some("runc"), need: Need::Cluster, version: None },
    Program { name: "mmdebstrap", package: Some("mmdebstrap"), need: Need::Cluster, version: None },
    Program { name: "chromium", package: Some("chromium"), need: Need::Tests, version: None },
    Program { name: REGISTRY, package: Some(REGISTRY), need: Need::Tests, version: None },
    Program { name: "unshare", package: Some("util-linux"), need: Need::Google, version: None },
    Program { name: "setpriv", package: Some("util-linux"), need: Need::Google, version: None },
    Program { name: "ip", package: Some("iproute2"), need: Need::Google, version: None },
    Program { name: "curl", package: Some("curl"), need: Need::Google, version: None },
    Program { name: "openssl", package: Some("openssl"), need: Need::Google, version: None },
    // The Python that MLflow's packages are locked for.
    Program { name: "python3.11", package: Some("python3.11"), need: Need::Google, version: None },
    Program { name: "psql", package: Some("postgresql-client"), need: Need::Google, version: None },
    Program { name: POSTGRES, package: Some("postgresql"), need: Need::Google, version: None },
];

/// Debian keeps it where PATH does not lead, to have several versions.
const POSTGRES: &str = "postgres";
const POSTGRES_FOLDER: &str = "/usr/lib/postgresql";

/// PostgreSQL's server: on PATH, or the newest that Debian installed. `initdb` is beside it.
#[must_use]
pub fn postgres() -> Option<PathBuf> {
    if let Some(path) = process::find(POSTGRES) {
        return std::fs::canonicalize(path).ok();
    }
    let versions = std::fs::read_dir(POSTGRES_FOLDER).ok()?.filter_map(Result::ok);
    let installed = versions.filter_map(|it| {
        let version: u32 = it.file_name().to_str()?.parse().ok()?;
        Some((version, it.path().join("bin").join(POSTGRES)))
    });
    installed.filter(|(_, path)| path.is_file()).max().map(|(_, path)| path)
}

/// All prerequisites for what is needed, good and bad.
///
/// # Errors
/// A shell could not be made.
pub fn check(host: &Host, needs: &[Need]) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for program in PROGRAMS.iter().filter(|it| needs.contains(&it.need)) {
        findings.push(check_program(host, program)?);
    }
    findings.push(check_pip(host)?);
    if needs.contains(&Need::Cluster)
        && let Err(error) = docker::daemon()
    {
        findings.push(check_dockerd(host, &error));
    }
    Ok(findings)
}

fn check_program(host: &Host, program: &Program) -> Result<Finding, Error> {
    let path = match program.name {
        POSTGRES => postgres(),
        name => process::find(name),
    };
    let (found, is_good) = match (&path, program.version) {
        (None, _) => (String::new(), false),
        (Some(path), None) => (path.display().to_string(), true),
        (Some(path), Some((arguments, least))) => {
            let sh = shell()?;
            let name = program.name;
            match Call::new(cmd!(sh, "{name} {arguments...}"), QUICK).status() {
                Ok((status, output)) if status.success() => {
                    let version = version_in(&output.stdout);
                    (output.stdout.trim().to_owned(), version.is_some_and(|it| it >= least))
                }
                // One that does not even tell its version is a bad row, not the end of the table.
                _ => (format!("{}, which fails", path.display()), false),
            }
        }
    };
    let wanted = match program.version {
        Some((_, (major, minor))) => format!("{} {major}.{minor} or later", program.name),
        None => program.name.to_owned(),
    };
    let fix = fix(host, program.package, program.name);
    Ok(Finding { name: program.name, found, wanted, is_good, fix, package: program.package })
}

fn check_pip(host: &Host) -> Result<Finding, Error> {
    let sh = shell()?;
    let package = Some("python3-pip");
    let answer = Call::new(cmd!(sh, "python3 -m pip --version"), QUICK).status();
    let (is_good, found) = match answer {
        Ok((status, output)) if status.success() => {
            (true, output.stdout.split(" from ").next().unwrap_or_default().to_owned())
        }
        _ => (false, String::new()),
    };
    let fix = fix(host, package, "pip for python3");
    Ok(Finding { name: "pip", found, wanted: "python3 -m pip".to_owned(), is_good, fix, package })
}

/// Only asked when no daemon answers: then one must be there, and we must be allowed to start it.
fn check_dockerd(host: &Host, error: &Error) -> Finding {
    let path = process::find("dockerd");
    let package = if path.is_none() { Some("docker.io") } else { None };
    let fix = match path {
        _ if daemon::is_closed_to_us(error) => daemon::JOIN_GROUP.to_owned(),
        None => fix(host, package, "a Docker daemon"),
        Some(_) => format!("start it: {}", daemon::start_command(host)),
    };
    Finding {
        name: "dockerd",
        is_good: path.is_some() && host.is_root,
        found: path.as_ref().map(|it| it.display().to_string()).unwrap_or_default(),
        wanted: "a Docker daemon that answers, or one that may be started".to_owned(),
        fix,
        package,
    }
}

fn fix(host: &Host, package: Option<&str>, name: &str) -> String {
    match (package, host.has_apt) {
        (Some(REGISTRY), true) if host.has_systemd => {
            let sudo = sudo::shown(host);
            format!("{sudo}{} && {sudo}apt-get install {REGISTRY}", MASK.join(" "))
        }
        (Some(package), true) => format!("{}apt-get install {package}", sudo::shown(host)),
        (Some(package), false) => {
            format!(
                "install {name} (Debian's package is {package}) with this system's package manager"
            )
        }
        (None, _) => format!("install {name} as its project's site says; Debian's is too old"),
    }
}

/// The commands that install what is missing, as a person would type them.
#[must_use]
pub fn install_commands(host: &Host, findings: &[Finding]) -> Vec<String> {
    let sudo = sudo::shown(host);
    installations(host, findings).iter().map(|it| format!("{sudo}{}", it.join(" "))).collect()
}

fn installations(host: &Host, findings: &[Finding]) -> Vec<Vec<String>> {
    let packages = packages(findings);
    if packages.is_empty() || !host.has_apt {
        return Vec::new();
    }
    let words = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    let install = ["apt-get", "install", "--yes", "--no-install-recommends"];
    let mut commands =
        vec![words(&["apt-get", "update"]), words(&[&install[..], &packages].concat())];
    if packages.contains(&REGISTRY) && host.has_systemd {
        commands.insert(0, words(&MASK));
    }
    commands
}

fn packages(findings: &[Finding]) -> Vec<&'static str> {
    let mut packages: Vec<_> =
        findings.iter().filter(|it| !it.is_good).filter_map(|it| it.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Runs [`install_commands`].
///
/// # Errors
/// apt-get failed, or sudo did not let us.
pub fn install(log: &events::Log, host: &Host, findings: &[Finding]) -> Result<(), Error> {
    // Debian starts services as it installs them; ours is started with the flags it needs.
    let variables = [("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")];
    for words in installations(host, findings) {
        let title = format!("run `{}{}`", sudo::shown(host), words.join(" "));
        let step = log.step(&words[0], title);
        let sh = shell()?;
        let mut on_line = |line: process::Line<'_>| step.progress(line.text);
        let command = sudo::command(&sh, host, &variables, &words);
        Call::new(command, INSTALL_LIMIT).lines(&mut on_line).run()?;
        step.done("");
    }
    Ok(())
}

/// The first `MAJOR.MINOR` in a program's own words.
fn version_in(text: &str) -> Option<(u32, u32)> {
    text.split(|it: char| !it.is_ascii_digit() && it != '.').find_map(|word| {
        let mut numbers = word.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(package: Option<&'static str>, is_good: bool) -> Finding {
        let text = String::new();
        Finding {
            name: "x",
            found: text.clone(),
            wanted: text.clone(),
            is_good,
            fix: text,
            package,
        }
    }

    fn host(is_root: bool, has_apt: bool) -> Host {
        Host {
            system: "debian 12".into(),
            has_apt,
            is_root,
            has_systemd: false,
            has_sys_resource: true,
            memory_free_mib: 1,
        }
    }

    #[test]
    fn versions_are_found_in_what_programs_print() {
        assert_eq!(version_in("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(version_in("Python 3.11.7"), Some((3, 11)));
        assert_eq!(version_in("unknown"), None);
    }

    #[test]
    fn only_what_is_missing_is_installed_and_once() {
        let findings =
            [finding(Some("a"), false), finding(Some("a"), false), finding(Some("b"), true)];
        let commands = install_commands(&host(true, true), &findings);
        assert_eq!(commands[1], "apt-get install --yes --no-install-recommends a");
        assert!(install_commands(&host(false, true), &findings)[0].starts_with("sudo "));
    }

    #[test]
    fn a_registry_is_installed_and_does_not_run() {
        let missing = [finding(Some(REGISTRY), false), finding(Some("a"), false)];
        let systemd = Host { has_systemd: true, ..host(false, true) };
        let commands = install_commands(&systemd, &missing);
        assert_eq!(commands[0], "sudo systemctl mask docker-registry.service");
        assert!(commands[2].ends_with(" a docker-registry"), "{commands:?}");
        let words = fix(&systemd, Some(REGISTRY), REGISTRY);
        assert_eq!(
            words,
            "sudo systemctl mask docker-registry.service && sudo apt-get install docker-registry"
        );
        assert!(!install_commands(&systemd, &missing[1..])[0].contains("mask"));
        assert_eq!(install_commands(&host(true, true), &missing).len(), 2, "nobody would start it");
    }

    #[test]
    fn systems_without_apt_are_left_to_their_owner() {
        assert!(install_commands(&host(true, false), &[finding(Some("a"), false)]).is_empty());
    }
}
