#!/bin/sh
. "$STUBS/../stubs/preamble.sh"
for archive in "$@"; do :; done
echo base >"$archive"
