//! The proof that MLflow works: not that its pods are ready, but that a run, a metric and an
//! artifact go in through the Service and are found again, in the database and in the bucket.

mod mlflow;
mod rows;
mod store;

pub use rows::Database;
pub use store::{FakeGcs, NoStore, ObjectStore};

use crate::{
    error::{Error, Result},
    exec::{self, exec},
    tunnel::{Address, Tunnel},
};
use ::watch::error_chain;
use kube::Client;
use mlflow::{Mlflow, refused};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The experiment that all round trips share; its runs are deleted, it stays.
pub const EXPERIMENT: &str = "mlflow-gke-round-trip";

/// The artifact's name, below the run's own path.
const FILE: &str = "round-trip.txt";

/// Reads an address from inside a pod. Ready is not yet reachable: kube-proxy learns of an endpoint
/// after the Deployment does, so a refused connection is tried again for a while. An answer, whatever
/// its status, is final.
const REACH: &str = "
import sys, time, urllib.error, urllib.request
end = time.monotonic() + 10
while True:
    try:
        sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())
        break
    except urllib.error.HTTPError:
        raise
    except OSError:
        if time.monotonic() > end:
            raise
        time.sleep(0.1)
";

/// Where to prove it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Service of the tracking server.
    pub server: Address,
    /// The `Host` that requests name. Allowed hosts are compared with their port.
    pub host: String,
    /// How long to wait for a ready pod behind the Service.
    pub patience: Duration,
    /// The database to look into; none where it is out of reach.
    pub database: Option<Database>,
    /// How hints begin, such as `kubectl --context kind-mlflow-gke --namespace mlflow`.
    pub kubectl: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            server: Address::new("mlflow", "mlflow", 5000),
            host: "mlflow.mlflow.svc.cluster.local:5000".to_owned(),
            patience: Duration::from_secs(30),
            database: Some(Database::default()),
            kubectl: "kubectl --namespace mlflow".to_owned(),
        }
    }
}

/// One step that has been taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was done, such as `log a metric`.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What was seen, in a few words.
    pub seen: String,
}

/// What was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The version that the server says it has.
    pub version: String,
    /// The experiment, which stays.
    pub experiment_id: String,
    /// The run, which is marked deleted.
    pub run_id: String,
    /// How long everything took.
    pub took: Duration,
}

/// Takes the round trip. Each step is told when it is done; the first one that fails ends it, and
/// leaves what was written as evidence.
pub async fn round_trip<S: ObjectStore>(
    client: &Client,
    settings: &Settings,
    store: &mut S,
    on_step: impl FnMut(&Step),
) -> Result<Proof> {
    let begun = Instant::now();
    let mut trip = Trip { client, settings, on_step };
    let tunnel = Tunnel::open(client.clone(), settings.server.clone(), settings.patience);
    let tunnel = trip.step("find the service", tunnel, |_| settings.server.to_string()).await?;
    let mut server = Mlflow::new(tunnel, &settings.host);
    let version = trip.step("ask for the version", server.version(), String::clone).await?;
    trip.route(&server, &version).await?;
    let experiment =
        trip.step("find or create the experiment", server.experiment(EXPERIMENT), String::clone);
    let experiment_id = experiment.await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let run = trip.step("create a run", server.create_run(&experiment_id, now), |it| it.id.clone());
    let run = run.await?;
    let nothing = |_: &()| String::new();
    trip.step("log a metric", server.log_metric(&run.id, now), nothing).await?;
    trip.step("log a parameter", server.log_param(&run.id), nothing).await?;
    trip.artifact(&mut server, &run, store, now).await?;
    trip.rows(&run.id).await?;
    trip.removal(&mut server, &run, store).await?;
    trip.step("delete the run", server.delete_run(&run.id, now), nothing).await?;
    Ok(Proof { version, experiment_id, run_id: run.id, took: begun.elapsed() })
}

struct Trip<'a, F> {
    client: &'a Client,
    settings: &'a Settings,
    on_step: F,
}

