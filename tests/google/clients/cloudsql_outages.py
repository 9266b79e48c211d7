"""Judges what the emulated Cloud SQL does to connections on bad days: bad clients, restarts, a full disk, a crash.

Needs root (a network namespace of its own). One JSON line per case on stdout; ends with 1 when a case failed.
Programs come from MLFLOW_GKE_GOOGLE_EMULATOR, MLFLOW_GKE_CLOUD_SQL_PROXY and MLFLOW_GKE_POSTGRES_BIN.
Arguments are parts of case names; without any, all run.
"""

import os
import re
import socket
import ssl
import struct
import threading

from cloudsql_cases import IAM_USER, case, dial, ended, equal, inside, judge, no_secret_is_in_the_log, password, psql
from cloudsql_lab import BASE, PROJECT, run, wait


# -- port 3307 by hand ------------------------------------------------------------------------


@case
def the_server_is_who_it_says(lab):
    context = lab.certificate()
    lab_ca = lab.folder / "server-ca.pem"
    lab_ca.write_text(lab.call("GET", f"{BASE}/instances/mlflow/connectSettings")[1]["serverCaCert"]["cert"])
    context.load_verify_locations(lab_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    with dial(context) as tls:
        equal(tls.version(), "TLSv1.3")
        subject = {name: value for row in tls.getpeercert()["subject"] for name, value in row}
        equal(subject["commonName"], f"{PROJECT}:mlflow")


@case
def without_a_certificate_nobody_comes_in(lab):
    context = ssl._create_unverified_context()
    with dial(context) as tls:
        inside("certificate required", str(ended(tls)).lower())


@case
def an_older_tls_is_refused(lab):
    context = lab.certificate()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        dial(context)
        raise AssertionError("TLS 1.2 was accepted")
    except ssl.SSLError as error:
        inside("protocol version", str(error).lower())


@case
def a_certificate_of_somebody_else_is_refused(lab):
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{lab.folder}/own.key", "-out",
        f"{lab.folder}/own.pem", "-days", "1", "-subj", "/C=US/O=Google, Inc/CN=Google Cloud SQL Client",
        "-addext", "basicConstraints=critical,CA:FALSE")
    context = ssl._create_unverified_context()
    context.load_cert_chain(lab.folder / "own.pem", lab.folder / "own.key")
    with dial(context) as tls:
        inside("unknown ca", str(ended(tls)).lower())


@case
def broken_first_messages_are_answered_as_postgresql_does(lab):
    context = lab.certificate()
    for first, code in [(struct.pack(">I", 2**31), b"08P01"), (struct.pack(">II", 8, 131072), b"0A000"),
                        (struct.pack(">II", 8, 196608), b"08P01"), (struct.pack(">II", 10, 196608) + b"\0\0", b"28000"),
                        (b"GET / HTTP/1.1\r\n\r\n", b"08P01"), (struct.pack(">II", 8, 80877103) * 3, b"N")]:
        with dial(context) as tls:
            tls.sendall(first)
            found = ended(tls)
            inside(code, found)


@case
def noise_ends_nothing_but_its_own_connection(lab):
    context = lab.certificate()
    for at in range(150):
        with socket.create_connection(("127.0.0.1", 3307), 10) as raw:
            raw.sendall(os.urandom(1 + at * 7))
    for at in range(40):
        with dial(context) as tls:
            body = os.urandom(at)
            tls.sendall(struct.pack(">II", 8 + len(body), 196608) + body)
    idle = [socket.create_connection(("127.0.0.1", 3307), 10) for _ in range(300)]
    with lab.proxy("proxy") as proxy:
        equal(proxy.psql("SELECT 1", password=password(lab)), (True, "1"))
    for it in idle:
        it.close()


# -- instances that go and come ---------------------------------------------------------------


class Sleeper(threading.Thread):
    """A client in the middle of a query."""

    def __init__(self, lab, proxy):
        super().__init__()
        self.proxy, self.said = proxy, None
        self.start()
        running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
        wait(lambda: psql(lab, running) == "1", "the query")

    def run(self):
        self.said = self.proxy.psql("SELECT pg_sleep(30)", password="sesame")[1]

    def last_words(self):
        self.join(10)
        assert self.said is not None, "the session lived on"
        return self.said


def comes_back(proxy):
    wait(lambda: proxy.psql("SELECT 1", password="sesame")[0], "the instance", 40)


@case
def a_restart_ends_sessions_in_postgresqls_words(lab):
    password(lab)
    with lab.proxy("proxy") as proxy:
        sleeper = Sleeper(lab, proxy)
        status, done = lab.call("POST", f"{BASE}/instances/mlflow/restart")
        equal((status, done["operationType"], done["status"]), (200, "RESTART", "RUNNING"))
        inside("FATAL:  terminating connection due to administrator command", sleeper.last_words())
        equal(lab.call("GET", f"{BASE}/instances/mlflow")[1]["state"], "MAINTENANCE")
        equal(proxy.psql("SELECT 1", password="sesame")[0], False)
        wait(lambda: "connection refused" in proxy.log(), "the refusal")
        comes_back(proxy)
    wait(lambda: lab.call("GET", f"{BASE}/operations/{done['name']}")[1]["status"] == "DONE", "the operation")


@case
def a_failover_ends_sessions_without_a_word(lab):
    password(lab)
    with lab.proxy("proxy") as proxy:
        sleeper = Sleeper(lab, proxy)
        equal(lab.call("POST", f"{BASE}/instances/mlflow/failover", body={})[0], 200)
        words = sleeper.last_words()
        equal(("server closed the connection unexpectedly" in words, "FATAL" in words), (True, False))
        comes_back(proxy)


