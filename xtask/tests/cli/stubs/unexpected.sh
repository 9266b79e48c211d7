#!/bin/sh
# It is on PATH, and nobody may call it.
. "$STUBS/../stubs/preamble.sh"
unexpected
