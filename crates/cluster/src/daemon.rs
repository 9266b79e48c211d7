//! The Docker daemon: found, or started where none runs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use process::{Call, cmd};
use rustix::process::{Pid, WaitOptions};

use crate::builder::Builder;
use crate::docker::{self, Daemon};
use crate::error::Error;
use crate::host::Host;
use crate::poll;
use crate::program::shell;
use crate::rust::RUNTIME_WRAPPER;
use crate::sudo;

const START_LIMIT: Duration = Duration::from_secs(60);
/// The lock that all who use the daemon share.
const USERS: &str = "dockerd-users";
/// How many lines of its log tell why a daemon ended.
const N_LAST_WORDS: usize = 5;

/// What lets a user talk to a daemon that runs.
pub(crate) const JOIN_GROUP: &str = "it runs, and is closed to this user: sudo usermod --append --groups docker $USER, then log in again";

/// Whether a daemon is there and does not talk to this user, so that another would not help.
pub(crate) fn is_closed_to_us(error: &Error) -> bool {
    matches!(error, Error::NoDaemon { reason } if reason.contains("permission denied"))
}

/// The daemon, started when none answers and we may.
///
/// # Errors
/// It does not start, or we may not start it.
pub fn ensure(builder: &Builder, host: &Host) -> Result<Daemon, Error> {
    match docker::daemon() {
        Err(error) if !host.is_root => Err(error),
        answer => answer.or_else(|_| start_alone(builder, host)),
    }
}

/// The command that starts a daemon for this user, as a person would type it; none when that would
/// not help.
#[must_use]
pub fn wanted_command(host: &Host) -> Option<String> {
    let error = docker::daemon().err()?;
    let is_ours_to_start = !host.is_root && !is_closed_to_us(&error);
    is_ours_to_start.then(|| start_command(host))
}

pub(crate) fn start_command(host: &Host) -> String {
    let command = if host.has_systemd { "systemctl start docker" } else { "dockerd" };
    format!("{}{command}", sudo::shown(host))
}

/// Starts the daemon with root's rights, which somebody has granted.
///
/// # Errors
/// It does not start, sudo does not let us, or it does not talk to this user.
pub fn start_as_root(builder: &Builder, host: &Host) -> Result<Daemon, Error> {
    docker::daemon().or_else(|_| start_alone(builder, host))
}

fn start_alone(builder: &Builder, host: &Host) -> Result<Daemon, Error> {
    let _lock = builder.cache.lock_name(&builder.log, "dockerd")?;
    if let Ok(daemon) = docker::daemon() {
        return Ok(daemon);
    }
    start(builder, host)?;
    docker::daemon()
}

/// Through systemd where it manages services; by hand elsewhere.
fn start(builder: &Builder, host: &Host) -> Result<(), Error> {
    let sh = shell()?;
    let wrapper = match host.has_sys_resource {
        true => None,
        false => Some(RUNTIME_WRAPPER.obtain(builder)?),
    };
    let step = builder.log.step("dockerd-start", "start the Docker daemon");
    let log = builder.cache.root().join("dockerd.log");
    let mut started = None;
    if host.has_systemd {
        let words = ["systemctl", "start", "docker"].map(str::to_owned);
        Call::new(sudo::command(&sh, host, &[], &words), START_LIMIT).run()?;
    } else {
        let words = daemon_words(wrapper.as_deref())?;
        let file = File::create(&log).map_err(Error::file("create", &log))?;
        let id = Call::new(sudo::command(&sh, host, &[], &words), START_LIMIT).detach(file)?;
        write_id(builder, id)?;
        started = i32::try_from(id).ok().and_then(Pid::from_raw);
    }
    let mut has_ended = false;
    poll::until("the Docker daemon", START_LIMIT, || match docker::daemon() {
        Ok(_) => Ok(()),
        // One that has ended will not answer, however long we ask; nor will one that is not for us.
        Err(error) if is_closed_to_us(&error) => Ok(()),
        Err(_) if started.is_some_and(is_over) => {
            has_ended = true;
            Ok(())
        }
        Err(error) => Err(format!("{error}; its log is {}", log.display())),
    })?;
    if has_ended {
        drop(std::fs::remove_file(id_file(builder)));
        return Err(Error::NoDaemon { reason: last_words(&log) });
    }
    if let Some(id) = started.and_then(|it| daemon_below(it.as_raw_nonzero().get().unsigned_abs()))
    {
        write_id(builder, id)?;
    }
    step.done("");
    Ok(())
}

