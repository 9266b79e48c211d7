"""Measures pgbench through the real proxy and the emulated Cloud SQL, beside the real proxy and plain TLS forwarders.

All ways end at the same PostgreSQL. Run by `cargo xtask bench google`; the programs are those of cloudsql.py, and
MLFLOW_GKE_TLS_FORWARDER (an example of the emulator).
"""

import contextlib
import http.server
import json
import os
import pathlib
import subprocess
import threading

from bench import in_turn, tell
from cloudsql_cases import password
from cloudsql_lab import PROJECT, REGION, Lab, run, wait

SECONDS, CLIENTS = 3, 4


class Plain:
    """A forwarder, and an Admin API that says yes to everything, for a proxy in front of it."""

    def __init__(self, lab, name, address, port, is_mutual):
        self.folder = lab.folder / name
        self.folder.mkdir()
        self.address, self.port, self.is_mutual = address, port, is_mutual
        self.pair("ca", "/CN=plain CA", None)
        self.pair("server", f"/CN={PROJECT}:mlflow", "ca")
        self.upstream = "127.0.0.1:5433"

    def path(self, name):
        return str(self.folder / name)

    def pair(self, name, subject, ca):
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.pem"), "-subj", subject]
        if ca:
            words += ["-CA", self.path(f"{ca}.pem"), "-CAkey", self.path(f"{ca}.key"), "-addext", "extendedKeyUsage=serverAuth",
                      "-addext", "basicConstraints=critical,CA:FALSE"]
        run(*words)

    def certify(self, public_key):
        key, extensions = self.folder / "proxy.pub", self.folder / "proxy.ext"
        key.write_text(public_key)
        extensions.write_text("extendedKeyUsage=clientAuth")
        return run("openssl", "x509", "-new", "-force_pubkey", str(key), "-subj", "/CN=proxy", "-days", "1", "-extfile", str(extensions),
                   "-CA", self.path("ca.pem"), "-CAkey", self.path("ca.key"))

    def serve(self, program):
        plain = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self, value):
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.answer({"region": REGION, "backendType": "SECOND_GEN", "databaseVersion": "POSTGRES_15",
                             "ipAddresses": [{"type": "PRIMARY", "ipAddress": plain.address}],
                             "serverCaCert": {"cert": pathlib.Path(plain.path("ca.pem")).read_text()}})

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.answer({"ephemeralCert": {"cert": plain.certify(asked["public_key"])}})

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chain = self.path("chain.pem")
        pathlib.Path(chain).write_text("".join(pathlib.Path(self.path(it)).read_text() for it in ("server.pem", "ca.pem")))
        clients = [self.path("ca.pem")] if self.is_mutual else []
        return subprocess.Popen([program, f"{self.address}:3307", self.upstream, chain, self.path("server.key"), *clients])


def pgbench(lab, port, script):
    """Transactions a second."""
    words = ["-h", "127.0.0.1", "-p", port, "-U", "mlflow", "-n", "-c", CLIENTS, "-j", 2, "-T", SECONDS, *script, "mlflow"]
    text = run(*client(lab), *map(str, words))
    return float(next(it for it in text.splitlines() if it.startswith("tps =")).split()[2])


def client(lab):
    return "env", "PGPASSWORD=sesame", str(lab.postgres / "pgbench")


def main():
    lab = Lab()
    try:
        # The emulator takes its own address, the forwarders others with the same port.
        lab.sql_listen = "127.0.0.1:3307"
        lab.start()
        password(lab)
        forwarders = {
            "TLS forwarder": Plain(lab, "plain", "127.0.0.9", 8099, False),
            "mutual TLS forwarder": Plain(lab, "mutual", "127.0.0.10", 8100, True),
        }
        with contextlib.ExitStack() as stack:
            ways = {"emulated Cloud SQL": stack.enter_context(lab.proxy("proxy", port=6543))}
            for port, (way, forwarder) in enumerate(forwarders.items(), 6544):
                lab.processes.append(forwarder.serve(os.environ["MLFLOW_GKE_TLS_FORWARDER"]))
                api = f"http://127.0.0.1:{forwarder.port}/"
                ways[way] = stack.enter_context(lab.proxy("proxy", "--sqladmin-api-endpoint", api, "--token", "any", port=port))
            for way, proxy in ways.items():
                wait(lambda proxy=proxy: proxy.psql("SELECT 1", password="sesame")[0], way)
            run(*client(lab), "-i", "-q", "-s", "5", "-h", "127.0.0.1", "-p", "6543", "-U", "mlflow", "mlflow")
            for figure, script in (("select", ["-S"]), ("tpcb", []), ("connect", ["-S", "-C"])):
                in_turn(ways, lambda way: tell(figure, pgbench(lab, ways[way].port, script), way))
    finally:
        lab.stop()


if __name__ == "__main__":
    main()
