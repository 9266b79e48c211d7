"""Judges the metadata server beside a real API server: pods and service accounts are watched, tokens are the cluster's own.

There is no kubelet: a pod is one whose status was written here, and 10.1.0.7 is an address of this machine. Needs root (a
network namespace of its own). One JSON line per case on stdout; ends with 1 when a case failed. Programs come from
MLFLOW_GKE_GOOGLE_EMULATOR, MLFLOW_GKE_ETCD and MLFLOW_GKE_KUBE_APISERVER; the latter may be a program of all of Kubernetes.
"""

import contextlib
import datetime
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from metadata_lab import OTHER_POD, POOL, WORKLOAD, Lab, case, equal, inside, main, run, sa

API, NODE, ANNOTATION = "https://127.0.0.1:6443", "node-1", "iam.gke.io/gcp-service-account"
# All that the metadata server may do; the DaemonSet's ClusterRole says the same.
RULES = [{"apiGroups": [""], "resources": ["pods", "serviceaccounts"], "verbs": ["list", "watch"]},
         {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}]
# The gateway reads the cluster's keys.
KEYS = [{"nonResourceURLs": ["/openid/v1/jwks"], "verbs": ["get"]}]


class ClusterLab(Lab):
    """The laboratory with etcd and an API server in it."""

    def start(self, silent_for=0):
        run("ip", "link", "set", "lo", "up")
        self.start_api_server()
        super().start(silent_for)
        self.pod("mlflow-0", OTHER_POD)
        self.know()

    def start_api_server(self):
        home = self.folder / "kubernetes"
        home.mkdir()
        etcd, server = (os.environ.get(it, "") for it in ("MLFLOW_GKE_ETCD", "MLFLOW_GKE_KUBE_APISERVER"))
        for program in (etcd, server):
            if not os.path.exists(program):
                sys.exit("MLFLOW_GKE_ETCD or MLFLOW_GKE_KUBE_APISERVER names no file: `cargo xtask images build` makes both")
        (home / "kube-apiserver").symlink_to(server)
        run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(home / "sa.key"))
        run("openssl", "pkey", "-in", str(home / "sa.key"), "-pubout", "-out", str(home / "sa.pub"))
        (home / "tokens.csv").write_text("admin,admin,1,system:masters\nmetadata,metadata,2\ngateway,gateway,3\n")
        log = open(home / "log", "w")
        self.processes.append(subprocess.Popen([etcd, "--data-dir", str(home / "etcd"), "--unsafe-no-fsync"], stdout=log, stderr=log))
        self.processes.append(subprocess.Popen(
            [str(home / "kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379", "--bind-address=127.0.0.1", "--secure-port=6443", f"--advertise-address={OTHER_POD}",
             f"--cert-dir={home}/tls", f"--token-auth-file={home}/tokens.csv", "--authorization-mode=RBAC",
             "--service-account-issuer=https://kubernetes.test", f"--service-account-key-file={home}/sa.pub",
             f"--service-account-signing-key-file={home}/sa.key", "--service-cluster-ip-range=10.96.0.0/16"], stdout=log, stderr=log))
        for user in ("metadata", "gateway"):
            config = {"apiVersion": "v1", "kind": "Config", "current-context": "it",
                      "clusters": [{"name": "it", "cluster": {"server": API, "insecure-skip-tls-verify": True}}],
                      "users": [{"name": "it", "user": {"token": user}}],
                      "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}]}
            (self.folder / f"{user}.json").write_text(json.dumps(config))
        for _ in range(600):
            with contextlib.suppress(OSError, urllib.error.HTTPError):
                if self.kube("GET", "/readyz", raw=True) == b"ok":
                    break
            time.sleep(0.1)
        else:
            sys.exit("the API server does not start:\n" + (home / "log").read_text()[-2000:])
        self.role("metadata", RULES)
        self.role("gateway", KEYS)
        self.create("/api/v1/namespaces", {"metadata": {"name": "mlflow"}})
        self.create("/api/v1/namespaces/mlflow/serviceaccounts", {"metadata": {"name": "mlflow", "annotations": {ANNOTATION: sa("mlflow")}}})

    def role(self, user, rules):
        base = "/apis/rbac.authorization.k8s.io/v1"
        self.create(f"{base}/clusterroles", {"metadata": {"name": user}, "rules": rules})
        self.create(f"{base}/clusterrolebindings", {
            "metadata": {"name": user}, "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}})

    def spawn(self, *words):
        words = list(words)
        os.environ["KUBECONFIG"] = str(self.folder / f"{words[0]}.json")
        for option in ("--kubernetes-jwks", "--pods"):
            if option in words:
                del words[words.index(option):words.index(option) + 2]
        return super().spawn(*words)

    # -- Kubernetes --------------------------------------------------------------------------

    def kube(self, method, path, body=None, raw=False):
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(API + path, data, {"Authorization": "Bearer admin", "Content-Type": kind}, method=method)
        with urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=10) as answer:
            text = answer.read()
        return text if raw else json.loads(text)

    def create(self, path, body):
        return self.kube("POST", path, body)

    def pod(self, name, address, kubernetes_sa="mlflow", host_network=False, age=60):
        """A pod as the scheduler and the kubelet leave it."""
        pods = "/api/v1/namespaces/mlflow/pods"
        spec = {"nodeName": NODE, "serviceAccountName": kubernetes_sa, "hostNetwork": host_network,
                "containers": [{"name": "it", "image": "it"}]}
        self.create(pods, {"metadata": {"name": name}, "spec": spec})
        start = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.kube("PATCH", f"{pods}/{name}/status", {"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "hostIP": "10.1.0.1", "startTime": start}})

    def remove(self, name):
        self.kube("DELETE", f"/api/v1/namespaces/mlflow/pods/{name}", {"gracePeriodSeconds": 0})

    def annotate(self, google_sa, name="mlflow"):
        self.kube("PATCH", f"/api/v1/namespaces/mlflow/serviceaccounts/{name}", {"metadata": {"annotations": {ANNOTATION: google_sa}}})

    def know(self):
        """Returns when the pod is what it should be."""
        for _ in range(100):
            if ask(self, "email")[1] == sa("mlflow"):
                return
            time.sleep(0.05)
        raise AssertionError(f"the pod is not known: {ask(self, 'email')}\n{self.log.read_text()[-2000:]}")


def ask(_lab, path, source=OTHER_POD):
    """Status and text that a pod gets."""
    url = f"http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/{path}"
    done = subprocess.run(["curl", "-sS", "--max-time", "10", "--interface", source, "-H", "Metadata-Flavor: Google", "-w",
                           "\n%{http_code}", url], capture_output=True, text=True)
    text, _, status = done.stdout.rpartition("\n")
    return int(status or 0), text


def soon(expected, *words):
    """The watch is told within moments; longer than a second is a failure."""
    found, started = None, time.monotonic()
    while time.monotonic() - started < 1:
        found = ask(*words)
        if found == expected:
            return
    raise AssertionError(f"found {found!r}, expected {expected!r}")


@case
def the_clusters_token_becomes_googles(lab):
    status, text = ask(lab, "token")
    equal(status, 200)
    token = json.loads(text)["access_token"]
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{sa('mlflow')}/allowedLocations"
    equal(lab.call("GET", url, token=token)[0], 200)


@case
def an_identity_token_comes_too(lab):
    equal(ask(lab, "identity?audience=a")[0], 200)


@case
def a_changed_annotation_is_seen(lab):
    lab.annotate(sa("powerless"))
    soon((200, sa("powerless")), lab, "email")
    equal(ask(lab, "token")[0], 200)
    lab.annotate(None)
    soon((200, POOL), lab, "email")
    equal(ask(lab, "token")[0], 200)
    lab.annotate(sa("mlflow"))
    soon((200, sa("mlflow")), lab, "email")


@case
def a_missing_binding_and_its_return(lab):
    lab.bind("mlflow", [])
    lab.forget()
    status, text = ask(lab, "token")
    lab.bind("mlflow", [WORKLOAD])
    equal(status, 403)
    inside("Unable to generate access token; IAM returned 403 Forbidden: Permission 'iam.serviceAccounts.getAccessToken'", text)
    equal(ask(lab, "token")[0], 200)


@case
def a_pod_that_asks_before_it_is_known_is_waited_for(lab):
    run("ip", "address", "add", "10.1.0.8/32", "dev", "lo")
    timer = threading.Timer(0.5, lambda: lab.pod("late", "10.1.0.8"))
    timer.start()
    started = time.monotonic()
    equal(ask(lab, "email", "10.1.0.8"), (200, sa("mlflow")))
    assert 0.4 < time.monotonic() - started < 1.9
    timer.join()


@case
def an_address_goes_to_the_next_pod(lab):
    run("ip", "address", "add", "10.1.0.9/32", "dev", "lo")
    lab.create("/api/v1/namespaces/mlflow/serviceaccounts", {"metadata": {"name": "other"}})
    lab.pod("first", "10.1.0.9")
    soon((200, sa("mlflow")), lab, "email", "10.1.0.9")
    lab.remove("first")
    lab.pod("second", "10.1.0.9", kubernetes_sa="other")
    soon((200, POOL), lab, "email", "10.1.0.9")


@case
def an_unknown_address_gets_nothing(lab):
    run("ip", "address", "add", "10.1.0.10/32", "dev", "lo")
    started = time.monotonic()
    equal(ask(lab, "token", "10.1.0.10"), (404, "Not Found\n"))
    assert time.monotonic() - started > 1.9


@case
def a_pod_on_the_hosts_network_is_the_node(lab):
    run("ip", "address", "add", "10.1.0.1/32", "dev", "lo")
    lab.pod("host", "10.1.0.1", host_network=True)
    equal(ask(lab, "token", "10.1.0.1"), (404, "Not Found\n"))


@case
def a_service_account_that_is_gone_gives_no_token(lab):
    run("ip", "address", "add", "10.1.0.11/32", "dev", "lo")
    lab.create("/api/v1/namespaces/mlflow/serviceaccounts", {"metadata": {"name": "gone"}})
    lab.pod("orphan", "10.1.0.11", kubernetes_sa="gone")
    soon((200, POOL), lab, "email", "10.1.0.11")
    lab.kube("DELETE", "/api/v1/namespaces/mlflow/serviceaccounts/gone")
    # An answer that was on its way may still come; none that is asked for later does.
    for _ in range(3):
        found = ask(lab, "token", "10.1.0.11")
    equal(found, (404, "Not Found\n"))


@case
def an_api_server_that_is_away_changes_nothing_that_is_known(lab):
    equal(ask(lab, "token")[0], 200)
    server = lab.processes[1]
    server.send_signal(signal.SIGSTOP)
    try:
        equal(ask(lab, "email"), (200, sa("mlflow")))
        equal(ask(lab, "token")[0], 200)
        # Nothing is remembered of this one, and nobody can vouch for it.
        lab.forget()
        status, text = ask(lab, "token")
        equal((status, text), (500, "Unable to generate access token; no token of the Kubernetes service account: "
                                    "the API server does not answer\n"))
    finally:
        server.send_signal(signal.SIGCONT)
    lab.annotate(sa("powerless"))
    soon((200, sa("powerless")), lab, "email")


if __name__ == "__main__":
    main(ClusterLab())
