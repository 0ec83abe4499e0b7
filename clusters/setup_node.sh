#!/usr/bin/env bash
# Prepares one node of a cluster; the cluster files run it in ~/memsweep on the head and on every worker. Run again, it installs only what
# has changed. MEMSWEEP_PYTHON names another interpreter than python3.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=~/memsweep-env
installed=~/.memsweep-installed
token=~/.ray/auth_token

if [ ! -s "$token" ]; then
    echo "there is no token in $token: make one where you type \`ray up\` (clusters/README.md, 'A token')" >&2
    exit 1
fi
chmod 700 "$(dirname "$token")"
chmod 600 "$token"

python=${MEMSWEEP_PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "memsweep needs Python 3.11 or newer, but $python on $(hostname) is $("$python" --version 2>&1): set MEMSWEEP_PYTHON to a newer one" >&2
    exit 1
fi

wanted=$(cat pyproject.toml constraints.txt | sha256sum)
if [ ! -e "$installed" ] || [ "$(cat "$installed")" != "$wanted" ]; then
    test -x "$environment/bin/python" || "$python" -m venv "$environment"
    install=("$environment/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt)
    "${install[@]}" torch==2.13.0 'ray[default,tune]==2.60.0'
    "${install[@]}" --editable '.[cluster,hf,retrieval]'
    echo "$wanted" > "$installed"
fi

# `ray submit` and `ray exec` call python and ray by name in a login shell.
if ! grep -qs memsweep-env ~/.bashrc; then
    printf '%s\n' 'export PATH="$HOME/memsweep-env/bin:$PATH"' 'export RAY_AUTH_MODE=token' >> ~/.bashrc
fi
