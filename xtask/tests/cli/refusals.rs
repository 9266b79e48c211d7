//! What is refused before anything is written or sent, with the file, the key and the fix.

use crate::machine::{Machine, files};

const GUIDE: [(&str, &str); 4] = [
    ("PROJECT_ID", "our-project"),
    ("REGION", "europe-north1"),
    ("BUCKET_NAME_MLFLOW", "our-models"),
    ("MLFLOW_SERVICE_ACCOUNT_ID", "mlflow"),
];
const GUIDE_CLOUDSQL: [(&str, &str); 2] =
    [("MLFLOW_CLOUDSQL_SERVICE_ACCOUNT_ID", "mlflow-cloudsql"), ("CLOUDSQL_INSTANCE_NAME", "db")];

struct Case {
    name: &'static str,
    arguments: &'static str,
    variables: &'static [(&'static str, &'static str)],
    edit: Option<[&'static str; 3]>,
    says: &'static [&'static str],
}

const CASES: [Case; 12] = [
    Case {
        name: "a placeholder left in",
        arguments: "deploy --env gcp --context gke_our",
        variables: &[],
        edit: None,
        says: &[
            "deploy/mlflow/base/config.env:",
            "`DEFAULT_ARTIFACT_ROOT` still holds the placeholder `BUCKET_NAME_MLFLOW`",
            "deploy/mlflow/env/gcp/params.env:",
            "`PROJECT_ID` still holds",
            "hint: write your own value over it, or set the variable BUCKET_NAME_MLFLOW",
        ],
    },
    Case {
        name: "a placeholder is refused by a dry run too",
        arguments: "deploy --env gcp --context gke_our --dry-run",
        variables: &[],
        edit: None,
        says: &["still holds the placeholder"],
    },
    Case {
        name: "the bucket of somebody else",
        arguments: "deploy --env gcp --context gke_our",
        variables: &[("BUCKET_NAME_MLFLOW", "mlflow-mlops-platform")],
        edit: None,
        says: &["`mlflow-mlops-platform`, a bucket of somebody else", "hint: write gs://"],
    },
    Case {
        name: "a Cloud SQL instance with dots",
        arguments: "deploy --env gcp-cloudsql --context gke_our",
        variables: &[("GCP_CLOUDSQL_INSTANCE_NAME", "our-project.europe-north1.db")],
        edit: None,
        says: &[
            "deploy/mlflow/env/gcp-cloudsql/params.env:",
            "`GCP_CLOUDSQL_INSTANCE_NAME` is `our-project.europe-north1.db`, with dots",
            "hint: write our-project:europe-north1:db",
        ],
    },
    Case {
        name: "a zone for a region",
        arguments: "validate --env gcp",
        variables: &[("REGION", "europe-north1-a")],
        edit: None,
        says: &["`REGION` is `europe-north1-a`, a zone", "hint: write the region, europe-north1"],
    },
    Case {
        name: "quotes that Kustomize would keep",
        arguments: "validate --env kind",
        variables: &[],
        edit: Some(["deploy/mlflow/env/kind/params.env", "=europe-north1", "=\"europe-north1\""]),
        says: &[
            "deploy/mlflow/env/kind/params.env:3: `REGION` has quotes",
            "hint: write REGION=europe-north1",
        ],
    },
    Case {
        name: "a misspelt key",
        arguments: "deploy --env kind",
        variables: &[],
        edit: Some(["deploy/mlflow/env/kind/params.env", "REGION=", "REGOIN="]),
        says: &[
            "params.env:3: `REGOIN` is not a setting of this file",
            "hint: did you mean REGION?",
        ],
    },
    Case {
        name: "GKE without a context",
        arguments: "deploy --env gcp",
        variables: &GUIDE,
        edit: None,
        says: &[
            "the current context is never trusted",
            "hint: --context gke_PROJECT_REGION_CLUSTER",
        ],
    },
    Case {
        name: "GKE with the context of a kind cluster",
        arguments: "deploy --env gcp --context kind-mlflow-gke",
        variables: &GUIDE,
        edit: None,
        says: &["`kind-mlflow-gke` is a local cluster, `gcp` is for GKE", "hint: --env kind"],
    },
    Case {
        name: "status of GKE without a context",
        arguments: "status --env gcp",
        variables: &GUIDE,
        edit: None,
        says: &["the current context is never trusted"],
    },
    Case {
        name: "logs of GKE with the context of a kind cluster",
        arguments: "logs --env gcp --context kind-other",
        variables: &[],
        edit: None,
        says: &["`kind-other` is a local cluster"],
    },
    Case {
        name: "open of GKE without a context",
        arguments: "open --env gcp --port 0",
        variables: &[],
        edit: None,
        says: &["hint: --context"],
    },
];

