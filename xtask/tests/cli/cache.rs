//! What is built is there whole or not at all, built once, and checked before it is used.

use crate::machine::Machine;

/// The calls that compiled Kubernetes, which is all that rendering needs.
fn n_compiled(machine: &Machine) -> usize {
    machine.calls_of("go", "build").iter().filter(|it| it.contains("/tools/kubernetes ")).count()
}

/// Renderings are kept by their content; a test of the compiler's cache must not find one.
fn forget_renderings(machine: &Machine) {
    std::fs::remove_dir_all(machine.path("checkout/target")).unwrap();
}

#[test]
fn what_is_built_is_built_once() {
    let machine = Machine::new();
    machine.xtask("render --env kind").run().good();
    forget_renderings(&machine);
    let again = machine.xtask("render --env kind").run().good();
    assert_eq!(again.stderr, "");
    assert_eq!(n_compiled(&machine), 1);
    assert_eq!(machine.results(), ["program/kubernetes"]);
}

#[test]
fn a_corrupt_result_is_built_again_with_a_note() {
    let machine = Machine::new();
    machine.xtask("render --env kind").run().good();
    let corruptions: [fn(&std::path::Path); 3] = [
        |program| std::fs::write(program, "#!/bin/sh\nexit 1\n").unwrap(),
        |program| std::fs::remove_file(program).unwrap(),
        |program| std::fs::write(program.with_file_name(".seal.json"), "half a se").unwrap(),
    ];
    for (index, corrupt) in corruptions.into_iter().enumerate() {
        let program = std::fs::read_link(machine.path("cache/bin/kubectl")).unwrap();
        corrupt(&program);
        forget_renderings(&machine);
        machine
            .xtask("render --env kind")
            .run()
            .says(0, &["the cached kubernetes is not sound (", "building it again", "✓ compile"]);
        assert_eq!(n_compiled(&machine), index + 2);
    }
}

#[test]
fn a_compiler_that_is_killed_leaves_no_result_and_the_next_run_goes_on() {
    let deaths = [
        ("echo half >\"$(value -o \"$@\")\"; kill -KILL $$", "signal: 9"),
        (
            "echo half >\"$(value -o \"$@\")\"; echo 'k8s.io/api: dial tcp: timeout' >&2; exit 1",
            "dial tcp: timeout",
        ),
        // The kernel's own words for a disk that is full.
        ("/bin/echo half >/dev/full || exit 1", "No space left on device"),
    ];
    for (death, words) in deaths {
        let machine = Machine::new();
        machine.hook("go", &format!("if [ \"$1\" = build ]; then {death}; fi"));
        let ended = machine.xtask("render --env kind").run();
        let ended = ended.says(20, &["go build", words, "✗ compile kubernetes"]);
        assert_eq!(ended.stdout, "");
        assert_eq!(machine.results(), [""; 0]);
        machine.unhook("go");
        let ended = machine.xtask("render --env kind").run().good();
        assert_eq!(ended.stdout, machine.read("state/rendered"));
        assert_eq!(machine.results(), ["program/kubernetes"]);
    }
}

/// A compiler that waits at the gate, having said so.
pub(crate) const WAIT: &str = r#"
if [ "$1" = build ]; then
    echo half >"$(value -o "$@")"
    echo "the compiler waits"
    read -r _ <"$STUBS/gate"
fi
"#;

#[test]
fn a_run_that_is_killed_leaves_no_result_and_no_lock() {
    let machine = Machine::new();
    machine.hook("go", WAIT);
    let mut first = machine.xtask("render --env kind --json").start();
    first.read_until("the compiler waits");
    first.kill();
    assert_eq!(machine.results(), [""; 0]);
    machine.unhook("go");
    let ended = machine.xtask("render --env kind").run().good();
    assert!(!ended.stderr.contains("another run"), "{ended}");
    assert_eq!(ended.stdout, machine.read("state/rendered"));
}

#[test]
fn of_two_runs_at_once_one_builds_and_the_other_waits_and_says_so() {
    let machine = Machine::new();
    machine.hook("go", WAIT);
    let mut first = machine.xtask("render --env kind --json").start();
    first.read_until("the compiler waits");
    let mut second = machine.xtask("render --env kind --json").start();
    second.read_until("another run holds `program-kubernetes`; waiting for it");
    machine.open_gate();
    for run in [first, second] {
        let events = run.end().good().events();
        assert_eq!(events.last().unwrap()["event"], "result");
    }
    assert_eq!(n_compiled(&machine), 1);
}

#[test]
fn a_cache_that_cannot_be_made_is_named() {
    let machine = Machine::new();
    machine.write("file", "in the way");
    machine
        .xtask("render --env kind")
        .env("MLFLOW_GKE_CACHE", machine.path("file/cache"))
        .run()
        .says(1, &["cannot create `", "file/cache`"]);
}

#[test]
fn the_cache_is_in_the_users_cache_folder_unless_told_otherwise() {
    for (variable, value, at) in [
        ("MLFLOW_GKE_CACHE", "", "home/.cache/mlflow-gke"),
        ("XDG_CACHE_HOME", "home/xdg", "home/xdg/mlflow-gke"),
    ] {
        let machine = Machine::new();
        let value = if value.is_empty() { value.into() } else { machine.path(value) };
        machine
            .xtask("render --env kind")
            .env("MLFLOW_GKE_CACHE", "")
            .env(variable, value)
            .run()
            .good();
        assert!(machine.path(at).join("program/kubernetes").is_dir(), "{at}");
        assert!(!machine.path("cache").exists());
    }
}
