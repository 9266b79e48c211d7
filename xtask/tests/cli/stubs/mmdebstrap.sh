for archive in "$@"; do :; done
echo base >"$archive"
