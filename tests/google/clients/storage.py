"""Judges the emulated Cloud Storage by Google's own client: one JSON line per case, exit status 1 if one failed.

The names of Google's hosts must lead to the gateway, and REQUESTS_CA_BUNDLE must hold its CA.
EMULATOR_ADMIN is the admin port, EMULATOR_OWNER a member with roles/owner on the project.
"""

import base64
import concurrent.futures
import contextlib
import datetime
import hashlib
import io
import json
import os
import socket
import sys
import tempfile
import time
import uuid
from xml.etree import ElementTree

import google.auth.iam
import google.auth.transport.requests
import google_crc32c
import requests
from google.api_core import exceptions
from google.auth import credentials as auth
from google.auth.exceptions import InvalidOperation
from google.cloud import storage
from google.cloud.storage import transfer_manager
from google.oauth2.credentials import Credentials

ADMIN = os.environ.get("EMULATOR_ADMIN", "http://127.0.0.1:8081")
OWNER = os.environ.get("EMULATOR_OWNER", "user:owner@example.com")
HOST = "https://storage.googleapis.com"
RUN = uuid.uuid4().hex[:8]
OBJECT = "access to the Google Cloud Storage object. Permission '{0}' denied on resource (or it may not exist)."
BUCKET = "access to the Google Cloud Storage bucket. Permission '{0}' denied on resource (or it may not exist)."

PROJECT = requests.get(f"{ADMIN}/world", timeout=10).json()["project"]
CASES = []

# A hosts file has no wildcards; a bucket's own host is where Cloud Storage is.
RESOLVE = socket.getaddrinfo
socket.getaddrinfo = lambda host, *more, **named: RESOLVE(
    "storage.googleapis.com" if str(host).endswith(".storage.googleapis.com") else host, *more, **named)


def case(function):
    CASES.append(function)
    return function


def admin(method, where, /, **body):
    answer = requests.request(method, ADMIN + where, json=body or None, timeout=10)
    answer.raise_for_status()
    return answer.json()


def token(member, **more):
    return admin("POST", "/tokens", member=member, **more)["access_token"]


def client(member, **more):
    return storage.Client(project=PROJECT["id"], credentials=Credentials(token(member, **more)))


def headers(member):
    return {"Authorization": f"Bearer {token(member)}"}


class Signer(auth.Signing, auth.Credentials):
    """Credentials as a workload has them: a token, and signatures by signBlob."""

    def __init__(self, text, email):
        super().__init__()
        self.token, self._email = text, email
        self._signer = google.auth.iam.Signer(google.auth.transport.requests.Request(), self, email)

    signer = property(lambda self: self._signer)
    signer_email = service_account_email = property(lambda self: self._email)

    def refresh(self, request):
        pass

    def sign_bytes(self, message):
        return self._signer.sign(message)


def refused(error, call, *words):
    """The call is refused with this error, in these words, and at once."""
    began = time.monotonic()
    try:
        call()
    except error as refusal:
        for word in words:
            assert word in str(refusal), f"{word!r} is not in {refusal!r}"
        assert time.monotonic() - began < 10, "it was tried again"
        return refusal
    raise AssertionError(f"not refused, {error.__name__} was expected")


def status(answer, expected, *words):
    assert answer.status_code == expected, f"{answer.status_code} {answer.text[:300]}"
    for word in words:
        assert word in answer.text, f"{word!r} is not in {answer.text[:400]!r}"
    return answer


class Scene:
    """Two buckets, and somebody with each role on the first of them."""

    roles = ("objectUser", "objectViewer", "objectCreator", "objectAdmin", "admin", "legacyBucketReader")

    def __init__(self):
        self.owner = client(OWNER)
        self.bucket = self.owner.create_bucket(f"case-{RUN}", location="europe-north1")
        self.other = self.owner.create_bucket(f"other-{RUN}", location="europe-north1")
        policy = self.bucket.get_iam_policy(requested_policy_version=3)
        for role in self.roles:
            members = {self.member(role)}
            policy.bindings.append({"role": f"roles/storage.{role}", "members": members})
        self.bucket.set_iam_policy(policy)
        self.clients = {role: client(self.member(role)) for role in self.roles}
        self.nobody = client(self.member("nobody"))
        self.bucket.blob("seen").upload_from_string(b"0123456789", content_type="text/plain")
        self.other.blob("seen").upload_from_string(b"another tenant's")
        self.account = self.service_account()

    def member(self, role):
        return f"user:{role.lower()}@example.com"

    def email(self, role):
        return self.member(role).removeprefix("user:")

    def at(self, role, name=None):
        who = self.nobody if role == "nobody" else self.clients[role]
        return who.bucket(name or self.bucket.name)

    def service_account(self):
        api = f"https://iam.googleapis.com/v1/projects/{PROJECT['id']}/serviceAccounts"
        made = requests.post(api, headers=headers(OWNER), json={"accountId": f"sign-{RUN}"}, timeout=10)
        email = status(made, 200).json()["email"]
        policy = {"bindings": [{"role": "roles/iam.serviceAccountTokenCreator",
                                "members": [self.member("objectAdmin"), f"serviceAccount:{email}"]}]}
        status(requests.post(f"{api}/{email}:setIamPolicy", headers=headers(OWNER),
                             json={"policy": policy}, timeout=10), 200)
        grant(self.bucket, "roles/storage.objectUser", f"serviceAccount:{email}")
        return email

    def url(self, name, method="GET", version="v4", bucket=None, who=None, **more):
        creds = Signer(token(who or self.member("objectAdmin")), self.account)
        blob = (bucket or self.bucket).blob(name)
        return blob.generate_signed_url(
            version=version, method=method, credentials=creds, service_account_email=self.account,
            expiration=more.pop("expiration", datetime.timedelta(minutes=5)), **more)


def grant(bucket, role, member, remove=False, condition=None):
    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.version = 3
    if remove:
        for binding in policy.bindings:
            if binding["role"] == role:
                binding["members"] = set(binding["members"]) - {member}
        policy.bindings = [it for it in policy.bindings if it["members"]]
    else:
        policy.bindings.append({"role": role, "members": {member}} | ({"condition": condition} if condition else {}))
    bucket.set_iam_policy(policy)


# Who may do what: every operation for every role.

