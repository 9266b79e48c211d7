"""One line a fact, on stderr, with the command's name; nothing here may print a password."""

import sys
import time


def line(text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    command = sys.argv[0].rpartition("/")[2]
    print(f"{stamp} {command}: {text}", file=sys.stderr, flush=True)


def fail(text: str, hint: str = "", status: int = 1) -> None:
    line(f"error: {text}")
    if hint:
        line(f"hint: {hint}")
    raise SystemExit(status)
