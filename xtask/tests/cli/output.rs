//! stdout is the result, stderr is the story, `--json` is both for machines.

use crate::machine::{Machine, files, kubectl};

#[test]
fn manifests_go_to_stdout_and_the_story_to_stderr() {
    let machine = Machine::new();
    let ended = machine.xtask("render --env kind").run().good();
    assert_eq!(ended.stdout, machine.read("state/rendered"));
    assert!(ended.stderr.contains("• compile kubernetes from its Go module"), "{ended}");
    assert!(ended.stderr.contains("✓ compile kubernetes from its Go module"), "{ended}");

    let again = machine.xtask("render --env kind").run().good();
    assert_eq!((again.stdout, again.stderr), (ended.stdout, String::new()), "nothing to tell");

    let ended = machine.xtask("validate --env kind").run().good();
    assert_eq!(ended.stdout, "kind: 1 objects, nothing to complain about\n");
    assert_eq!(ended.stderr, "");
}

#[test]
fn quiet_tells_no_story() {
    let machine = Machine::new();
    let ended = machine.xtask("render --env kind --quiet").run().good();
    assert_eq!(ended.stderr, "");
    assert_eq!(ended.stdout, machine.read("state/rendered"));
}

#[test]
fn verbose_shows_each_call_and_what_it_prints() {
    let machine = Machine::new();
    let ended = machine.xtask("render --env kind --verbose").run().good();
    assert_eq!(ended.stdout, machine.read("state/rendered"), "the result stays alone on stdout");
    let at = |words: &str| {
        let position = ended.stderr.lines().position(|it| it.starts_with(words));
        position.unwrap_or_else(|| panic!("no {words:?}\n{ended}"))
    };
    assert!(at("$ go build ") < at("  | compiling kubernetes"), "{ended}");
    assert!(at("$ ") < at("  | kind: ConfigMap"), "{ended}");

    let events = machine.xtask("render --env gcp -v --json").run().good().events();
    let is_call = |it: &serde_json::Value| {
        it["event"] == "note" && it["message"].as_str().is_some_and(|it| it.contains(" kustomize "))
    };
    assert!(events.iter().any(is_call), "{events:?}");

    let ended = machine.xtask("render --env kind-cloudsql").run().good();
    assert!(!ended.stderr.contains("$ ") && !ended.stderr.contains("  | "), "{ended}");
}

#[test]
fn json_is_one_event_per_line_and_ends_with_the_result() {
    let machine = Machine::new();
    let events = machine.xtask("render --env kind --json").run().good().events();
    let kinds: Vec<_> = events.iter().filter_map(|it| it["event"].as_str()).collect();
    assert_eq!(kinds, ["step_started", "step_progress", "step_ended", "result"]);
    assert_eq!(events[2]["outcome"], "done");
    assert_eq!(events[3]["result"]["objects"][0]["kind"], "ConfigMap");
}

#[test]
fn json_ends_with_the_error_and_its_code() {
    let cases = [
        ("deploy --env gcp --json", 40),
        ("deploy --env kind --dry-run --json", 3),
        ("status --env kind --json", 10),
        ("cluster up --json", 20),
    ];
    let machine = Machine::new();
    machine.hook("mmdebstrap", "echo 'E: no mirror' >&2; exit 25");
    for (arguments, code) in cases {
        let ended = machine.xtask(arguments).run();
        assert_eq!(ended.code, code, "{arguments}: {ended}");
        let last = ended.events().pop().unwrap();
        assert_eq!(
            (last["event"].as_str(), last["code"].as_i64()),
            (Some("error"), Some(code.into()))
        );
    }
}

#[test]
fn findings_are_data_under_json() {
    let machine = Machine::new();
    let ended = machine.xtask("validate --env gcp --json").run().says(40, &[]);
    let events = ended.events();
    let result = events.iter().find(|it| it["event"] == "result").unwrap();
    let problems = result["result"]["problems"].as_array().unwrap();
    let bucket = problems.iter().find(|it| it["key"] == "DEFAULT_ARTIFACT_ROOT").unwrap();
    assert_eq!(bucket["file"], "deploy/mlflow/base/config.env");
    assert!(bucket["line"].is_u64() && bucket["hint"].is_string(), "{bucket}");
}

#[test]
fn every_run_leaves_its_events_in_a_file_of_its_own() {
    let machine = Machine::new();
    for _ in 0..2 {
        machine
            .xtask("render --env kind")
            .env("MLFLOW_GKE_EVENTS", machine.path("events"))
            .run()
            .good();
    }
    let copies = files(&machine.path("events"));
    assert_eq!(copies.len(), 2);
    for copy in copies {
        let text = std::fs::read_to_string(copy).unwrap();
        assert!(text.lines().all(|it| it.starts_with("{\"event\":")), "{text}");
    }
    machine
        .xtask("render --env kind --events /proc/none")
        .run()
        .says(1, &["cannot write events to `/proc/none/"]);
}

