PATH=${0%/*} exec "$@"
