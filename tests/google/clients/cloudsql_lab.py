"""A closed network namespace with the emulator, two real PostgreSQL servers and the real proxy.

Nothing here decides whether something is right: the cases do.
"""

import contextlib
import http.server
import json
import os
import pathlib
import pwd
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

PROJECT, NUMBER, REGION = "mlflow-rehearsal", 123456789012, "europe-north1"
ADMIN = "http://127.0.0.1:8081"
HOST = "https://sqladmin.googleapis.com"
NAMES = "sqladmin serviceusage cloudresourcemanager iam iamcredentials sts storage".split()
LOGIN = "https://www.googleapis.com/auth/sqlservice.login"
SUPERUSER = "cloudsqladmin"


def needed(variable, fix):
    """The value of an environment variable, or the end with its fix."""
    value = os.environ.get(variable)
    if not value or not pathlib.Path(value).exists():
        sys.exit(f"{variable} names no file or folder: {fix}")
    return value


def sa(name):
    return f"{name}@{PROJECT}.iam.gserviceaccount.com"


WORLD = {
    "project": {"id": PROJECT, "number": NUMBER, "region": REGION, "zone": f"{REGION}-a", "cluster": "mlflow"},
    "kubernetes": {"jwks": {"keys": []}},
    "services": ["sqladmin.googleapis.com", "serviceusage.googleapis.com", "cloudresourcemanager.googleapis.com"],
    "serviceAccounts": [{"id": it} for it in ("proxy", "client-only", "nobody", "viewer", "conditional")],
    "bindings": [
        {"on": "project", "role": "roles/owner", "members": ["user:owner@example.com"]},
        {"on": "project", "role": "roles/cloudsql.client", "members": [f"serviceAccount:{sa(it)}" for it in ("proxy", "client-only")]},
        {"on": "project", "role": "roles/cloudsql.instanceUser", "members": [f"serviceAccount:{sa('proxy')}", "user:ann@example.com"]},
        {"on": "project", "role": "roles/cloudsql.viewer", "members": [f"serviceAccount:{sa('viewer')}"]},
        {
            "on": "project", "role": "roles/cloudsql.client", "members": [f"serviceAccount:{sa('conditional')}"],
            "condition": {"title": "another instance", "expression": f'resource.name == "projects/{PROJECT}/instances/another"'},
        },
    ],
    "instances": [{
        "name": "mlflow", "databaseVersion": "POSTGRES_15", "address": "127.0.0.1", "upstream": "tcp:127.0.0.1:5433",
        "settings": {"availabilityType": "REGIONAL"}, "databases": ["mlflow"],
        "users": [
            {"name": "mlflow", "type": "BUILT_IN"},
            {"name": f"proxy@{PROJECT}.iam", "type": "CLOUD_IAM_SERVICE_ACCOUNT", "databaseRoles": ["cloudsqlsuperuser"]},
            {"name": f"client-only@{PROJECT}.iam", "type": "CLOUD_IAM_SERVICE_ACCOUNT"},
            {"name": "ann@example.com", "type": "CLOUD_IAM_USER"},
        ],
    }],
}


