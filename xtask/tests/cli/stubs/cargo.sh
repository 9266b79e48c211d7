#!/bin/sh
# The programs of this project that run in the node are compiled by cargo.
. "$STUBS/../stubs/preamble.sh"
[ "$1" = clean ] && exit 0
[ "$1" = build ] || unexpected
folder="$(value --target-dir "$@")/$(value --target "$@")/release"
mkdir -p "$folder"
printf '#!/bin/sh\n' >"$folder/$(value --package "$@")"
