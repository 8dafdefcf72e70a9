#!/bin/sh
# Install the packages of the distribution that some tests need: as root, and only with apt-get.
# Otherwise it does nothing, and the test summary reports the skipped tests.
set -u

wanted=""
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || wanted="$wanted postgresql"
command -v chromium >/dev/null || command -v google-chrome >/dev/null || wanted="$wanted chromium"
ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || wanted="$wanted libfaketime"
command -v git-lfs >/dev/null || wanted="$wanted git-lfs"
command -v bwrap >/dev/null || wanted="$wanted bubblewrap"
[ -n "$wanted" ] || exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0

log=$(mktemp)
# Keep the package of PostgreSQL from creating and starting a server; the tests start their own.
switch=/etc/postgresql-common/createcluster.conf
made=""
if [ ! -e "$switch" ]; then
    mkdir -p "${switch%/*}" && echo "create_main_cluster = false" > "$switch" && made=yes
fi

install() {
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
        -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1
}

updated=""
for package in $wanted; do
    echo "installing the package $package for the tests"
    install "$package" && continue
    [ -n "$updated" ] || apt-get update --quiet </dev/null >>"$log" 2>&1
    updated=yes
    install "$package" || echo "$package could not be installed: $(grep '^E:' "$log" | tail -n 1)"
done

[ -z "$made" ] || rm -f "$switch"
rm -f "$log"
