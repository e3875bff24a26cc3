#!/bin/sh
# Makes the virtual environment from the hashed lock. Needs git, make and Python 3.11 or newer, nothing else.
set -eu
venv=$1

python=
for name in python3.13 python3.12 python3.11 python3.14 python3 python; do
    if command -v "$name" >/dev/null 2>&1 &&
        "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; then
        python=$name
        break
    fi
done
if [ -z "$python" ]; then
    echo "stax-pipeline needs Python 3.11, 3.12, 3.13 or 3.14 on the PATH; install one and run make again." >&2
    exit 1
fi

# Debian and Ubuntu ship Python without the part that makes virtual environments.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing $package, which Python needs to make an environment"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null
    else
        echo "Python cannot make a virtual environment here. Run: sudo apt-get install $package; then make again." >&2
        exit 1
    fi
fi

# An environment that was moved or half made is made anew.
if ! { "$venv/bin/python" -m pip --version && grep -q "$(pwd)/$venv/bin" "$venv/bin/pip"; } >/dev/null 2>&1; then
    rm -rf "$venv"
    echo "making the environment with $("$python" --version) (about two minutes the first time)"
    "$python" -m venv "$venv"
fi
install() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$@"; }
install --require-hashes --only-binary :all: -r requirements.lock
install --no-build-isolation --editable .
"$venv/bin/python" -m pip check >/dev/null
"$venv/bin/python" -m compileall -q "$venv"/lib/python3.*/site-packages stax_pipeline >/dev/null 2>&1 || true
