#!/bin/sh
# The Kubernetes program under the name kubectl: renders `rendered`, or has the real one render.
. "$STUBS/../stubs/preamble.sh"
[ "$name $1" = "kubectl kustomize" ] || unexpected
if [ -f "$STUBS/real-kubectl" ]; then exec "$(cat "$STUBS/real-kubectl")" "$@"; fi
cat "$STUBS/rendered"
