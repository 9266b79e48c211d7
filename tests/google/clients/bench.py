"""What the scripts that measure share: turns, samples, and the programs that make load.

A sample is a line of JSON on stdout: {"figure", "way", "value"}, and "size_mib" where the size is chosen here. A figure that is
measured in several ways takes turns among them. Nothing here judges: `cargo xtask bench google` makes rows of the samples.
"""

import json
import math
import os
import ssl
import subprocess
import sys

if "MLFLOW_GKE_INSIDE" not in os.environ:
    sys.exit("this changes addresses and host names, so it needs a network of its own: cargo xtask bench google")

# The store writes every object through to the disk, which would be all that is measured on a busy one.
subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", os.environ["TMPDIR"]], check=True)

RUNS = int(os.environ.get("MLFLOW_GKE_BENCH_RUNS", "5"))


def tell(figure, value, way="", **more):
    print(json.dumps({"figure": figure, "way": way, "value": value} | more), flush=True)


def in_turn(ways, measure):
    """Calls `measure` with each way, RUNS times: A B, B A, A B, so that each goes first as often as the other."""
    ways = list(ways)
    for run in range(RUNS):
        for way in ways if run % 2 == 0 else reversed(ways):
            measure(way)


def percentile(values, share):
    """The smallest measured value that `share` percent of all do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * share / 100) - 1)]


def load(url, address, bucket, *words, ca=None, token=None):
    """What the example `storage_load` says of its load."""
    environment = {"CA_FILE": str(ca or ""), "TOKEN": token or ""}
    environment = {name: value for name, value in environment.items() if value}
    program = os.environ["MLFLOW_GKE_STORAGE_LOAD"]
    done = subprocess.run([program, url, address, bucket, *map(str, words)], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"storage_load {url} {' '.join(map(str, words))}: {done.stderr}")
    return json.loads(done.stdout)


def memory_mib(process, key):
    """What the kernel says of a process's resident memory: `VmRSS` now, `VmHWM` at most so far."""
    with open(f"/proc/{process.pid}/status") as file:
        kib = next(line.split()[1] for line in file if line.startswith(f"{key}:"))
    return int(kib) / 1024


def available_mib():
    with open("/proc/meminfo") as file:
        return int(next(line.split()[1] for line in file if line.startswith("MemAvailable:"))) // 1024


def trusting_anybody():
    """For a server whose CA is not known yet, on the loopback of this namespace."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
