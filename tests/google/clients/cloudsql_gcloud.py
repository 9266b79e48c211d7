"""Judges the emulated Cloud SQL Admin API by the real gcloud. One JSON line per case; programs as for cloudsql_admin.py."""

import os
import shutil
import subprocess
import sys

from cloudsql_cases import equal, inside, judge, password, psql
from cloudsql_lab import PROJECT, REGION, sa


def gcloud(lab, *words, who="user:owner@example.com"):
    """Status and what gcloud printed."""
    token = lab.folder / "token"
    token.write_text(lab.token(who))
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(lab.folder), "CLOUDSDK_CONFIG": str(lab.folder / "gcloud"),
        "CLOUDSDK_CORE_PROJECT": PROJECT, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(lab.ca),
        "CLOUDSDK_CORE_SHOULD_PROMPT_TO_ENABLE_API": "false", "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
    }
    done = subprocess.run(["gcloud", "sql", *words], env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def list_instances(lab):
    status, text = gcloud(lab, "instances", "list", "--format=value(name,databaseVersion,state)")
    equal((status, text.split()), (0, ["mlflow", "POSTGRES_15", "RUNNABLE"]))


def describe_instance(lab):
    status, text = gcloud(lab, "instances", "describe", "mlflow", "--format=value(connectionName)")
    equal((status, text.strip()), (0, f"{PROJECT}:{REGION}:mlflow"))


def describe_missing_instance(lab):
    status, text = gcloud(lab, "instances", "describe", "none")
    inside("The Cloud SQL instance does not exist.", text)
    equal(status, 1)


def describe_without_permission(lab):
    status, text = gcloud(lab, "instances", "describe", "mlflow", who=f"serviceAccount:{sa('nobody')}")
    # gcloud puts a 403 into words of its own.
    inside(f"There was no instance found at projects/{PROJECT}/instances/mlflow or you are not authorized to access it.", text)
    equal(status, 1)


def create_database(lab):
    status, text = gcloud(lab, "databases", "create", "made", "--instance=mlflow")
    equal(status, 0)
    inside("Created database [made]", text)
    equal(psql(lab, "SELECT count(*) FROM pg_database WHERE datname = 'made'"), "1")
    status, text = gcloud(lab, "databases", "create", "made", "--instance=mlflow")
    inside('failed to create database made. Detail: pq: database "made" already exists', text)


def list_databases(lab):
    status, text = gcloud(lab, "databases", "list", "--instance=mlflow", "--format=value(name)")
    equal((status, text.split()), (0, ["made", "mlflow", "postgres"]))


def create_user_and_set_its_password(lab):
    equal(gcloud(lab, "users", "create", "carl", "--instance=mlflow", "--password=one")[0], 0)
    equal(gcloud(lab, "users", "set-password", "carl", "--instance=mlflow", "--password=two")[0], 0)
    with lab.proxy("proxy") as proxy:
        equal(proxy.psql("SELECT current_user", "carl", "two"), (True, "carl"))


def create_iam_user(lab):
    words = ["users", "create", f"viewer@{PROJECT}.iam", "--instance=mlflow", "--type=cloud_iam_service_account"]
    equal(gcloud(lab, *words)[0], 0)
    status, text = gcloud(lab, "users", "list", "--instance=mlflow", "--format=value(name,type)")
    inside(f"viewer@{PROJECT}.iam", text)
    inside("CLOUD_IAM_SERVICE_ACCOUNT", text)


def patch_and_restart_instance(lab):
    status, text = gcloud(lab, "instances", "patch", "mlflow", "--no-deletion-protection")
    equal(status, 0 if "Updated" in text else text)
    status, text = gcloud(lab, "instances", "restart", "mlflow")
    equal(status, 0 if "Restarted" in text else text)


def create_and_delete_instance(lab):
    words = ["instances", "create", "another", "--database-version=POSTGRES_15", f"--region={REGION}", "--tier=db-f1-micro",
             "--edition=enterprise"]
    status, text = gcloud(lab, *words)
    equal(status, 0 if "Created" in text else text)
    equal(gcloud(lab, "instances", "delete", "another")[0], 0)


CASES = [list_instances, describe_instance, describe_missing_instance, describe_without_permission, create_database, list_databases,
         create_user_and_set_its_password, create_iam_user, patch_and_restart_instance, create_and_delete_instance]


def main():
    if not shutil.which("gcloud"):
        sys.exit("gcloud is not installed: https://cloud.google.com/sdk/docs/install")
    judge(CASES, "gcloud_", password)


if __name__ == "__main__":
    main()
