//! Writes a page to look at: `cargo run -p report --example sample -- FOLDER`.

use std::path::PathBuf;
use std::time::Duration;

use report::{Case, Evidence, Outcome, Run, html, junit, ndjson};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    let (events, problems) = ndjson::parse(include_str!("../tests/sample.ndjson"));
    let mut cases = junit::parse(include_str!("../tests/nextest.xml"))?;
    for case in &mut cases {
        case.started_at = case.started_at.map(|it| it + 119_300);
    }
    cases.extend(cluster_cases());
    let mut run = Run {
        provoked: false,
        title: "cargo xtask e2e --env kind".to_owned(),
        started: Some(std::time::UNIX_EPOCH + Duration::from_secs(1_795_396_109)),
        commit: "4e196d2 health: only new proof ends a wait".to_owned(),
        facts: [
            ("Kubernetes", "1.36.2, kind 0.32.0"),
            ("MLflow", "3.17.2"),
            ("Host", "Debian 12, 2 cores, 8 GB"),
            ("Kernel", "6.1.0-40-amd64"),
            ("Rust", "1.95.0"),
        ]
        .map(|it| (it.0.to_owned(), it.1.to_owned()))
        .into(),
        events,
        problems,
        cases,
        evidence: vec![Evidence::file("everything", "evidence/support bundle.tar.gz")],
    };
    run.redact(&["correct-horse"]);
    std::fs::write(folder.join("report.html"), html(&run))?;
    std::fs::write(folder.join("report.xml"), junit::write(&run))?;
    Ok(())
}

/// What the cluster tests of a run would leave: long ones, with evidence.
fn cluster_cases() -> Vec<Case> {
    let case = |name: &str, started_at: u64, took: u64| Case {
        suite: "e2e::deploy".to_owned(),
        name: name.to_owned(),
        outcome: Outcome::Passed,
        took: Duration::from_millis(took),
        started_at: Some(started_at),
        ..Case::default()
    };
    let mut cases = vec![
        case("a_second_deploy_writes_nothing", 119_300, 2100),
        case("the_guide_s_commands_work_by_hand", 121_500, 9700),
        case("a_pod_that_dies_comes_back", 119_400, 12_300),
        case("a_broken_image_is_found_doomed_and_rolled_back", 131_300, 40_100),
        case("artifacts_survive_a_new_pod", 131_800, 18_200),
        case("a_foreign_host_header_is_refused", 150_200, 900),
        case("the_network_policy_denies_the_rest", 151_300, 7300),
    ];
    let skipped = Case { outcome: Outcome::Skipped, started_at: None, ..case("gke_only", 0, 0) };
    let broken = &mut cases[3];
    broken.outcome = Outcome::Failed;
    broken.output = "\u{1b}[31massertion failed\u{1b}[0m: rolled back to revision 2\n  left: 3\n \
                     right: 2"
        .to_owned();
    broken.evidence = vec![
        Evidence::text("pod states", "mlflow-7d9f  0/1  CrashLoopBackOff  3 restarts  28 s ago"),
        Evidence::text(
            "log of mlflow-7d9f",
            "Traceback (most recent call last):\n  File \"<string>\", line 1, in <module>\n\
             ModuleNotFoundError: No module named 'psycopg2'\nPGPASSWORD=correct-horse",
        ),
        Evidence::file("rendered manifests", "evidence/broken image/manifests.yaml"),
    ];
    cases.push(skipped);
    cases
}