MATRIX = {
    "create": ("storage.objects.create", OBJECT, {"objectUser", "objectCreator", "objectAdmin", "admin"},
               lambda b: b.blob(f"new-{uuid.uuid4().hex}").upload_from_string(b"x")),
    "read": ("storage.objects.get", OBJECT, {"objectUser", "objectViewer", "objectAdmin", "admin"},
             lambda b: b.blob("seen").download_as_bytes()),
    "list": ("storage.objects.list", BUCKET, {"objectUser", "objectViewer", "objectAdmin", "admin",
                                              "legacyBucketReader"},
             lambda b: list(b.list_blobs(max_results=1))),
    "get-bucket": ("storage.buckets.get", BUCKET, {"admin", "legacyBucketReader"}, lambda b: b.reload()),
    "get-policy": ("storage.buckets.getIamPolicy", BUCKET, {"admin"}, lambda b: b.get_iam_policy()),
    "patch-bucket": ("storage.buckets.update", BUCKET, {"admin"}, lambda b: label(b)),
    "overwrite": ("storage.objects.delete", OBJECT, {"objectUser", "objectAdmin", "admin"},
                  lambda b: b.blob("again").upload_from_string(b"y")),
    "delete": ("storage.objects.delete", OBJECT, {"objectUser", "objectAdmin", "admin"},
               lambda b: b.blob("gone").delete()),
    "patch-object": ("storage.objects.", OBJECT, {"objectUser", "objectAdmin", "admin"},
                     lambda b: patch(b.blob("again"))),
}


def label(bucket):
    bucket.labels = {"a": "b"}
    bucket.patch()


def patch(blob):
    blob.metadata = {"a": "b"}
    blob.patch()


def matrix(operation, role):
    permission, text, allowed, call = MATRIX[operation]

    def run(scene):
        for name in ("again", "gone"):
            scene.bucket.blob(name).upload_from_string(b"x")
        if role in allowed:
            return call(scene.at(role))
        if operation == "overwrite" and role not in {"objectCreator"}:
            permission_, text_ = "storage.objects.create", OBJECT
        else:
            permission_, text_ = permission, text
        words = [f"{scene.email(role)} does not have {permission_}"]
        if not permission_.endswith("."):
            words.append(text_.format(permission_))
        refused(exceptions.Forbidden, lambda: call(scene.at(role)), *words)
        return None

    run.__name__ = f"{operation} as {role}"
    CASES.append(run)


for operation_ in MATRIX:
    for role_ in (*Scene.roles, "nobody"):
        matrix(operation_, role_)


# Bytes.

@case
def ranges(scene):
    blob = scene.at("objectViewer").blob("seen")
    assert blob.download_as_bytes(start=2, end=4) == b"234"
    assert blob.download_as_bytes(start=7) == b"789"
    refused(exceptions.RequestRangeNotSatisfiable, lambda: blob.download_as_bytes(start=100))


@case
def resumable_30_mb(scene):
    data = os.urandom(1 << 20) * 30
    blob = scene.at("objectUser").blob("big/30")
    blob.upload_from_file(io.BytesIO(data), size=len(data))
    assert hashlib.sha256(blob.download_as_bytes()).digest() == hashlib.sha256(data).digest()
    assert blob.size == len(data)


@case
def resumable_in_pieces(scene):
    data = os.urandom(3 << 20)
    blob = scene.at("objectUser").blob("big/pieces", chunk_size=1 << 20)
    blob.upload_from_file(io.BytesIO(data), size=len(data), content_type="x/y")
    assert blob.download_as_bytes() == data
    assert blob.content_type == "x/y"


@case
def resumable_of_unknown_length(scene):
    data = os.urandom(700_000)
    blob = scene.at("objectUser").blob("big/stream")
    with blob.open("wb", chunk_size=256 << 10) as file:
        file.write(data)
    assert blob.download_as_bytes() == data


def session(scene, name, role="objectUser", **more):
    query = {"uploadType": "resumable", "name": name} | more
    url = f"{HOST}/upload/storage/v1/b/{scene.bucket.name}/o"
    return requests.post(url, params=query, headers=headers(scene.member(role)), json={}, timeout=10)


def piece(url, data, first, total, **more):
    last = first + len(data) - 1
    return requests.put(url, data=data, headers={"Content-Range": f"bytes {first}-{last}/{total}"} | more, timeout=30)


@case
def resumable_survives_a_newer_token(scene):
    url = status(session(scene, "later"), 200).headers["Location"]
    half = b"a" * (256 << 10)
    answer = piece(url, half, 0, 512 << 10, **headers(scene.member("objectUser")))
    assert (answer.status_code, answer.headers["Range"]) == (308, "bytes=0-262143")
    # The id is the right to go on: another token, and none, are as good.
    status(piece(url, half, 256 << 10, 512 << 10), 200, '"later"')
    assert scene.bucket.blob("later").download_as_bytes() == half * 2


@case
def resumable_tells_how_far_it_is(scene):
    url = status(session(scene, "asked"), 200).headers["Location"]
    ask = {"Content-Range": "bytes */*"}
    answer = requests.put(url, headers=ask, timeout=10)
    assert answer.status_code == 308 and "Range" not in answer.headers
    piece(url, b"a" * 262144, 0, "*")
    assert requests.put(url, headers=ask, timeout=10).headers["Range"] == "bytes=0-262143"
    status(piece(url, b"b" * 10, 262144, 262154), 200)
    status(requests.put(url, headers=ask, timeout=10), 200, '"asked"')


@case
def resumable_drops_what_it_has(scene):
    url = status(session(scene, "twice"), 200).headers["Location"]
    piece(url, b"a" * 262144, 0, 262150)
    # A client that lost the answer sends the piece again, and more.
    status(piece(url, b"a" * 262144 + b"bbbbbb", 0, 262150), 200)
    assert scene.bucket.blob("twice").download_as_bytes() == b"a" * 262144 + b"b" * 6


@case
def resumable_of_another_bucket(scene):
    url = status(session(scene, "mine"), 200).headers["Location"]
    status(piece(url.replace(scene.bucket.name, scene.other.name), b"x", 0, 1), 404)
    status(requests.put(url.split("upload_id=")[0] + "upload_id=guessed", data=b"x", timeout=10), 404)


@case
def resumable_into_another_bucket_by_its_body(scene):
    url = f"{HOST}/upload/storage/v1/b/{scene.bucket.name}/o?uploadType=resumable"
    for key in ("bucket", "Bucket", "BUCKET"):
        body = {"name": "stolen", key: scene.other.name}
        answer = requests.post(url, headers=headers(scene.member("objectUser")), json=body, timeout=10)
        if answer.status_code == 200:
            status(piece(answer.headers["Location"], b"x", 0, 1), 200)
    assert not scene.other.blob("stolen").exists()


