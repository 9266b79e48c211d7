//! The local cluster: made, made again, taken away, and nobody else's touched.

use crate::machine::Machine;

const NODE: &str = "localhost/mlflow-gke/node:";

/// The cluster's node as Docker shows it.
fn node(id: &str, image: &str, state: &str) -> String {
    format!("{id}\t{image}\t{state}\tmlflow-gke\n")
}

/// Containers that are somebody else's.
const THEIRS: &str = "\
theirs-1\tnginx\trunning\t-
theirs-2\tkindest/node:v1.33.1\trunning\tother
theirs-3\tlocalhost/mlflow-gke/node:1\texited\tmlflow-gke-test
";

/// kind's calls by their first two words.
fn kind_did(machine: &Machine) -> Vec<String> {
    let calls = machine.calls("kind");
    calls.iter().map(|it| it.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_cluster_is_made_from_nothing_and_the_second_time_there_is_nothing_to_do() {
    let machine = Machine::new();
    let ended =
        machine.xtask("cluster up").run().says(0, &["✓ create the kind cluster mlflow-gke"]);
    let kubeconfig = machine.path("cache/clusters/mlflow-gke/kubeconfig");
    assert_eq!(
        ended.stdout,
        format!(
            "cluster mlflow-gke is made\nkubectl --kubeconfig {} get pods --all-namespaces\n",
            kubeconfig.display()
        )
    );
    assert_eq!(kind_did(&machine), ["create cluster"]);
    let n_builds = machine.calls_of("go", "build").len();
    assert_eq!(n_builds, 9, "each program once");
    assert_eq!(machine.read("state/loaded").lines().count(), 5);
    assert!(machine.read("state/applied").contains("rendered: by the stub"));

    let n_calls = machine.calls("docker").len();
    let ended = machine.xtask("cluster up").run().good();
    assert!(ended.stdout.starts_with("cluster mlflow-gke is up already\n"), "{ended}");
    assert_eq!(ended.stderr, "");
    assert_eq!(kind_did(&machine), ["create cluster"]);
    assert_eq!(machine.calls_of("go", "build").len(), n_builds);
    let writes = ["build", "save", "import", "load", "start", "exec --interactive"];
    for call in &machine.calls("docker")[n_calls..] {
        assert!(!writes.iter().any(|it| call.starts_with(it)), "{call}");
    }
}

#[test]
fn no_registry_is_asked_for_anything() {
    let machine = Machine::new();
    machine.xtask("cluster up").run().good();
    machine.xtask("images load").run().good();
    machine.xtask("cluster down").run().good();
    let calls = machine.calls("docker");
    assert!(calls.len() > 20, "{calls:?}");
    for call in &calls {
        for verb in ["pull", "push", "login", "run", "search", "create", "manifest"] {
            assert!(!call.split(' ').any(|it| it == verb), "{call}");
        }
    }
    for call in machine.calls_of("docker", "build") {
        assert!(call.contains("--network=none") && !call.contains("--pull"), "{call}");
        for tag in call.split(' ').filter_map(|it| it.strip_prefix("--tag=")) {
            assert!(tag.starts_with("localhost/mlflow-gke/"), "{call}");
        }
    }
    let create = machine.calls_of("kind", "create").remove(0);
    assert!(create.contains(&format!("--image={NODE}")), "{create}");
}

#[test]
fn the_node_sees_the_images_of_the_cache_and_no_more_of_the_machine() {
    let machine = Machine::new();
    machine.xtask("cluster up").run().good();
    let configuration = machine.read("state/kind-configuration");
    let paths: Vec<_> =
        configuration.lines().filter_map(|it| it.trim().strip_prefix("- hostPath: ")).collect();
    assert_eq!(paths, [machine.path("cache/image").to_str().unwrap()]);
    assert!(configuration.contains("readOnly: true"), "{configuration}");
}

#[test]
fn kind_gets_neither_the_users_kubeconfig_nor_proxies_nor_certificates() {
    let machine = Machine::new();
    let kubeconfig = machine.path("home/elsewhere");
    machine.write("home/elsewhere", "current-context: production\n");
    machine.write("home/.kube/config", "current-context: production\n");
    let before = machine.belongings();
    let variables = [
        ("KUBECONFIG", kubeconfig.to_str().unwrap()),
        ("HTTPS_PROXY", "http://192.0.2.1:3128"),
        ("https_proxy", "http://192.0.2.1:3128"),
        ("SSL_CERT_FILE", "/proxy.pem"),
    ];
    machine.xtask("cluster up").envs(&variables).run().good();
    let environment = machine.read("state/environment-of-kind");
    assert!(environment.contains("HOME="), "{environment}");
    for (name, _) in variables {
        assert!(!environment.contains(&format!("{name}=")), "{name} is in\n{environment}");
    }
    let ours = machine.path("cache/clusters/mlflow-gke/kubeconfig");
    let create = machine.calls_of("kind", "create").remove(0);
    assert!(create.contains(&format!("--kubeconfig={}", ours.display())), "{create}");
    machine.xtask("cluster down").envs(&variables).run().good();
    assert_eq!(
        machine.belongings(),
        before,
        "the user's kubeconfigs are as they were, to the second"
    );
}

#[test]
fn a_cluster_of_our_name_that_is_not_ours_is_left_alone() {
    let foreign = node("theirs", "kindest/node:v1.36.1", "running");
    for command in ["cluster up", "cluster down", "images load", "deploy --env kind"] {
        let machine = Machine::new();
        machine.write_state("containers", &foreign);
        let words = [
            "the kind cluster `mlflow-gke` was not made by this project (its node runs `kindest/node:v1.36.1`)",
            "hint: choose another name with --cluster NAME",
        ];
        machine.xtask(command).run().says(40, &words);
        assert_eq!(machine.calls("kind"), [""; 0]);
        assert_eq!(machine.calls_of("docker", "exec"), [""; 0], "{command}");
        assert_eq!(machine.read("state/containers"), foreign);
    }
}

#[test]
fn another_name_is_another_cluster() {
    let machine = Machine::new();
    machine.write_state("containers", &node("theirs", "kindest/node:v1.36.1", "running"));
    machine.xtask("cluster up --cluster mine").run().good();
    assert!(machine.read("state/containers").contains("made-mine\t"));
    machine.xtask("cluster down").env("MLFLOW_GKE_CLUSTER", "mine").run().good();
    assert_eq!(machine.read("state/containers"), node("theirs", "kindest/node:v1.36.1", "running"));
}

#[test]
fn half_a_cluster_is_made_anew() {
    let machine = Machine::new();
    machine.write_state("containers", &node("half", &format!("{NODE}1"), "running"));
    let ended = machine.xtask("cluster up").run();
    ended.says(0, &["an interrupted run left half a cluster: making it anew"]);
    assert_eq!(kind_did(&machine), ["delete cluster", "create cluster"]);
    let made = machine.read("state/containers");
    assert!(made.starts_with("made-mlflow-gke\t") && made.lines().count() == 1, "{made}");
}

#[test]
fn a_cluster_of_another_cache_is_left_alone_until_it_is_taken_down() {
    let machine = Machine::new();
    machine.write_state("containers", &node("theirs", &format!("{NODE}1"), "running"));
    machine.write_state("finished", "/elsewhere/mlflow-gke");
    let words = ["the cache `/elsewhere/mlflow-gke`", "hint: set MLFLOW_GKE_CACHE="];
    machine.xtask("cluster up").run().says(40, &words);
    assert!(kind_did(&machine).is_empty());
    machine.xtask("cluster down").run().good();
    assert_eq!(kind_did(&machine), ["delete cluster"]);
}

#[test]
fn a_creation_that_fails_is_told_in_kinds_words_and_made_anew_next_time() {
    let machine = Machine::new();
    machine.xtask("images build").run().good();
    machine.hook(
        "kind",
        r#"
        if [ "$1" = create ]; then
            printf 'half\t%s\trunning\tmlflow-gke\n' "$(value --image "$@")" >>"$STUBS/containers"
            echo 'ERROR: failed to init node with kubeadm' >&2
            exit 1
        fi"#,
    );
    let words = [
        "kind create cluster",
        "ERROR: failed to init node with kubeadm",
        "✗ create the kind cluster",
    ];
    let ended = machine.xtask("cluster up").run().says(20, &words);
    assert_eq!(ended.stdout, "");
    machine.unhook("kind");
    machine.xtask("cluster up").run().says(0, &["half a cluster"]);
    assert_eq!(kind_did(&machine), ["create cluster", "delete cluster", "create cluster"]);
    assert_eq!(machine.read("state/containers").lines().count(), 1);
}

#[test]
fn a_cluster_that_has_stopped_is_started_again() {
    let machine = Machine::new();
    machine.xtask("cluster up").run().good();
    let stopped = machine.read("state/containers").replace("running", "exited");
    machine.write_state("containers", &stopped);
    let ended =
        machine.xtask("cluster up").run().says(0, &["✓ start the cluster mlflow-gke again"]);
    assert!(ended.stdout.starts_with("cluster mlflow-gke is started again\n"), "{ended}");
    assert_eq!(machine.calls_of("docker", "start"), ["start made-mlflow-gke"]);
    assert_eq!(kind_did(&machine), ["create cluster"]);
}

#[test]
fn down_takes_our_cluster_and_nothing_else() {
    let machine = Machine::new();
    machine.write_state("containers", THEIRS);
    machine.xtask("cluster up").run().good();
    assert_eq!(machine.read("state/containers").lines().count(), 4);
    let n_calls = machine.read("state/calls").lines().count();
    let ended = machine.xtask("cluster down").run().says(0, &["✓ remove the cluster mlflow-gke"]);
    assert_eq!(ended.stdout, "removed the cluster\n");
    assert_eq!(machine.read("state/containers"), THEIRS);
    assert!(!machine.path("cache/clusters/mlflow-gke").exists());
    let calls = machine.read("state/calls");
    for call in calls.lines().skip(n_calls) {
        let is_ours = call.starts_with("kind delete cluster --name=mlflow-gke --kubeconfig=");
        assert!(
            is_ours || ["docker info", "docker ps"].iter().any(|it| call.starts_with(it)),
            "{call}"
        );
    }
    assert!(machine.path("cache/program/kind").is_dir(), "what was built stays");
}

#[test]
fn down_removes_kinds_network_when_nobody_is_left_on_it() {
    let machine = Machine::new();
    machine.xtask("cluster up").run().good();
    machine.xtask("cluster down").run().good();
    assert_eq!(machine.calls_of("docker", "network"), ["network rm kind"]);
}

#[test]
fn down_of_nothing_is_no_error() {
    let machine = Machine::new();
    machine.write_state("containers", THEIRS);
    let ended = machine.xtask("cluster down").run().good();
    assert_eq!(ended.stdout, "there was nothing to remove\n");
    assert_eq!(machine.read("state/containers"), THEIRS);
    assert_eq!(machine.calls("kind"), [""; 0]);
    let ended = machine.xtask("cluster down --json").run().good();
    assert_eq!(ended.events()[0]["result"]["removed"], false);
}

#[test]
fn an_image_whose_recipe_changed_is_built_and_loaded_and_the_others_are_not() {
    let machine = Machine::new();
    machine.xtask("cluster up").run().good();
    machine.edit("deploy/images/mlflow/Dockerfile", "FROM", "# Changed.\nFROM");
    let n_builds = machine.calls_of("docker", "build").len();
    machine
        .xtask("images load")
        .run()
        .says(0, &["✓ build the mlflow image", "✓ load the mlflow image"]);
    assert_eq!(machine.calls_of("docker", "build").len(), n_builds + 1);
    let loaded = machine.read("state/loaded");
    assert_eq!(loaded.lines().filter(|it| it.contains("/mlflow:")).count(), 2, "{loaded}");
    assert_eq!(loaded.lines().count(), 6);
}

#[test]
fn images_are_listed_with_what_is_built_and_loaded() {
    let machine = Machine::new();
    let columns = |list: &str| -> Vec<String> {
        let rows = list.lines().skip(1).map(|it| it.split_whitespace().skip(1).take(2));
        rows.map(|it| it.collect::<Vec<_>>().join(" ")).collect()
    };
    let list = machine.xtask("images list").run().good().stdout;
    assert_eq!(columns(&list), ["no no"; 5], "{list}");
    machine.xtask("images build").run().good();
    let list = machine.xtask("images list").run().good().stdout;
    assert_eq!(columns(&list), ["yes no"; 5], "{list}");
    machine.xtask("cluster up").run().good();
    let list = machine.xtask("images list").run().good().stdout;
    assert_eq!(columns(&list), ["yes yes"; 5], "{list}");
    assert!(list.contains("228 MB"), "{list}");
}

#[test]
fn images_cannot_be_loaded_into_no_cluster() {
    let machine = Machine::new();
    machine
        .xtask("images load")
        .run()
        .says(10, &["there is no cluster `mlflow-gke`", "hint: cargo xtask cluster up"]);
}
