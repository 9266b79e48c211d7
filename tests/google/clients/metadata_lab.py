"""A closed network namespace with the gateway, the metadata server and a pod at 169.254.169.254 and at 10.1.0.7.

Nothing here decides whether something is right: the cases do.
"""

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

PROJECT, NUMBER, REGION, ZONE, CLUSTER = "mlflow-rehearsal", 123456789012, "europe-north1", "europe-north1-a", "mlflow"
ADMIN, METADATA_ADMIN, METADATA = "http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://169.254.169.254"
POOL, OWNER = f"{PROJECT}.svc.id.goog", "user:owner@example.com"
NAMES = ("accounts.google.com artifactregistry cloudresourcemanager container iam iamcredentials oauth2 serviceusage sqladmin "
         "storage sts www").split()
POD, OTHER_POD = "169.254.169.254", "10.1.0.7"
WORKLOAD = f"serviceAccount:{POOL}[mlflow/mlflow]"
SERVICES = "artifactregistry cloudresourcemanager container iam iamcredentials serviceusage sts".split()
CASES = []


def case(function):
    """A case is a function of the laboratory; it fails by an exception."""
    CASES.append(function)
    return function


def sa(name):
    return f"{name}@{PROJECT}.iam.gserviceaccount.com"


def equal(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


def inside(part, text):
    assert part in text, f"{part!r} is not in {text!r}"


def run(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options).stdout


WORLD = {
    "project": {"id": PROJECT, "number": NUMBER, "region": REGION, "zone": ZONE, "cluster": CLUSTER},
    "kubernetes": {"endpoint": "10.2.0.1:6443", "certificateAuthority": "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
                   "version": "1.36.0-gke.1000000"},
    "services": [f"{it}.googleapis.com" for it in SERVICES],
    "serviceAccounts": [{"id": it} for it in ("mlflow", "other", "powerless")],
    "bindings": [
        {"on": "project", "role": "roles/owner", "members": [OWNER]},
        {"on": "serviceAccount:mlflow", "role": "roles/iam.workloadIdentityUser", "members": [WORKLOAD]},
        {"on": "serviceAccount:powerless", "role": "roles/iam.workloadIdentityUser", "members": [WORKLOAD]},
    ],
}


class Lab:
    """Everything that runs, and how to talk to it."""

    def __init__(self):
        program = os.environ.get("MLFLOW_GKE_GOOGLE_EMULATOR", "")
        if not os.path.exists(program):
            sys.exit("MLFLOW_GKE_GOOGLE_EMULATOR names no file: cargo build -p google-emulator")
        self.program, self.processes, self.gateway_options = program, [], []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="metadata-"))
        self.log, self.ca = self.folder / "log", self.folder / "ca.pem"

    # -- what runs ---------------------------------------------------------------------------

    def start(self, silent_for=0):
        run("ip", "link", "set", "lo", "up")
        run("ip", "address", "add", f"{OTHER_POD}/32", "dev", "lo")
        hosts = self.folder / "hosts"
        full = [it if "." in it else f"{it}.googleapis.com" for it in NAMES]
        hosts.write_text("127.0.0.1 localhost\n169.254.169.254 metadata.google.internal\n"
                         + "".join(f"127.0.0.1 {it}\n" for it in full))
        run("mount", "--bind", str(hosts), "/etc/hosts")
        world = self.folder / "world.json"
        world.write_text(json.dumps(WORLD))
        self.make_key()
        self.pods()
        self.spawn("gateway", "--world", world, "--state", self.folder / "state", "--kubernetes-jwks", self.folder / "jwks.json",
                   *self.gateway_options)
        self.wait(f"{ADMIN}/healthz")
        self.ca.write_bytes(urllib.request.urlopen(f"{ADMIN}/ca.pem").read())
        # The last option adds 169.254.169.254, which nobody has here yet.
        self.metadata = self.spawn(
            "metadata", "--world", world, "--pods", self.folder / "pods.json", "--ca-file", self.ca, "--gateway", "127.0.0.1:443",
            "--node", "node-1", "--admin-listen", "127.0.0.1:8082", "--silent-for", str(silent_for), "--add-address")
        self.wait(f"{METADATA_ADMIN}/healthz")
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            os.environ[name] = str(self.ca)
        os.environ.pop("SSL_CERT_DIR", None)

    def spawn(self, *words):
        process = subprocess.Popen([self.program, *map(str, words)], stderr=open(self.log, "a"))
        self.processes.append(process)
        return process

    def wait(self, url):
        for _ in range(200):
            if any(it.poll() is not None for it in self.processes):
                break
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(url, timeout=2).status == 200:
                    return
            time.sleep(0.05)
        sys.exit(f"{url} does not answer:\n{self.log.read_text()[-2000:]}")

    def stop(self):
        # The last first, and none is asked: an API server without its etcd would take minutes to end.
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        if "MLFLOW_GKE_KEEP_LABS" not in os.environ:
            shutil.rmtree(self.folder)

    def make_key(self):
        """The cluster's key, and its public half as an API server publishes it."""
        key = self.folder / "key.pem"
        run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(key))
        modulus = run("openssl", "rsa", "-in", str(key), "-noout", "-modulus").strip().split("=")[1]
        public = subprocess.run(["openssl", "rsa", "-in", str(key), "-RSAPublicKey_out", "-outform", "DER"],
                                check=True, capture_output=True).stdout
        text = lambda it: base64.urlsafe_b64encode(it).rstrip(b"=").decode()
        jwk = {"kty": "RSA", "alg": "RS256", "kid": text(hashlib.sha256(public).digest()), "n": text(bytes.fromhex(modulus)), "e": "AQAB"}
        (self.folder / "jwks.json").write_text(json.dumps({"keys": [jwk]}))

    # -- what is changed ---------------------------------------------------------------------

    def pods(self, google_sa=sa("mlflow"), pod="mlflow-0", known=True):
        """Who has the address of the clients here, and of which Google service account."""
        annotations = {"iam.gke.io/gcp-service-account": google_sa} if google_sa else {}
        this = {"namespace": "mlflow", "pod": pod, "kubernetes_sa": "mlflow", "annotations": annotations}
        other = {"namespace": "mlflow", "pod": "plain-0", "kubernetes_sa": "plain"}
        new = self.folder / "new.json"
        pods = {POD: this, OTHER_POD: other} if known else {}
        new.write_text(json.dumps({"signing_key": "key.pem", "nodes": ["127.0.0.9"], "pods": pods}))
        new.rename(self.folder / "pods.json")

    def admin(self, method, path, body=None, base=ADMIN):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(base + path, data, method=method)
        return json.load(urllib.request.urlopen(request))

    def forget(self):
        """The metadata server gives no token again."""
        self.admin("DELETE", "/tokens", base=METADATA_ADMIN)

    def token(self, member=OWNER, seconds=3600):
        return self.admin("POST", "/tokens", {"member": member, "lifetimeSeconds": seconds})["access_token"]

    def call(self, method, url, body=None, token=None):
        """Status and JSON of a call by curl, as the owner unless another token is given."""
        words = ["curl", "-sS", "-X", method, "-w", "\n%{http_code}", "-H", f"Authorization: Bearer {token or self.token()}", url]
        if body is not None:
            words += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        text, _, status = run(*words).rpartition("\n")
        return int(status), json.loads(text)

    def bind(self, name, members, role="roles/iam.workloadIdentityUser"):
        """Who may be a service account; nobody else."""
        policy = {"policy": {"bindings": [{"role": role, "members": members}] if members else []}}
        url = f"https://iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts/{sa(name)}:setIamPolicy"
        status, answer = self.call("POST", url, policy)
        assert status == 200, answer

    def grant(self, role, member, take=False):
        """Gives a role on the project, or takes it."""
        base = f"https://cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}"
        policy = self.call("POST", f"{base}:getIamPolicy", {})[1]
        bindings = [it for it in policy["bindings"] if not (it["role"] == role and it["members"] == [member])]
        bindings += [] if take else [{"role": role, "members": [member]}]
        status, answer = self.call("POST", f"{base}:setIamPolicy", {"policy": {**policy, "bindings": bindings}})
        assert status == 200, answer


def main(lab, silent_for=0):
    """Enters the namespace, runs the cases that the arguments name parts of, and says how each went."""
    if "MLFLOW_GKE_INSIDE" not in os.environ:
        os.environ["MLFLOW_GKE_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-n", "-m", sys.executable, *sys.argv])
    failures = 0
    try:
        lab.start(silent_for)
        for function in CASES:
            if sys.argv[1:] and not any(part in function.__name__ for part in sys.argv[1:]):
                continue
            started, detail = time.monotonic(), ""
            try:
                detail = function(lab) or ""
                ok = True
            except Exception as error:  # Whatever it is, it is this case's failure.
                ok, failures = False, failures + 1
                detail = f"{type(error).__name__}: {error}"[:1000]
                traceback.print_exc()
            took = round(time.monotonic() - started, 3)
            print(json.dumps({"name": function.__name__, "ok": ok, "seconds": took, "detail": detail}), flush=True)
    finally:
        lab.stop()
    sys.exit(1 if failures else 0)
