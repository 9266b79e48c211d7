"""Measures the gateway itself: its start, its memory at rest and while it streams, and the metadata server's tokens.

Run by `cargo xtask bench google`; the programs are those of storage_lab.py, and MLFLOW_GKE_STORAGE_LOAD (an example of the emulator).
"""

import contextlib
import gc
import http.server
import json
import socket
import threading
import time
import urllib.request

from bench import RUNS, available_mib, load, memory_mib, percentile, tell, trusting_anybody
from metadata_lab import sa
from storage_lab import BUCKET, StorageLab

ADMIN = "http://127.0.0.1:8083"
STARTS, CACHED, FRESH = 10, 2000, 300
# The object of the issue. The real store keeps one about five times in its memory, so there it is as large as it may be.
STREAMED_MIB, STORED_MIB = 5 << 10, 1 << 10
TOKEN = b"GET /computeMetadata/v1/instance/service-accounts/default/token HTTP/1.1\r\n" \
        b"Host: metadata.google.internal\r\nMetadata-Flavor: Google\r\nConnection: close\r\n\r\n"


class Gateway:
    """A gateway beside the laboratory's, with ports and a state of its own."""

    def __init__(self, lab, state, upstream):
        self.lab, self.began = lab, time.monotonic()
        self.process = lab.spawn(
            "gateway", "--world", lab.folder / "world.json", "--state", lab.folder / state, "--kubernetes-jwks", lab.folder / "jwks.json",
            "--storage-upstream", f"http://{upstream}", "--listen", "127.0.0.1:8443", "--admin-listen", "127.0.0.1:8083",
            "--sql-listen", "127.0.0.1:0", "--proxy-listen", "127.0.0.1:0")
        self.first_answer_ms = self.answer()

    def answer(self):
        """Milliseconds from the start to Google's 401 over TLS."""
        context = trusting_anybody()
        while self.process.poll() is None and time.monotonic() < self.began + 30:
            with contextlib.suppress(ConnectionRefusedError):
                with socket.create_connection(("127.0.0.1", 8443)) as plain:
                    answer = ask(context.wrap_socket(plain, server_hostname="storage.googleapis.com"),
                                 b"GET /storage/v1/b?project=p HTTP/1.1\r\nHost: storage.googleapis.com\r\nConnection: close\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 401"), answer
                return (time.monotonic() - self.began) * 1e3
            time.sleep(0.001)
        raise AssertionError(f"the gateway does not answer:\n{self.lab.log.read_text()[-2000:]}")

    def load(self, what, mebibytes):
        ca = self.lab.folder / "second.pem"
        ca.write_bytes(urllib.request.urlopen(f"{ADMIN}/ca.pem").read())
        token = self.lab.admin("POST", "/tokens", {"member": f"serviceAccount:{sa('mlflow')}"}, base=ADMIN)["access_token"]
        return load("https://storage.googleapis.com", "127.0.0.1:8443", BUCKET, what, mebibytes, ca=ca, token=token)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.lab.processes.remove(self.process)


class Sink(http.server.BaseHTTPRequestHandler):
    """A store that keeps nothing: it counts what it gets, and gives as many zeros back."""

    protocol_version = "HTTP/1.1"
    length, piece = 0, bytes(1 << 20)

    def do_POST(self):
        left, buffer = int(self.headers.get("Content-Length", 0)), bytearray(1 << 20)
        size = left
        while left:
            taken = self.rfile.readinto(memoryview(buffer)[:min(left, len(buffer))])
            if not taken:
                return
            left -= taken
        if self.path.startswith("/upload/"):
            Sink.length = size
        self.answer(200, json.dumps({"kind": "storage#object", "bucket": BUCKET, "size": str(size)}).encode())

    def do_GET(self):
        if not self.path.startswith("/download/"):
            return self.answer(404, b"{}")
        self.answer(200, b"", Sink.length)
        left = Sink.length
        while left:
            left -= self.wfile.write(memoryview(self.piece)[:min(left, len(self.piece))])

    def answer(self, status, body, length=None):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def ask(connection, request):
    """The whole answer to a request that lets the connection be closed."""
    connection.sendall(request)
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def start(lab):
    for turn in range(max(STARTS, RUNS)):
        # The second start finds the state that the first one made.
        for figure in ("start", "start_again"):
            gateway = Gateway(lab, f"state-{turn}", "127.0.0.1:4443")
            tell(figure, gateway.first_answer_ms)
            if figure == "start":
                tell("rest", memory_mib(gateway.process, "VmRSS"))
            gateway.end()


def tokens(lab):
    """A connection for each request, as clients have it."""
    def took_ms():
        began = time.monotonic()
        with socket.create_connection(("169.254.169.254", 80)) as connection:
            answer = ask(connection, TOKEN)
        took = (time.monotonic() - began) * 1e3
        assert answer.startswith(b"HTTP/1.1 200") and b"access_token" in answer, answer
        return took

    def fresh_ms():
        lab.forget()
        return took_ms()

    tell("rest_metadata", memory_mib(lab.metadata, "VmRSS"))
    for _ in range(RUNS):
        took_ms()
        tell("token_cached", percentile([took_ms() for _ in range(CACHED)], 99))
        tell("token_fresh", percentile([fresh_ms() for _ in range(FRESH)], 99))


def memory(lab):
    """The most that a gateway holds while one object streams up and then down."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 8099), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stored = min(STORED_MIB, available_mib() // 8)
    for name, upstream, size in (("sink", "127.0.0.1:8099", STREAMED_MIB), ("store", "127.0.0.1:4443", stored)):
        gateway = Gateway(lab, f"state-{name}", upstream)
        for what in ("up", "down"):
            gateway.load(what, size)
        tell(f"memory_{name}", memory_mib(gateway.process, "VmHWM"), size_mib=size)
        gateway.end()


def main():
    gc.disable()
    lab = StorageLab()
    try:
        lab.start()
        start(lab)
        tokens(lab)
        memory(lab)
    finally:
        lab.stop()


if __name__ == "__main__":
    main()
