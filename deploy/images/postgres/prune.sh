#!/bin/sh
# Runs when the image is built, in the stage that the last one copies from: takes away what a
# database server never uses. dpkg's list of packages stays for scanners.
set -eu

# The just-in-time compiler and what it drags in; queries of a tracking server are too short for it.
rm -rf /usr/lib/postgresql/15/lib/llvmjit* /usr/lib/postgresql/15/lib/bitcode /usr/lib/llvm-* \
    /usr/lib/*/libLLVM* /usr/lib/*/libz3*
rm -rf /usr/lib/postgresql/15/lib/pgxs /usr/include /usr/share/postgresql/15/man

# Debian's cluster tools, Perl and the package manager serve installation only.
rm -rf /usr/share/postgresql-common /usr/lib/*/perl /usr/lib/*/perl5 /usr/lib/*/perl-base \
    /usr/lib/*/libperl* /usr/bin/perl* /usr/share/perl /usr/share/perl5 /usr/lib/apt /usr/bin/apt* \
    /usr/lib/*/libapt-* /var/lib/apt /var/cache/* /var/log/* /var/lib/dpkg/info /usr/share/debconf \
    /usr/bin/dpkg* /usr/bin/debconf* /usr/sbin/e2* /usr/sbin/mke2fs /usr/sbin/mkfs* /usr/sbin/fsck* \
    /usr/sbin/debugfs /usr/sbin/resize2fs /usr/sbin/tune2fs /usr/bin/gpgv /usr/lib/systemd \
    /etc/systemd /etc/cron* /etc/apt /usr/lib/udev /var/lib/postgresql/*

# initdb and the server look for the name behind their number.
echo 'postgres:x:10002:10002::/tmp:/usr/sbin/nologin' >>/etc/passwd
sed -i '/^postgres:x:10002/!{/^postgres:/d}' /etc/passwd
