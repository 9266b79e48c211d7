#!/bin/sh
# Runs when the image is built, in the stage that the last one copies from: takes away what a
# tracking server never reads. What it takes is judged by the container tests, which call the API.
set -eu
site=/usr/local/lib/python3.11/dist-packages
cd "$site"

# Tests, type stubs, sources of compiled modules, and what pip left.
find . -type d \( -name tests -o -name testing -path './sqlalchemy/*' \) -prune -exec rm -r {} +
find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' \
    -o -name '*.hpp' -o -name '*.cpp' -o -name '*.a' -o -name '*.map' -o -name '*.f90' \) -delete
find . -type d -name __pycache__ -prune -exec rm -r {} +
rm -rf bin share

# Symbols for debuggers, which some wheels bring; the bundled *.libs are left as they are, because
# their headers were rewritten when they were bundled. Then the tool itself goes.
find . -name '*.so' -not -path './*.libs/*' -exec strip --strip-unneeded {} +
dpkg --purge --force-depends $(dpkg-query --show --showformat='${Package} ${Source}\n' | awk '$1 == "binutils" || $2 == "binutils" { print $1 }') >/dev/null

# Stored bytecode comes from check-imports.py, for what the server imports.
find /usr/lib/python3.11 -type d -name __pycache__ -prune -exec rm -r {} +

# The base system's package manager and Perl serve installation only; a shell and the core
# utilities stay for whoever looks into a pod. dpkg's list of packages stays for scanners.
rm -rf /usr/bin/perl* /usr/lib/*/perl* /usr/lib/*/libperl* /usr/share/perl* /usr/lib/apt /usr/bin/apt* \
    /usr/lib/*/libapt-* /var/lib/apt /var/cache/* /var/log/* /var/lib/dpkg/info /usr/share/debconf \
    /usr/bin/dpkg* /usr/bin/debconf* /usr/sbin/e2* /usr/sbin/mke2fs /usr/sbin/mkfs* /usr/sbin/fsck* \
    /usr/sbin/debugfs /usr/sbin/resize2fs /usr/sbin/tune2fs /usr/share/zoneinfo \
    /usr/bin/gpgv /usr/lib/systemd /etc/systemd /etc/cron* /etc/apt /usr/lib/udev

# Libraries ask for the name behind the number.
echo 'mlflow:x:10001:10001::/tmp:/usr/sbin/nologin' >>/etc/passwd
