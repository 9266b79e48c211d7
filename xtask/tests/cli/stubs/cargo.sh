#!/bin/sh
# Only the runtime wrapper is compiled by cargo.
. "$STUBS/../stubs/preamble.sh"
[ "$1" = build ] || unexpected
folder="$(value --target-dir "$@")/$(value --target "$@")/release"
mkdir -p "$folder"
printf '#!/bin/sh\n' >"$folder/$(value --package "$@")"
