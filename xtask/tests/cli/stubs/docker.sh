#!/bin/sh
# The client. `daemon` says whether a daemon answers, `containers` what it runs (id, image, state,
# kind cluster), `images` what it has, `loaded` what the node's containerd has, `finished` what the
# node says of who made it, `registry` what a registry has (image, tab, its recipe label).
. "$STUBS/../stubs/preamble.sh"
tab=$(printf '\t')
if [ ! -f "$STUBS/daemon" ]; then
    echo '{"ServerErrors":["Cannot connect to the Docker daemon at unix:///var/run/docker.sock."]}'
    exit 1
fi
case "$1 ${2-}" in
"info "*)
    echo '{"ServerVersion":"20.10.24","DefaultRuntime":"runc","DockerRootDir":"/var/lib/docker"}'
    ;;
"ps "*)
    filter=$(value --filter "$@")
    while IFS="$tab" read -r id image state cluster; do
        case $filter in
        status=*) [ "$state" = "${filter#status=}" ] || continue ;;
        label=*=*) [ "$cluster" = "${filter##*=}" ] || continue ;;
        label=*) [ "$cluster" != - ] || continue ;;
        *) unexpected ;;
        esac
        printf '%s\t%s\t%s\n' "$id" "$image" "$state"
    done <"$STUBS/containers"
    ;;
"image inspect")
    for image in "$@"; do :; done
    grep -qxF "$image" "$STUBS/images" || exit 1
    case $3 in
    *Size*) echo 228000000 ;;
    *Labels*)
        recipe=$(sed -n "s|^$image$tab||p" "$STUBS/registry")
        printf '{"mlflow-gke.dev/recipe":"%s"}\n' "$recipe"
        ;;
    *) echo sha256:1 ;;
    esac
    ;;
"image rm")
    for image in "$@"; do :; done
    grep -vxF "$image" "$STUBS/images" >"$STUBS/images.left" || true
    mv "$STUBS/images.left" "$STUBS/images"
    ;;
"tag "*)
    grep -qxF "$2" "$STUBS/images" || exit 1
    printf '%s\n' "$3" >>"$STUBS/images"
    ;;
"manifest inspect")
    for image in "$@"; do :; done
    if grep -q "^$image$tab" "$STUBS/registry"; then echo '{"schemaVersion":2}' && exit; fi
    echo "no such manifest: $image" >&2
    exit 1
    ;;
"pull "*)
    echo "1: Pulling from ${2%:*}"
    echo "1f2e3d: Pull complete"
    grep -q "^$2$tab" "$STUBS/registry" || exit 1
    printf '%s\n' "$2" >>"$STUBS/images"
    ;;
"push "*)
    grep -qxF "$2" "$STUBS/images" || exit 1
    printf '%s\t%s\n' "$2" "${2##*/}" >>"$STUBS/registry"
    ;;
"import "*) printf '%s\n' "$3" >>"$STUBS/images" ;;
"build "*)
    for it in "$@"; do
        case $it in --tag=*) printf '%s\n' "${it#--tag=}" >>"$STUBS/images" ;; esac
    done
    ;;
"save "*) echo archive >"$(value --output "$@")" ;;
"load "*) ;;
"start "*)
    sed -i "s/^\($2$tab.*$tab\)exited$tab/\1running$tab/" "$STUBS/containers"
    ;;
"network rm") ;;
"exec "*)
    shift
    if [ "$1" = --interactive ]; then
        shift
        case "$2" in
        kubectl) cat >"$STUBS/applied" ;;
        tee) tee "$STUBS/finished" ;;
        *) unexpected ;;
        esac
        exit
    fi
    case "$*" in
    *" ctr "*" images list "*) cat "$STUBS/loaded" ;;
    *" ctr "*" images import "*)
        for archive in "$@"; do :; done
        archive=${archive#/images/}
        archive=${archive%/image.tar}
        printf 'localhost/mlflow-gke/%s:%s\n' "${archive%/*}" "${archive#*/}" >>"$STUBS/loaded"
        ;;
    *" kubectl "*" get --raw=/readyz") echo ok ;;
    *" kubectl "*" get pods "*) echo 'coredns 2026-11-23T02:00:09Z' ;;
    *) unexpected ;;
    esac
    ;;
"inspect "*) echo 2026-11-23T02:00:08.5Z ;;
"create "*) echo taken ;;
"rm "*) ;;
"cp taken:/usr/local/bin/kubernetes") cp "$STUBS/../stubs/kubernetes.sh" "$3" ;;
"cp "*)
    # A file of the node, as the one file of a tar archive.
    [ -f "$STUBS/finished" ] || exit 1
    head -c 512 /dev/zero
    cat "$STUBS/finished"
    ;;
*) unexpected ;;
esac
