#!/usr/bin/env bash
# Runs a sweep, or goes on with it where the storage has it already: what a batch system may start any number of times.
#   run_or_resume.sh STORAGE NAME SPACE.yaml [what both `memsweep run` and `memsweep resume` take, such as --tracking-uri]
# STORAGE is a folder that all nodes share, or a URI. Where MEMSWEEP_STATUS is set, the exit status goes into that file, and the number of the
# process into the same name with .pid: a caller can tell a sweep that never began from one that ended, and stop it.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: run_or_resume.sh STORAGE NAME SPACE.yaml [OPTION…]" >&2
    exit 2
fi
storage=$1 name=$2 space=$3
shift 3

if [[ "$storage" == *://* ]]; then
    command=(run "$space" --name "$name" --yes --or-resume)
elif [ -e "$storage/$name/record.jsonl" ]; then
    command=(resume "$name")
else
    command=(run "$space" --name "$name" --yes)
fi
python -m orchestrator "${command[@]}" --storage "$storage" --address auto "$@" &
sweep=$!
trap 'kill -TERM "$sweep"' TERM INT
[ -z "${MEMSWEEP_STATUS:-}" ] || echo "$$" > "$MEMSWEEP_STATUS.pid"
status=0
wait "$sweep" || status=$?
# A signal ends the first wait; the sweep then still writes its checkpoints.
while kill -0 "$sweep" 2> /dev/null; do
    status=0
    wait "$sweep" || status=$?
done
[ -z "${MEMSWEEP_STATUS:-}" ] || echo "$status" > "$MEMSWEEP_STATUS"
exit "$status"
