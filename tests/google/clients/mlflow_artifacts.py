"""Judges the emulated cloud by MLflow's own artifact repository, as the MLflow server uses it in a pod: no setting, no key.

Needs root (a network namespace of its own), MLflow and what the image adds to it (deploy/images/mlflow). One JSON line per case on stdout; ends with 1 when a case failed.
Programs come from MLFLOW_GKE_GOOGLE_EMULATOR and MLFLOW_GKE_FAKE_GCS_SERVER. Arguments are parts of case names.
"""

import contextlib
import os
import pathlib
import re
import tempfile

import google.auth.iam
import google.auth.transport.requests
import requests
from google.api_core.exceptions import Forbidden, NotFound
from google.auth import credentials as auth
from google.cloud import storage
from mlflow_image import absent

absent.install()  # As the server of the image does.

from mlflow.entities.multipart_upload import MultipartUploadPart  # noqa: E402
from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository  # noqa: E402

from metadata_lab import OWNER, PROJECT, WORKLOAD, case, equal, inside, main, sa  # noqa: E402
from storage_lab import BUCKET, StorageLab  # noqa: E402

BUCKETS = "https://storage.googleapis.com/storage/v1/b"


def repository(path="runs/1/artifacts", bucket=BUCKET):
    return GCSArtifactRepository(f"gs://{bucket}/{path}")


def write(lab, name, data):
    file = lab.folder / "files" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def refused(error, call, *words):
    try:
        call()
    except error as refusal:
        for word in words:
            inside(word, str(refusal))
        return
    raise AssertionError(f"not refused, {error.__name__} was expected")


@contextlib.contextmanager
def bucket_policy(lab, *bindings):
    """What the bucket's policy is for a while."""
    url = f"{BUCKETS}/{BUCKET}/iam"
    before = lab.call("GET", url)[1]
    rows = [{"role": role, "members": [member]} for role, member in bindings]
    equal(lab.call("PUT", url, {"bindings": rows})[0], 200)
    try:
        yield
    finally:
        equal(lab.call("PUT", url, {"bindings": before["bindings"]})[0], 200)


ME = f"serviceAccount:{sa('mlflow')}"


@case
def a_file_comes_back(lab):
    data = os.urandom(100_000)
    repository().log_artifact(str(write(lab, "model.bin", data)))
    equal(pathlib.Path(repository().download_artifacts("model.bin")).read_bytes(), data)


@case
def a_file_of_many_pieces_comes_back(lab):
    data = os.urandom(1 << 20) * 20
    repository("runs/big").log_artifact(str(write(lab, "big.bin", data)))
    assert pathlib.Path(repository("runs/big").download_artifacts("big.bin")).read_bytes() == data


@case
def an_empty_file_comes_back(lab):
    repository("runs/empty").log_artifact(str(write(lab, "empty", b"")))
    equal(pathlib.Path(repository("runs/empty").download_artifacts("empty")).read_bytes(), b"")


@case
def a_name_in_unicode_comes_back(lab):
    repository("runs/name").log_artifact(str(write(lab, "Üb er#1%2F.txt", b"x")))
    equal([it.path for it in repository("runs/name").list_artifacts()], ["Üb er#1%2F.txt"])
    equal(pathlib.Path(repository("runs/name").download_artifacts("Üb er#1%2F.txt")).read_bytes(), b"x")


@case
def a_folder_is_logged_listed_and_downloaded(lab):
    for name in ("tree/a.txt", "tree/b/c.txt", "tree/b/d/e.txt"):
        write(lab, name, name.encode())
    runs = repository("runs/tree")
    runs.log_artifacts(str(lab.folder / "files/tree"), "model")
    equal([(it.path, it.is_dir, it.file_size) for it in runs.list_artifacts("model")],
          [("model/a.txt", False, 10), ("model/b", True, None)])
    folder = pathlib.Path(runs.download_artifacts("model"))
    equal(sorted(str(it.relative_to(folder)) for it in folder.rglob("*") if it.is_file()), ["a.txt", "b/c.txt", "b/d/e.txt"])


