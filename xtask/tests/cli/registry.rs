//! A registry that the user names: asked before an image is built, never trusted, never waited for.

use crate::machine::Machine;
use crate::run::Xtask;

const REGISTRY: &str = "registry.example.org/team/mlflow-gke";

/// The same, with the registry named as a user's profile would name it.
fn with_registry(machine: &Machine, arguments: &str) -> Xtask {
    machine.xtask(arguments).env("MLFLOW_GKE_REGISTRY", REGISTRY)
}

/// What the registry has after somebody else has built everything and pushed it.
fn pushed_elsewhere() -> String {
    let machine = Machine::new();
    machine.xtask("cluster up").run().good();
    let ended = with_registry(&machine, "images push").run().good();
    let rows: Vec<&str> = ended.stdout.lines().collect();
    let is_pushed = |row: &&str| row.starts_with("pushed") && row.contains(REGISTRY);
    assert!(rows.len() == EVERY.len() && rows.iter().all(is_pushed), "{ended}");
    let again = with_registry(&machine, "images push").run().good();
    assert_eq!(again.stdout.matches("present").count(), EVERY.len(), "{again}");
    assert_eq!(
        machine.calls_of("docker", "push").len(),
        EVERY.len(),
        "only what is missing is pushed"
    );
    assert!(!machine.read("state/images").contains(REGISTRY), "its names are not left behind");
    machine.read("state/registry")
}

/// The images' notes on stderr.
fn notes(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|it| it.contains("the registry ")).collect()
}

/// The images in the order in which they are wanted.
const EVERY: [&str; 6] =
    ["google-emulator", "fake-gcs-server", "cloud-sql-proxy", "postgres", "mlflow", "node"];

#[test]
fn what_the_registry_has_is_pulled_and_not_built() {
    let theirs = pushed_elsewhere();
    for flag in [true, false] {
        let machine = Machine::new();
        machine.write_state("registry", &theirs);
        let ended = match flag {
            true => machine.xtask(&format!("cluster up --registry {REGISTRY}")).run().good(),
            false => with_registry(&machine, "cluster up").run().good(),
        };
        for name in EVERY {
            assert!(ended.stderr.contains(&format!("✓ pull the {name} image")), "{ended}");
        }
        assert_eq!(machine.calls_of("docker", "build"), [""; 0]);
        assert_eq!(machine.calls("mmdebstrap"), [""; 0]);
        let compiled = machine.calls_of("go", "build");
        assert!(compiled.len() == 1 && compiled[0].contains("/tools/kind "), "{compiled:?}");
        assert_eq!(machine.calls_of("docker", "rm"), ["rm taken"]);
        let pulls = machine.calls_of("docker", "pull");
        let is_ours = |it: &String| it.starts_with(&format!("pull {REGISTRY}/"));
        assert!(pulls.len() == EVERY.len() && pulls.iter().all(is_ours), "{pulls:?}");
        // From here on nothing tells it from a machine that has built them.
        let images = machine.read("state/images");
        assert!(!images.contains(REGISTRY), "{images}");
        assert!(images.contains("localhost/mlflow-gke/mlflow:dev\n"), "{images}");
        assert_eq!(machine.read("state/loaded").lines().count(), EVERY.len() - 1);
        let list = machine.xtask("images list").run().good().stdout;
        assert_eq!(list.matches("yes").count(), 10, "{list}");
        let n_calls = machine.calls("docker").len();
        with_registry(&machine, "cluster up").run().good();
        for call in &machine.calls("docker")[n_calls..] {
            assert!(!call.contains(REGISTRY), "what is there is asked of nobody: {call}");
        }
    }
}

#[test]
fn rendering_takes_kubernetes_from_the_registrys_node_rather_than_compile_it() {
    let machine = Machine::new();
    machine.write_state("registry", &pushed_elsewhere());
    let ended = with_registry(&machine, "render --env kind").run();
    let ended =
        ended.says(0, &["✓ pull the node image", "✓ take Kubernetes out of the node image"]);
    assert_eq!(ended.stdout, machine.read("state/rendered"));
    assert_eq!(machine.calls_of("go", "build"), [""; 0]);

    let machine = Machine::new().without_daemon();
    machine.write_state("registry", &pushed_elsewhere());
    with_registry(&machine, "render --env kind").run().says(0, &["✓ compile kubernetes"]);
    assert_eq!(machine.calls_of("docker", "pull"), [""; 0], "nothing starts a daemon for that");
}

