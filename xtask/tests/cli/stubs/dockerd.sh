#!/bin/sh
# The daemon answers until it is told to end, or until the test is over and closes the gate.
. "$STUBS/../stubs/preamble.sh"
: >"$STUBS/daemon"
cat "$STUBS/gate" >/dev/null &
waiting=$!
trap 'rm -f "$STUBS/daemon"; kill "$waiting"; exit 0' TERM
echo ready
wait "$waiting" || true
