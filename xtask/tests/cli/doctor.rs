//! Prerequisites: found, wanted, fixed.

use serde_json::Value;

use crate::machine::Machine;

/// Before a command that only root may run.
fn sudo() -> &'static str {
    if is_root() { "" } else { "sudo " }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The line of the table about a prerequisite.
fn row<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let rows = table.lines().map(|it| it.split_whitespace().collect::<Vec<_>>());
    rows.clone().find(|it| it.get(1) == Some(&name)).unwrap_or_else(|| panic!("{name}\n{table}"))
}

#[test]
fn the_table_has_a_row_for_each_prerequisite() {
    let machine = Machine::new();
    let ended = machine.xtask("doctor").run();
    for name in [
        "git",
        "cc",
        "go",
        "python3",
        "docker",
        "iptables",
        "runc",
        "mmdebstrap",
        "chromium",
        "docker-registry",
        "unshare",
        "setpriv",
        "ip",
        "curl",
        "openssl",
        "python3.11",
        "psql",
        "postgres",
        "pip",
    ] {
        assert_eq!(row(&ended.stdout, name)[0], "✓", "{ended}");
    }
    for column in ["NAME", "FOUND", "WANTED", "FIX", "Docker 20.10.24 answers", "memory", "disk"] {
        assert!(ended.stdout.contains(column), "{column}\n{ended}");
    }
    let is_good = !ended.stdout.contains('✗');
    assert_eq!(ended.code, if is_good { 0 } else { 10 }, "{ended}");
    assert_eq!(machine.calls("apt-get"), [""; 0]);
}

#[test]
fn the_table_is_data_under_json() {
    let machine = Machine::new();
    machine.remove("git");
    let ended = machine.xtask("doctor --json").run().says(10, &[]);
    let events = ended.events();
    let result = &events.iter().find(|it| it["event"] == "result").unwrap()["result"];
    let rows = result["prerequisites"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|it| it["name"] == name).unwrap();
    assert_eq!(row("git")["is_good"], Value::Bool(false));
    assert_eq!(row("git")["fix"], format!("{}apt-get install git", sudo()));
    assert_eq!(row("go")["found"], "go version go1.26.8 linux/amd64");
    assert_eq!(result["daemon"], Value::Bool(true));
}

#[test]
fn each_missing_program_is_named_with_its_package() {
    // Those in the administrator's folders may be there for real, so they are not taken away.
    let cases = [
        ("git", "git"),
        ("cc", "gcc"),
        ("docker", "docker.io"),
        ("python3", "python3"),
        ("mmdebstrap", "mmdebstrap"),
        ("chromium", "chromium"),
    ];
    for (program, package) in cases {
        let machine = Machine::new();
        machine.remove(program);
        let fix = format!("{}apt-get install {package}", sudo());
        let line = format!("  {program}: {program}");
        let words = ["prerequisites are missing", &line, &fix, "hint: cargo xtask doctor --fix"];
        let ended = machine.xtask("doctor").run().says(10, &words);
        assert_eq!(row(&ended.stdout, program)[..3], ["✗", program, "nothing"]);
        assert_eq!(machine.calls("apt-get"), [""; 0], "nothing is installed without --fix");
    }
}

#[test]
fn an_old_go_is_told_with_its_version() {
    let machine = Machine::new();
    machine.hook("go", "echo 'go version go1.19.8 linux/amd64'; exit");
    for arguments in ["doctor", "doctor --fix --yes", "cluster up"] {
        let words = ["go: go 1.26 or later is wanted", "install go as its project's site says"];
        machine.xtask(arguments).run().says(10, &words);
    }
    assert_eq!(machine.calls("apt-get"), [""; 0], "no package mends it");
    assert_eq!(machine.calls_of("go", "build"), [""; 0]);
    let table = machine.xtask("doctor").run().stdout;
    assert_eq!(row(&table, "go")[..5], ["✗", "go", "go", "version", "go1.19.8"]);
}