#[test]
fn a_registry_that_hangs_is_left_after_a_moment_and_not_asked_again() {
    let machine = Machine::new();
    // Nobody opens the gate: it is for the limit to end this.
    machine.hook("docker", r#"if [ "$1" = manifest ]; then read -r _ <"$STUBS/gate"; fi"#);
    let ended = with_registry(&machine, "cluster up").run().says(
        0,
        &[
            "gave no answer within 5 s; images are built instead, and it is not asked again in this run",
            "✓ build the mlflow image",
            "✓ build the node image",
        ],
    );
    assert_eq!(notes(&ended.stderr).len(), 1, "{ended}");
    assert_eq!(machine.calls_of("docker", "manifest").len(), 1);
    assert_eq!(machine.calls_of("docker", "pull"), [""; 0]);
}

#[test]
fn a_registry_that_is_not_there_or_lets_nobody_in_is_said_once() {
    for (words, reason) in [
        ("dial tcp 192.0.2.1:443: connect: connection refused", "cannot be reached (dial tcp"),
        ("Get https://x/v2/: unauthorized: authentication required", "does not let us in (Get"),
    ] {
        let machine = Machine::new();
        machine.hook(
            "docker",
            &format!("if [ \"$1\" = manifest ]; then echo '{words}' >&2; exit 1; fi"),
        );
        let ended = with_registry(&machine, "images build").run().says(0, &[reason]);
        assert_eq!(notes(&ended.stderr).len(), 1, "{ended}");
        assert_eq!(machine.calls_of("docker", "manifest").len(), 1);
        assert_eq!(machine.calls_of("docker", "build").len(), EVERY.len() - 1);
    }
}

#[test]
fn what_the_registry_lacks_is_built() {
    let machine = Machine::new();
    let ended = with_registry(&machine, "images build").run().good();
    let notes = notes(&ended.stderr);
    assert_eq!(notes.len(), EVERY.len() - 1, "{ended}");
    for (note, name) in notes.iter().zip(EVERY) {
        let has_name = note.contains(&format!("{REGISTRY} has no {name}:"));
        assert!(has_name && note.ends_with("; it is built instead"), "{note}");
    }
    assert_eq!(machine.calls_of("docker", "build").len(), EVERY.len() - 1);
    assert_eq!(machine.calls_of("docker", "pull"), [""; 0]);
}

#[test]
fn an_image_that_was_built_from_something_else_is_refused_and_built() {
    let theirs = pushed_elsewhere();
    for (wrong, words) in
        [("mlflow:0123456789abcdef", "mlflow:0123456789abcdef"), ("", "nothing of ours")]
    {
        let machine = Machine::new();
        let lines = theirs.lines().map(|line| match line.split_once('\t') {
            Some((image, recipe)) if recipe.starts_with("mlflow:") => format!("{image}\t{wrong}\n"),
            _ => format!("{line}\n"),
        });
        machine.write_state("registry", &lines.collect::<String>());
        with_registry(&machine, "images build").run().says(
            0,
            &[
                "gave something else as mlflow:",
                &format!("it is labelled as {words}; it is built instead"),
                "✗ pull the mlflow image",
                "✓ build the mlflow image",
                "✓ pull the postgres image",
            ],
        );
        let builds = machine.calls_of("docker", "build");
        assert!(builds.len() == 1 && builds[0].contains("/mlflow:"), "{builds:?}");
        let tags = machine.calls_of("docker", "tag");
        assert!(
            !tags.iter().any(|it| it.contains("/mlflow:dev")),
            "it got a name of ours: {tags:?}"
        );
        assert!(!machine.read("state/images").contains(REGISTRY));
    }
}

#[test]
fn an_image_that_arrives_in_pieces_is_refused_and_built() {
    let theirs = pushed_elsewhere();
    for words in ["filesystem layer verification failed for digest sha256:12", "unexpected EOF"] {
        let machine = Machine::new();
        machine.write_state("registry", &theirs);
        machine.hook(
            "docker",
            &format!("case \"$1 ${{2-}}\" in pull*/postgres:*) echo '{words}' >&2; exit 1 ;; esac"),
        );
        let ended = with_registry(&machine, "images build")
            .run()
            .says(0, &["failed while it gave postgres:", words, "✓ build the postgres image"]);
        assert_eq!(notes(&ended.stderr).len(), 1, "the others are good: {ended}");
        assert_eq!(machine.calls_of("docker", "build").len(), 1);
        assert_eq!(
            machine.results().iter().filter(|it| it.starts_with("image/")).count(),
            EVERY.len() - 1
        );
    }
}

#[test]
fn a_run_that_is_killed_while_it_pulls_leaves_no_result() {
    let machine = Machine::new();
    machine.write_state("registry", &pushed_elsewhere());
    machine.hook(
        "docker",
        r#"if [ "$1" = pull ]; then echo "half of it"; read -r _ <"$STUBS/gate"; fi"#,
    );
    let mut first = with_registry(&machine, "images build --json").start();
    first.read_until("half of it");
    first.kill();
    assert_eq!(machine.results(), [""; 0]);
    machine.unhook("docker");
    with_registry(&machine, "images build").run().says(0, &["✓ pull the mlflow image"]);
    assert_eq!(machine.calls_of("docker", "build"), [""; 0]);
}

#[test]
fn only_the_images_that_are_named_are_built() {
    let machine = Machine::new();
    machine.xtask("images build fake-gcs-server").run().good();
    assert_eq!(machine.calls_of("docker", "build").len(), 1);
    machine.xtask("images build nginx").run().says(2, &["nginx", "fake-gcs-server"]);
    let ended = with_registry(&machine, "images push").run().good();
    assert_eq!(ended.stdout.matches("not built").count(), EVERY.len() - 1, "{ended}");
    assert_eq!(machine.calls_of("docker", "push").len(), 1);
    let ended = with_registry(&machine, "images push fake-gcs-server").run().good();
    assert!(ended.stdout.starts_with("present") && ended.stdout.lines().count() == 1, "{ended}");
    with_registry(&machine, "images push node").run().says(1, &["none of these images is built"]);
}

#[test]
fn a_push_that_cannot_be_is_told_with_the_way_out() {
    let machine = Machine::new();
    machine.xtask("images push").run().says(
        2,
        &["no registry is set", "hint: --registry HOST[:PORT]/PATH", "MLFLOW_GKE_REGISTRY"],
    );
    with_registry(&machine, "images push")
        .run()
        .says(1, &["none of these images is built", "hint: cargo xtask cluster up"]);
    machine.xtask("images build").run().good();
    for (verb, words, told) in [
        (
            "push",
            "denied: requested access to the resource is denied",
            ["does not let us in", "hint: docker login registry.example.org"],
        ),
        (
            "manifest",
            "Get https://registry.example.org/v2/: dial tcp: lookup: no such host",
            ["cannot be reached", "hint: is `registry.example.org` right"],
        ),
        ("push", "blob upload unknown", ["failed while it took the image", "hint: try again"]),
    ] {
        let script = format!("if [ \"$1\" = {verb} ]; then echo '{words}' >&2; exit 1; fi");
        machine.hook("docker", &script);
        let ended = with_registry(&machine, "images push").run().says(20, &told);
        assert!(ended.stderr.contains(&format!("error: the registry {REGISTRY} ")), "{ended}");
        assert!(!machine.read("state/images").contains(REGISTRY), "{ended}");
    }
}

#[test]
fn what_names_no_registry_is_refused_before_anything_is_done() {
    let machine = Machine::new();
    for name in ["https://ghcr.io/me", "ghcr.io", "me/images", "ghcr.io/Me"] {
        machine
            .xtask("cluster up")
            .env("MLFLOW_GKE_REGISTRY", name)
            .run()
            .says(2, &[&format!("error: `{name}` names no registry: "), "hint: HOST[:PORT]/PATH"]);
    }
    assert_eq!(machine.read("state/calls"), "");
}

#[test]
fn an_empty_variable_names_no_registry() {
    let machine = Machine::new();
    machine.xtask("images build").env("MLFLOW_GKE_REGISTRY", "").run().good();
    for verb in ["manifest", "pull", "push"] {
        assert_eq!(machine.calls_of("docker", verb), [""; 0]);
    }
}
