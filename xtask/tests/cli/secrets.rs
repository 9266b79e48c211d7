//! What nobody should read does not show in a call, a story or a log.

use crate::machine::{Machine, files};

/// A word that is nowhere else.
const SECRET: &str = "c29tZXRoaW5nIG5vYm9keSBzaG91bGQgcmVhZA";

#[test]
fn a_secret_in_the_manifests_reaches_the_cluster_by_stdin_alone() {
    let machine = Machine::new();
    let rendered = machine.read("state/rendered").replace("by the stub", SECRET);
    machine.write_state("rendered", &rendered);
    let ended =
        machine.xtask("cluster up").env("MLFLOW_GKE_EVENTS", machine.path("events")).run().good();
    let events = std::fs::read_to_string(&files(&machine.path("events"))[0]).unwrap();
    assert!(machine.read("state/applied").contains(SECRET), "it reaches the cluster");
    for told in [&machine.read("state/calls"), &events, &ended.stdout, &ended.stderr] {
        assert!(!told.is_empty() && !told.contains(SECRET), "{told}");
    }
    // The one copy is beside the kubeconfig, which opens the cluster to its reader anyway.
    let copies: Vec<_> = files(&machine.path("cache"))
        .into_iter()
        .filter(|it| std::fs::read_to_string(it).is_ok_and(|it| it.contains(SECRET)))
        .collect();
    assert_eq!(copies, [machine.path("cache/clusters/mlflow-gke/addons.yaml")]);
}

#[test]
fn passwords_of_the_users_environment_are_in_no_call_and_no_story() {
    let machine = Machine::new();
    let names = [
        "PGPASSWORD",
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_TRACKING_TOKEN",
        "CLOUDSDK_AUTH_ACCESS_TOKEN",
    ];
    let variables = names.map(|it| (it, SECRET));
    for command in ["doctor", "cluster up", "render --env kind", "deploy --env gcp", "cluster down"]
    {
        let ended = machine.xtask(&format!("{command} --json")).envs(&variables).run();
        assert!(!ended.to_string().contains(SECRET), "{command}: {ended}");
    }
    assert!(!machine.read("state/calls").contains(SECRET));
    for file in files(&machine.path("cache")).iter().chain(&files(&machine.path("checkout/target")))
    {
        let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
        assert!(!text.contains(SECRET), "{}", file.display());
    }
}