@case
def resumable_may_not_overwrite_at_the_end(scene):
    url = status(session(scene, "raced", role="objectCreator"), 200).headers["Location"]
    scene.bucket.blob("raced").upload_from_string(b"first")
    status(piece(url, b"second", 0, 6), 403, "storage.objects.delete")
    assert scene.bucket.blob("raced").download_as_bytes() == b"first"


@case
def metadata_comes_back(scene):
    blob = scene.at("objectUser").blob("meta")
    blob.metadata, blob.cache_control = {"Key": "value ü"}, "no-store"
    blob.upload_from_string(b"{}", content_type="application/json")
    seen = scene.at("objectViewer").get_blob("meta")
    assert (seen.metadata, seen.cache_control, seen.content_type) == (
        {"Key": "value ü"}, "no-store", "application/json")


@case
def empty_object(scene):
    scene.at("objectUser").blob("empty").upload_from_string(b"")
    assert scene.bucket.blob("empty").download_as_bytes() == b""


# Digests that come with the bytes, or after them.

MD5_OF_ANOTHER, CRC32C_OF_ANOTHER = "MDAwMDAwMDAwMDAwMDAwMA==", "AAAAAA=="


def mismatch(name, told):
    """The words, as JSON has them."""
    return f"Provided {name} \\\"{told}\\\" doesn't match calculated {name} \\\""


@case
def a_wrong_checksum_is_refused(scene):
    blob = scene.at("objectUser").blob("sum")
    blob.upload_from_string(b"kept")
    for key, words, told in (("md5_hash", "MD5 hash", MD5_OF_ANOTHER), ("crc32c", "CRC32C", CRC32C_OF_ANOTHER)):
        wrong = scene.at("objectUser").blob("sum")
        setattr(wrong, key, told)
        refused(exceptions.BadRequest, lambda: wrong.upload_from_string(b"x", checksum=None), mismatch(words, told))
    assert blob.download_as_bytes() == b"kept"


@case
def pieces_that_are_not_as_the_last_one_says(scene):
    scene.bucket.blob("pieces/one").upload_from_string(b"kept")
    size = 256 << 10
    # One piece in the place of another object, and three pieces.
    for name, count in (("pieces/one", 1), ("pieces/three", 3)):
        for kind, words, told in (("crc32c", "CRC32C", CRC32C_OF_ANOTHER), ("md5", "MD5 hash", MD5_OF_ANOTHER)):
            url, total = status(session(scene, name), 200).headers["Location"], size * count
            for number in range(count - 1):
                # Only the last piece tells of the whole object.
                status(piece(url, b"a" * size, number * size, "*", **{"x-goog-hash": f"{kind}={told}"}), 308)
            answer = piece(url, b"a" * size, total - size, total, **{"x-goog-hash": f"{kind}={told}"})
            status(answer, 400, mismatch(words, told))
            assert answer.json()["error"]["errors"][0]["reason"] == "invalid"
            status(requests.put(url, headers={"Content-Range": "bytes */*"}, timeout=10), 404)
    assert scene.bucket.blob("pieces/one").download_as_bytes() == b"kept"
    assert not scene.bucket.blob("pieces/three").exists()


class Spoiler(requests.adapters.HTTPAdapter):
    """A line that changes what passes."""

    def send(self, request, *more, **named):
        if isinstance(request.body, bytes) and request.body.startswith(b"bbb"):
            request.body = b"x" + request.body[1:]
        return super().send(request, *more, **named)


@case
def bytes_that_change_on_the_way_are_refused(scene):
    for checksum, words in (("crc32c", "CRC32C"), ("md5", "MD5 hash")):
        owner = client(scene.member("objectUser"))
        owner._http.mount("https://", Spoiler())
        blob = owner.bucket(scene.bucket.name).blob("changed")
        blob.chunk_size = 256 << 10
        data = b"a" * blob.chunk_size + b"b" * blob.chunk_size + b"c"
        refused(exceptions.BadRequest, lambda: blob.upload_from_file(io.BytesIO(data), checksum=checksum),
                f"Provided {words} ")
        assert not scene.bucket.blob("changed").exists()


@case
def one_request_that_is_not_as_it_says(scene):
    bucket, mine = scene.bucket, headers(scene.member("objectUser"))
    bucket.blob("told").upload_from_string(b"kept")
    for more, words, told in (({"x-goog-hash": f"crc32c={CRC32C_OF_ANOTHER}"}, "CRC32C", CRC32C_OF_ANOTHER),
                              ({"x-goog-hash": f"md5={MD5_OF_ANOTHER}"}, "MD5 hash", MD5_OF_ANOTHER)):
        url = f"{HOST}/upload/storage/v1/b/{bucket.name}/o?uploadType=media&name=told"
        status(requests.post(url, data=b"x", headers=mine | more, timeout=10), 400, mismatch(words, told))
    for more, code in (({"Content-MD5": MD5_OF_ANOTHER}, "BadDigest"), ({"x-goog-hash": f"crc32c={CRC32C_OF_ANOTHER}"}, "CrcMismatch")):
        url = f"{HOST}/{bucket.name}/told"
        status(requests.put(url, data=b"x", headers=mine | more, timeout=10), 400, f"<Code>{code}</Code>")
    assert bucket.blob("told").download_as_bytes() == b"kept"
    right = {"Content-MD5": base64.b64encode(hashlib.md5(b"new").digest()).decode(),
             "x-goog-hash": f"crc32c={base64.b64encode(google_crc32c.Checksum(b'new').digest()).decode()}"}
    status(requests.put(f"{HOST}/{bucket.name}/told", data=b"new", headers=mine | right, timeout=10), 200)
    assert bucket.blob("told").download_as_bytes() == b"new"


# Names.

@case
def names_in_unicode(scene):
    for name in ("日本/🦀.txt", "ünder/ a b", "%2F%2e%2e", "a+b&c=d?e#f", "'\"<>\\", "..a/b..", "name/acl"):
        blob = scene.at("objectUser").blob(name)
        blob.upload_from_string(name.encode())
        assert blob.download_as_bytes().decode() == name
        assert [it.name for it in scene.bucket.list_blobs(prefix=name)] == [name]
        blob.delete()


