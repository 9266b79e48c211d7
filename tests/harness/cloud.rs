//! The emulated Google Cloud of a scene, as its owner administers it from the host, and as only a
//! test may treat it: through the admin ports.

use anyhow::{Context as _, ensure};
use health::tunnel::Address;
use serde_json::{Value, json};

use crate::{Answer, LIMIT, Scene, program, run};

/// The project of `deploy/cluster/google/world.yaml`.
pub const PROJECT: &str = "mlflow-gke-local";
/// Its bucket.
pub const BUCKET: &str = "mlflow-artifacts";

/// Google's names, asked by what comes with Python: it reads the variables as every client does.
const CALL: &str = r#"
import json, os, sys, urllib.error, urllib.request
method, url, body = sys.argv[1:]
token = open(os.environ["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"]).read().strip()
headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
request = urllib.request.Request(url, body.encode() or None, headers, method=method)
try:
    answer = urllib.request.urlopen(request, timeout=30)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps({"status": answer.status, "body": answer.read().decode()}))
"#;

/// Takes every object out of a bucket, in one process: there may be hundreds.
const EMPTY: &str = r#"
import json, os, sys, urllib.parse, urllib.request
url = "https://storage.googleapis.com/storage/v1/b/" + sys.argv[1] + "/o"
token = open(os.environ["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"]).read().strip()
def send(method, url):
    request = urllib.request.Request(url, headers={"Authorization": "Bearer " + token}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or "{}")
while names := [it["name"] for it in send("GET", url).get("items", [])]:
    for name in names:
        send("DELETE", url + "/" + urllib.parse.quote(name, safe=""))
"#;
const BUCKETS: &str = "https://storage.googleapis.com/storage/v1/b";

/// A resource that has a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The project.
    Project,
    /// A bucket, by its name.
    Bucket(&'static str),
    /// A service account of the project, by its id.
    ServiceAccount(&'static str),
}

impl On {
    fn url(self, verb: &str) -> String {
        match self {
            Self::Project => {
                format!("https://cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}:{verb}")
            }
            Self::Bucket(name) => {
                format!("{BUCKETS}/{name}/iam")
            }
            Self::ServiceAccount(id) => {
                let email = google_sa(id);
                format!(
                    "https://iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts/{email}:{verb}"
                )
            }
        }
    }
}

/// The address of a service account of the project.
#[must_use]
pub fn google_sa(id: &str) -> String {
    format!("{id}@{PROJECT}.iam.gserviceaccount.com")
}

/// The emulated Google Cloud.
pub struct Cloud<'a> {
    scene: &'a Scene,
    /// What `google env` prints.
    environment: Vec<(String, String)>,
}

impl<'a> Cloud<'a> {
    /// As the project's owner.
    ///
    /// # Errors
    /// `google env` fails.
    pub fn of(scene: &'a Scene) -> anyhow::Result<Self> {
        Self::seen_by(scene, "user:you@example.com")
    }

    /// As a member of policies.
    ///
    /// # Errors
    /// `google env` fails.
    pub fn seen_by(scene: &'a Scene, member: &str) -> anyhow::Result<Self> {
        let printed = scene.run(&["--json", "google", "env", "--as", member])?.expect(0)?;
        let last: Value = serde_json::from_str(printed.stdout.lines().last().unwrap_or_default())?;
        let variables = last["result"].as_object().context("`google env` prints variables")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let environment = variables.iter().map(|(name, value)| (name.clone(), text(value)));
        Ok(Self { scene, environment: environment.collect() })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// There is no answer.
    pub fn call(&self, method: &str, url: &str, body: &Value) -> anyhow::Result<Answer> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let printed = self.python(&[CALL, method, url, &body])?;
        let answer: Value = serde_json::from_str(&printed).context(printed)?;
        let status = answer["status"].as_u64().and_then(|it| u16::try_from(it).ok());
        let body = answer["body"].as_str().unwrap_or_default().to_owned();
        Ok(Answer { status: status.context("an answer has a status")?, body })
    }

    /// Sends a request that has to be answered with 200 or 204, and reads its JSON.
    ///
    /// # Errors
    /// It is refused.
    pub fn do_it(&self, method: &str, url: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self.call(method, url, body)?;
        ensure!([200, 204].contains(&answer.status), "{method} {url}: {answer:?}");
        Ok(serde_json::from_str(&answer.body).unwrap_or_default())
    }

    /// The bindings of a resource's policy.
    ///
    /// # Errors
    /// It is refused.
    pub fn bindings(&self, on: On) -> anyhow::Result<Vec<Value>> {
        let policy = match on {
            On::Bucket(_) => {
                let url = format!("{}?optionsRequestedPolicyVersion=3", on.url(""));
                self.do_it("GET", &url, &Value::Null)?
            }
            _ => {
                let version = json!({ "options": { "requestedPolicyVersion": 3 } });
                self.do_it("POST", &on.url("getIamPolicy"), &version)?
            }
        };
        Ok(policy["bindings"].as_array().cloned().unwrap_or_default())
    }

    /// Replaces the bindings of a resource's policy.
    ///
    /// # Errors
    /// It is refused.
    pub fn set_bindings(&self, on: On, bindings: &[Value]) -> anyhow::Result<()> {
        let policy = json!({ "version": 3, "bindings": bindings });
        match on {
            On::Bucket(_) => self.do_it("PUT", &on.url(""), &policy)?,
            _ => self.do_it("POST", &on.url("setIamPolicy"), &json!({ "policy": policy }))?,
        };
        Ok(())
    }

    /// Makes a bucket that is not there yet.
    ///
    /// # Errors
    /// It is refused.
    pub fn ensure_bucket(&self, name: &str) -> anyhow::Result<()> {
        let body = json!({ "name": name, "location": "EUROPE-NORTH1" });
        let made = self.call("POST", &format!("{BUCKETS}?project={PROJECT}"), &body)?;
        ensure!([200, 409].contains(&made.status), "make bucket `{name}`: {made:?}");
        Ok(())
    }

    /// Deletes a bucket with all that is in it.
    ///
    /// # Errors
    /// It is refused.
    pub fn remove_bucket(&self, name: &str) -> anyhow::Result<()> {
        self.python(&[EMPTY, name]).with_context(|| format!("empty bucket `{name}`"))?;
        self.do_it("DELETE", &format!("{BUCKETS}/{name}"), &Value::Null).map(drop)
    }

    /// Runs a script with nothing of the test's own environment but the path.
    fn python(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut client = program("python3");
        client.arg("-c").args(words).env_clear();
        client.env("PATH", std::env::var_os("PATH").context("there is no PATH")?);
        client.envs(self.environment.iter().cloned());
        Ok(run(client, LIMIT)?.expect(0)?.stdout)
    }

    /// Asks the gateway's admin port, which no policy guards.
    ///
    /// # Errors
    /// It is refused.
    pub fn operate(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let address = Address::new("google-emulation", "google-admin", 8081);
        self.ask_admin(address, "POST", path, body)
    }

    /// Makes the metadata server forget its tokens, as if an hour were over.
    ///
    /// # Errors
    /// It is refused.
    pub fn forget_tokens(&self) -> anyhow::Result<()> {
        let address = Address::new("kube-system", "google-metadata-admin", 8988);
        self.ask_admin(address, "DELETE", "/tokens", &Value::Null)
    }

    fn ask_admin(
        &self,
        address: Address,
        method: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<()> {
        let answer = self.scene.api.ask(address, method, path, body)?;
        ensure!(answer.status == 200, "{method} {path}: {answer:?}");
        Ok(())
    }
}
