"""Judges the emulated Cloud SQL Admin API by plain HTTPS, and by what the real proxy and PostgreSQL make of it.

Needs root (a network namespace of its own). One JSON line per case on stdout; ends with 1 when a case failed.
Programs come from MLFLOW_GKE_GOOGLE_EMULATOR, MLFLOW_GKE_CLOUD_SQL_PROXY and MLFLOW_GKE_POSTGRES_BIN.
Arguments are parts of case names; without any, all run.
"""

import subprocess

from cloudsql_cases import case, dial, ended, equal, inside, judge, member, message, no_secret_is_in_the_log, password, psql, reason
from cloudsql_lab import BASE, LOGIN, PROJECT, REGION, run, sa


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


# -- instances that are made and deleted -------------------------------------------------------


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
def what_is_not_emulated_is_not_done_in_silence(lab):
    body = {"name": "replica", "databaseVersion": "POSTGRES_15", "masterInstanceName": "mlflow"}
    equal(lab.call("POST", f"{BASE}/instances", body=body)[0], 501)
    equal(lab.call("POST", f"{BASE}/instances", body={"name": "mysql", "databaseVersion": "MYSQL_8_0"})[0], 501)
    equal(lab.call("GET", f"{BASE}/instances?filter=name:x")[0], 501)


case(no_secret_is_in_the_log)

if __name__ == "__main__":
    judge()