@case
def names_that_would_leave_the_bucket(scene):
    bucket = scene.at("objectUser")
    for name in (f"../{scene.other.name}/seen", "../../etc/passwd", "a/../../x", "a//b", "/a", "a\0b", "a/"):
        refused(exceptions.NotFound, bucket.blob(name).download_as_bytes)
        refused(exceptions.NotFound, bucket.blob(name).delete)
        refused(exceptions.MethodNotImplemented, lambda: bucket.blob(name).upload_from_string(b"x"))
    assert scene.other.blob("seen").download_as_bytes() == b"another tenant's"


@case
def names_that_google_refuses(scene):
    for name in ("a\nb", ".well-known/acme-challenge/x", "x" * 1025):
        refused(exceptions.BadRequest, lambda: scene.at("objectUser").blob(name).upload_from_string(b"x"))


@case
def paths_in_the_raw(scene):
    own, other = scene.bucket.name, scene.other.name
    mine = headers(scene.member("objectUser"))
    for path in (f"/storage/v1/b/{own}/o/..%2F{other}%2Fseen?alt=media", f"/storage/v1/b/{own}/o/%2e%2e/{other}",
                 f"/{own}/..%2f{other}%2fseen", f"/storage/v1/b/{own}%2F..%2F{other}/o/seen",
                 "/_internal/config", f"/storage/v1/b/..%2F{other}/o", "/storage/v1/b/%zz/o"):
        answer = requests.Request("GET", HOST + path, headers=mine).prepare()
        answer.url = HOST + path
        answer = requests.Session().send(answer, timeout=10, verify=os.environ["REQUESTS_CA_BUNDLE"])
        assert answer.status_code in (400, 403, 404, 501), f"{path}: {answer.status_code}"
        assert "another tenant" not in answer.text


@case
def folders_are_listed_by_delimiter(scene):
    for name in ("tree/a/1", "tree/a/2", "tree/b"):
        scene.bucket.blob(name).upload_from_string(b"x")
    listed = scene.at("objectViewer").list_blobs(prefix="tree/", delimiter="/")
    assert [it.name for it in listed] == ["tree/b"] and listed.prefixes == {"tree/a/"}


@case
def pages(scene):
    for index in range(7):
        scene.bucket.blob(f"page/{index}").upload_from_string(b"x")
    listed = scene.at("objectViewer").list_blobs(prefix="page/", page_size=3)
    assert [len(list(page)) for page in listed.pages] == [3, 3, 1]


# Preconditions.

@case
def generations(scene):
    blob = scene.at("objectUser").blob("generation")
    blob.upload_from_string(b"1", if_generation_match=0)
    refused(exceptions.PreconditionFailed, lambda: blob.upload_from_string(b"2", if_generation_match=0),
            "At least one of the pre-conditions you specified did not hold.")
    blob.reload()
    blob.upload_from_string(b"2", if_generation_match=blob.generation)
    refused(exceptions.PreconditionFailed, lambda: blob.download_as_bytes(if_generation_match=1))
    refused(exceptions.PreconditionFailed, lambda: blob.delete(if_generation_match=1))
    blob.reload()
    assert blob.download_as_bytes(if_generation_match=blob.generation) == b"2"
    refused(exceptions.NotModified, lambda: blob.reload(if_generation_not_match=blob.generation))
    blob.delete(if_generation_match=blob.generation)


@case
def only_one_writer_wins(scene):
    def write(index):
        with contextlib.suppress(exceptions.PreconditionFailed):
            scene.at("objectUser").blob("one").upload_from_string(str(index), if_generation_match=0)
            return 1
        return 0

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(8))) == 1


# Copies.

@case
def rewrite(scene):
    bucket = scene.at("objectUser")
    bucket.blob("copied/a b").rewrite(bucket.blob("seen"))
    assert bucket.blob("copied/a b").download_as_bytes() == b"0123456789"


@case
def rewrite_needs_both_ends(scene):
    def copy(role, source, target):
        who = scene.at(role)
        return lambda: who.client.bucket(target).blob("c").rewrite(who.client.bucket(source).blob("seen"))

    own, other = scene.bucket.name, scene.other.name
    refused(exceptions.Forbidden, copy("objectUser", own, other), "storage.objects.create")
    refused(exceptions.Forbidden, copy("objectUser", other, own), "storage.objects.get")
    refused(exceptions.Forbidden, copy("objectCreator", own, own), "storage.objects.get")
    refused(exceptions.Forbidden, copy("objectViewer", own, own), "storage.objects.create")


@case
def compose(scene):
    bucket = scene.at("objectUser")
    for name in ("part/1", "part/2"):
        bucket.blob(name).upload_from_string(name)
    whole = bucket.blob("part/whole")
    whole.compose([bucket.blob("part/1"), bucket.blob("part/2")])
    assert whole.download_as_bytes() == b"part/1part/2"
    parts = [scene.at("objectCreator").blob("part/1")]
    refused(exceptions.Forbidden, lambda: scene.at("objectCreator").blob("part/x").compose(parts),
            "storage.objects.get")
    refused(exceptions.NotFound, lambda: whole.compose([bucket.blob("part/none")]), "No such object")


# Who is there.

@case
def missing_object(scene):
    refused(exceptions.NotFound, lambda: scene.at("objectUser").blob("none").download_as_bytes(),
            f"No such object: {scene.bucket.name}/none")


@case
def missing_object_for_one_who_may_not_list(scene):
    bucket = scene.owner.create_bucket(f"nolist-{RUN}")
    grant(bucket, "roles/storage.legacyObjectReader", scene.member("nobody"))
    refused(exceptions.Forbidden, lambda: scene.nobody.bucket(bucket.name).blob("none").download_as_bytes(),
            "storage.objects.list", "bucket")


@case
def missing_bucket(scene):
    bucket = scene.at("objectUser", f"none-{RUN}")
    refused(exceptions.NotFound, lambda: bucket.blob("a").upload_from_string(b"x"),
            "The specified bucket does not exist.")


@case
def without_a_token(scene):
    anonymous = storage.Client.create_anonymous_client()
    # The client takes a 401 for a token that is too old, and has none to renew.
    refused(InvalidOperation, lambda: anonymous.bucket(scene.bucket.name).blob("seen").download_as_bytes(),
            "Anonymous credentials cannot be refreshed")
    answer = requests.get(f"{HOST}/download/storage/v1/b/{scene.bucket.name}/o/seen?alt=media", timeout=10)
    assert status(answer, 401).text == "Anonymous caller does not have storage.objects.get " + (
        OBJECT.format("storage.objects.get"))
    answer = requests.get(f"{HOST}/storage/v1/b/{scene.bucket.name}/o", timeout=10)
    error = status(answer, 401).json()["error"]
    assert "status" not in error and error["errors"][0]["reason"] == "required"
    assert error["errors"][0]["location"] == "Authorization"
    status(requests.get(f"{HOST}/{scene.bucket.name}/seen", timeout=10), 403, "<Code>AccessDenied</Code>",
           "Anonymous caller does not have storage.objects.get")


