#!/usr/bin/env bash
# resolve.sh [DIR]: compares our resolver with libsolv, resolvelib and Molinillo on the *.g graphs in DIR (default
# $PKG_RESOLVE_CORPUS), in one run on one machine, and prints ratios ours/peer: below 1, ours is faster. Times mean nothing
# elsewhere; ratios do.
#
#   all roots    every (package, version) as the only root, mean time of a query. Graphs are read before the clock starts.
#                Ours keeps one solver for all queries of a graph where the benchmark does; libsolv may too, if that is
#                faster for it.
#   worst query  each side's own slowest query (p34_2.g; other graphs where our benchmark reports worst-ns).
#   first root   graphs of more than 10,000 versions (gen.py writes such): the first package's highest version alone.
#
# Ours and a peer take turns, ROUNDS times (3); a ratio is of neighbours. All run on one thread. resolvelib and Molinillo
# can blow up: they are asked a sample of 200 queries of a graph, 1 s each (20 s for a first root), 5 s together. A
# query that is given up counts the time spent, so it flatters the peer. Refused: Molinillo takes no cycles.
# All answers are compared with GRAPH.libsolv where there is one and with libsolv's of this run otherwise.
#
# Needs go and python3; a peer that is not installed is skipped with a word. At most ten minutes; leaves nothing behind.
# GO names another go command. Exits with 1 if an answer differs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${1:-${PKG_RESOLVE_CORPUS:-}}
go=${GO:-go}
rounds=${ROUNDS:-3}
large=10000 # versions; as in graph.py and molinillo.rb
bound=570   # seconds for everything
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1

if [[ -z $dir ]] || ! compgen -G "$dir/*.g" > /dev/null; then
  echo "resolve.sh: no *.g in '$dir': give a folder of graphs, or set PKG_RESOLVE_CORPUS" >&2
  exit 2
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
mkdir "$tmp/small" "$tmp/large" "$tmp/checked" "$tmp/out"

# A graph is a link beside its oracle, or beside the oracle that libsolv writes.
for g in "$dir"/*.g; do
  to=$tmp/small
  (($(grep -c '^V ' "$g") <= large)) || to=$tmp/large
  ln -s "$(realpath "$g")" "$to/"
  [[ ! -e $g.libsolv ]] || ln -s "$(realpath "$g.libsolv")" "$to/"
done

# within SECONDS COMMAND...: no longer than that, nor than what is left of the whole.
within() {
  local s=$1
  shift
  ((bound - SECONDS < s)) && s=$((bound - SECONDS))
  ((s > 0)) || return 124
  timeout -k 5 "$s" "$@"
}

# python_with MODULE: the python3 that has it; Debian's modules are not in others.
python_with() {
  local p
  for p in /usr/bin/python3 python3; do
    "$p" -c "import $1" 2> /dev/null && echo "$p" && return
  done
  return 1
}

peers=()
python_libsolv=$(python_with solv) && peers+=(libsolv) || echo "libsolv: skipped; apt-get install python3-solv"
python_resolvelib=$(python_with resolvelib) && peers+=(resolvelib) || echo "resolvelib: skipped; apt-get install python3-resolvelib"
ruby -e 'require "molinillo"' 2> /dev/null && peers+=(molinillo) || echo "molinillo: skipped; apt-get install ruby-molinillo"
((${#peers[@]} > 0)) || { echo "resolve.sh: no peer to compare with" >&2 && exit 2; }

# ours OUT: our benchmarks over the small graphs, and the large ones.
ours() {
  local pattern='^BenchmarkAllRoots$' overlay=()
  [[ ! -e $tmp/small/p34_2.g ]] || pattern='^Benchmark(AllRoots|WorstQuery)$'
  if compgen -G "$tmp/small/*.g" > /dev/null; then
    PKG_RESOLVE_CORPUS=$tmp/small within 120 "$go" test -run '^$' -cpu 1 -bench "$pattern" -benchtime 200ms ./resolve/... >> "$1" 2>&1 || true
  fi
  if compgen -G "$tmp/large/*.g" > /dev/null; then
    if ! grep -rqs 'func BenchmarkFirstRoot' resolve; then
      printf '{"Replace": {"%s": "%s"}}\n' "$root/resolve/internal/pubgrub/firstroot_test.go" "$here/firstroot.go" > "$tmp/overlay"
      overlay=(-overlay "$tmp/overlay")
    fi
    PKG_RESOLVE_CORPUS=$tmp/large within 120 "$go" test "${overlay[@]}" -run '^$' -cpu 1 -bench '^BenchmarkFirstRoot$' -benchtime 2x ./resolve/... >> "$1" 2>&1 || true
  fi
  grep -E '^(FAIL|panic:|#)' "$1" | sort -u | sed 's/^/ours: /' >&2 || true
}

# ask PEER GRAPH OPTION...: one line of graph.py.
ask() {
  local peer=$1 g=$2
  shift 2
  case $peer in
    libsolv) within 70 "$python_libsolv" "$here/libsolv.py" --budget 30 --write-oracle "$@" "$g" ;;
    resolvelib) within 40 "$python_resolvelib" "$here/resolvelib_peer.py" --sample 200 --budget 5 "$@" "$g" ;;
    molinillo) within 40 ruby "$here/molinillo.rb" --sample 200 --budget 5 "$@" "$g" ;;
  esac
}

# peer NAME OUT: the peer over all graphs. A graph on which it was killed once is not tried again.
peer() {
  local g limit
  for g in "$tmp"/{small,large}/*.g; do
    [[ -e $g ]] || continue
    limit=1
    [[ $g != "$tmp/large/"* ]] || limit=20
    if [[ -e $g.$1.killed ]]; then
      printf '%s\t%s\tstopped: out of time or memory\n' "$(basename "$g")" "$1" >> "$2"
    elif ! (ulimit -v 12000000 && ask "$1" "$g" --limit "$limit") >> "$2" 2> "$tmp/error"; then
      touch "$g.$1.killed"
      printf '%s\t%s\tstopped: out of time or memory\n' "$(basename "$g")" "$1" >> "$2"
      tail -n 1 "$tmp/error" | sed "s/^/$1: /" >&2
    fi
  done
}

cd "$root"
n=0
last=0
for ((round = 1; round <= rounds; round++)); do
  from=$SECONDS
  if ((from + last > bound - 30)); then
    echo "out of time: $((round - 1)) rounds of $rounds"
    break
  fi
  for p in "${peers[@]}"; do
    n=$((n + 1))
    touch "$tmp/out/$n.ours" "$tmp/out/$n.peer"
    ours "$tmp/out/$n.ours"
    peer "$p" "$tmp/out/$n.peer"
  done
  last=$((SECONDS - from))
done

status=0
for o in "$tmp"/small/*.libsolv; do
  [[ ! -e $o ]] || cp "$o" "${o%.libsolv}" "$tmp/checked/"
done
if compgen -G "$tmp/checked/*.g" > /dev/null; then
  if PKG_RESOLVE_CORPUS=$tmp/checked within 120 "$go" test -run '^TestCorpusOracle$' ./resolve/... > "$tmp/oracle" 2>&1; then
    echo "ours: every answer is the oracle's, in $(grep '^ok' "$tmp/oracle" | grep -vc 'no tests') packages, $(cat "$tmp"/checked/*.libsolv | wc -l) queries"
  else
    status=1
    echo "ours: TestCorpusOracle failed:"
    tail -n 20 "$tmp/oracle"
  fi
fi
python3 "$here/ratios.py" "$tmp/out" || status=1
exit "$status"
