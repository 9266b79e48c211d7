//! Subcommands: cargo xtask google env, google token, google fault

mod fault;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use health::tunnel::{Address, Tunnel};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;

use crate::context::Context;
use crate::target::{self, Target};
use crate::{exit, output};

/// The emulator answers within milliseconds, once its pod runs.
const LIMIT: Duration = Duration::from_secs(60);
/// The owner that `deploy/cluster/google/world.yaml` gives the project.
const OWNER: &str = "user:you@example.com";
/// The `nodePort` of Service google-proxy.
const PROXY_PORT: u16 = 31280;

/// The emulated Google Cloud of the local cluster.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Print the variables by which gcloud, Python and curl use it.
    #[command(after_help = "Examples:
  eval \"$(cargo xtask google env)\"
  gcloud storage ls gs://mlflow-artifacts
  eval \"$(cargo xtask google env --as serviceAccount:mlflow@mlflow-gke-local.iam.gserviceaccount.com)\"")]
    Env(Arguments),
    /// Print an access token.
    #[command(after_help = "Example:
  curl -H \"Authorization: Bearer $(cargo xtask google token)\" https://storage.googleapis.com/storage/v1/b?project=mlflow-gke-local")]
    Token(Arguments),
    /// Make it fail on purpose.
    #[command(subcommand)]
    Fault(fault::Command),
}

/// As whom.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Who to be, as in a binding; the project's owner unless told.
    #[arg(long = "as", value_name = "MEMBER", default_value = OWNER)]
    member: String,
    /// How long the token is good for.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    lifetime: u32,
}

/// Runs a command of the group.
pub(crate) fn run(context: &Context, command: &Command) -> anyhow::Result<()> {
    if let Command::Fault(command) = command {
        fault::check(command)?;
    }
    let target = Target::local(context);
    target::run(async {
        let client = target.connect().await?;
        match command {
            Command::Env(arguments) => print_variables(context, &client, arguments).await,
            Command::Token(arguments) => print_token(context, &client, arguments).await,
            Command::Fault(command) => fault::run(context, &client, command).await,
        }
    })
}

async fn print_variables(
    context: &Context,
    client: &kube::Client,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let mut admin = Tunnel::open(client.clone(), gateway(), LIMIT).await?;
    let node = node_address(client).await?;
    let folder = context.cluster.kubeconfig().with_file_name("google");
    let files = write_files(&folder, &mut admin, arguments).await?;
    let variables = variables(&files, &folder, &node);
    let lines: Vec<_> =
        variables.iter().map(|(name, value)| format!("export {name}='{value}'")).collect();
    output::result(context, &lines.join("\n"), serde_json::json!(variables));
    Ok(())
}

async fn print_token(
    context: &Context,
    client: &kube::Client,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let mut admin = Tunnel::open(client.clone(), gateway(), LIMIT).await?;
    let token = token(&mut admin, arguments).await?;
    output::result(context, &token, serde_json::json!({ "access_token": token }));
    Ok(())
}

/// The gateway's admin port.
fn gateway() -> Address {
    Address::new("google-emulation", "google-admin", 8081)
}

async fn token(admin: &mut Tunnel, arguments: &Arguments) -> anyhow::Result<String> {
    let body = serde_json::json!({
        "member": arguments.member,
        "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
        "lifetimeSeconds": arguments.lifetime,
    });
    let json = [("host", "localhost"), ("content-type", "application/json")];
    let answer = admin.http("POST", "/tokens", &json, body.to_string()).await?;
    let token = answer.json()["access_token"].as_str().map(str::to_owned);
    token.ok_or_else(|| {
        let why = answer.json()["error"]["message"].as_str().map_or_else(|| answer.text(), str::to_owned);
        exit::error(
            exit::USAGE,
            format!(
                "the emulator gives `{}` no token: {why}\nhint: --as user:EMAIL, or --as serviceAccount:EMAIL",
                arguments.member
            ),
        )
    })
}

/// What the variables point at.
struct Files {
    certificate: PathBuf,
    token: PathBuf,
    project: String,
}

/// The files are in the cluster's own folder, and go with it.
async fn write_files(
    folder: &Path,
    admin: &mut Tunnel,
    arguments: &Arguments,
) -> anyhow::Result<Files> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create `{}`", folder.display()))?;
    let host = [("host", "localhost")];
    let certificate = admin.http("GET", "/ca.pem", &host, "").await?.text();
    let world = admin.http("GET", "/world", &host, "").await?.json();
    let project = world["project"]["id"].as_str().unwrap_or_default().to_owned();
    let files = Files { certificate: folder.join("ca.pem"), token: folder.join("token"), project };
    let token = token(admin, arguments).await?;
    for (path, text) in [(&files.certificate, &certificate), (&files.token, &token)] {
        write_private(path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(files)
}

/// A token is a password for an hour.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// gcloud's own settings and caches stay apart from the user's.
fn variables(files: &Files, folder: &Path, node: &str) -> BTreeMap<&'static str, String> {
    let certificate = files.certificate.display().to_string();
    let proxy = format!("http://{node}:{PROXY_PORT}");
    let mut variables = BTreeMap::from([
        ("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", files.token.display().to_string()),
        ("CLOUDSDK_CONFIG", folder.join("gcloud").display().to_string()),
        ("CLOUDSDK_CORE_PROJECT", files.project.clone()),
        ("GOOGLE_CLOUD_PROJECT", files.project.clone()),
        // Nobody answers at 169.254.169.254 on the host, and gcloud asks several times a command.
        ("CLOUDSDK_COMPUTE_GCE_METADATA_CHECK_TIMEOUT_SEC", "1".to_owned()),
        ("NO_GCE_CHECK", "true".to_owned()),
    ]);
    for name in ["HTTPS_PROXY", "https_proxy"] {
        variables.insert(name, proxy.clone());
    }
    for name in ["CLOUDSDK_CORE_DISABLE_PROMPTS", "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING"] {
        variables.insert(name, "1".to_owned());
    }
    // Each reads another one, and the more general beat gcloud's own.
    for name in [
        "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
    ] {
        variables.insert(name, certificate.clone());
    }
    variables
}

/// The one node's address, which Linux routes to without more ado.
async fn node_address(client: &kube::Client) -> anyhow::Result<String> {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default().limit(1)).await?;
    let addresses = nodes.items.into_iter().filter_map(|it| it.status?.addresses).flatten();
    let mut inside = addresses.filter(|it| it.type_ == "InternalIP");
    Ok(inside.next().context("the node has no address")?.address)
}