@case
def for_everybody(scene):
    bucket = scene.owner.create_bucket(f"public-{RUN}")
    bucket.blob("page").upload_from_string(b"hello", content_type="text/html")
    grant(bucket, "roles/storage.objectViewer", "allUsers")
    anonymous = storage.Client.create_anonymous_client()
    assert anonymous.bucket(bucket.name).blob("page").download_as_bytes() == b"hello"
    assert status(requests.get(f"{HOST}/{bucket.name}/page", timeout=10), 200).text == "hello"
    assert status(requests.get(f"https://{bucket.name}.storage.googleapis.com/page", timeout=10), 200).text == "hello"
    status(requests.put(f"{HOST}/{bucket.name}/page", data=b"x", timeout=10), 403, "storage.objects.create")
    bucket.iam_configuration.public_access_prevention = "enforced"
    bucket.patch()
    refused(exceptions.PreconditionFailed, lambda: grant(bucket, "roles/storage.objectCreator", "allUsers"),
            "public access prevention")


@case
def bad_tokens(scene):
    for text in ("nonsense", "ya29.forged", token(OWNER)[:-4] + "AAAA"):
        answer = requests.get(f"{HOST}/storage/v1/b/{scene.bucket.name}",
                              headers={"Authorization": f"Bearer {text}"}, timeout=10)
        error = status(answer, 401).json()["error"]
        assert (error["message"], error["errors"][0]["reason"]) == ("Invalid Credentials", "authError")


@case
def expired_and_revoked_tokens(scene):
    text = token(OWNER, lifetimeSeconds=1)
    url = f"{HOST}/storage/v1/b/{scene.bucket.name}"
    time.sleep(2.1)
    status(requests.get(url, headers={"Authorization": f"Bearer {text}"}, timeout=10), 401)
    text = token(OWNER)
    status(requests.get(url, headers={"Authorization": f"Bearer {text}"}, timeout=10), 200)
    admin("POST", "/tokens/revoke", token=text)
    status(requests.get(url, headers={"Authorization": f"Bearer {text}"}, timeout=10), 401)


@case
def scopes(scene):
    base = "https://www.googleapis.com/auth/devstorage."
    reader = client(OWNER, scopes=[base + "read_only"]).bucket(scene.bucket.name)
    assert reader.blob("seen").download_as_bytes() == b"0123456789"
    refused(exceptions.Forbidden, lambda: reader.blob("x").upload_from_string(b""),
            "Provided scope(s) are not authorized")
    writer = client(OWNER, scopes=[base + "read_write"]).bucket(scene.bucket.name)
    writer.blob("x").upload_from_string(b"")
    refused(exceptions.Forbidden, writer.get_iam_policy, "Provided scope(s) are not authorized")


# Policies.

@case
def a_grant_works_at_once_and_so_does_its_end(scene):
    who, member = scene.nobody.bucket(scene.other.name), scene.member("nobody")
    refused(exceptions.Forbidden, lambda: who.blob("seen").download_as_bytes())
    grant(scene.other, "roles/storage.objectViewer", member)
    assert who.blob("seen").download_as_bytes() == b"another tenant's"
    grant(scene.other, "roles/storage.objectViewer", member, remove=True)
    refused(exceptions.Forbidden, lambda: who.blob("seen").download_as_bytes(), "storage.objects.get")


@case
def a_condition_on_names(scene):
    bucket = scene.owner.create_bucket(f"cond-{RUN}")
    name = f"projects/_/buckets/{bucket.name}/objects/mine/"
    condition = {"title": "mine", "expression": f'resource.name.startsWith("{name}")'}
    grant(bucket, "roles/storage.objectUser", scene.member("nobody"), condition=condition)
    who = scene.nobody.bucket(bucket.name)
    who.blob("mine/a").upload_from_string(b"x")
    assert who.blob("mine/a").download_as_bytes() == b"x"
    refused(exceptions.Forbidden, lambda: who.blob("theirs/a").upload_from_string(b"x"), "storage.objects.create")


@case
def a_policy_that_somebody_else_changed(scene):
    bucket = scene.owner.create_bucket(f"race-{RUN}")
    first, second = (bucket.get_iam_policy(requested_policy_version=3) for _ in range(2))
    first.bindings.append({"role": "roles/storage.objectViewer", "members": {scene.member("nobody")}})
    bucket.set_iam_policy(first)
    refused(exceptions.PreconditionFailed, lambda: bucket.set_iam_policy(second), "pre-conditions")
    roles = {it["role"] for it in bucket.get_iam_policy(requested_policy_version=3).bindings}
    assert "roles/storage.objectViewer" in roles


@case
def grants_in_a_race_are_not_lost(scene):
    bucket = scene.owner.create_bucket(f"many-{RUN}")

    def add(index):
        while True:
            with contextlib.suppress(exceptions.PreconditionFailed):
                return grant(client(OWNER).bucket(bucket.name), "roles/storage.objectViewer",
                             f"user:u{index}@example.com")

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(6)))
    members = {
        member for it in bucket.get_iam_policy(requested_policy_version=3).bindings
        if it["role"] == "roles/storage.objectViewer" for member in it["members"]}
    assert len(members) == 6, members


@case
def fresh_policy(scene):
    bucket = scene.owner.create_bucket(f"fresh-{RUN}")
    roles = {it["role"]: set(it["members"]) for it in bucket.get_iam_policy(requested_policy_version=3).bindings}
    owners = {f"projectEditor:{PROJECT['id']}", f"projectOwner:{PROJECT['id']}"}
    viewers = {f"projectViewer:{PROJECT['id']}"}
    assert roles == {"roles/storage.legacyBucketOwner": owners, "roles/storage.legacyBucketReader": viewers,
                     "roles/storage.legacyObjectOwner": owners, "roles/storage.legacyObjectReader": viewers}, roles
    assert bucket.iam_configuration.uniform_bucket_level_access_enabled


@case
def bad_policies(scene):
    for binding in ({"role": "roles/storage.noSuchRole", "members": {"user:a@example.com"}},
                    {"role": "roles/storage.objectViewer", "members": {"nobody"}}):
        policy = scene.bucket.get_iam_policy(requested_policy_version=3)
        policy.bindings.append(binding)
        refused(exceptions.BadRequest, lambda: scene.bucket.set_iam_policy(policy))