#[test]
fn a_program_that_cannot_tell_its_version_does_not_end_the_table() {
    let machine = Machine::new();
    machine.hook("python3", "echo 'broken' >&2; exit 1");
    let ended =
        machine.xtask("doctor").run().says(10, &["python3: python3 3.9 or later is wanted"]);
    assert_eq!(row(&ended.stdout, "python3")[0], "✗");
    assert_eq!(row(&ended.stdout, "mmdebstrap")[0], "✓");
}

/// What installs packages puts the stubs back.
const INSTALL: &str = r#"
case $1 in
install) for it in git mmdebstrap; do ln -s ../stubs/unexpected.sh "${0%/*}/$it"; done ;;
esac
"#;

#[test]
fn fix_installs_what_is_missing_without_asking_where_nobody_could_answer_no() {
    for (variables, flag) in [(&[("CI", "true")][..], ""), (&[][..], " --yes")] {
        let machine = Machine::new();
        machine.remove("git");
        machine.remove("mmdebstrap");
        machine.hook("apt-get", INSTALL);
        let ended = machine.xtask(&format!("doctor --fix{flag}")).envs(variables).run();
        assert_eq!(
            machine.calls("apt-get"),
            ["update", "install --yes --no-install-recommends git mmdebstrap"],
            "{ended}"
        );
        assert_eq!(machine.calls("sudo").len(), if is_root() { 0 } else { 2 });
        assert_eq!(row(&ended.stdout, "git")[0], "✓");
        assert!(ended.stderr.contains("run `"), "it says what it does: {ended}");
    }
}

#[test]
fn fix_without_a_terminal_and_without_yes_tells_the_commands_and_runs_none() {
    for variables in [&[][..], &[("CI", "false")][..], &[("CI", "")][..]] {
        let machine = Machine::new();
        machine.remove("git");
        machine.xtask("doctor --fix").envs(variables).run().says(10, &["apt-get install git"]);
        assert_eq!(machine.calls("apt-get"), [""; 0]);
        assert_eq!(machine.calls("sudo"), [""; 0]);
    }
}

#[test]
fn an_installation_that_fails_is_told_in_the_words_of_apt() {
    let machine = Machine::new();
    machine.remove("git");
    machine.hook("apt-get", "echo 'E: Unable to fetch some archives' >&2; exit 100");
    machine
        .xtask("doctor --fix --yes")
        .run()
        .says(20, &["apt-get update", "E: Unable to fetch some archives"]);
    assert_eq!(machine.calls("apt-get").len(), 1, "nothing is installed from a stale list");
}

#[test]
fn elsewhere_than_on_debian_the_commands_are_the_users_to_run() {
    let machine = Machine::new();
    machine.remove("apt-get");
    machine.remove("git");
    machine
        .xtask("doctor --fix --yes")
        .run()
        .says(10, &["install git (Debian's package is git) with this system's package manager"]);
    assert_eq!(machine.calls("sudo"), [""; 0]);
}

#[test]
fn a_full_disk_is_seen_by_the_doctor() {
    // The only file system on every machine that has no room at all.
    let machine = Machine::new();
    let ended = machine
        .xtask("doctor")
        .env("MLFLOW_GKE_CACHE", "/proc")
        .run()
        .says(10, &["disk: ", "free some space, or set MLFLOW_GKE_CACHE to another disk"]);
    assert_eq!(row(&ended.stdout, "disk")[..4], ["✗", "disk", "0", "MiB"]);
}

#[test]
fn a_deploy_with_a_missing_prerequisite_compiles_nothing_first() {
    for program in ["docker", "mmdebstrap", "cc"] {
        let machine = Machine::new();
        machine.remove(program);
        machine
            .xtask("deploy --env kind")
            .run()
            .says(10, &[&format!("  {program}: "), "hint: cargo xtask doctor --fix"]);
        assert_eq!(machine.calls_of("go", "build"), [""; 0], "{program}");
        assert_eq!(machine.calls("apt-get"), [""; 0]);
    }
}
