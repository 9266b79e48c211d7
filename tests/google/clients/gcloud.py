"""Judges the emulated cloud by the real gcloud, signed in through the metadata server as in a pod.

Needs root (a network namespace of its own) and gcloud. One JSON line per case on stdout; ends with 1 when a case failed.
The program comes from MLFLOW_GKE_GOOGLE_EMULATOR. Arguments are parts of case names; without any, all run, and each can
run alone.
"""

import base64
import json
import os
import shutil
import subprocess
import sys

from metadata_lab import CLUSTER, NUMBER, POOL, PROJECT, REGION, WORKLOAD, WORLD, ZONE, Lab, case, equal, inside, main, sa

ME = sa("mlflow")
# Commands of an administrator's day; the pod that types them is one here.
WORLD["bindings"].append({"on": "project", "role": "roles/owner", "members": [f"serviceAccount:{ME}"]})


def environment(lab):
    """Nothing of this machine's own gcloud is seen or changed."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "CLOUDSDK_CONFIG": str(lab.folder / "gcloud"),
        "CLOUDSDK_CORE_PROJECT": PROJECT,
        "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(lab.ca),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        "CLOUDSDK_CORE_SHOULD_PROMPT_TO_ENABLE_API": "false",
        "KUBECONFIG": str(lab.folder / "kubeconfig"),
    }


def gcloud(lab, *words, ok=True):
    """What a command prints, as JSON where it is asked for; its errors where it is to fail."""
    done = subprocess.run(["gcloud", *words], env=environment(lab), capture_output=True, text=True, timeout=120)
    if not ok:
        assert done.returncode != 0, f"it succeeded: {done.stdout}"
        return done.stderr
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--format=json" in words else done.stdout.strip()


def forget(lab):
    """Nobody has a token from before: gcloud keeps its own, in its folder."""
    lab.forget()
    shutil.rmtree(lab.folder / "gcloud", ignore_errors=True)


def refused(lab, *words):
    """The errors of a command of somebody who may nothing."""
    lab.pods(sa("powerless"))
    forget(lab)
    try:
        return gcloud(lab, *words, ok=False)
    finally:
        lab.pods()
        forget(lab)


# -- who one is ---------------------------------------------------------------------------------


@case
def auth_list(lab):
    found = gcloud(lab, "auth", "list", "--format=json")
    equal(found, [{"account": ME, "status": "ACTIVE"}])


@case
def auth_print_access_token(lab):
    token = gcloud(lab, "auth", "print-access-token")
    status, answer = lab.call("GET", f"https://cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}", token=token)
    equal((status, answer["projectId"]), (200, PROJECT))


@case
def auth_print_identity_token(lab):
    token = gcloud(lab, "auth", "print-identity-token", "--audiences=https://example.com")
    claims = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    equal((claims["aud"], claims["email"]), ("https://example.com", ME))


@case
def config_helper(lab):
    found = gcloud(lab, "config", "config-helper", "--format=json")
    inside("ya29.", found["credential"]["access_token"])


@case
def missing_binding(lab):
    lab.bind("mlflow", [])
    forget(lab)
    try:
        error = gcloud(lab, "projects", "describe", PROJECT, ok=False)
    finally:
        lab.bind("mlflow", [WORKLOAD])
    # gcloud asks for an identity token first, and takes any 403 for a concealed server.
    inside("MetadataServerException", error)
    inside("The request is rejected. Please check if the metadata server is concealed.", error)
    equal(gcloud(lab, "projects", "describe", PROJECT, "--format=value(projectId)"), PROJECT)


# -- project and APIs ---------------------------------------------------------------------------


@case
def projects_describe(lab):
    found = gcloud(lab, "projects", "describe", PROJECT, "--format=json")
    equal((found["projectId"], found["projectNumber"], found["lifecycleState"]), (PROJECT, str(NUMBER), "ACTIVE"))


@case
def projects_describe_of_somebody_elses(lab):
    error = gcloud(lab, "projects", "describe", "somebody-elses", ok=False)
    inside("does not have permission to access projects instance [somebody-elses]", error)


@case
def projects_add_and_remove_iam_policy_binding(lab):
    words = ["projects", PROJECT, f"--member=serviceAccount:{sa('other')}", "--role=roles/cloudsql.client"]
    add = ["projects", "add-iam-policy-binding", *words[1:], "--condition=None", "--format=json"]
    policy = gcloud(lab, *add)
    row = {"role": "roles/cloudsql.client", "members": [f"serviceAccount:{sa('other')}"]}
    assert row in policy["bindings"], policy
    assert row in gcloud(lab, "projects", "get-iam-policy", PROJECT, "--format=json")["bindings"]
    policy = gcloud(lab, "projects", "remove-iam-policy-binding", *words[1:], "--condition=None", "--format=json")
    assert row not in policy["bindings"], policy


@case
def projects_binding_with_a_condition(lab):
    condition = "expression=resource.name.startsWith('projects/_/buckets/mlflow'),title=mlflow only"
    words = [PROJECT, f"--member=serviceAccount:{sa('other')}", "--role=roles/storage.objectUser", f"--condition={condition}",
             "--format=json"]
    policy = gcloud(lab, "projects", "add-iam-policy-binding", *words)
    rows = [it for it in policy["bindings"] if it["role"] == "roles/storage.objectUser"]
    equal(rows[0]["condition"]["title"], "mlflow only")
    policy = gcloud(lab, "projects", "remove-iam-policy-binding", *words)
    equal([it for it in policy["bindings"] if it["role"] == "roles/storage.objectUser"], [])


@case
def projects_binding_of_a_missing_account(lab):
    error = gcloud(lab, "projects", "add-iam-policy-binding", PROJECT, f"--member=serviceAccount:{sa('gone')}",
                   "--role=roles/viewer", "--condition=None", ok=False)
    inside(f"Service account {sa('gone')} does not exist.", error)


@case
def services_enable_one_and_many(lab):
    gcloud(lab, "services", "enable", "monitoring.googleapis.com")
    gcloud(lab, "services", "enable", "compute.googleapis.com", "sqladmin.googleapis.com")
    found = gcloud(lab, "services", "list", "--enabled", "--format=value(config.name)").split()
    assert {"monitoring.googleapis.com", "compute.googleapis.com", "sqladmin.googleapis.com"} <= set(found), found


@case
def services_disabled(lab):
    url = f"https://serviceusage.googleapis.com/v1/projects/{PROJECT}/services/artifactregistry.googleapis.com"
    lab.call("POST", f"{url}:disable", {})
    try:
        error = gcloud(lab, "artifacts", "repositories", "list", f"--location={REGION}", ok=False)
    finally:
        lab.call("POST", f"{url}:enable", {})
    inside(f"Artifact Registry API has not been used in project {NUMBER} before or it is disabled", error)


# -- service accounts ---------------------------------------------------------------------------


@case
def service_accounts_create_and_describe(lab):
    gcloud(lab, "iam", "service-accounts", "create", "made-here", "--display-name=Made here")
    found = gcloud(lab, "iam", "service-accounts", "describe", sa("made-here"), "--format=json")
    equal((found["email"], found["displayName"]), (sa("made-here"), "Made here"))
    emails = gcloud(lab, "iam", "service-accounts", "list", "--format=value(email)").split()
    assert sa("made-here") in emails and ME in emails, emails
    error = gcloud(lab, "iam", "service-accounts", "create", "made-here", ok=False)
    inside("already exists", error)
    gcloud(lab, "iam", "service-accounts", "delete", sa("made-here"))
    error = gcloud(lab, "iam", "service-accounts", "describe", sa("made-here"), ok=False)
    inside("NOT_FOUND", error)


@case
def service_accounts_binding(lab):
    member = f"serviceAccount:{POOL}[mlflow/another]"
    words = [sa("other"), f"--member={member}", "--role=roles/iam.workloadIdentityUser", "--format=json"]
    policy = gcloud(lab, "iam", "service-accounts", "add-iam-policy-binding", *words)
    inside(member, policy["bindings"][0]["members"])
    policy = gcloud(lab, "iam", "service-accounts", "get-iam-policy", sa("other"), "--format=json")
    inside(member, policy["bindings"][0]["members"])


@case
def service_accounts_refused(lab):
    error = refused(lab, "iam", "service-accounts", "list")
    inside("PERMISSION_DENIED", error)
    inside("iam.serviceAccounts.list", error)


# -- GKE ----------------------------------------------------------------------------------------


@case
def clusters_list(lab):
    found = gcloud(lab, "container", "clusters", "list", "--format=json")
    assert (CLUSTER, ZONE, "RUNNING") in [(it["name"], it["location"], it["status"]) for it in found], found
    inside(CLUSTER, gcloud(lab, "container", "clusters", "list"))


@case
def clusters_describe(lab):
    found = gcloud(lab, "container", "clusters", "describe", CLUSTER, f"--zone={ZONE}", "--format=json")
    equal((found["endpoint"], found["workloadIdentityConfig"]["workloadPool"]), ("10.2.0.1:6443", POOL))
    equal(found["nodeConfig"]["workloadMetadataConfig"]["mode"], "GKE_METADATA")


@case
def clusters_get_credentials(lab):
    gcloud(lab, "container", "clusters", "get-credentials", CLUSTER, f"--zone={ZONE}")
    text = (lab.folder / "kubeconfig").read_text()
    inside(f"current-context: gke_{PROJECT}_{ZONE}_{CLUSTER}", text)
    inside("server: https://10.2.0.1:6443", text)
    inside("certificate-authority-data: " + base64.b64encode(WORLD["kubernetes"]["certificateAuthority"].encode()).decode(), text)
    inside("command: gke-gcloud-auth-plugin", text)


@case
def clusters_create(lab):
    gcloud(lab, "container", "clusters", "create", "second", f"--zone={ZONE}", "--num-nodes=1", f"--workload-pool={POOL}")
    found = gcloud(lab, "container", "clusters", "describe", "second", f"--zone={ZONE}", "--format=json")
    equal((found["status"], found["endpoint"]), ("RUNNING", "10.2.0.1:6443"))
    error = gcloud(lab, "container", "clusters", "create", "second", f"--zone={ZONE}", ok=False)
    inside(f"Already exists: projects/{PROJECT}/", error)


@case
def clusters_server_config(lab):
    found = gcloud(lab, "container", "get-server-config", f"--zone={ZONE}", "--format=json")
    equal(found["defaultClusterVersion"], WORLD["kubernetes"]["version"])


@case
def clusters_missing(lab):
    error = gcloud(lab, "container", "clusters", "describe", "gone", f"--zone={ZONE}", ok=False)
    inside("code=404", error)
    inside("clusters/gone", error)


@case
def clusters_refused(lab):
    error = refused(lab, "container", "clusters", "describe", CLUSTER, f"--zone={ZONE}")
    inside('code=403, message=Required "container.clusters.get" permission(s) for', error)


@case
def gke_auth_plugin(lab):
    done = subprocess.run(["gke-gcloud-auth-plugin"], env=environment(lab), capture_output=True, text=True, timeout=60)
    equal(done.returncode, 0)
    found = json.loads(done.stdout)
    inside("ya29.", found["status"]["token"])


# -- Artifact Registry --------------------------------------------------------------------------


@case
def repositories_create_list_and_delete(lab):
    where = f"--location={REGION}"
    gcloud(lab, "artifacts", "repositories", "create", "made-here", "--repository-format=docker", where, "--description=Made here")
    found = gcloud(lab, "artifacts", "repositories", "describe", "made-here", where, "--format=json")
    equal((found["name"], found["format"], found["description"]),
          (f"projects/{PROJECT}/locations/{REGION}/repositories/made-here", "DOCKER", "Made here"))
    inside("made-here", gcloud(lab, "artifacts", "repositories", "list", where, "--format=value(name)"))
    error = gcloud(lab, "artifacts", "repositories", "create", "made-here", "--repository-format=docker", where, ok=False)
    inside("ALREADY_EXISTS: the repository already exists", error)
    gcloud(lab, "artifacts", "repositories", "delete", "made-here", where)
    error = gcloud(lab, "artifacts", "repositories", "describe", "made-here", where, ok=False)
    inside("NOT_FOUND: Requested entity was not found.", error)


@case
def repositories_policy(lab):
    where = f"--location={REGION}"
    gcloud(lab, "artifacts", "repositories", "create", "shared", "--repository-format=docker", where)
    words = ["shared", where, f"--member=serviceAccount:{sa('powerless')}", "--role=roles/artifactregistry.reader", "--format=json"]
    policy = gcloud(lab, "artifacts", "repositories", "add-iam-policy-binding", *words)
    row = {"role": "roles/artifactregistry.reader", "members": [f"serviceAccount:{sa('powerless')}"]}
    equal(policy["bindings"], [row])
    equal(gcloud(lab, "artifacts", "repositories", "get-iam-policy", "shared", where, "--format=json")["bindings"], [row])
    # The reader of one repository may see that one and make none.
    token = lab.token(f"serviceAccount:{sa('powerless')}")
    base = f"https://artifactregistry.googleapis.com/v1/projects/{PROJECT}/locations/{REGION}/repositories"
    equal(lab.call("GET", f"{base}/shared", token=token)[0], 200)
    status, answer = lab.call("POST", f"{base}?repositoryId=another", {"format": "DOCKER"}, token=token)
    equal((status, answer["error"]["message"]),
          (403, "Permission 'artifactregistry.repositories.create' denied on resource "
                f"'//artifactregistry.googleapis.com/projects/{PROJECT}/locations/{REGION}' (or it may not exist)."))


@case
def repositories_refused(lab):
    error = refused(lab, "artifacts", "repositories", "list", f"--location={REGION}")
    inside('"status":"PERMISSION_DENIED"', error)
    inside('"permission":"artifactregistry.repositories.list"', error)


if __name__ == "__main__":
    if not shutil.which("gcloud"):
        sys.exit("gcloud is not installed: install the Google Cloud CLI, or leave these cases out")
    main(Lab())