/// A kubeconfig whose current context is a production cluster.
const PRODUCTION: &str = "\
apiVersion: v1
kind: Config
current-context: production
clusters:
- name: production
  cluster:
    server: https://192.0.2.1
contexts:
- name: production
  context: {cluster: production, user: me}
users:
- name: me
  user: {token: not-for-us}
";

#[test]
fn what_must_not_be_deployed_is_refused_with_the_fix() {
    for case in CASES {
        let machine = Machine::new();
        machine.write("home/.kube/config", PRODUCTION);
        if let Some([file, from, to]) = case.edit {
            machine.edit(file, from, to);
        }
        let before = machine.belongings();
        let ended = machine.xtask(case.arguments).envs(case.variables).run();
        assert_eq!(ended.code, 40, "{}: {ended}", case.name);
        let ended = ended.says(40, case.says);
        assert_eq!(ended.stdout, "");
        assert_eq!(machine.belongings(), before);
        assert_eq!(machine.calls("docker"), [""; 0], "nobody is asked for a cluster");
    }
}

#[test]
fn a_line_that_is_no_setting_is_refused_by_its_number() {
    let machine = Machine::with_kustomize();
    machine.edit("deploy/mlflow/env/kind/params.env", "REGION=", "the REGION is ");
    let before = machine.belongings();
    machine.xtask("deploy --env kind").run().says(
        40,
        &[
            "deploy/mlflow/env/kind/params.env:3: `the REGION is europe-north1` is not a setting: it has no `=`",
            "hint: write KEY=VALUE, or begin the line with #",
        ],
    );
    assert_eq!(machine.belongings(), before);
    assert_eq!(machine.calls("docker"), [""; 0]);
}

#[test]
fn yaml_that_does_not_parse_is_refused_by_the_users_own_file_with_line_and_column() {
    let cases: [[&str; 4]; 4] = [
        ["env/kind/kustomization.yaml", "kind: Kustomization", "kind: [Kustomization", "4:10: "],
        [
            "base/deployment.yaml",
            "kind: Deployment",
            "kind: [Deployment",
            "3:9: illegal placement of ':'",
        ],
        [
            "components/postgres/service.yaml",
            "  ports:",
            "\tports:",
            "11:10: while scanning a plain scalar, found a tab",
        ],
        [
            "base/namespace.yaml",
            "kind: Namespace",
            "kind: Namespace\nkind: Namespace",
            "3:1: duplicate mapping key: kind",
        ],
    ];
    for [file, from, to, place] in cases {
        let machine = Machine::new();
        machine.edit(&format!("deploy/mlflow/{file}"), from, to);
        let before = machine.belongings();
        let place = format!("\ndeploy/mlflow/{file}:{place}");
        let words = ["environment `kind` is not fit to deploy", &place, "\n  | "];
        for command in ["deploy", "validate", "render", "diff"] {
            let ended = machine.xtask(&format!("{command} --env kind")).run().says(40, &words);
            assert_eq!(ended.stdout, "");
            assert!(!ended.stderr.contains("target/xtask"), "{ended}");
        }
        assert_eq!(machine.belongings(), before);
        assert_eq!(machine.read("state/calls"), "", "nothing is compiled or asked before");
        let left = machine.path("checkout/target/xtask/rendered");
        assert!(files(&left).is_empty(), "no half rendering is left");
    }
}

#[test]
fn broken_yaml_of_another_environment_is_no_reason_to_refuse() {
    let machine = Machine::new();
    machine.edit("deploy/mlflow/components/cloudsql/service.yaml", "kind:", "kind: [");
    machine.xtask("render --env kind").run().good();
    machine
        .xtask("render --env kind-cloudsql")
        .run()
        .says(40, &["components/cloudsql/service.yaml:"]);
}

