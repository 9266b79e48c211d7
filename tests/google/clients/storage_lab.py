"""The laboratory of the metadata server with the real fake-gcs-server behind the gateway: a pod that has a bucket.

As a program: runs another script in it (storage_lab.py storage.py), and ends as that one does.
"""

import os
import subprocess
import sys

from metadata_lab import OWNER, WORLD, Lab, run, sa

BUCKET = "mlflow-artifacts"
WORLD["services"].append("storage.googleapis.com")
WORLD["buckets"] = [{"name": BUCKET, "location": "europe-north1"}]
WORLD["bindings"] += [
    {"on": f"bucket:{BUCKET}", "role": "roles/storage.objectUser", "members": [f"serviceAccount:{sa('mlflow')}"]},
    # An owner of a project may make buckets and not give them away.
    {"on": "project", "role": "roles/storage.admin", "members": [OWNER]},
]


class StorageLab(Lab):
    """The laboratory with a store for objects."""

    store_options = ["-scheme=http", "-port=4443"]

    def start(self, silent_for=0):
        program = os.environ.get("MLFLOW_GKE_FAKE_GCS_SERVER", "")
        if not os.path.exists(program):
            sys.exit("MLFLOW_GKE_FAKE_GCS_SERVER names no file: `cargo xtask images build` makes it")
        run("ip", "link", "set", "lo", "up")
        log = open(self.folder / "fake-gcs-server.log", "w")
        self.processes.append(subprocess.Popen(
            [program, *self.store_options, "-host=127.0.0.1", "-backend=filesystem", f"-filesystem-root={self.folder}/objects",
             "-external-url=https://storage.googleapis.com", "-log-level=warn"],
            stdout=log, stderr=log))
        self.wait("http://127.0.0.1:4443/_internal/healthcheck")
        self.gateway_options = ["--storage-upstream", "http://127.0.0.1:4443"]
        super().start(silent_for)


if __name__ == "__main__":
    if "MLFLOW_GKE_INSIDE" not in os.environ:
        os.environ["MLFLOW_GKE_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-n", "-m", sys.executable, *sys.argv])
    lab = StorageLab()
    try:
        lab.start()
        status = subprocess.run([sys.executable, "-S", *sys.argv[1:]]).returncode
    finally:
        lab.stop()
    sys.exit(status)
