#!/usr/bin/env bash
# swarm.sh [SECTION]...: compares pkg's fetching with plain HTTP, in one run on one machine, and prints ratios of
# neighbours in interleaved rounds: medians, the range, and the goal. Times mean nothing elsewhere; ratios do.
#
#   loopback  200 packages (43 MB) from one peer, and from the registry, vs. CARs over one HTTP connection
#   bitswap   2,000 files and one of 64 MiB by direct bitswap vs. HTTP, which are Go benchmarks of fetch/bitswap
#   set       at 50 ms: 200 packages from one peer vs. CARs, one after the other over one connection, and all at once
#   cold      at 50 ms: a package of 20 KB with a lock and an empty home, in round trips
#   alone     at 50 ms: packages that no peer has, with --mode auto vs. --mode http
#   four      at 50 ms, 10 MB/s each: four peers vs. one
#   egress    50 clients, one seed: how often the registry sent a package of 50 MB
#
# Without SECTION all; "wan" is set, cold, alone and four. What is at 50 ms runs between network namespaces that wan joins:
# kernel TCP, real QUIC; it needs root and /dev/net/tun and is skipped with a word otherwise.
#
# Needs go, python3 and curl. ROUNDS is how many rounds (5; large ones take 3). KEEP names a folder for content and homes
# that is left and used again; else all is below TMPDIR and goes. PKG is a binary to measure instead of this tree's.
# GO names another go command. CONTROL is the TCP congestion control at 50 ms. CLIENTS is how many of them egress starts.
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
"$go" build -o "$dir/wan" ./testdata/bench/wan
GO=$go ROOT=$root python3 "$here/swarm.py" "$dir" "$@"
