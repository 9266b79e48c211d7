//! The servers of a deployment, wired to each other as the manifests wire them.

use crate::{
    container::{Container, Image, Output, Pod},
    http::Http,
    scene::Scene,
};
use anyhow::{Context as _, ensure};
use std::time::Duration;

/// How long a start may take on a machine that does other things as well.
pub(crate) const START: Duration = Duration::from_secs(120);

pub(crate) const PASSWORD: &str = "c0rrect-horse_battery/staple";
pub(crate) const BUCKET: &str = "mlflow-artifacts";

const DATA: &str = "/var/lib/postgresql/data";
const SECRET: &str = "/run/secrets/mlflow-database";

/// The server's settings as base/kustomization.yaml gives them to every environment.
const SERVER_ENV: &str = include_str!("../../deploy/mlflow/base/server.env");

/// Volumes for PostgreSQL as the kubelet would hand them over: the group of the pod may write, and
/// the password is a file. The value keeps the volumes from going away.
pub(crate) async fn database_volumes(scene: &Scene) -> anyhow::Result<Container> {
    database_volumes_with(scene, "").await
}

/// The same, and what a shell does to the data folder before, as root.
pub(crate) async fn database_volumes_with(
    scene: &Scene,
    prepare: &str,
) -> anyhow::Result<Container> {
    let script = format!(
        "set -e; cd {DATA}; {prepare}
        chgrp -R 10002 . && chmod 2775 . && printf %s \"$PASSWORD\" >{SECRET}/password
        chgrp 10002 {SECRET}/password && chmod 0440 {SECRET}/password"
    );
    let pod = Pod::new(Image::Postgres, "postgres-volumes").volume(DATA).volume(SECRET);
    prepared(pod.root().env("PASSWORD", PASSWORD).command(["sh", "-c", &script]), scene).await
}

async fn prepared(pod: Pod, scene: &Scene) -> anyhow::Result<Container> {
    let container = pod.start(scene).await?;
    ensure!(container.exits(START).await? == 0, "the volumes could not be prepared");
    Ok(container)
}

/// PostgreSQL as components/postgres runs it.
pub(crate) fn postgres(volumes: &Container) -> Pod {
    Pod::new(Image::Postgres, "postgres")
        .volumes_of(volumes)
        .tmpfs("/var/run/postgresql")
        .env("PGDATA", format!("{DATA}/pgdata"))
        .env("POSTGRES_USER", "mlflow")
        .env("POSTGRES_DB", "mlflow")
        .env("POSTGRES_PASSWORD_FILE", format!("{SECRET}/password"))
}

/// PostgreSQL, accepting connections.
pub(crate) async fn started_postgres(
    scene: &Scene,
    volumes: &Container,
) -> anyhow::Result<Container> {
    accepting(postgres(volumes), scene).await
}

/// PostgreSQL for tests of others: its data are in memory, since nothing here outlives it, and a
/// disk under load would make each table of a migration wait.
pub(crate) async fn database(scene: &Scene) -> anyhow::Result<Container> {
    let script = "printf %s \"$PASSWORD\" >/tmp/password && exec postgres-server";
    let postgres = Pod::new(Image::Postgres, "postgres")
        .command(["sh", "-c", script])
        .tmpfs("/var/run/postgresql")
        .tmpfs(DATA)
        .env("PASSWORD", PASSWORD)
        .env("POSTGRES_PASSWORD_FILE", "/tmp/password");
    accepting(postgres, scene).await
}

async fn accepting(postgres: Pod, scene: &Scene) -> anyhow::Result<Container> {
    let postgres = postgres.start(scene).await?;
    postgres.says("database system is ready to accept connections", START).await?;
    Ok(postgres)
}

/// A query over TCP with a password, as a client would send it.
pub(crate) async fn psql_with(
    postgres: &Container,
    password: &str,
    query: &str,
) -> anyhow::Result<Output> {
    let command = ["psql", "-X", "-qtA", "-v", "ON_ERROR_STOP=1", "-h", postgres.host()];
    let command = command.into_iter().chain(["-U", "mlflow", "-d", "mlflow", "-c", query]);
    postgres.run(command, &[("PGPASSWORD", password)]).await
}

