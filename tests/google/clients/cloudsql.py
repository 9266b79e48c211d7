"""Judges the emulated Cloud SQL by its real clients: cloud-sql-proxy, psql, psycopg2 and plain HTTPS.

Needs root (a network namespace of its own). One JSON line per case on stdout; ends with 1 when a case failed.
Programs come from MLFLOW_GKE_GOOGLE_EMULATOR, MLFLOW_GKE_CLOUD_SQL_PROXY and MLFLOW_GKE_POSTGRES_BIN.
Arguments are parts of case names; without any, all run.
"""

import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import traceback

from cloudsql_lab import BASE, LOGIN, NUMBER, PROJECT, REGION, SUPERUSER, Lab, run, sa, wait

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


# -- the Admin API: who may, and Google's words -----------------------------------------------


@case
def admin_without_token_is_401(lab):
    status, answer = lab.call("GET", f"{BASE}/instances/mlflow/connectSettings", None)
    equal((status, answer["error"]["status"]), (401, "UNAUTHENTICATED"))


@case
def admin_with_forged_token_is_401(lab):
    status, answer = lab.call("GET", f"{BASE}/instances/mlflow/connectSettings", token="ya29.forged")
    equal((status, reason(answer)), (401, "authError"))


@case
def admin_with_a_login_token_lacks_scope(lab):
    token = lab.mint(member("proxy"), [LOGIN])["access_token"]
    status, answer = lab.call("GET", f"{BASE}/instances/mlflow/connectSettings", token=token)
    equal((status, message(answer)), (403, "Request had insufficient authentication scopes."))


@case
def connect_settings_without_permission(lab):
    status, answer = lab.call("GET", f"{BASE}/instances/mlflow/connectSettings", member("nobody"))
    words = ("boss::NOT_AUTHORIZED: Not authorized to access resource. Possibly missing permission "
             "cloudsql.instances.get on resource instances/mlflow.")
    equal((status, message(answer), reason(answer)), (403, words, "forbidden"))
    equal(answer["error"]["status"], "PERMISSION_DENIED")


@case
def connect_settings_have_what_the_connector_reads(lab):
    status, answer = lab.call("GET", f"{BASE}/instances/mlflow/connectSettings", member("proxy"))
    equal((status, answer["region"], answer["backendType"], answer["databaseVersion"]),
          (200, REGION, "SECOND_GEN", "POSTGRES_15"))
    equal(answer["ipAddresses"], [{"type": "PRIMARY", "ipAddress": "127.0.0.1"}])
    inside("BEGIN CERTIFICATE", answer["serverCaCert"]["cert"])


@case
def the_newer_address_of_the_api_is_the_same(lab):
    status, answer = lab.call("GET", f"/v1/projects/{PROJECT}/instances/mlflow/connectSettings", member("proxy"))
    equal((status, answer["kind"]), (200, "sql#connectSettings"))


@case
def a_missing_instance_is_404_in_the_recorded_form(lab):
    status, answer = lab.call("GET", f"{BASE}/instances/none/connectSettings", member("proxy"))
    words = "The Cloud SQL instance does not exist."
    recorded = {"code": 404, "message": words,
                "errors": [{"domain": "global", "message": words, "reason": "instanceDoesNotExist"}]}
    equal((status, answer["error"]), (404, recorded))


@case
def who_lacks_the_permission_is_not_told_what_exists(lab):
    status, answer = lab.call("GET", f"{BASE}/instances/none/connectSettings", member("nobody"))
    equal((status, reason(answer)), (403, "forbidden"))


@case
def a_wrong_project_is_403(lab):
    status, answer = lab.call("GET", "/sql/v1beta4/projects/another-project/instances/mlflow/connectSettings", member("proxy"))
    equal((status, reason(answer)), (403, "forbidden"))


@case
def a_condition_that_is_false_is_403(lab):
    status, answer = lab.call("GET", f"{BASE}/instances/mlflow/connectSettings", member("conditional"))
    equal((status, reason(answer)), (403, "forbidden"))


@case
def a_name_that_is_none_is_400(lab):
    status, answer = lab.call("GET", f"{BASE}/instances/mlflow%0D/connectSettings", member("proxy"))
    equal((status, message(answer), reason(answer)), (400, "Invalid request: instance name (mlflow\r).", "invalid"))