#[test]
fn what_only_kustomize_sees_is_told_of_the_users_own_files() {
    let cases = [
        // The field's quotes depend on kubectl's version.
        ("resources:", "resuorces:", "invalid Kustomization: json: unknown field"),
        ("deployment.yaml", "deploymnt.yaml", "deploy/mlflow/base/deploymnt.yaml: no such file"),
    ];
    for (from, to, words) in cases {
        let machine = Machine::with_kustomize();
        machine.edit("deploy/mlflow/base/kustomization.yaml", from, to);
        let before = machine.belongings();
        let words = ["render the overlay `deploy/mlflow/env/kind`", "'deploy/mlflow/base'", words];
        let ended = machine.xtask("deploy --env kind --dry-run").run().says(20, &words);
        assert_eq!(ended.stdout, "");
        assert!(!ended.stderr.contains("target/xtask"), "{ended}");
        assert_eq!(machine.belongings(), before);
        assert_eq!(machine.calls("docker"), [""; 0]);
        let left = machine.path("checkout/target/xtask/rendered");
        assert!(files(&left).is_empty(), "no half rendering is left");
    }
}

#[test]
fn settings_are_judged_before_anything_is_compiled() {
    for arguments in
        ["deploy --env gcp --context gke_our", "validate --env gcp", "deploy --env gcp"]
    {
        let machine = Machine::new();
        machine.xtask(arguments).run().says(40, &["hint:"]);
        assert_eq!(machine.calls("go"), [""; 0], "{arguments}");
    }
}

#[test]
fn the_guides_variables_complete_an_environment() {
    let machine = Machine::new();
    let before = machine.belongings();
    machine.xtask("validate --env gcp").envs(&GUIDE).run().good();
    machine.xtask("validate --env gcp-cloudsql").envs(&GUIDE).envs(&GUIDE_CLOUDSQL).run().good();
    assert_eq!(machine.belongings(), before, "the user's files are never edited");
}

#[test]
fn a_local_kubeconfig_that_leads_to_production_is_not_followed() {
    for command in ["status", "diff", "logs", "events", "open --port 0"] {
        let machine = Machine::new();
        let leads_away = PRODUCTION.replace("production", "kind-mlflow-gke");
        machine.write("cache/clusters/mlflow-gke/kubeconfig", &leads_away);
        machine.xtask(&format!("{command} --env kind")).run().says(
            40,
            &[
                "leads to `https://192.0.2.1`",
                "nothing was sent there",
                "hint: cargo xtask cluster down",
            ],
        );
    }
}

#[test]
fn a_context_that_is_not_in_the_kubeconfig_is_told() {
    let machine = Machine::new();
    machine.write("home/.kube/config", PRODUCTION);
    let before = machine.belongings();
    machine
        .xtask("status --env gcp --context gke_our")
        .envs(&GUIDE)
        .run()
        .says(1, &["gke_our", "home/.kube/config"]);
    assert_eq!(machine.belongings(), before);
}

#[test]
fn without_a_cluster_commands_say_how_to_get_one() {
    let machine = Machine::new();
    for command in ["status", "diff", "logs", "events", "open --port 0"] {
        machine
            .xtask(&format!("{command} --env kind"))
            .run()
            .says(10, &["the local cluster is not up", "hint: cargo xtask cluster up"]);
    }
    assert!(!machine.path("cache/clusters").exists());
}

#[test]
fn a_dry_run_without_a_cluster_says_that_everything_would_be_created() {
    let machine = Machine::new();
    let before = machine.belongings();
    machine
        .xtask("deploy --env kind --dry-run")
        .run()
        .says(3, &["there is no local cluster yet", "everything would be created"]);
    assert_eq!(machine.belongings(), before);
    assert!(!machine.path("cache/clusters").exists());
    assert_eq!(machine.calls("docker"), [""; 0]);
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_out() {
    let machine = Machine::new();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    machine
        .xtask(&format!("open --env kind --port {port}"))
        .run()
        .says(10, &[&format!("port {port} of this machine is taken"), "hint: --port 0"]);
}

#[test]
fn a_certificate_from_another_time_points_at_the_clock() {
    let machine = Machine::new();
    machine.hook(
        "go",
        "case $1 in build) echo 'x509: certificate has expired or is not yet valid: current time 2020-01-01T00:00:00Z is before 2026-01-01T00:00:00Z' >&2; exit 1 ;; esac",
    );
    machine.xtask("cluster up").run().says(
        10,
        &["current time 2020-01-01T00:00:00Z is before", "a clock is probably wrong", "date --utc"],
    );
    machine.unhook("go");
    machine.hook(
        "mmdebstrap",
        "echo 'E: Release file is not valid yet (invalid for another 5d)' >&2; exit 1",
    );
    machine.xtask("cluster up").run().says(10, &["invalid for another 5d", "date --utc"]);
}