/// The answer to a query that must succeed.
pub(crate) async fn psql(postgres: &Container, query: &str) -> anyhow::Result<String> {
    let answer = psql_with(postgres, PASSWORD, query).await?;
    ensure!(answer.status == 0, "psql refused `{query}`: {}", answer.stderr);
    Ok(answer.stdout.trim().to_owned())
}

/// A volume for fake-gcs-server, writable for its group.
pub(crate) async fn bucket_volume(scene: &Scene) -> anyhow::Result<Container> {
    // Its own image has no shell.
    let script = "chgrp 10003 /data && chmod 2775 /data";
    let pod = Pod::new(Image::Postgres, "fake-gcs-server-volume").volume("/data").root();
    prepared(pod.command(["sh", "-c", script]), scene).await
}

/// fake-gcs-server as its manifest runs it, answering. It says more than there, which is how the
/// test knows that it listens.
pub(crate) async fn started_fake_gcs_server(
    scene: &Scene,
    volume: &Container,
) -> anyhow::Result<Container> {
    let name = format!("{}-fake-gcs-server:4443", scene.id);
    let arguments = [
        "-scheme=http",
        "-host=0.0.0.0",
        "-port=4443",
        "-backend=filesystem",
        "-filesystem-root=/data/buckets",
        "-data=/seed",
        &format!("-external-url=http://{name}"),
        &format!("-public-host={name}"),
        "-log-level=info",
    ];
    let pod = Pod::new(Image::FakeGcsServer, "fake-gcs-server").volumes_of(volume);
    let server = pod.command(arguments).start(scene).await?;
    server.says("server started at", START).await?;
    Ok(server)
}

/// A command of the MLflow image that talks to a database there.
pub(crate) fn database_client(role: &'static str, command: &str, database: &str) -> Pod {
    Pod::new(Image::Mlflow, role)
        .command([command])
        .env("MLFLOW_BACKEND_STORE_URI", "postgresql+psycopg2://")
        .env("PGCONNECT_TIMEOUT", "5")
        .env("PGHOST", database)
        .env("PGPORT", "5432")
        .env("PGUSER", "mlflow")
        .env("PGPASSWORD", PASSWORD)
        .env("PGDATABASE", "mlflow")
}

pub(crate) fn migration(role: &'static str, postgres: &Container) -> Pod {
    database_client(role, "mlflow-migrate", postgres.host())
}

/// The tracking server as base/deployment.yaml runs it, its artifacts in memory.
pub(crate) fn server(database: &str) -> anyhow::Result<Pod> {
    let mut pod = database_client("mlflow", "mlflow-server", database);
    for line in SERVER_ENV.lines().filter(|it| !it.is_empty() && !it.starts_with('#')) {
        let (name, value) = line.split_once('=').with_context(|| format!("server.env: {line}"))?;
        pod = pod.env(name, value);
    }
    Ok(pod.env("DEFAULT_ARTIFACT_ROOT", "/tmp/artifacts"))
}

/// A database with MLflow's schema and a server that serves it.
pub(crate) struct Served {
    pub(crate) http: Http,
    pub(crate) server: Container,
    pub(crate) postgres: Container,
}

pub(crate) async fn served(scene: &Scene) -> anyhow::Result<Served> {
    served_with(scene, |it| it).await
}

/// The same, with other settings.
pub(crate) async fn served_with(
    scene: &Scene,
    set: impl FnOnce(Pod) -> Pod,
) -> anyhow::Result<Served> {
    let postgres = database(scene).await?;
    let migration = migration("migrate", &postgres).start(scene).await?;
    // It waits for the schema, and reads its modules meanwhile.
    let server = set(server(postgres.host())?).start(scene).await?;
    ensure!(migration.exits(START).await? == 0, "the migration failed");
    server.says("Uvicorn running on", START).await?;
    let http = Http::new(server.address().await?);
    Ok(Served { http, server, postgres })
}
