[ "$*" = "start docker" ] || unexpected
: >"$STUBS/daemon"