@case
def a_listing_of_many_pages_is_whole(lab):
    runs = repository("runs/many")
    for number in range(60):
        write(lab, f"many/{number:03}", b"")
    runs.log_artifacts(str(lab.folder / "files/many"))
    os.environ["MLFLOW_GCS_LIST_PAGE_SIZE"] = "7"
    equal(len(runs.list_artifacts()), 60)


@case
def a_listing_of_nothing_is_empty(_):
    equal(repository("runs/none").list_artifacts(), [])


@case
def a_file_that_is_there_is_replaced(lab):
    runs = repository("runs/again")
    for data in (b"first", b"second"):
        runs.log_artifact(str(write(lab, "same", data)))
    equal(pathlib.Path(runs.download_artifacts("same")).read_bytes(), b"second")


@case
def a_run_is_deleted_and_no_other(lab):
    for path in ("runs/kept", "runs/kept-not"):
        repository(path).log_artifact(str(write(lab, "f", b"x")))
    repository("runs/kept-not").delete_artifacts()
    equal((repository("runs/kept-not").list_artifacts(), len(repository("runs/kept").list_artifacts())), ([], 1))


@case
def a_missing_object_is_told(_):
    refused(NotFound, lambda: repository()._download_file("none", os.path.join(tempfile.mkdtemp(), "gone")), "No such object")


@case
def a_missing_bucket_is_told(lab):
    file = write(lab, "f", b"x")
    lab.grant("roles/storage.objectAdmin", ME)
    try:
        refused(NotFound, lambda: repository(bucket=f"none-{PROJECT}").log_artifact(str(file)), "The specified bucket does not exist.")
    finally:
        lab.grant("roles/storage.objectAdmin", ME, take=True)


@case
def a_viewer_reads_and_writes_nothing(lab):
    repository("runs/viewer").log_artifact(str(write(lab, "f", b"x")))
    with bucket_policy(lab, ("roles/storage.objectViewer", ME)):
        equal(len(repository("runs/viewer").list_artifacts()), 1)
        equal(pathlib.Path(repository("runs/viewer").download_artifacts("f")).read_bytes(), b"x")
        refused(Forbidden, lambda: repository("runs/viewer").log_artifact(str(write(lab, "f", b"y"))),
                f"{sa('mlflow')} does not have storage.objects.create access to the Google Cloud Storage object.")


@case
def a_creator_writes_once_and_reads_nothing(lab):
    with bucket_policy(lab, ("roles/storage.objectCreator", ME)):
        file = str(write(lab, "f", b"x"))
        repository("runs/creator").log_artifact(file)
        refused(Forbidden, lambda: repository("runs/creator").log_artifact(file), "storage.objects.delete")
        refused(Forbidden, lambda: repository("runs/creator").list_artifacts(), "storage.objects.list")
        refused(Forbidden, lambda: repository("runs/creator")._download_file("f", os.path.join(tempfile.mkdtemp(), "gone")), "storage.objects.get")


@case
def nobody_does_nothing_and_recovers(lab):
    with bucket_policy(lab):
        refused(Forbidden, lambda: repository().list_artifacts(), f"{sa('mlflow')} does not have storage.objects.list access")
    repository().list_artifacts()


@case
def a_missing_binding_of_the_workload_is_told(lab):
    lab.bind("mlflow", [])
    lab.forget()
    try:
        refused(Exception, lambda: repository().list_artifacts(), "iam.serviceAccounts.getAccessToken")
    finally:
        lab.bind("mlflow", [WORKLOAD])
    repository().list_artifacts()


