#!/bin/sh
. "$STUBS/../stubs/preamble.sh"
printf '#!/bin/sh\n' >"$(value -o "$@")"
