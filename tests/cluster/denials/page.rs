//! The published matrix, `docs/denials.md`: it has the rows that the tests try, or they fail.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};

use super::{Denial, database, storage};

/// Whoever sets it has the page written anew instead of checked.
const WRITE: &str = "MLFLOW_GKE_WRITE_DENIALS";

const HEAD: &str = "\
# What is wrong, and what you see of it

Each row is tried on a real cluster: something is taken away from MLflow's deployment, a client that starts in its pod and
a user of MLflow see what is told here, then it is put right, and both are well again.
`cargo xtask test --class cluster denials` tries them; with `MLFLOW_GKE_WRITE_DENIALS=1` it writes this page.

A client is google-cloud-storage as MLflow uses it, or cloud-sql-proxy with psycopg2; the words are parts of what it prints.
Where pods have to start anew, their client keeps what it has found out about its identity for as long as it runs.
";

const TAIL: &str = "
## What no grant puts right

MLflow's multipart upload, which `MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=true` asks for at a client, opens an upload in the bucket and then fails: its user gets 500, and the log says `you need a private key to sign credentials`.
MLflow has the URLs of the parts signed by a key in the credentials, and the credentials of a workload hold none; it does not ask `signBlob`, which would sign them.
Each try leaves an upload open, which is paid for until it is aborted: leave the setting off, or have the bucket abort incomplete uploads (`AbortIncompleteMultipartUpload` in its lifecycle).
`google::mlflow_can_open_a_multipart_upload_and_not_sign_its_parts` tries it.
";

#[test]
fn the_page_has_every_row_and_its_words() -> anyhow::Result<()> {
    let path = e2e::root().join("docs/denials.md");
    let page = render();
    if std::env::var_os(WRITE).is_some_and(|it| !it.is_empty()) {
        return std::fs::write(&path, page).context("write docs/denials.md");
    }
    let published = std::fs::read_to_string(&path).context("read docs/denials.md")?;
    ensure!(
        published == page,
        "docs/denials.md tells of other rows\nhint: {WRITE}=1 cargo xtask test --class cluster denials::page"
    );
    Ok(())
}

fn render() -> String {
    let mut text = HEAD.to_owned();
    for (title, rows) in [
        ("Identity and Cloud Storage", &storage::ROWS[..]),
        ("Cloud SQL, without a password", &database::ROWS[..]),
    ] {
        let _ = writeln!(text, "\n## {title}\n");
        text.push_str(
            "| what is wrong | a client sees | MLflow's user gets | what puts it right |\n",
        );
        text.push_str("| --- | --- | --- | --- |\n");
        for row in rows {
            let _ = writeln!(text, "{}", line(row));
        }
    }
    text.push_str(TAIL);
    text
}

fn line(row: &Denial) -> String {
    let (status, words) = row.user;
    let words = if words.is_empty() { String::new() } else { format!(" `{words}`") };
    let client =
        if row.client == "well" { "no error".to_owned() } else { format!("`{}`", row.client) };
    let restart = match row.restarts.filter(|_| row.is_sticky) {
        Some(labels) => format!("; then new pods of `{labels}`"),
        None => String::new(),
    };
    format!("| {} | {client} | {status}{words} | {}{restart} |", row.name, row.remedy)
}