@case
def certificate_without_permission(lab):
    status, answer = lab.call("POST", f"{BASE}/instances/mlflow:generateEphemeralCert", member("viewer"), {"public_key": "x"})
    equal((status, message(answer)), (403, "boss::NOT_AUTHORIZED: Not authorized to access instance: mlflow"))


def lasts(lab, seconds):
    """Whether the last certificate is good for that long."""
    words = ["openssl", "x509", "-in", str(lab.folder / "client.pem"), "-checkend", str(seconds)]
    return subprocess.run(words, capture_output=True).returncode == 0


@case
def a_certificate_is_as_googles(lab):
    lab.certificate()
    text = run("openssl", "x509", "-in", str(lab.folder / "client.pem"), "-noout", "-text", "-dates")
    for part in ("C = US, O = \"Google, Inc\", CN = Google Cloud SQL Client", "TLS Web Client Authentication",
                 "TLS Web Server Authentication", "Google Cloud SQL Signing CA"):
        inside(part, text)
    equal((lasts(lab, 3500), lasts(lab, 3700)), (True, False))


@case
def no_public_key_makes_it_fall_over(lab):
    spki = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"
    keys = ["", "x", "-----BEGIN RSA PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----\n!!!\n-----END RSA PUBLIC KEY-----",
            f"-----BEGIN PUBLIC KEY-----\n{spki}\n-----END PUBLIC KEY-----", "A" * 900_000, "\u0000\ud7ff"]
    for key in keys:
        status, answer = lab.call("POST", f"{BASE}/instances/mlflow:generateEphemeralCert", member("proxy"), {"public_key": key})
        equal((status, reason(answer)), (400, "invalid"))
    status, answer = lab.call("POST", f"{BASE}/instances/mlflow:generateEphemeralCert", member("proxy"), b"{" * 100)
    equal(status, 400)
    status, answer = lab.call("POST", f"{BASE}/instances/mlflow:generateEphemeralCert", member("proxy"), b'{"public_key":"' + b"A" * 2_000_000)
    equal(status, 400)


@case
def a_certificate_ends_with_its_login_token(lab):
    token = lab.mint(member("proxy"), [LOGIN], 600)["access_token"]
    lab.certificate(login=token)
    equal((lasts(lab, 500), lasts(lab, 700)), (True, False))


@case
def a_token_of_another_scope_is_no_login_token(lab):
    token = lab.mint(member("proxy"), ["https://www.googleapis.com/auth/devstorage.read_only"])["access_token"]
    body = {"public_key": (lab.folder / "client.pub").read_text(), "access_token": token}
    status, answer = lab.call("POST", f"{BASE}/instances/mlflow:generateEphemeralCert", member("proxy"), body)
    equal((status, reason(answer)), (400, "invalid"))


@case
def unknown_calls_are_501(lab):
    status, answer = lab.call("GET", f"{BASE}/instances/mlflow/backupRuns")
    equal((status, answer["error"]["status"]), (501, "UNIMPLEMENTED"))


@case
def listing_needs_a_permission_on_the_project(lab):
    status, answer = lab.call("GET", f"{BASE}/instances", member("nobody"))
    equal((status, message(answer), reason(answer)), (403, "The client is not authorized to make this request.", "notAuthorized"))
    status, answer = lab.call("GET", f"{BASE}/instances", member("viewer"))
    equal((status, [it["name"] for it in answer["items"]]), (200, ["mlflow"]))


@case
def an_instance_shows_what_gcloud_prints(lab):
    status, answer = lab.call("GET", f"{BASE}/instances/mlflow", member("viewer"))
    equal((status, answer["state"], answer["connectionName"]), (200, "RUNNABLE", f"{PROJECT}:{REGION}:mlflow"))
    equal((answer["kind"], answer["settings"]["settingsVersion"], answer["settings"]["availabilityType"]),
          ("sql#instance", "1", "REGIONAL"))


# -- databases and users are made in PostgreSQL -----------------------------------------------


