# The head of every stub: it writes down how it was called, then a test's hook has its say.
# shellcheck shell=sh
set -eu
PATH=/usr/bin:/bin
name=${0##*/}
line=$name
for it in "$@"; do line="$line $it"; done
printf '%s\n' "$line" >>"$STUBS/calls"
# The value of an option: `value --kubeconfig "$@"` for --kubeconfig=FILE or --kubeconfig FILE.
value() {
    option=$1
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        "$option="*) printf '%s\n' "${1#*=}" && return ;;
        "$option") printf '%s\n' "$2" && return ;;
        esac
        shift
    done
}
unexpected() {
    echo "stub: unexpected call: $line" >&2
    exit 64
}
if [ -f "$STUBS/hooks/$name" ]; then . "$STUBS/hooks/$name"; fi