fn daemon_words(wrapper: Option<&Path>) -> Result<Vec<String>, Error> {
    let dockerd = process::find("dockerd")
        .ok_or_else(|| Error::NoDaemon { reason: "`dockerd` is not installed".to_owned() })?;
    let runtime = wrapper.map(|wrapper| {
        let wrapper = wrapper.display();
        [format!("--add-runtime=fitted={wrapper}"), "--default-runtime=fitted".to_owned()]
    });
    let mut words = vec![dockerd.display().to_string()];
    words.extend(runtime.into_iter().flatten());
    Ok(words)
}

fn write_id(builder: &Builder, id: u32) -> Result<(), Error> {
    let path = id_file(builder);
    std::fs::write(&path, id.to_string()).map_err(Error::file("write", path))
}

/// The daemon's own number, where what we started is a sudo that waits for it.
fn daemon_below(id: u32) -> Option<u32> {
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    if read(format!("/proc/{id}/comm")).trim() == "dockerd" {
        return Some(id);
    }
    let children = read(format!("/proc/{id}/task/{id}/children"));
    children.split_whitespace().filter_map(|it| it.parse().ok()).find_map(daemon_below)
}

/// Whether a child of ours has ended.
fn is_over(id: Pid) -> bool {
    matches!(rustix::process::waitpid(Some(id), WaitOptions::NOHANG), Ok(Some(_)))
}

/// What a daemon that ended wrote last, and where the rest is.
fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(N_LAST_WORDS).collect();
    let lines: String = lines.iter().rev().map(|it| format!("\n  | {it}")).collect();
    format!("`dockerd` ended as soon as it was started; its log is {}{lines}", log.display())
}

/// Says that a command uses the daemon, or is about to: nobody ends it until this is dropped. The
/// operating system drops it when the command dies.
#[derive(Debug)]
pub struct Use {
    _lock: File,
}

impl Use {
    /// Waits while somebody ends the daemon.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn begin(builder: &Builder) -> Result<Self, Error> {
        Ok(Self { _lock: builder.cache.share_name(USERS)? })
    }
}

/// Ends the daemon that we started, when it has nothing left to run and no command uses it. Another's
/// is left alone. Whoever has a [`Use`] of their own drops it before.
///
/// # Errors
/// The client failed.
pub fn stop_if_ours(builder: &Builder) -> Result<bool, Error> {
    let path = id_file(builder);
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(false) };
    let Some(id) = text.trim().parse().ok().and_then(Pid::from_raw) else {
        return Ok(false);
    };
    let program = std::fs::read_to_string(format!("/proc/{}/comm", id.as_raw_nonzero()));
    if !program.is_ok_and(|name| name.trim() == "dockerd") {
        drop(std::fs::remove_file(&path));
        return Ok(false);
    }
    let Some(_lock) = builder.cache.try_lock_name(USERS)? else {
        builder.log.note("the Docker daemon stays: another command uses it");
        return Ok(false);
    };
    if !docker::containers("status=running")?.is_empty() {
        return Ok(false);
    }
    let step = builder.log.step("dockerd-stop", "stop the Docker daemon that was started for this");
    terminate(id)?;
    // It stops answering before it has put everything away, its own pid file too.
    poll::until("the end of the Docker daemon", START_LIMIT, || match is_running(id) {
        true => Err("it still runs".to_owned()),
        false => Ok(()),
    })?;
    drop(std::fs::remove_file(&path));
    step.done("");
    Ok(true)
}

/// One that was started through sudo is ended through sudo.
fn terminate(id: Pid) -> Result<(), Error> {
    let number = id.as_raw_nonzero().to_string();
    match rustix::process::kill_process(id, rustix::process::Signal::TERM) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::PERM) => {
            let sh = shell()?;
            let ended = Call::new(cmd!(sh, "sudo -n kill -TERM {number}"), START_LIMIT).run();
            ended.map(drop).map_err(|error| {
                Error::Other(format!(
                    "{error}\nhint: sudo kill {number}, then the same command again"
                ))
            })
        }
        Err(error) => Err(Error::Other(format!("cannot end dockerd ({number}): {error}"))),
    }
}

/// A process that nobody has waited for yet has ended as well.
fn is_running(id: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero()));
    let state = stat.ok().and_then(|it| Some(it.rsplit_once(") ")?.1.chars().next()));
    state.flatten().is_some_and(|it| !matches!(it, 'Z' | 'X'))
}

fn id_file(builder: &Builder) -> PathBuf {
    builder.cache.root().join("dockerd.pid")
}
