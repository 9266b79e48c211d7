"""What two see of the database in MLflow's pod: a client that connects now, and MLflow's user. One line of JSON."""

import json
import sys
import urllib.error
import urllib.request

import psycopg2

EXPERIMENTS = "http://localhost:5000/api/2.0/mlflow/experiments"


def client(statement: str) -> None:
    # Host, user and database come from the pod's PG* variables, as MLflow's do; there is no password.
    connection = psycopg2.connect("connect_timeout=5")
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def user(statement: str) -> tuple[int, str]:
    request = urllib.request.Request(f"{EXPERIMENTS}/search?max_results=1")
    if statement.startswith("UPDATE"):
        tag = {"experiment_id": "0", "key": "denials", "value": "tried"}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{EXPERIMENTS}/set-experiment-tag", json.dumps(tag).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=100) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def main() -> None:
    statement = sys.argv[1]
    try:
        client(statement)
        said = "well"
    except psycopg2.Error as error:
        said = f"{type(error).__name__}: {error}"
    status, body = user(statement)
    print(json.dumps({"client": said, "status": status, "body": body}))


main()