class Lab:
    """Everything that runs, and how to talk to it."""

    def __init__(self):
        self.emulator_program = needed("MLFLOW_GKE_GOOGLE_EMULATOR", "cargo build -p google-emulator")
        self.proxy_program = needed("MLFLOW_GKE_CLOUD_SQL_PROXY", "build tools/cloud-sql-proxy, or let `cargo xtask images build` do it")
        self.postgres = pathlib.Path(needed("MLFLOW_GKE_POSTGRES_BIN", "install postgresql-15 and name its bin folder"))
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cloudsql-"))
        self.folder.chmod(0o755)
        self.processes, self.servers, self.tokens, self.who, self.proxies = [], [], {}, None, 0
        self.log = self.folder / "emulator.log"
        self.sql_listen = "0.0.0.0:3307"

    # -- what runs ---------------------------------------------------------------------------

    def start(self):
        run("ip", "link", "set", "lo", "up")
        for address in ("169.254.169.254/32",):
            run("ip", "address", "add", address, "dev", "lo")
        hosts = self.folder / "hosts"
        hosts.write_text("127.0.0.1 localhost\n169.254.169.254 metadata.google.internal\n"
                         + "".join(f"127.0.0.1 {it}.googleapis.com\n" for it in NAMES))
        run("mount", "--bind", str(hosts), "/etc/hosts")
        self.start_postgres("first", 5433)
        self.start_postgres("second", 5434)
        WORLD["sqlServers"] = [{"address": "127.0.0.2",
                                "upstream": f"unix:{self.folder}/second/.s.PGSQL.5434"}]
        (self.folder / "world.json").write_text(json.dumps(WORLD))
        (self.folder / "superuser").write_text(f"{SUPERUSER}\nsuper-secret\n")
        self.start_emulator()
        self.start_metadata()

    def start_postgres(self, name, port):
        data = self.folder / name
        data.mkdir()
        user = pwd.getpwnam("nobody")
        os.chown(data, user.pw_uid, user.pw_gid)
        password = self.folder / f"{name}.password"
        password.write_text("super-secret")
        password.chmod(0o644)
        as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        run(*as_nobody, str(self.postgres / "initdb"), "-D", str(data), "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8",
            "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync")
        process = subprocess.Popen(
            [*as_nobody, str(self.postgres / "postgres"), "-D", str(data), "-p", str(port), "-k", str(data), "-F",
             "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=150"],
            stdout=subprocess.DEVNULL, stderr=open(self.folder / f"{name}.log", "w"))
        self.processes.append(process)
        self.servers.append(process)
        wait(lambda: (data / f".s.PGSQL.{port}").exists() and not process.poll(), f"PostgreSQL {name}")

    def start_emulator(self):
        self.emulator = subprocess.Popen(
            [self.emulator_program, "gateway", "--world", str(self.folder / "world.json"), "--state", str(self.folder / "state"),
             "--sql-superuser-file", str(self.folder / "superuser"), "--sql-listen", self.sql_listen], stderr=open(self.log, "a"))
        self.processes.append(self.emulator)
        wait(self.healthy, "the emulator")
        self.ca = self.folder / "ca.pem"
        self.ca.write_bytes(urllib.request.urlopen(f"{ADMIN}/ca.pem").read())
        self.context = ssl.create_default_context(cafile=str(self.ca))

    def healthy(self):
        if self.emulator.poll() is not None:
            sys.exit(f"the emulator ended:\n{self.log.read_text()[-2000:]}")
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{ADMIN}/healthz", timeout=2).status == 200

    def start_metadata(self):
        """Gives every proxy the tokens of `self.who`, as the metadata server of its node would."""
        lab = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                url = urllib.parse.urlparse(self.path)
                scopes = urllib.parse.parse_qs(url.query).get("scopes", [""])[0].split(",")
                if url.path.endswith("/token"):
                    body = json.dumps(lab.mint(lab.who, [it for it in scopes if it]))
                elif url.path.endswith("/universe-domain"):
                    body = "googleapis.com"
                else:
                    body = "computeMetadata/\n"
                self.send_response(200)
                self.send_header("Metadata-Flavor", "Google")
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("169.254.169.254", 80), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                # PostgreSQL takes its children along. The others may ignore this signal, as what a shell starts beside itself does.
                process.send_signal(signal.SIGQUIT if process in self.servers else signal.SIGKILL)
        for process in self.processes:
            process.wait()

    # -- how to talk to it -------------------------------------------------------------------

    def admin(self, path, body=None):
        data = json.dumps(body or {}).encode()
        request = urllib.request.Request(ADMIN + path, data, {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request))

    def mint(self, member, scopes=(), seconds=3600):
        return self.admin("/tokens", {"member": member, "scopes": list(scopes), "lifetimeSeconds": seconds})

    def token(self, member):
        if member not in self.tokens:
            self.tokens[member] = self.mint(member)["access_token"]
        return self.tokens[member]

    def call(self, method, path, who="user:owner@example.com", body=None, token=None, host=HOST):
        """Status and JSON of a call; `who` may be None for nobody."""
        headers = {"Content-Type": "application/json"}
        token = token or (who and self.token(who))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(host + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    @contextlib.contextmanager
    def proxy(self, who, *flags, instance="mlflow", port=6543, connection=None):
        """The real proxy as `who`, with its log."""
        self.who = f"serviceAccount:{sa(who)}"
        self.proxies += 1
        connection = connection or f"{PROJECT}:{REGION}:{instance}"
        log = self.folder / f"proxy-{time.monotonic_ns()}.log"
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "SSL_CERT_FILE": str(self.ca)}
        process = subprocess.Popen(
            [self.proxy_program, "--enable-builtin-metrics=false", *flags, f"{connection}?port={port}"],
            env=environment, stdout=open(log, "w"), stderr=subprocess.STDOUT)
        try:
            wait(lambda: "ready for new connections" in log.read_text() or process.poll() is not None, "the proxy")
            yield Proxy(self, process, log, port)
        finally:
            process.kill()
            process.wait()

    def lines(self, decision):
        """What the emulator said about its refusals."""
        rows = [json.loads(it) for it in self.log.read_text().splitlines() if it.startswith("{")]
        return [it for it in rows if it.get("decision") == decision]

    def certificate(self, who="proxy", instance="mlflow", login=None):
        """A context for a raw client of port 3307 with its own ephemeral certificate."""
        key, public = self.folder / "client.key", self.folder / "client.pub"
        run("openssl", "genrsa", "-out", str(key), "2048")
        run("openssl", "rsa", "-in", str(key), "-pubout", "-out", str(public))
        body = {"public_key": public.read_text()}
        if login:
            body["access_token"] = login
        status, answer = self.call("POST", f"{BASE}/instances/{instance}:generateEphemeralCert", f"serviceAccount:{sa(who)}", body)
        assert status == 200, answer
        path = self.folder / "client.pem"
        path.write_text(answer["ephemeralCert"]["cert"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(path, key)
        return context


BASE = f"/sql/v1beta4/projects/{PROJECT}"


class Proxy:
    """A running proxy."""

    def __init__(self, lab, process, log, port):
        self.lab, self.process, self.path, self.port = lab, process, log, port

    def log(self):
        return self.path.read_text()

    def psql(self, sql, user="mlflow", password=None, database="mlflow", **options):
        """What psql printed, and whether it succeeded."""
        where = {"host": "127.0.0.1", "port": str(self.port), "user": user, "dbname": database, "connect_timeout": "20", **options}
        words = " ".join(f"{name}='{value}'" for name, value in where.items())
        environment = {"PATH": os.environ["PATH"]} | ({"PGPASSWORD": password} if password else {})
        done = subprocess.run(["psql", "-XAtw", words, "-c", sql], env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode == 0, (done.stdout + done.stderr).strip()


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr}")
    return done.stdout


def wait(ready, what, seconds=30):
    """Watches until something is so; the end, when it never is."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)
