#!/bin/sh
# System packages that tests need (tools/test-packages.txt), installed where that can be done. Elsewhere the tests that
# need them are skipped by name.
set -u
folder=$(dirname "$0")
missing=
while read -r package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $package"
done <"$folder/test-packages.txt"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$missing, which some tests need"
    # shellcheck disable=SC2086  # a list of names
    { timeout 120 apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive timeout 240 apt-get install -y -qq --no-install-recommends $missing; } >/dev/null 2>&1 &&
        exit 0
fi
echo "Not installed:$missing. The tests that need them are skipped."
