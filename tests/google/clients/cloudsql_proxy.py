"""Judges the emulated Cloud SQL by the real cloud-sql-proxy, with psql and psycopg2 through it.

Needs root (a network namespace of its own). One JSON line per case on stdout; ends with 1 when a case failed.
Programs come from MLFLOW_GKE_GOOGLE_EMULATOR, MLFLOW_GKE_CLOUD_SQL_PROXY and MLFLOW_GKE_POSTGRES_BIN.
Arguments are parts of case names; without any, all run.
"""

import threading

from cloudsql_cases import IAM_USER, case, equal, inside, judge, member, no_secret_is_in_the_log, password, psql, reason
from cloudsql_lab import BASE, LOGIN, NUMBER, PROJECT, REGION, SUPERUSER, run, sa


# -- the real proxy, passwords ----------------------------------------------------------------


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


case(no_secret_is_in_the_log)

if __name__ == "__main__":
    judge()
