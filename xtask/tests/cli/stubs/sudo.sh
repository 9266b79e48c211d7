#!/bin/sh
. "$STUBS/../stubs/preamble.sh"
PATH=${0%/*} exec "$@"
