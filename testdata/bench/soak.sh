#!/usr/bin/env bash
# soak.sh [MINUTES]: a registry, two seeds and clients that install without end (10 minutes): cold, in every mode, some of
# them killed midway, the seeds killed and started again now and then. Prints memory, files and threads of the servers
# every 30 s.
#
# Exits with 1 if a server died or its memory grew by more than 64 MiB over what it had after the first minute, if an
# install failed, or if in the end installs do not succeed with the same trees in every mode.
#
# All on loopback. Needs go and python3; KEEP, PKG, GO and TMPDIR are as for swarm.sh. EVERY is seconds between lines.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
go=${GO:-go}
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1

if [[ -n ${KEEP:-} ]]; then
  dir=$(mkdir -p "$KEEP" && cd "$KEEP" && pwd)
else
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
fi
trap 'exit 130' INT TERM

cd "$root"
if [[ -n ${PKG:-} ]]; then
  cp "$PKG" "$dir/pkg"
else
  "$go" build -o "$dir/pkg" .
fi
python3 "$here/soak.py" "$dir" "${1:-10}"