@case
def permissions_are_tested(scene):
    asked = ["storage.objects.get", "storage.objects.create", "storage.buckets.delete"]
    assert scene.at("objectViewer").test_iam_permissions(asked) == ["storage.objects.get"]
    assert set(scene.at("admin").test_iam_permissions(asked)) == set(asked)
    assert scene.at("nobody").test_iam_permissions(asked) == []


# Buckets.

@case
def buckets(scene):
    bucket = scene.owner.create_bucket(f"life-{RUN}", location="europe-north1")
    assert (bucket.location, bucket.storage_class, bucket.project_number) == (
        "EUROPE-NORTH1", "STANDARD", PROJECT["number"])
    refused(exceptions.Conflict, lambda: scene.owner.create_bucket(bucket.name), "you already own it")
    assert bucket.name in [it.name for it in scene.owner.list_buckets(prefix="life-")]
    bucket.labels = {"team": "a"}
    bucket.patch()
    assert scene.owner.get_bucket(bucket.name).labels == {"team": "a"}
    bucket.blob("x").upload_from_string(b"x")
    refused(exceptions.Conflict, bucket.delete, "The bucket you tried to delete is not empty.")
    bucket.blob("x").delete()
    bucket.delete()
    refused(exceptions.NotFound, bucket.reload, "The specified bucket does not exist.")


@case
def buckets_of_the_project_are_its_own(scene):
    refused(exceptions.Forbidden, lambda: scene.nobody.create_bucket(f"no-{RUN}"), "storage.buckets.create",
            "Google Cloud project")
    refused(exceptions.Forbidden, lambda: list(scene.nobody.list_buckets()), "storage.buckets.list")
    refused(exceptions.Forbidden, lambda: list(scene.owner.list_buckets(project="another-project")))
    refused(exceptions.BadRequest, lambda: scene.owner.create_bucket("UPPER_CASE"), "Invalid bucket name")


@case
def read_only_bucket(scene):
    admin("POST", f"/buckets/{scene.other.name}/read-only", readOnly=True)
    try:
        refused(exceptions.Forbidden, lambda: scene.other.blob("x").upload_from_string(b"x"), "read-only")
        refused(exceptions.Forbidden, scene.other.blob("seen").delete, "read-only")
        assert scene.other.blob("seen").download_as_bytes() == b"another tenant's"
    finally:
        admin("POST", f"/buckets/{scene.other.name}/read-only", readOnly=False)
    scene.other.blob("x").upload_from_string(b"x")


@case
def faults_are_survived(scene):
    for code in (503, 429):
        admin("POST", "/faults", host="storage.googleapis.com", times=2, path="/download",
              fault={"status": {"code": code}})
        assert scene.at("objectViewer").blob("seen").download_as_bytes() == b"0123456789"


@case
def acls_are_refused(scene):
    refused(exceptions.BadRequest, lambda: list(scene.bucket.acl), "uniform bucket-level access is enabled")
    refused(exceptions.BadRequest, lambda: scene.bucket.blob("x").upload_from_string(b"", predefined_acl="publicRead"),
            "uniform bucket-level access is enabled")


@case
def batch(scene):
    names = [f"batch/{index}" for index in range(5)]
    for name in names:
        scene.bucket.blob(name).upload_from_string(b"x")
    who = scene.clients["objectUser"]
    with who.batch():
        for name in names:
            who.bucket(scene.bucket.name).blob(name).delete()
    assert not list(scene.bucket.list_blobs(prefix="batch/"))

    def mixed():
        with who.batch():
            who.bucket(scene.other.name).blob("seen").delete()

    refused(exceptions.Forbidden, mixed, "storage.objects.delete")


# Signed URLs.

@case
def signed_get(scene):
    url = scene.url("seen")
    assert status(requests.get(url, timeout=10), 200).content == b"0123456789"
    assert requests.get(url, headers={"Range": "bytes=1-3"}, timeout=10).content == b"123"
    host = scene.url("seen", virtual_hosted_style=True)
    assert host.startswith(f"https://{scene.bucket.name}.storage")
    assert status(requests.get(host, timeout=10), 200).content == b"0123456789"


@case
def signed_put_and_delete(scene):
    url = scene.url("signed/ü b", method="PUT", content_type="text/x", headers={"x-goog-meta-a": "b"})
    sent = {"Content-Type": "text/x", "x-goog-meta-a": "b"}
    answer = status(requests.put(url, data=b"by url", headers=sent, timeout=10), 200)
    assert answer.headers["x-goog-generation"] and not answer.content
    blob = scene.bucket.get_blob("signed/ü b")
    assert (blob.download_as_bytes(), blob.content_type, blob.metadata) == (b"by url", "text/x", {"a": "b"})
    status(requests.delete(scene.url("signed/ü b", method="DELETE"), timeout=10), 204)
    assert not blob.exists()


@case
def signed_resumable(scene):
    url = scene.url("signed/resumable", method="RESUMABLE")
    answer = status(requests.post(url, headers={"x-goog-resumable": "start"}, timeout=10), 201)
    status(requests.put(answer.headers["Location"], data=b"r" * 1000, timeout=10), 200)
    assert scene.bucket.blob("signed/resumable").download_as_bytes() == b"r" * 1000


@case
def signed_in_version_two(scene):
    expiration = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5)
    url = scene.url("seen", version="v2", expiration=expiration)
    assert status(requests.get(url, timeout=10), 200).content == b"0123456789"
    status(requests.get(url.replace("Expires=", "Expires=9"), timeout=10), 403, "SignatureDoesNotMatch")


@case
def signed_but_changed(scene):
    url = scene.url("seen")
    text = "The request signature we calculated does not match the signature you provided."
    for broken in (url.replace("/seen", "/again"), url + "&x=y", url.replace(scene.bucket.name, scene.other.name),
                   url.replace("X-Goog-Expires=300", "X-Goog-Expires=600")):
        status(requests.get(broken, timeout=10), 403, "<Code>SignatureDoesNotMatch</Code>", text, "<StringToSign>")
    status(requests.put(url, data=b"x", timeout=10), 403, "SignatureDoesNotMatch")
    status(requests.get(url, headers={"x-goog-meta-a": "b"}, timeout=10), 400, "MalformedSecurityHeader")


