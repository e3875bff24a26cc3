#!/bin/sh
# Makes an environment of its own for maintainers' tools: sh tools/tools.sh ENVIRONMENT LOCK. Wheels with known hashes only.
set -eu
environment=$1
lock=$2
if [ -e "$environment/done" ] && cmp -s "$lock" "$environment/done"; then
    exit 0
fi
rm -rf "$environment"
"${PYTHON:-python3}" -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    --require-hashes --only-binary :all: -r "$lock"
cp "$lock" "$environment/done"
