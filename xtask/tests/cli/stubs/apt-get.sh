#!/bin/sh
# Installs nothing; a hook puts back what a test has removed.
. "$STUBS/../stubs/preamble.sh"