@case
def signed_and_over(scene):
    url = scene.url("seen", expiration=datetime.timedelta(seconds=1))
    time.sleep(2)
    status(requests.get(url, timeout=10), 400, "<Code>ExpiredToken</Code>", "Request signature expired at")


@case
def signed_by_one_who_may_not(scene):
    status(requests.get(scene.url("seen", bucket=scene.other), timeout=10), 403, "<Code>AccessDenied</Code>",
           f"{scene.account} does not have storage.objects.get")
    refused(Exception, lambda: scene.url("seen", who=scene.member("nobody")), "iam.serviceAccounts.signBlob")


@case
def signed_with_an_hmac_key(scene):
    for query in ("X-Goog-Algorithm=GOOG4-HMAC-SHA256", "X-Amz-Algorithm=AWS4-HMAC-SHA256"):
        status(requests.get(f"{HOST}/{scene.bucket.name}/seen?{query}", timeout=10), 501, "HMAC")


# Multipart uploads of the XML API, by the client's transfer manager and by hand.

S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"
PART = 5 << 20


class Upload:
    """One that is opened by hand."""

    def __init__(self, scene, name, role="objectAdmin", **more):
        self.url = f"{HOST}/{scene.bucket.name}/{name}"
        self.headers = headers(scene.member(role))
        answer = status(requests.post(f"{self.url}?uploads", headers=self.headers | more, timeout=10), 200)
        self.id = ElementTree.fromstring(answer.text).find(f"{S3}UploadId").text

    def put(self, number, data, **more):
        url = f"{self.url}?partNumber={number}&uploadId={self.id}"
        return requests.put(url, data=data, headers=self.headers | more, timeout=10)

    def etag(self, number, data):
        return status(self.put(number, data), 200).headers["ETag"]

    def ask(self, method, data=None, **query):
        return requests.request(method, self.url, params={"uploadId": self.id, **query}, headers=self.headers, data=data, timeout=10)

    def complete(self, *parts):
        rows = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in parts)
        return self.ask("POST", f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>")


def open_uploads(scene, **query):
    answer = requests.get(f"{HOST}/{scene.bucket.name}?uploads", params=query, headers=headers(scene.member("objectAdmin")), timeout=10)
    return ElementTree.fromstring(status(answer, 200).text)


def keys(document):
    return [it.text for it in document.iter(f"{S3}Key")]


def upload_chunks(blob, data):
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        transfer_manager.upload_chunks_concurrently(
            file.name, blob, content_type="text/x", chunk_size=PART, worker_type=transfer_manager.THREAD, max_workers=3)


@case
def parts_by_the_transfer_manager(scene):
    data = os.urandom(1 << 20) * 12
    blob = scene.at("objectUser").blob("parts/ü b")
    blob.metadata = {"a": "b"}
    upload_chunks(blob, data)
    found = scene.bucket.get_blob("parts/ü b")
    assert (found.size, found.content_type, found.metadata) == (len(data), "text/x", {"a": "b"})
    assert found.download_as_bytes() == data
    assert keys(open_uploads(scene, prefix="parts/")) == []


@case
def parts_as_each_role_may(scene):
    for role in scene.roles:
        url, mine = f"{HOST}/{scene.bucket.name}/parts/role", headers(scene.member(role))
        answer = requests.post(f"{url}?uploads", headers=mine, timeout=10)
        if role in ("objectViewer", "legacyBucketReader"):
            status(answer, 403, "<Code>AccessDenied</Code>",
                   f"{scene.email(role)} does not have storage.multipartUploads.create " + OBJECT.format("storage.multipartUploads.create"))
            continue
        upload = Upload(scene, "parts/role", role)
        etag = upload.etag(1, b"x")
        # A creator knows the parts of an upload, and not which uploads there are.
        status(upload.ask("GET"), 200, "<Size>1</Size>")
        listed = requests.get(f"{HOST}/{scene.bucket.name}?uploads", headers=mine, timeout=10)
        status(listed, *((403, "storage.multipartUploads.list") if role == "objectCreator" else (200,)))
        status(upload.ask("DELETE"), 204)
        status(upload.complete((1, etag)), 404, "<Code>NoSuchUpload</Code>")


@case
def parts_of_nobody(scene):
    url = f"{HOST}/{scene.bucket.name}/parts/nobody?uploads"
    status(requests.post(url, timeout=10), 403, "Anonymous caller does not have storage.multipartUploads.create")
    status(requests.post(url, headers=headers(scene.member("nobody")), timeout=10), 403, "storage.multipartUploads.create")


@case
def parts_that_would_replace_an_object(scene):
    scene.bucket.blob("parts/there").upload_from_string(b"first")
    refused(Exception, lambda: upload_chunks(scene.at("objectCreator").blob("parts/there"), b"second"), "403")
    assert scene.bucket.blob("parts/there").download_as_bytes() == b"first"
    # The client gave its upload up.
    assert "parts/there" not in keys(open_uploads(scene))
    upload_chunks(scene.at("objectUser").blob("parts/there"), b"second")
    assert scene.bucket.blob("parts/there").download_as_bytes() == b"second"


@case
def parts_in_any_order_and_again(scene):
    upload = Upload(scene, "parts/order", **{"Content-Type": "text/y", "x-goog-meta-k": "v"})
    last, _ = upload.etag(9, b"end"), upload.etag(1, b"wrong")
    first, unused = upload.etag(1, b"a" * PART), upload.etag(4, b"b")
    assert unused == f'"{hashlib.md5(b"b").hexdigest()}"'
    done = status(upload.complete((1, first), (9, last)), 200, "<CompleteMultipartUploadResult", "<Key>parts/order</Key>")
    assert done.headers["x-goog-generation"]
    blob = scene.bucket.get_blob("parts/order")
    assert (blob.download_as_bytes(), blob.content_type, blob.metadata) == (b"a" * PART + b"end", "text/y", {"k": "v"})
    status(upload.complete((1, first), (9, last)), 404, "<Code>NoSuchUpload</Code>", "The requested upload was not found.")


@case
def parts_that_do_not_fit(scene):
    upload = Upload(scene, "parts/fit")
    small, whole = upload.etag(1, b"x"), upload.etag(2, b"y" * PART)
    for code, parts in (("InvalidPart", [(1, small), (3, small)]), ("InvalidPart", [(2, small)]), ("MalformedXML", []),
                        ("InvalidPartOrder", [(2, whole), (1, small)]), ("EntityTooSmall", [(1, small), (2, whole)])):
        status(upload.complete(*parts), 400, f"<Code>{code}</Code>")
    for number in ("0", "10001", "x", "-1"):
        status(upload.put(number, b""), 400, "Part number must be an integer between 1 and 10000, inclusive.")
    spoilt = {"Content-MD5": base64.b64encode(hashlib.md5(b"y").digest()).decode()}
    # Neither a new part nor one in the place of a good one.
    for number in (2, 3):
        status(upload.put(number, b"x", **spoilt), 400, "<Code>BadDigest</Code>")
        status(upload.put(number, b"x", **{"x-goog-hash": "crc32c=AAAAAA=="}), 400, "<Code>CrcMismatch</Code>")
    status(upload.complete((2, whole)), 200)
    assert scene.bucket.blob("parts/fit").download_as_bytes() == b"y" * PART


@case
def parts_are_listed_in_pages(scene):
    uploads = [Upload(scene, f"parts/list/{it}") for it in "aab"]
    for number in (3, 1, 2):
        uploads[0].etag(number, b"x" * number)
    page = status(uploads[0].ask("GET", **{"max-parts": 2}), 200, "<IsTruncated>true</IsTruncated>").text
    numbers = [it.text for it in ElementTree.fromstring(page).iter(f"{S3}PartNumber")]
    assert (numbers, "<NextPartNumberMarker>2<" in page) == (["1", "2"], True)
    status(uploads[0].ask("GET", **{"part-number-marker": 2}), 200, "<PartNumber>3<", "<Size>3<", "<IsTruncated>false<")
    assert keys(open_uploads(scene, prefix="parts/list/")) == [f"parts/list/{it}" for it in "aab"]
    first = open_uploads(scene, prefix="parts/list/", **{"max-uploads": 1})
    marker = {name: first.find(S3 + f"Next{it}").text for name, it in (("key-marker", "KeyMarker"), ("upload-id-marker", "UploadIdMarker"))}
    assert keys(open_uploads(scene, prefix="parts/list/", **marker)) == ["parts/list/a", "parts/list/b"]
    # Neither the uploads nor their parts are among the objects.
    assert not [it.name for it in scene.bucket.list_blobs(prefix="parts/list/")]
    for upload in uploads:
        status(upload.ask("DELETE"), 204)
    assert keys(open_uploads(scene, prefix="parts/list/")) == []


@case
def parts_of_another_upload(scene):
    upload, other = Upload(scene, "parts/mine"), Upload(scene, "parts/theirs")
    upload.id, own = other.id, upload.id
    for answer in (upload.put(1, b"x"), upload.complete((1, "x")), upload.ask("GET"), upload.ask("DELETE")):
        status(answer, 404, "<Code>NoSuchUpload</Code>")
    upload.id = own
    for it in (upload, other):
        status(it.ask("DELETE"), 204)


@case
def parts_by_signed_urls(scene):
    upload = Upload(scene, "parts/signed")
    query = {"partNumber": 1, "uploadId": upload.id}
    url = scene.url("parts/signed", method="PUT", query_parameters=query)
    status(requests.put(url.replace("partNumber=1", "partNumber=2"), data=b"x", timeout=10), 403, "<Code>SignatureDoesNotMatch</Code>")
    etag = status(requests.put(url, data=b"by url", timeout=10), 200).headers["ETag"]
    status(upload.complete((1, etag)), 200)
    assert scene.bucket.blob("parts/signed").download_as_bytes() == b"by url"


# Bad input.

@case
def bad_bodies(scene):
    mine = headers(scene.member("admin"))
    own = f"{HOST}/storage/v1/b/{scene.bucket.name}"
    upload = f"{HOST}/upload/storage/v1/b/{scene.bucket.name}/o"
    json_ = {"Content-Type": "application/json"}
    status(requests.patch(own, data=b"{", headers=mine | json_, timeout=10), 400, "Parse Error")
    status(requests.patch(own, data=b"[1]", headers=mine | json_, timeout=10), 400)
    status(requests.patch(own, data=b"x" * (2 << 20), headers=mine | json_, timeout=30), 413)
    for kind, body in (("multipart/related", b"x"), ("multipart/related; boundary=a", b"--a\n\n{}"),
                       ("multipart/related; boundary=a", b"--a\n\n{\n--a\n\nx\n--a--"),
                       ("multipart/related; boundary=a", b"x" * (1 << 20)), ("text/plain", b"")):
        answer = requests.post(upload + "?uploadType=multipart", data=body,
                               headers=mine | {"Content-Type": kind}, timeout=10)
        status(answer, 400, '"invalid"' if b"{\n" not in body else "Parse Error")
    status(requests.post(upload + "?uploadType=media", data=b"x", headers=mine, timeout=10), 400, "Required")
    status(requests.put(own + "/iam", data=b'{"bindings": 1}', headers=mine | json_, timeout=10), 400)


@case
def bare_line_feeds(scene):
    # As gcloud writes it.
    body = b'--a\ncontent-type: application/json\n\n{"name": "lf"}\n--a\ncontent-type: text/plain\n\nx\ny\n--a--'
    url = f"{HOST}/upload/storage/v1/b/{scene.bucket.name}/o?uploadType=multipart"
    kind = {"Content-Type": "multipart/related; boundary='a'"}
    status(requests.post(url, data=body, headers=headers(scene.member("objectUser")) | kind, timeout=10), 200)
    assert scene.bucket.blob("lf").download_as_bytes() == b"x\ny"


@case
def a_refused_upload_is_told_and_not_broken_off(scene):
    refused(exceptions.Forbidden, lambda: scene.at("objectViewer").blob("no").upload_from_string(b"x" * (7 << 20)),
            "storage.objects.create")


@case
def what_is_not_emulated(scene):
    mine = headers(OWNER)
    own = f"{HOST}/storage/v1/b/{scene.bucket.name}"
    for answer in (requests.post(own + "/notificationConfigs", headers=mine, json={}, timeout=10),
                   requests.post(f"{HOST}/{scene.bucket.name}/x?acl", headers=mine, timeout=10)):
        status(answer, 501)


def main():
    scene = Scene()
    failed = 0
    for function in CASES:
        name, detail = function.__name__.replace("_", " "), ""
        if len(sys.argv) > 1 and sys.argv[1] not in name:
            continue
        try:
            function(scene)
        except Exception as error:  # Whatever it is, it is this case's result.
            detail = f"{type(error).__name__}: {error}"[:1000]
        failed += bool(detail)
        print(json.dumps({"name": f"storage: {name}", "ok": not detail, "detail": detail}), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