impl<F: FnMut(&Step)> Trip<'_, F> {
    async fn step<T>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<T>>,
        seen: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let begun = Instant::now();
        match work.await {
            Ok(done) => {
                (self.on_step)(&Step { name, took: begun.elapsed(), seen: seen(&done) });
                Ok(done)
            }
            Err(Error::Unexpected { what, answer }) => Err(Error::RoundTrip {
                step: name,
                message: format!("{what}: {answer}"),
                hint: self.hint(&answer),
                source: None,
            }),
            Err(error) => {
                let message = error_chain(&error);
                let hint = self.hint(&message);
                Err(Error::RoundTrip { step: name, message, hint, source: Some(Box::new(error)) })
            }
        }
    }

    /// The next command, by what the answer says.
    fn hint(&self, answer: &str) -> String {
        let kubectl = &self.settings.kubectl;
        if answer.contains("Invalid Host header") || answer.contains("DNS rebinding") {
            let host = &self.settings.host;
            return format!("add `{host}` to MLFLOW_SERVER_ALLOWED_HOSTS in base/config.env");
        }
        if answer.contains("no ready endpoint") {
            return format!("{kubectl} get pods,endpointslices");
        }
        format!("{kubectl} logs --selector app={} --tail 50", self.settings.server.service)
    }

    /// The tunnel goes to a pod; that the Service itself has a name and a route, only a pod can see.
    async fn route(&mut self, server: &Mlflow, version: &str) -> Result<()> {
        let pod = server.pod().to_owned();
        let url = format!("http://{}/version", self.settings.host);
        let argv = ["python3", "-c", REACH, &url];
        let namespace = &self.settings.server.namespace;
        let limit = Duration::from_secs(30);
        let command = exec::Command { namespace, pod: &pod, container: None, argv: &argv, limit };
        let client = self.client;
        let work = async {
            let output = exec(client, &command).await?;
            if output.code != Some(0) || output.stdout.trim() != version {
                let last = output.stderr.lines().last().unwrap_or_default();
                let answer = format!("`{}` {last}", output.stdout.trim());
                return Err(Error::Unexpected { what: format!("{url} in pod `{pod}`"), answer });
            }
            Ok(())
        };
        self.step("reach the service by its name, in the cluster", work, |_| url.clone()).await
    }

    async fn artifact<S: ObjectStore>(
        &mut self,
        server: &mut Mlflow,
        run: &mlflow::Run,
        store: &mut S,
        now: Duration,
    ) -> Result<()> {
        let path = format!("{}/{FILE}", run.artifacts);
        let content = format!("round trip of run {} at {}\n", run.id, now.as_millis());
        let put = server.put_artifact(&path, content.clone());
        self.step("put an artifact", put, |_| path.clone()).await?;
        let listing = async {
            let files = server.list_artifacts(&run.id).await?;
            let found = files.iter().any(|it| it == FILE);
            found.then_some(()).ok_or_else(|| refused("list the artifacts", files.join(", ")))
        };
        self.step("list the artifacts", listing, |_| FILE.to_owned()).await?;
        let reading = async {
            let read = server.get_artifact(&path).await?;
            let same = read == content;
            same.then_some(()).ok_or_else(|| refused("read the artifact back", read))
        };
        let length = format!("{} bytes", content.len());
        self.step("read the artifact back", reading, |_| length).await?;
        if !S::CHECKS {
            return Ok(());
        }
        let looking = async {
            let found = store.exists(&path).await?;
            found.then_some(()).ok_or_else(|| refused("look into the bucket", "no such object"))
        };
        self.step("find the object in the bucket", looking, |_| path.clone()).await
    }

    async fn rows(&mut self, run_id: &str) -> Result<()> {
        let Some(database) = &self.settings.database else { return Ok(()) };
        let client = self.client;
        let work = async {
            let rows = database.rows(client, run_id).await?;
            let expected = rows::Rows { runs: 1, metrics: 1, params: 1 };
            (rows == expected)
                .then_some(())
                .ok_or_else(|| refused("count the rows", format!("{rows:?}")))
        };
        let seen = |_: &()| "1 run, 1 metric, 1 parameter".to_owned();
        self.step("find the rows in the database", work, seen).await
    }

    async fn removal<S: ObjectStore>(
        &mut self,
        server: &mut Mlflow,
        run: &mlflow::Run,
        store: &mut S,
    ) -> Result<()> {
        let path = format!("{}/{FILE}", run.artifacts);
        let work = server.delete_artifact(&path);
        self.step("delete the artifact", work, |_| path.clone()).await?;
        let looking = async {
            let files = server.list_artifacts(&run.id).await?;
            let is_listed = files.iter().any(|it| it == FILE);
            let is_stored = S::CHECKS && store.exists(&path).await?;
            match is_listed || is_stored {
                true => Err(refused("look for the deleted artifact", "it is still there")),
                false => Ok(()),
            }
        };
        self.step("see that it is gone", looking, |_| String::new()).await
    }
}
