#!/bin/sh
. "$STUBS/../stubs/preamble.sh"
case "$*" in
--version) echo "Python 3.11.2" ;;
"-m pip --version") echo "pip 23.0.1 from /usr/lib/python3/dist-packages/pip (python 3.11)" ;;
"-m pip install "*) mkdir -p "$(value --target "$@")" && echo pass >"$(value --target "$@")/module.py" ;;
*) unexpected ;;
esac
