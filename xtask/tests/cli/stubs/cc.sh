printf '#!/bin/sh\n' >"$(value -o "$@")"
