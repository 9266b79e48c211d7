"""What the scripts that judge Cloud SQL have in common: how a case is written down, compared and run.

Each script has a laboratory of its own, and goes through its cases in their order.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import traceback

from cloudsql_lab import BASE, PROJECT, SUPERUSER, Lab, sa

CASES = []
IAM_USER = f"proxy@{PROJECT}.iam"


def case(function):
    CASES.append(function)
    return function


def message(answer):
    return answer["error"]["message"]


def reason(answer):
    return answer["error"]["errors"][0]["reason"]


def equal(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


def inside(part, text):
    assert part in text, f"{part!r} is not in {text!r}"


def member(name):
    return f"serviceAccount:{sa(name)}"


def psql(lab, sql, database="postgres"):
    """The truth, from PostgreSQL itself."""
    words = f"host=127.0.0.1 port=5433 user={SUPERUSER} dbname={database}"
    done = subprocess.run(["psql", "-XAtw", words, "-c", sql], env={"PATH": os.environ["PATH"], "PGPASSWORD": "super-secret"},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def password(lab):
    status, answer = lab.call("PUT", f"{BASE}/instances/mlflow/users?name=mlflow", body={"password": "sesame"})
    equal(status, 200)
    return "sesame"


def dial(context, address="127.0.0.1"):
    """A connection that has got through the handshake on both sides; an alert comes with the first read."""
    tls = context.wrap_socket(socket.create_connection((address, 3307), 10))
    tls.settimeout(10)
    return tls


def ended(tls):
    try:
        return tls.recv(100)
    except (ssl.SSLError, ConnectionError) as error:
        return str(error)


def no_secret_is_in_the_log(lab):
    text = lab.log.read_text()
    for secret in ("super-secret", "sesame", "root-secret", "ya29."):
        assert secret not in text, secret
    assert "panicked" not in text


def judge(cases=CASES, prefix="", prepare=lambda lab: None):
    """Runs the cases whose names have one of the arguments in them, or all, in a namespace of their own."""
    if os.environ.get("CLOUDSQL_INSIDE") != "yes":
        environment = dict(os.environ, CLOUDSQL_INSIDE="yes")
        os.execvpe("unshare", ["unshare", "-n", "-m", "--propagation", "private", sys.executable, *sys.argv], environment)
    lab = Lab()
    chosen = [it for it in cases if not sys.argv[1:] or any(part in it.__name__ for part in sys.argv[1:])]
    try:
        lab.start()
        prepare(lab)
        failed = [it for it in chosen if not passes(lab, it, prefix)]
    finally:
        lab.stop()
    print(f"{len(chosen) - len(failed)} of {len(chosen)} cases passed; logs in {lab.folder}", file=sys.stderr)
    sys.exit(1 if failed else 0)


def passes(lab, it, prefix):
    """Runs a case and prints its line."""
    began, detail, proxies = time.monotonic(), "", lab.proxies
    try:
        it(lab)
    except Exception as error:  # A case may end in any way; the others still run.
        detail = f"{type(error).__name__}: {error}"
        if os.environ.get("CLOUDSQL_TRACE"):
            traceback.print_exc()
    client = {} if prefix else {"client": "cloud-sql-proxy" if lab.proxies > proxies else "https"}
    row = {"case": prefix + it.__name__, **client, "ok": not detail, "seconds": round(time.monotonic() - began, 2)}
    print(json.dumps(row | ({"detail": detail} if detail else {})), flush=True)
    return not detail