#[test]
fn a_reader_who_goes_away_does_not_break_the_command() {
    let machine = Machine::new();
    let rendered = "# A long comment, more than a pipe holds.\n".repeat(4000)
        + &machine.read("state/rendered");
    machine.write_state("rendered", &rendered);
    let sh = process::Shell::new().unwrap();
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let script = format!("{xtask} render --env kind | head -n 1; echo ${{PIPESTATUS[0]}}");
    let call = process::cmd!(sh, "bash -c {script}")
        .env("STUBS", machine.path("state"))
        .env("MLFLOW_GKE_ROOT", machine.path("checkout"))
        .env("MLFLOW_GKE_CACHE", machine.path("cache"))
        .env("PATH", format!("{}:/usr/bin:/bin", machine.path("bin").display()));
    let output = process::Call::new(call, std::time::Duration::from_secs(30)).run().unwrap();
    assert_eq!(output.stdout, "# A long comment, more than a pipe holds.\n0\n");
}

/// What xtask renders for `kind` is what a person's `kubectl kustomize` renders, but for the tags.
#[test]
fn a_rendering_is_kustomizes_own_with_tags_that_tell_the_content() {
    let machine = Machine::with_kustomize();
    let rendered = machine.xtask("render --env kind").run().good().stdout;
    let sh = process::Shell::new().unwrap();
    let (kubectl, folder) = (kubectl(), machine.path("checkout/deploy/mlflow/env/kind"));
    let call = process::cmd!(sh, "{kubectl} kustomize {folder}");
    let by_hand =
        process::Call::new(call, std::time::Duration::from_secs(60)).run().unwrap().stdout;
    let mut tags = Vec::new();
    let mut n_lines = 0;
    for (ours, theirs) in rendered.lines().zip(by_hand.lines()) {
        n_lines += 1;
        if ours == theirs {
            continue;
        }
        let end = ours.len() - (theirs.len() - theirs.find("dev").unwrap() - "dev".len());
        let tag = &ours[theirs.find("dev").unwrap()..end];
        assert_eq!(ours, theirs.replacen("dev", tag, 1));
        assert!(tag.len() == 16 && tag.bytes().all(|it| it.is_ascii_hexdigit()), "{ours}");
        tags.push(tag.to_owned());
    }
    assert_eq!((n_lines, n_lines), (rendered.lines().count(), by_hand.lines().count()));
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 2, "one for mlflow, one for postgres: {tags:?}");
}

#[test]
fn an_image_whose_recipe_changes_gets_another_tag() {
    let machine = Machine::with_kustomize();
    let before = machine.xtask("render --env kind").run().good().stdout;
    machine.edit("deploy/images/postgres/Dockerfile", "FROM", "# Changed.\nFROM");
    let after = machine.xtask("render --env kind").run().good().stdout;
    let differ: Vec<_> = before.lines().zip(after.lines()).filter(|(a, b)| a != b).collect();
    assert!(
        !differ.is_empty() && differ.iter().all(|(a, _)| a.to_lowercase().contains("postgres")),
        "{differ:?}"
    );
}

#[test]
fn the_guides_variables_are_in_the_rendering_and_not_in_the_files() {
    let machine = Machine::with_kustomize();
    let before = machine.belongings();
    let variables = [
        ("PROJECT_ID", "our-project"),
        ("REGION", "europe-north1"),
        ("BUCKET_NAME_MLFLOW", "our-models"),
        ("MLFLOW_SERVICE_ACCOUNT_ID", "our-server"),
        ("MLFLOW_CLOUDSQL_SERVICE_ACCOUNT_ID", "our-proxy"),
        ("CLOUDSQL_INSTANCE_NAME", "our-database"),
    ];
    let rendered = machine.xtask("render --env gcp-cloudsql").envs(&variables).run().good().stdout;
    for word in [
        "gs://our-models",
        "europe-north1-docker.pkg.dev/our-project/mlflow/mlflow:",
        "our-server@our-project.iam.gserviceaccount.com",
        "our-proxy@our-project.iam.gserviceaccount.com",
        "our-project:europe-north1:our-database",
    ] {
        assert!(rendered.contains(word), "{word} is not in\n{rendered}");
    }
    for (name, _) in variables {
        assert!(
            !rendered.contains(&format!("={name}")) && !rendered.contains(&format!(": {name}\n"))
        );
    }
    assert_eq!(machine.belongings(), before);
}
