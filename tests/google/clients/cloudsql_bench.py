"""Measures pgbench through the real proxy and the emulated Cloud SQL, beside the real proxy and a plain TLS forwarder.

Both ways end at the same PostgreSQL, in turns, so that a busy machine is busy for both. One JSON line per turn, and one with
the medians. Programs as for cloudsql.py, and MLFLOW_GKE_TLS_FORWARDER (cargo build --release --example tls_forwarder).
"""

import contextlib
import http.server
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading

from cloudsql import password
from cloudsql_lab import PROJECT, REGION, Lab, needed, run, wait

ROUNDS, SECONDS, CLIENTS = 5, 5, 4


class Plain:
    """An Admin API that says yes to everything, for a proxy in front of the forwarder."""

    def __init__(self, lab):
        self.folder = lab.folder / "plain"
        self.folder.mkdir()
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
                             "ipAddresses": [{"type": "PRIMARY", "ipAddress": "127.0.0.9"}],
                             "serverCaCert": {"cert": pathlib.Path(plain.path("ca.pem")).read_text()}})

            def do_POST(self):
                # The forwarder asks for no certificate, so any will do for the proxy to keep.
                self.rfile.read(int(self.headers["Content-Length"]))
                self.answer({"ephemeralCert": {"cert": pathlib.Path(plain.path("server.pem")).read_text()}})

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 8099), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chain = self.path("chain.pem")
        pathlib.Path(chain).write_text("".join(pathlib.Path(self.path(it)).read_text() for it in ("server.pem", "ca.pem")))
        return subprocess.Popen([program, "127.0.0.9:3307", self.upstream, chain, self.path("server.key")])


def pgbench(lab, port, script):
    words = ["pgbench", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "-n", "-c", str(CLIENTS), "-j", "2", "-T", str(SECONDS), *script, "mlflow"]
    done = subprocess.run(words, env={"PATH": os.environ["PATH"], "PGPASSWORD": "sesame"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(next(it for it in done.stdout.splitlines() if it.startswith("tps =")).split()[2])


def main():
    if os.environ.get("CLOUDSQL_INSIDE") != "yes":
        environment = dict(os.environ, CLOUDSQL_INSIDE="yes")
        os.execvpe("unshare", ["unshare", "-n", "-m", "--propagation", "private", sys.executable, *sys.argv], environment)
    program = needed("MLFLOW_GKE_TLS_FORWARDER", "cargo build --release -p google-emulator --example tls_forwarder")
    lab = Lab()
    try:
        # The emulator takes its own address, the forwarder another with the same port.
        lab.sql_listen = "127.0.0.1:3307"
        lab.start()
        password(lab)
        plain = Plain(lab)
        forwarder = plain.serve(program)
        lab.processes.append(forwarder)
        with contextlib.ExitStack() as stack:
            mine = stack.enter_context(lab.proxy("proxy", port=6543))
            other = stack.enter_context(lab.proxy("proxy", "--sqladmin-api-endpoint", "http://127.0.0.1:8099/", "--token", "any", port=6544))
            wait(lambda: mine.psql("SELECT 1", password="sesame")[0], "the emulator")
            wait(lambda: other.psql("SELECT 1", password="sesame")[0], "the forwarder")
            run("env", "PGPASSWORD=sesame", "pgbench", "-i", "-q", "-s", "5", "-h", "127.0.0.1", "-p", "6543", "-U", "mlflow", "mlflow")
            for name, script in (("select", ["-S"]), ("tpcb", []), ("connect", ["-S", "-C"])):
                measure(lab, name, script)
    finally:
        lab.stop()


def measure(lab, name, script):
    figures = {"emulator": [], "forwarder": []}
    ways = [("emulator", 6543), ("forwarder", 6544)]
    for turn in range(ROUNDS):
        # Each goes first as often as the other.
        for way, port in ways if turn % 2 == 0 else reversed(ways):
            figures[way].append(pgbench(lab, port, script))
    medians = {way: round(statistics.median(values)) for way, values in figures.items()}
    share = round(100 * medians["emulator"] / medians["forwarder"], 1)
    rounds = {way: [round(it) for it in values] for way, values in figures.items()}
    print(json.dumps({"test": name, "clients": CLIENTS, "tps": medians, "percent": share, "rounds": rounds}), flush=True)


if __name__ == "__main__":
    main()
