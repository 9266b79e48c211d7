//! The Docker daemon: found, started, or told why not.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::machine::{Machine, copy_programs};
use crate::run::{Running, Xtask};

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Only root may start a daemon, so everybody else is told.
#[test]
fn a_daemon_that_does_not_run_is_started_and_ended_again() {
    let machine = Machine::new().without_daemon();
    let up = machine.xtask("cluster up").run();
    if !is_root() {
        up.says(10, &["hint:"]);
        return;
    }
    let up = up.says(0, &["• start the Docker daemon", "✓ start the Docker daemon"]);
    assert!(up.stdout.contains("cluster mlflow-gke is made"), "{up}");
    if has_systemd() {
        assert_eq!(machine.calls("systemctl"), ["start docker"]);
        assert!(!machine.path("cache/dockerd.pid").exists(), "systemd's daemon is not ours to end");
        return;
    }
    assert_eq!(machine.calls("dockerd").len(), 1);
    let down = machine.xtask("cluster down").run().good();
    assert_eq!(down.stdout, "removed the cluster and stopped the Docker daemon\n");
    assert!(!machine.path("state/daemon").exists() && !machine.path("cache/dockerd.pid").exists());
}

#[test]
fn a_daemon_that_runs_already_is_neither_started_nor_ended() {
    let machine = Machine::new();
    machine.xtask("cluster up").run().good();
    let down = machine.xtask("cluster down").run().good();
    assert_eq!(down.stdout, "removed the cluster\n");
    assert!(machine.path("state/daemon").exists());
    for program in ["dockerd", "systemctl"] {
        assert_eq!(machine.calls(program), [""; 0]);
    }
}

/// A daemon that an earlier run has started; whoever runs the test may end it.
fn start_ours(machine: &Machine) -> Running {
    let mut dockerd =
        Xtask::new(&machine.path("bin/dockerd"), "").env("STUBS", machine.path("state")).start();
    dockerd.read_until("ready");
    machine.write("cache/dockerd.pid", &dockerd.id().to_string());
    dockerd
}

#[test]
fn a_daemon_of_ours_is_ended_when_nobody_is_left_on_it() {
    let machine = Machine::new();
    let dockerd = start_ours(&machine);
    machine.write_state("containers", "theirs\tnginx\trunning\t-\n");
    let down = machine.xtask("cluster down").run().good();
    assert_eq!(down.stdout, "there was nothing to remove\n", "another's container runs on it");
    assert!(machine.path("state/daemon").exists());

    machine.write_state("containers", "theirs\tnginx\texited\t-\n");
    let down = machine.xtask("cluster down").run().says(0, &["✓ stop the Docker daemon"]);
    assert_eq!(down.stdout, "stopped the Docker daemon\n");
    assert!(!machine.path("cache/dockerd.pid").exists());
    dockerd.end().says(0, &[]);
}

#[test]
fn a_process_that_has_taken_the_number_of_our_daemon_is_left_alone() {
    let machine = Machine::new();
    machine.write("cache/dockerd.pid", &std::process::id().to_string());
    let down = machine.xtask("cluster down").run().good();
    assert_eq!(down.stdout, "there was nothing to remove\n");
    assert!(machine.path("state/daemon").exists());
}

#[test]
fn a_daemon_that_dies_at_once_is_told_at_once_with_its_log() {
    if !is_root() {
        return;
    }
    let machine = Machine::new().without_daemon();
    machine.hook("dockerd", "echo 'failed to start daemon: iptables is broken' >&2; exit 1");
    machine.hook("systemctl", "echo 'Job for docker.service failed' >&2; exit 1");
    let words: &[&str] = match has_systemd() {
        true => &["systemctl start docker", "Job for docker.service failed"],
        false => &["iptables is broken", "cache/dockerd.log"],
    };
    let code = if has_systemd() { 20 } else { 10 };
    machine.xtask("cluster up").run().says(code, words);
    assert_eq!(machine.calls_of("docker", "build"), [""; 0]);
}

#[test]
fn a_user_who_may_not_start_a_daemon_is_told_what_root_would_do() {
    // Everybody may enter this folder, where a checkout in root's home is closed.
    let machine = Machine::below(&std::env::temp_dir()).without_daemon();
    let xtask = machine.path("xtask");
    copy_programs(Path::new(env!("CARGO_BIN_EXE_xtask")), &xtask);
    let mut call = machine.xtask_at(&xtask, "cluster up");
    if is_root() {
        for folder in ["", "state", "state/calls"] {
            std::fs::set_permissions(machine.path(folder), PermissionsExt::from_mode(0o777))
                .unwrap();
        }
        call = call.by_user(65534);
    }
    let ended = call.run().says(10, &["Docker daemon", "sudo "]);
    assert_eq!(machine.calls("sudo"), [""; 0]);
    assert_eq!(machine.calls("dockerd"), [""; 0]);
    assert!(!ended.stderr.contains("apt-get install docker.io"), "it is installed: {ended}");
}

#[test]
fn the_doctor_starts_a_daemon_only_when_asked_to() {
    let machine = Machine::new().without_daemon();
    let table = machine.xtask("doctor").run().stdout;
    assert!(table.contains("no Docker daemon answers; deploy and test start one"), "{table}");
    assert!(table.contains("dockerd"), "{table}");
    assert!(!machine.path("state/daemon").exists());
    let table = machine.xtask("doctor --fix").run().stdout;
    let (says, is_there) = match is_root() {
        true => ("Docker 20.10.24 answers", true),
        false => ("no Docker daemon answers", false),
    };
    assert!(table.contains(says), "{table}");
    assert_eq!(machine.path("state/daemon").exists(), is_there);
}
