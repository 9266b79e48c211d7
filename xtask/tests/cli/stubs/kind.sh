#!/bin/sh
# kind: a cluster is a line in `containers` and a kubeconfig.
. "$STUBS/../stubs/preamble.sh"
tab=$(printf '\t')
env >"$STUBS/environment-of-kind"
case "$1 $2" in
"create cluster")
    cluster=$(value --name "$@")
    echo " • Starting control-plane" >&2
    printf 'made-%s\t%s\trunning\t%s\n' "$cluster" "$(value --image "$@")" "$cluster" >>"$STUBS/containers"
    printf 'clusters:\n- cluster:\n    server: https://127.0.0.1:1\n  name: kind-%s\n' "$cluster" >"$(value --kubeconfig "$@")"
    cp "$(value --config "$@")" "$STUBS/kind-configuration"
    ;;
"delete cluster")
    cluster=$(value --name "$@")
    sed -i "/$tab$cluster\$/d" "$STUBS/containers"
    : >"$STUBS/loaded"
    rm -f "$(value --kubeconfig "$@")"
    ;;
*) unexpected ;;
esac
