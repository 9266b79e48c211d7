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
use crate::program::{self, shell};

const START_LIMIT: Duration = Duration::from_secs(60);
/// How many lines of its log tell why a daemon ended.
const N_LAST_WORDS: usize = 5;

/// The daemon, started when none answers and we may.
///
/// # Errors
/// It does not start, or we may not start it.
pub fn ensure(builder: &Builder, host: &Host) -> Result<Daemon, Error> {
    let error = match docker::daemon() {
        Ok(daemon) => return Ok(daemon),
        Err(error) => error,
    };
    let _lock = builder.cache.lock_name(&builder.log, "dockerd")?;
    if let Ok(daemon) = docker::daemon() {
        return Ok(daemon);
    }
    if !host.is_root {
        return Err(error);
    }
    start(builder, host)?;
    docker::daemon()
}

/// Through systemd where it manages services; by hand elsewhere.
fn start(builder: &Builder, host: &Host) -> Result<(), Error> {
    let sh = shell()?;
    let wrapper = match host.has_sys_resource {
        true => None,
        false => Some(program::obtain_runtime_wrapper(builder)?),
    };
    let step = builder.log.step("dockerd-start", "start the Docker daemon");
    let log = builder.cache.root().join("dockerd.log");
    let mut started = None;
    if host.has_systemd {
        Call::new(cmd!(sh, "systemctl start docker"), START_LIMIT).run()?;
    } else {
        let dockerd = process::find("dockerd")
            .ok_or_else(|| Error::NoDaemon { reason: "`dockerd` is not installed".to_owned() })?;
        let runtime = wrapper.iter().flat_map(|wrapper| {
            let wrapper = wrapper.display();
            [format!("--add-runtime=fitted={wrapper}"), "--default-runtime=fitted".to_owned()]
        });
        let file = File::create(&log).map_err(Error::file("create", &log))?;
        let id = Call::new(cmd!(sh, "{dockerd} {runtime...}"), START_LIMIT).detach(file)?;
        let path = id_file(builder);
        std::fs::write(&path, id.to_string()).map_err(Error::file("write", path))?;
        started = i32::try_from(id).ok().and_then(Pid::from_raw);
    }
    let mut has_ended = false;
    poll::until("the Docker daemon", START_LIMIT, || match docker::daemon() {
        Ok(_) => Ok(()),
        // One that has ended will not answer, however long we ask.
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
    step.done("");
    Ok(())
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

/// Ends the daemon that we started, when it has nothing left to run. Another's is left alone.
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
    if !docker::containers("status=running")?.is_empty() {
        return Ok(false);
    }
    let step = builder.log.step("dockerd-stop", "stop the Docker daemon that was started for this");
    rustix::process::kill_process(id, rustix::process::Signal::TERM)
        .map_err(|error| Error::Other(format!("cannot end dockerd ({}): {error}", text.trim())))?;
    // It stops answering before it has put everything away, its own pid file too.
    let program = format!("/proc/{}/exe", id.as_raw_nonzero());
    poll::until("the end of the Docker daemon", START_LIMIT, || {
        match std::fs::read_link(&program) {
            Ok(_) => Err("it still runs".to_owned()),
            Err(_) => Ok(()),
        }
    })?;
    drop(std::fs::remove_file(&path));
    step.done("");
    Ok(true)
}

fn id_file(builder: &Builder) -> PathBuf {
    builder.cache.root().join("dockerd.pid")
}