@case
def databases_come_and_go(lab):
    status, done = lab.call("POST", f"{BASE}/instances/mlflow/databases", body={"name": "scratch"})
    equal((status, done["operationType"], done["status"], done["user"]), (200, "CREATE_DATABASE", "DONE", "owner@example.com"))
    status, again = lab.call("GET", f"{BASE}/operations/{done['name']}")
    equal((status, again["status"]), (200, "DONE"))
    status, answer = lab.call("POST", f"{BASE}/instances/mlflow/databases", body={"name": "scratch"})
    words = 'Invalid request: failed to create database scratch. Detail: pq: database "scratch" already exists\n.'
    equal((status, message(answer), reason(answer)), (400, words, "invalid"))
    status, answer = lab.call("GET", f"{BASE}/instances/mlflow/databases")
    equal([it["name"] for it in answer["items"]], ["mlflow", "postgres", "scratch"])
    equal(psql(lab, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'scratch'"), "cloudsqlsuperuser")
    equal(lab.call("DELETE", f"{BASE}/instances/mlflow/databases/scratch")[0], 200)
    status, answer = lab.call("GET", f"{BASE}/instances/mlflow/databases/scratch")
    equal((status, message(answer), reason(answer)), (404, "Not Found", "notFound"))


@case
def a_name_is_never_sql(lab):
    for name in ('a"; DROP DATABASE mlflow; --', "it's", "back\\slash", "ünï"):
        equal(lab.call("POST", f"{BASE}/instances/mlflow/databases", body={"name": name})[0], 200)
        equal(lab.call("POST", f"{BASE}/instances/mlflow/users", body={"name": name, "password": "p'\\\""})[0], 200)
    found = psql(lab, "SELECT count(*) FROM pg_roles WHERE rolname IN ('a\"; DROP DATABASE mlflow; --', 'it''s', E'back\\\\slash', 'ünï')")
    equal(found, "4")
    equal(psql(lab, "SELECT count(*) FROM pg_database WHERE datname = 'mlflow'"), "1")
    status, answer = lab.call("POST", f"{BASE}/instances/mlflow/databases", body={"name": "x" * 64})
    equal((status, reason(answer)), (400, "invalid"))


@case
def a_viewer_makes_nothing(lab):
    status, answer = lab.call("POST", f"{BASE}/instances/mlflow/databases", member("viewer"), {"name": "no"})
    inside("Possibly missing permission cloudsql.databases.create on resource instances/mlflow.", message(answer))
    status, answer = lab.call("POST", f"{BASE}/instances/mlflow/users", member("viewer"), {"name": "no"})
    inside("Possibly missing permission cloudsql.users.create on resource instances/mlflow.", message(answer))


@case
def users_come_and_go(lab):
    users = f"{BASE}/instances/mlflow/users"
    equal(lab.call("POST", users, body={"name": "carl", "password": "one"})[0], 200)
    status, answer = lab.call("POST", users, body={"name": "carl", "password": "one"})
    equal((status, message(answer)), (400, 'Invalid request: failed to create user "carl": role "carl" already exists.'))
    status, answer = lab.call("GET", users)
    mine = [it for it in answer["items"] if it["name"] == "carl"]
    equal(("type" in mine[0], "password" in mine[0]), (False, False))
    with lab.proxy("proxy") as proxy:
        equal(proxy.psql("SELECT current_user", "carl", "one"), (True, "carl"))
        equal(lab.call("PUT", f"{users}?name=carl", body={"name": "carl", "password": "two"})[0], 200)
        equal(proxy.psql("SELECT 1", "carl", "two"), (True, "1"))
        inside('password authentication failed for user "carl"', proxy.psql("SELECT 1", "carl", "one")[1])
        equal(proxy.psql("CREATE TABLE owned (a int)", "carl", "two")[0], True)
    status, answer = lab.call("DELETE", f"{users}?name=carl&host=")
    words = ('Invalid request: failed to delete user carl: . role "carl" cannot be dropped because some objects depend on it '
             'Details: 1 object in database mlflow.')
    equal((status, message(answer), reason(answer)), (400, words, "invalid"))
    psql(lab, "DROP TABLE owned", "mlflow")
    equal(lab.call("DELETE", f"{users}?name=carl&host=")[0], 200)
    equal(lab.call("GET", f"{users}/carl")[0], 404)


@case
def an_iam_user_is_named_without_the_last_part(lab):
    body = {"name": sa("viewer"), "type": "CLOUD_IAM_SERVICE_ACCOUNT"}
    status, answer = lab.call("POST", f"{BASE}/instances/mlflow/users", body=body)
    inside('should be created without ".gserviceaccount.com" suffix.', message(answer))


@case
def operations_are_listed_in_pages(lab):
    status, all_of_them = lab.call("GET", f"{BASE}/operations?instance=mlflow")
    names, token = [], ""
    while True:
        status, page = lab.call("GET", f"{BASE}/operations?instance=mlflow&maxResults=3&pageToken={token}")
        assert len(page["items"]) <= 3
        names += [it["name"] for it in page["items"]]
        token = page.get("nextPageToken")
        if not token:
            break
    equal(names, [it["name"] for it in all_of_them["items"]])
    assert len(names) > 6, names


@case
def a_change_of_settings_knows_its_version(lab):
    status, answer = lab.call("PATCH", f"{BASE}/instances/mlflow", body={"settings": {"settingsVersion": "99", "tier": "x"}})
    equal((status, message(answer), reason(answer)), (412, "Condition does not match.", "staleData"))
    equal(lab.call("PATCH", f"{BASE}/instances/mlflow", body={"settings": {"settingsVersion": "1", "tier": "db-n1"}})[0], 200)
    status, answer = lab.call("GET", f"{BASE}/instances/mlflow")
    equal((answer["settings"]["tier"], answer["settings"]["settingsVersion"]), ("db-n1", "2"))


# -- the real proxy, passwords ----------------------------------------------------------------


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


@case
def a_password_user_reads_and_writes(lab):
    secret = password(lab)
    with lab.proxy("proxy") as proxy:
        sql = "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000); SELECT sum(a), current_user FROM t; DROP TABLE t"
        ok, text = proxy.psql(sql, password=secret)
        equal((ok, "500500|mlflow" in text), (True, True))


@case
def psycopg2_runs_a_transaction_and_cancels(lab):
    import psycopg2

    with lab.proxy("proxy") as proxy:
        words = f"host=127.0.0.1 port={proxy.port} user=mlflow password={password(lab)} dbname=mlflow"
        connection = psycopg2.connect(words)
        cursor = connection.cursor()
        threading.Timer(0.5, connection.cancel).start()
        try:
            cursor.execute("SELECT pg_sleep(20)")
            raise AssertionError("the query was not cancelled")
        except psycopg2.errors.QueryCanceled:
            connection.rollback()
        cursor.execute("SELECT %s || version()", ("PostgreSQL ",))
        inside("PostgreSQL 15", cursor.fetchone()[0])
        connection.close()


@case
def a_wrong_password_is_postgresqls_refusal(lab):
    with lab.proxy("proxy") as proxy:
        equal(proxy.psql("SELECT 1", password="wrong")[0], False)
        inside('FATAL:  password authentication failed for user "mlflow"', proxy.psql("SELECT 1", password="wrong")[1])


@case
def tls_inside_the_tunnel_is_not_offered(lab):
    with lab.proxy("proxy") as proxy:
        inside("server does not support SSL, but SSL was required", proxy.psql("SELECT 1", password=password(lab), sslmode="require")[1])


@case
def fifty_megabytes_pass_unchanged_both_ways(lab):
    with lab.proxy("proxy") as proxy:
        source = lab.folder / "bulk.txt"
        source.write_text("".join(f"{it}\t{'x' * 100}\n" for it in range(480_000)))
        ok, text = proxy.psql(f"CREATE TABLE bulk (a int, b text); ", password=password(lab))
        equal(ok, True)
        proxy.psql(f"\\copy bulk FROM {source}", password="sesame")
        equal(proxy.psql(f"\\copy (SELECT * FROM bulk ORDER BY a) TO {source}.back", password="sesame")[0], True)
        equal(run("cmp", str(source), f"{source}.back"), "")
        proxy.psql("DROP TABLE bulk", password="sesame")


@case
def the_emulators_superuser_is_nobodys(lab):
    with lab.proxy("proxy") as proxy:
        inside("password authentication failed", proxy.psql("SELECT 1", SUPERUSER, "super-secret", "postgres")[1])


# -- the real proxy, IAM ----------------------------------------------------------------------


@case
def an_iam_user_logs_in_without_a_password(lab):
    with lab.proxy("proxy", "--auto-iam-authn") as proxy:
        sql = "CREATE TABLE iam_made (a int); DROP TABLE iam_made; SELECT current_user, session_user"
        ok, text = proxy.psql(sql, IAM_USER)
        equal((ok, text.splitlines()[-1]), (True, f"{IAM_USER}|{IAM_USER}"))
        equal(proxy.psql("SELECT 1", IAM_USER, "anything"), (True, "1"))
        inside('database "none" does not exist', proxy.psql("SELECT 1", IAM_USER, database="none")[1])


@case
def a_password_user_passes_an_iam_proxy(lab):
    with lab.proxy("proxy", "--auto-iam-authn") as proxy:
        equal(proxy.psql("SELECT 1", password=password(lab)), (True, "1"))


@case
def an_iam_user_is_only_its_own_principal(lab):
    with lab.proxy("proxy", "--auto-iam-authn") as proxy:
        other = f"client-only@{PROJECT}.iam"
        inside(f'FATAL:  Cloud SQL IAM service account authentication failed for user "{other}"', proxy.psql("SELECT 1", other)[1])
        inside('FATAL:  Cloud SQL IAM user authentication failed for user "ann@example.com"', proxy.psql("SELECT 1", "ann@example.com")[1])
    inside(f"the login token is of {sa('proxy')}", lab.lines("denied")[-1]["why"])


@case
def without_instance_user_the_login_is_refused(lab):
    with lab.proxy("client-only", "--auto-iam-authn") as proxy:
        user = f"client-only@{PROJECT}.iam"
        inside(f'FATAL:  Cloud SQL IAM service account authentication failed for user "{user}"', proxy.psql("SELECT 1", user)[1])
    inside("cloudsql.instances.login", lab.lines("denied")[-1]["why"])


@case
def a_missing_database_user_is_an_unknown_role(lab):
    with lab.proxy("proxy", "--auto-iam-authn") as proxy:
        user = f"nobody@{PROJECT}.iam"
        inside("no password supplied", proxy.psql("SELECT 1", user)[1])
        inside(f'FATAL:  password authentication failed for user "{user}"', proxy.psql("SELECT 1", user, "x")[1])


@case
def an_access_token_is_a_password_without_automatic_authentication(lab):
    token = lab.mint(member("proxy"), [LOGIN])["access_token"]
    person = lab.mint("user:ann@example.com", [LOGIN])["access_token"]
    wrong = lab.mint(member("proxy"), ["https://www.googleapis.com/auth/devstorage.read_only"])["access_token"]
    with lab.proxy("proxy") as proxy:
        equal(proxy.psql("SELECT current_user", IAM_USER, token), (True, IAM_USER))
        equal(proxy.psql("SELECT current_user", "ann@example.com", person), (True, "ann@example.com"))
        words = f'FATAL:  Cloud SQL IAM service account authentication failed for user "{IAM_USER}"'
        for bad in (wrong, "guess", person):
            inside(words, proxy.psql("SELECT 1", IAM_USER, bad)[1])


@case
def an_iam_role_has_no_password_that_anybody_knows(lab):
    with lab.proxy("proxy") as proxy:
        inside("authentication failed", proxy.psql("SELECT 1", IAM_USER, "sesame")[1])
    equal(psql(lab, f"SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = '{IAM_USER}'"), "SCRAM-SHA-256")


@case
def a_role_with_another_password_is_set_right(lab):
    psql(lab, f'ALTER ROLE "{IAM_USER}" PASSWORD \'spoiled\'')
    with lab.proxy("proxy", "--auto-iam-authn") as proxy:
        equal(proxy.psql("SELECT 1", IAM_USER), (True, "1"))


@case
def a_binding_that_goes_ends_new_logins_and_comes_back(lab):
    project = f"/v1/projects/{PROJECT}"
    host = "https://cloudresourcemanager.googleapis.com"
    with lab.proxy("proxy", "--auto-iam-authn") as proxy:
        equal(proxy.psql("SELECT 1", IAM_USER), (True, "1"))
        status, policy = lab.call("POST", f"{project}:getIamPolicy", body={"options": {"requestedPolicyVersion": 3}}, host=host)
        equal(status, 200)
        less = dict(policy, bindings=[it for it in policy["bindings"] if it["role"] != "roles/cloudsql.instanceUser"])
        status, changed = lab.call("POST", f"{project}:setIamPolicy", body={"policy": less}, host=host)
        equal(status, 200)
        inside("Cloud SQL IAM service account authentication failed", proxy.psql("SELECT 1", IAM_USER)[1])
        back = dict(policy, etag=changed["etag"])
        equal(lab.call("POST", f"{project}:setIamPolicy", body={"policy": back}, host=host)[0], 200)
        equal(proxy.psql("SELECT 1", IAM_USER), (True, "1"))


# -- the real proxy, wrong states -------------------------------------------------------------


def refused(lab, who, *expected, connection=None, instance="mlflow"):
    """The client sees a closed connection, the proxy's log says why."""
    with lab.proxy(who, connection=connection, instance=instance) as proxy:
        ok, text = proxy.psql("SELECT 1", password="x")
        equal(ok, False)
        inside("server closed the connection unexpectedly", text)
        for part in expected:
            inside(part, proxy.log())


@case
def proxy_without_permission(lab):
    refused(lab, "nobody", "googleapi: Error 403: boss::NOT_AUTHORIZED: Not authorized to access resource. Possibly missing "
            "permission cloudsql.instances.get on resource instances/mlflow., forbidden")


@case
def proxy_without_connect(lab):
    refused(lab, "viewer", "googleapi: Error 403: boss::NOT_AUTHORIZED: Not authorized to access instance: mlflow, forbidden")


@case
def proxy_of_a_missing_instance(lab):
    refused(lab, "proxy", "googleapi: Error 404: The Cloud SQL instance does not exist., instanceDoesNotExist", instance="none")


@case
def proxy_in_the_wrong_region(lab):
    refused(lab, "proxy", f"provided region was mismatched - got us-central1, want {REGION}", connection=f"{PROJECT}:us-central1:mlflow")


@case
def proxy_in_the_wrong_project(lab):
    refused(lab, "proxy", "googleapi: Error 403: boss::NOT_AUTHORIZED", connection=f"another-project:{REGION}:mlflow")


@case
def proxy_of_a_disabled_api(lab):
    host, path = "https://serviceusage.googleapis.com", f"/v1/projects/{PROJECT}/services/sqladmin.googleapis.com"
    status, answer = lab.call("POST", f"{path}:disable", body={}, host=host)
    equal(status, 200)
    try:
        refused(lab, "proxy", f"Cloud SQL Admin API has not been used in project {NUMBER} before or it is disabled.")
        status, answer = lab.call("GET", f"{BASE}/instances/mlflow/connectSettings", member("proxy"))
        equal((status, reason(answer)), (403, "accessNotConfigured"))
    finally:
        equal(lab.call("POST", f"{path}:enable", body={}, host=host)[0], 200)


@case
def the_connection_test_of_the_proxy_passes(lab):
    with lab.proxy("proxy", "--run-connection-test", "--lazy-refresh") as proxy:
        inside("ready for new connections", proxy.log())


@case
def an_expired_certificate_ends_the_handshake(lab):
    with lab.proxy("proxy") as proxy:
        equal(proxy.psql("SELECT 1", password=password(lab)), (True, "1"))
        expired = lab.admin(f"/sql/{PROJECT}/mlflow/expire-certificates")["expired"]
        assert expired > 0
        equal(proxy.psql("SELECT 1", password="sesame")[0], False)
    inside("Expired", lab.lines("unauthenticated")[-1]["why"])
    with lab.proxy("proxy") as proxy:
        equal(proxy.psql("SELECT 1", password="sesame"), (True, "1"))


# -- port 3307 by hand ------------------------------------------------------------------------


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
def a_new_instance_has_its_own_address_and_authorities(lab):
    body = {"name": "another", "region": REGION, "databaseVersion": "POSTGRES_15", "rootPassword": "root-secret",
            "settings": {"tier": "db-f1-micro", "deletionProtectionEnabled": True}}
    equal(lab.call("POST", f"{BASE}/instances", member("viewer"), body)[0], 403)
    status, done = lab.call("POST", f"{BASE}/instances", body=body)
    equal((status, done["operationType"], done["status"]), (200, "CREATE", "DONE"))
    status, answer = lab.call("POST", f"{BASE}/instances", body=body)
    equal((status, reason(answer)), (409, "instanceAlreadyExists"))
    status, answer = lab.call("POST", f"{BASE}/instances", body=dict(body, name="third"))
    equal((status, reason(answer)), (403, "errorMaxInstancePerLabel"))
    equal(lab.call("POST", f"{BASE}/instances/another/databases", body={"name": "d"})[0], 200)
    with lab.proxy("proxy", instance="another") as proxy:
        equal(proxy.psql("SELECT current_user", "postgres", "root-secret", "d"), (True, "postgres"))
    context = lab.certificate()
    with dial(context, "127.0.0.2") as tls:
        inside("unknown ca", str(ended(tls)).lower())
    with lab.proxy("conditional", instance="another") as proxy:
        equal(proxy.psql("SELECT 1", "postgres", "root-secret", "d"), (True, "1"))


@case
def instances_are_listed_in_pages_and_deleted_when_not_protected(lab):
    status, page = lab.call("GET", f"{BASE}/instances?maxResults=1")
    equal([it["name"] for it in page["items"]], ["another"])
    status, page = lab.call("GET", f"{BASE}/instances?maxResults=1&pageToken={page['nextPageToken']}")
    equal(([it["name"] for it in page["items"]], "nextPageToken" in page), (["mlflow"], False))
    status, answer = lab.call("DELETE", f"{BASE}/instances/another")
    equal((status, reason(answer)), (400, "invalid"))
    inside("The instance is protected.", message(answer))
    body = {"settings": {"deletionProtectionEnabled": False}}
    equal(lab.call("PATCH", f"{BASE}/instances/another", body=body)[0], 200)
    equal(lab.call("DELETE", f"{BASE}/instances/another")[0], 200)
    equal(lab.call("GET", f"{BASE}/instances/another")[0], 404)


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


@case
def what_is_not_emulated_is_not_done_in_silence(lab):
    body = {"name": "replica", "databaseVersion": "POSTGRES_15", "masterInstanceName": "mlflow"}
    equal(lab.call("POST", f"{BASE}/instances", body=body)[0], 501)
    equal(lab.call("POST", f"{BASE}/instances", body={"name": "mysql", "databaseVersion": "MYSQL_8_0"})[0], 501)
    equal(lab.call("GET", f"{BASE}/instances?filter=name:x")[0], 501)


@case
def no_secret_is_in_the_log(lab):
    text = lab.log.read_text()
    for secret in ("super-secret", "sesame", "root-secret", "ya29."):
        assert secret not in text, secret
    assert "panicked" not in text


def main():
    if os.environ.get("CLOUDSQL_INSIDE") != "yes":
        environment = dict(os.environ, CLOUDSQL_INSIDE="yes")
        os.execvpe("unshare", ["unshare", "-n", "-m", "--propagation", "private", sys.executable, *sys.argv], environment)
    lab, failed = Lab(), 0
    chosen = [it for it in CASES if not sys.argv[1:] or any(part in it.__name__ for part in sys.argv[1:])]
    try:
        lab.start()
        for it in chosen:
            began, detail, proxies = time.monotonic(), "", lab.proxies
            try:
                it(lab)
            except Exception as error:  # A case may end in any way; the others still run.
                failed += 1
                detail = f"{type(error).__name__}: {error}"
                if os.environ.get("CLOUDSQL_TRACE"):
                    traceback.print_exc()
            client = "cloud-sql-proxy" if lab.proxies > proxies else "https"
            row = {"case": it.__name__, "client": client, "ok": not detail, "seconds": round(time.monotonic() - began, 2)}
            print(json.dumps(row | ({"detail": detail} if detail else {})), flush=True)
    finally:
        lab.stop()
    print(f"{len(chosen) - failed} of {len(chosen)} cases passed; logs in {lab.folder}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
