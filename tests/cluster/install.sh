#!/usr/bin/env bash
# Installs the system packages that cluster tests use, where that can be done; tests that miss one are skipped and say so.
set -uo pipefail

packages=(
    iproute2
    munge
    openssh-server
    rsync
    slurm-client
    slurmctld
    slurmd
    slurm-wlm
)

missing=()
for package in "${packages[@]}"; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "cluster tests: not installed (that needs root and apt-get): ${missing[*]}" >&2
    exit 0
fi
# No package may start a service here: the tests start what they need, each on hosts of its own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install --quiet --yes --no-install-recommends "${missing[@]}" >/dev/null; }
install 2>/dev/null || { apt-get update --quiet >/dev/null && install; } ||
    echo "cluster tests: could not install ${missing[*]}" >&2
exit 0