@case
def maintenance_on_demand_is_opened_on_demand(lab):
    password(lab)
    with lab.proxy("proxy") as proxy:
        lab.admin(f"/sql/{PROJECT}/mlflow/close", {"seconds": 600})
        equal(proxy.psql("SELECT 1", password="sesame")[0], False)
        lab.admin(f"/sql/{PROJECT}/mlflow/open")
        comes_back(proxy)


FULL = r'^ERROR:  could not extend file "base/[0-9]+/[0-9]+": No space left on device\nHINT:  Check free disk space\.'


@case
def a_full_disk_refuses_what_is_written_and_nothing_else(lab):
    import psycopg2

    secret = password(lab)
    admin = f"/sql/{PROJECT}/mlflow"
    with lab.proxy("proxy") as proxy:
        equal(proxy.psql("CREATE TABLE full_disk (a int); INSERT INTO full_disk VALUES (1), (2)", password=secret)[0], True)
        lab.admin(f"{admin}/fill-disk")
        try:
            for sql in ["INSERT INTO full_disk VALUES (3)", "UPDATE full_disk SET a = 4"]:
                ok, text = proxy.psql(sql, password=secret)
                assert not ok and re.search(FULL, text), text
            ok, text = proxy.psql("CREATE TABLE full_disk_too (a int)", password=secret)
            inside("No space left on device", text)
            equal(proxy.psql("DELETE FROM full_disk WHERE a = 2", password=secret), (True, "DELETE 1"))
            equal(proxy.psql("SELECT a FROM full_disk", password=secret), (True, "1"))
            where = {"host": "127.0.0.1", "port": proxy.port, "user": "mlflow", "password": secret, "dbname": "mlflow"}
            with psycopg2.connect(**where) as connection, connection.cursor() as cursor:
                try:
                    cursor.execute("INSERT INTO full_disk VALUES (6)")
                    raise AssertionError("a full disk took a row")
                except psycopg2.errors.DiskFull as error:
                    equal(error.pgcode, "53100")
            connection.close()
        finally:
            lab.admin(f"{admin}/free-disk")
        equal(proxy.psql("INSERT INTO full_disk VALUES (7)", password=secret), (True, "INSERT 0 1"))
        equal(proxy.psql("DROP TABLE full_disk", password=secret), (True, "DROP TABLE"))


@case
def a_restart_of_the_emulator_frees_the_disk(lab):
    secret = password(lab)
    with lab.proxy("proxy") as proxy:
        equal(proxy.psql("CREATE TABLE freed (a int)", password=secret), (True, "CREATE TABLE"))
        lab.admin(f"/sql/{PROJECT}/mlflow/fill-disk")
        lab.emulator.kill()
        lab.emulator.wait()
        lab.start_emulator()
        wait(lambda: proxy.psql("INSERT INTO freed VALUES (1)", password=secret)[0], "the disk has space again")
        equal(proxy.psql("DROP TABLE freed", password=secret), (True, "DROP TABLE"))


@case
def a_killed_emulator_comes_back_to_the_same_proxy(lab):
    password(lab)
    with lab.proxy("proxy", "--auto-iam-authn") as proxy:
        equal(proxy.psql("SELECT 1", IAM_USER), (True, "1"))
        lab.emulator.kill()
        lab.emulator.wait()
        equal(proxy.psql("SELECT 1", IAM_USER)[0], False)
        lab.start_emulator()
        comes_back(proxy)
        equal(proxy.psql("SELECT 1", IAM_USER), (True, "1"))


@case
def a_reset_cloud_has_its_users_again(lab):
    with lab.proxy("proxy", "--auto-iam-authn") as proxy:
        equal(lab.call("DELETE", f"{BASE}/instances/mlflow/users?name={IAM_USER}")[0], 200)
        equal(proxy.psql("SELECT 1", IAM_USER)[0], False)
        equal(psql(lab, f"SELECT count(*) FROM pg_roles WHERE rolname = '{IAM_USER}'"), "0")
        lab.admin("/reset")
        equal(proxy.psql("SELECT current_user", IAM_USER), (True, IAM_USER))


@case
def more_clients_than_places_hear_it_from_postgresql(lab):
    password(lab)
    with lab.proxy("proxy") as proxy:
        import psycopg2

        words = f"host=127.0.0.1 port={proxy.port} user=mlflow password=sesame dbname=mlflow"
        held = []
        try:
            for _ in range(160):
                held.append(psycopg2.connect(words))
            raise AssertionError("160 connections to a PostgreSQL of 150")
        except psycopg2.OperationalError as error:
            inside("FATAL:", str(error))
            inside("connection", str(error))
        for it in held:
            it.close()
        wait(lambda: proxy.psql("SELECT 1", password="sesame")[0], "a free place")


@case
def two_thousand_silent_clients_keep_nobody_out(lab):
    context = lab.certificate()
    silent = [socket.create_connection(("127.0.0.1", 3307), 10) for _ in range(1000)]
    for _ in range(20):
        silent.append(dial(context))
    silent += [socket.create_connection(("127.0.0.1", 3307), 10) for _ in range(1000)]
    with lab.proxy("proxy") as proxy:
        equal(proxy.psql("SELECT 1", password=password(lab)), (True, "1"))
    for it in silent:
        it.close()


case(no_secret_is_in_the_log)

if __name__ == "__main__":
    judge()
