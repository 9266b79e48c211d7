"""Measures Cloud Storage through the gateway, beside the fake-gcs-server that is behind it: the same process, asked directly.

Run by `cargo xtask bench google`; the programs are those of storage_lab.py, and MLFLOW_GKE_STORAGE_LOAD (an example of the emulator).
"""

from bench import in_turn, load, tell
from metadata_lab import run, sa
from storage_lab import BUCKET, StorageLab

URL = "https://storage.googleapis.com"
BIG_MIB, CLIENTS, REQUESTS = 100, 32, 3200
GATEWAY, PLAIN, TLS = "gateway", "fake-gcs-server", "fake-gcs-server with TLS"


class Lab(StorageLab):
    """The laboratory whose store speaks TLS as well."""

    def __init__(self):
        super().__init__()
        self.store_certificate = self.folder / "store.pem"
        key = self.folder / "store.key"
        self.store_options = ["-scheme=both", "-port=4444", "-port-http=4443", f"-cert-location={self.store_certificate}",
                              f"-private-key-location={key}"]
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-keyout", str(key), "-out", str(self.store_certificate), "-subj", "/CN=store",
            "-addext", "subjectAltName=DNS:storage.googleapis.com", "-addext", "basicConstraints=critical,CA:FALSE")

    def load(self, way, *words):
        if way == PLAIN:
            return load("http://storage.googleapis.com", "127.0.0.1:4443", BUCKET, *words)
        if way == TLS:
            return load(URL, "127.0.0.1:4444", BUCKET, *words, ca=self.store_certificate)
        return load(URL, "127.0.0.1:443", BUCKET, *words, ca=self.ca, token=self.token(f"serviceAccount:{sa('mlflow')}"))


def measure(lab):
    def big(way):
        for what in ("up", "down"):
            tell(what, lab.load(way, what, BIG_MIB)["mib_per_s"], way)

    def small(way):
        for what in ("put", "get"):
            answer = lab.load(way, what, REQUESTS, CLIENTS)
            tell(f"{what}_rate", answer["per_s"], way)
            tell(f"{what}_p99", answer["p99_ms"], way)

    for way in (GATEWAY, PLAIN, TLS):
        lab.load(way, "up", BIG_MIB)
    in_turn((GATEWAY, PLAIN, TLS), big)
    in_turn((GATEWAY, PLAIN, TLS), small)


def main():
    lab = Lab()
    try:
        lab.start()
        measure(lab)
    finally:
        lab.stop()


if __name__ == "__main__":
    main()