@case
def a_workload_without_an_account_has_rights_of_its_own(lab):
    number = lab.call("GET", f"https://cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}")[1]["projectNumber"]
    member = (f"principal://iam.googleapis.com/projects/{number}/locations/global/workloadIdentityPools/{PROJECT}.svc.id.goog"
              "/subject/ns/mlflow/sa/mlflow")
    lab.pods(None)
    try:
        refused(Forbidden, lambda: repository().list_artifacts(), f"{PROJECT}.svc.id.goog[mlflow/mlflow] does not have storage.objects.list")
        with bucket_policy(lab, ("roles/storage.objectUser", member)):
            repository("runs/direct").log_artifact(str(write(lab, "f", b"x")))
            equal(len(repository("runs/direct").list_artifacts()), 1)
    finally:
        lab.pods()


class Signer(auth.Signing, auth.Credentials):
    """What a workload has, and signatures by signBlob: MLflow has no way to ask for these."""

    def __init__(self):
        super().__init__()
        self._workload, _ = google.auth.default(["https://www.googleapis.com/auth/cloud-platform"])
        self._signer = google.auth.iam.Signer(google.auth.transport.requests.Request(), self._workload, sa("mlflow"))

    token = property(lambda self: self._workload.token, lambda self, _: None)
    signer = property(lambda self: self._signer)
    signer_email = service_account_email = property(lambda self: sa("mlflow"))

    def refresh(self, request):
        self._workload.refresh(request)

    def sign_bytes(self, message):
        return self._signer.sign(message)


def open_uploads(lab):
    headers = {"Authorization": f"Bearer {lab.token(OWNER)}"}
    answer = requests.get(f"https://storage.googleapis.com/{BUCKET}?uploads", headers=headers, timeout=10)
    equal(answer.status_code, 200)
    return re.findall("<Key>(.*?)</Key>.*?<UploadId>(.*?)</UploadId>", answer.text)


@case
def a_multipart_upload_has_no_key_to_sign_with_and_stays_open(lab):
    file = str(write(lab, "parts.bin", b"x"))
    refused(AttributeError, lambda: repository("runs/parts").create_multipart_upload(file, 2),
            "you need a private key to sign credentials", "google.auth.compute_engine.credentials.Credentials")
    # Whoever turns MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD on pays for what each try leaves behind.
    [(key, upload)] = open_uploads(lab)
    equal(key, "runs/parts/parts.bin")
    repository("runs/parts").abort_multipart_upload(file, upload)
    equal(open_uploads(lab), [])


@case
def a_multipart_upload_by_one_who_signs_comes_back(lab):
    data = os.urandom(1 << 20) * 12
    file = str(write(lab, "signed.bin", data))
    lab.grant("roles/iam.serviceAccountTokenCreator", ME)
    try:
        client = storage.Client(project=PROJECT, credentials=Signer())
        runs = GCSArtifactRepository(f"gs://{BUCKET}/runs/signed", client=client)
        made = runs.create_multipart_upload(file, 3)
        pieces = [data[it:it + (5 << 20)] for it in range(0, len(data), 5 << 20)]
        parts = []
        for credential, piece in zip(made.credentials, pieces, strict=True):
            # As MLflow's client does it: no token, and the tag comes back.
            answer = requests.put(credential.url, data=piece, headers=credential.headers, timeout=10)
            equal(answer.status_code, 200)
            parts.append(MultipartUploadPart(part_number=credential.part_number, etag=answer.headers["ETag"]))
        runs.complete_multipart_upload(file, made.upload_id, parts)
    finally:
        lab.grant("roles/iam.serviceAccountTokenCreator", ME, take=True)
    assert pathlib.Path(repository("runs/signed").download_artifacts("signed.bin")).read_bytes() == data
    equal(open_uploads(lab), [])


@case
def a_server_that_is_busy_is_asked_again(lab):
    rule = {"host": "storage.googleapis.com", "times": 2, "fault": {"status": {"code": 503}}}
    lab.admin("POST", "/faults", rule)
    repository().list_artifacts()
    equal(lab.admin("GET", "/faults"), {"faults": []})


if __name__ == "__main__":
    main(StorageLab())
