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
fn a_daemon_that_another_command_is_about_to_use_is_not_ended() {
    let machine = Machine::new();
    let dockerd = start_ours(&machine);
    machine.hook("go", crate::cache::WAIT);
    let mut builder = machine.xtask("images build --json").start();
    builder.read_until("the compiler waits");
    let down = machine.xtask("cluster down").run();
    let down = down.says(0, &["the Docker daemon stays: another command uses it"]);
    assert_eq!(down.stdout, "there was nothing to remove\n");
    assert!(machine.path("state/daemon").exists());

    builder.kill();
    let down = machine.xtask("cluster down").run().good();
    assert_eq!(down.stdout, "stopped the Docker daemon\n", "who has died uses nothing");
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

/// A machine of an ordinary user, and the program as that user starts it.
fn machine_of_a_user() -> (Machine, impl Fn(&Machine, &str) -> Xtask) {
    // Everybody may enter this folder, where a checkout in root's home is closed.
    let machine = Machine::below(&std::env::temp_dir());
    copy_programs(Path::new(env!("CARGO_BIN_EXE_xtask")), &machine.path("xtask"));
    let call = |machine: &Machine, arguments: &str| {
        let call = machine.xtask_at(&machine.path("xtask"), arguments);
        if is_root() { call.by_user(65534) } else { call }
    };
    if is_root() {
        for folder in ["", "state", "state/calls", "bin"] {
            std::fs::set_permissions(machine.path(folder), PermissionsExt::from_mode(0o777))
                .unwrap();
        }
    }
    (machine, call)
}

#[test]
fn a_user_who_may_not_start_a_daemon_is_told_what_root_would_do() {
    let (machine, xtask) = machine_of_a_user();
    let machine = machine.without_daemon();
    let ended = xtask(&machine, "cluster up").run().says(10, &["Docker daemon", "sudo "]);
    assert_eq!(machine.calls("sudo"), [""; 0], "nobody was there to say yes");
    assert_eq!(machine.calls("dockerd"), [""; 0]);
    assert!(!ended.stderr.contains("apt-get install docker.io"), "it is installed: {ended}");
}

#[test]
fn a_user_who_has_said_yes_starts_and_ends_the_daemon_through_sudo() {
    for (variables, flag) in [(&[("CI", "true")][..], ""), (&[][..], " --yes")] {
        let (machine, xtask) = machine_of_a_user();
        let machine = machine.without_daemon();
        let doctor = xtask(&machine, &format!("doctor --fix{flag}")).envs(variables).run();
        assert!(doctor.stdout.contains("Docker 20.10.24 answers"), "{doctor}");
        assert!(doctor.stderr.contains("✓ start the Docker daemon"), "{doctor}");
        let calls = machine.calls("sudo");
        assert!(calls.iter().all(|it| it.starts_with("-n env ")), "it never asks: {calls:?}");
        if has_systemd() {
            assert_eq!(calls, ["-n env systemctl start docker"]);
            continue;
        }
        assert!(calls[0].contains("/dockerd") && calls.len() == 1, "{calls:?}");
        let down = xtask(&machine, "cluster down").run().good();
        assert_eq!(down.stdout, "stopped the Docker daemon\n");
        assert!(!machine.path("state/daemon").exists());
    }
}

#[test]
fn what_is_missing_is_installed_through_sudo_before_the_daemon_starts() {
    let (machine, xtask) = machine_of_a_user();
    let machine = machine.without_daemon();
    machine.remove("git");
    machine.hook("apt-get", r#"[ "$1" = update ] || ln -s ../stubs/unexpected.sh "${0%/*}/git""#);
    let ended = xtask(&machine, "doctor --fix --yes").run();
    let calls = machine.calls("sudo");
    let environment = "-n env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get";
    assert_eq!(
        calls[..2],
        [
            format!("{environment} update"),
            format!("{environment} install --yes --no-install-recommends git")
        ],
        "{ended}"
    );
    assert!(machine.path("state/daemon").exists(), "{ended}");
    xtask(&machine, "cluster down").run().good();
}

#[test]
fn a_person_is_asked_once_and_may_type_a_password_for_sudo() {
    for (typed, is_yes) in [("y", true), ("n", false), ("", false)] {
        let (machine, xtask) = machine_of_a_user();
        let machine = machine.without_daemon();
        let call = xtask(&machine, "doctor --fix").at_a_terminal(typed);
        let call = if is_root() { call.by_user(65534) } else { call };
        let ended = call.run();
        let start = if has_systemd() { "sudo systemctl start docker" } else { "sudo dockerd" };
        assert!(ended.stdout.contains(start) && ended.stdout.contains("[y/N]"), "{ended}");
        assert_eq!(machine.path("state/daemon").exists(), is_yes, "{typed:?}: {ended}");
        if is_yes {
            assert_eq!(machine.calls("sudo")[0], "--validate", "it may ask for a password");
            xtask(&machine, "cluster down --yes").run();
        } else {
            assert_eq!(machine.calls("sudo"), [""; 0]);
        }
    }
}

#[test]
fn a_sudo_that_wants_a_password_fails_at_once_in_its_own_words() {
    let (machine, xtask) = machine_of_a_user();
    let machine = machine.without_daemon();
    machine.hook("sudo", "echo 'sudo: a password is required' >&2; exit 1");
    xtask(&machine, "cluster up --yes").run().says(10, &["sudo: a password is required"]);
    assert_eq!(machine.calls("sudo").len(), 1);
    assert_eq!(machine.calls("dockerd"), [""; 0]);
}

#[test]
fn a_daemon_that_is_closed_to_the_user_is_not_started_again() {
    let (machine, xtask) = machine_of_a_user();
    machine.hook(
        "docker",
        "echo '{\"ServerErrors\":[\"permission denied while trying to connect to the Docker daemon socket\"]}'; exit 1",
    );
    xtask(&machine, "cluster up --yes")
        .run()
        .says(10, &["closed to this user", "sudo usermod --append --groups docker"]);
    assert_eq!(machine.calls("sudo"), [""; 0]);
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
