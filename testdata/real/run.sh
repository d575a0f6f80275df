#!/usr/bin/env bash
# run.sh [SPEC...]: publishes real npm packages (default: express@5 and all it needs) to a registry on loopback from one
# author key, installs them from other homes, and compares every file with what npm has. Prints how long each part took.
# Needs go, node, npm, the npm registry, and GNU tools. Leaves nothing behind. PKG_BIN names a pkg that is already built.
set -Eeuo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
(($# > 0)) || set -- express@5
export LC_ALL=C

tmp=$(mktemp -d)
server=""

# stop ends the registry, gently and within a bound.
stop() {
  [[ -n $server ]] || return 0
  kill -INT "$server" 2> /dev/null || true
  for ((i = 0; i < 100; i++)); do
    kill -0 "$server" 2> /dev/null || break
    sleep 0.1
  done
  kill -KILL "$server" 2> /dev/null || true
  wait "$server" 2> /dev/null || true
  server=""
}

cleanup() {
  stop
  chmod -R u+w "$tmp" 2> /dev/null || true
  rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
trap 'echo "real input: line $LINENO: $BASH_COMMAND" >&2' ERR

times=()
# timed WHAT COMMAND...: runs it with its own bound and remembers how long it took.
timed() {
  local what=$1 from to
  shift
  from=$(date +%s%N)
  "$@"
  to=$(date +%s%N)
  times+=("$(printf '%7d ms  %s' $(((to - from) / 1000000)) "$what")")
}

die() {
  echo "real input: $*" >&2
  exit 1
}

# pkg HOME ARG...: runs pkg with that PKG_HOME and nothing else of this user's.
pkg() {
  local home=$1
  shift
  env -u CI -u XDG_DATA_HOME -u XDG_STATE_HOME -u XDG_CONFIG_HOME -u PKG_KEY -u PKG_KEY_FILE PKG_HOME="$tmp/$home" \
    timeout 600 "$bin" "$@" < /dev/null
}

# quiet COMMAND...: shows errors alone.
quiet() { "$@" > /dev/null; }

# serve starts the registry, and sets PKG_REGISTRY once it answers.
serve() {
  rm -f "$tmp/url"
  PKG_HOME="$tmp/server" "$bin" registry serve "$tmp/registry" --listen 127.0.0.1:0 --addr-file "$tmp/url" < /dev/null 2> "$tmp/server.log" &
  server=$!
  for ((i = 0; i < 300; i++)); do
    if [[ -s $tmp/url ]]; then
      PKG_REGISTRY=$(< "$tmp/url")
      export PKG_REGISTRY
      return
    fi
    kill -0 "$server" 2> /dev/null || break
    sleep 0.1
  done
  cat "$tmp/server.log" >&2
  die "the registry does not answer"
}

publish() {
  local folder
  while read -r folder; do
    pkg author publish "$out/packages/$folder" --key author --quiet > /dev/null || die "publish $folder"
  done < "$out/order.txt"
}

# locked prints "NAME VERSION" of every row of a lock.
locked() {
  awk -F'"' '/^\[\[package\]\]/ {in_=1; next} /^\[/ {in_=0} in_ && /^name = / {n=$2} in_ && /^version = / {print n, $2}' "$1"
}

# compare APP: every installed file is npm's, and none is missing or more.
compare() {
  local app=$1 name version
  : > "$tmp/want"
  : > "$tmp/got"
  while read -r name version; do
    grep -F "  $name@$version/" "$out/sha256.txt" | awk -v p="$name@$version/" 'index(substr($0, 67), p) == 1' >> "$tmp/want" || true
    (cd "$app/pkg_modules/$name/" && find . -type f ! -path ./pkg.toml -print0 | xargs -0 -r sha256sum) |
      sed "s|  \./|  $name@$version/|" >> "$tmp/got"
  done < <(locked "$app/pkg.lock")
  sort -o "$tmp/want" "$tmp/want"
  sort -o "$tmp/got" "$tmp/got"
  diff "$tmp/want" "$tmp/got" > "$tmp/diff" || { head -20 "$tmp/diff" >&2; die "the files of $app differ from npm's"; }
  [[ -s $tmp/got ]] || die "nothing was installed"
}

# snapshot APP: what would show that an install did something.
snapshot() { (cd "$1" && cat pkg.lock && find pkg_modules -printf '%p %i %T@ %l\n' | sort); }

out=$tmp/out
bin=${PKG_BIN:-$tmp/pkg}
[[ -n ${PKG_BIN:-} ]] || timed build go build -C "$here/../.." -o "$bin" .
timed 'take the packages from npm' timeout 900 node "$here/npm-to-pkg.mjs" "$out" "$@"
packages=$(wc -l < "$out/order.txt")
files=$(wc -l < "$out/sha256.txt")
several=$(cut -d@ -f1 "$out/order.txt" | sort | uniq -d | wc -l)

pkg author keys new author --no-passphrase > /dev/null
PKG_REGISTRY_ID=$(pkg server registry init "$tmp/registry" --origin registry.test/real)
export PKG_REGISTRY_ID
serve
timed "publish $packages packages, $files files" publish
timed 'publish them again: nothing to do' publish

timed 'install, cold' quiet pkg second install -C "$out/app"
rows=$(locked "$out/app/pkg.lock" | wc -l)
if ((several == 0)); then
  ((rows == packages)) || die "the lock has $rows packages, want $packages"
fi
timed 'compare every file' compare "$out/app"

snapshot "$out/app" > "$tmp/before"
timed 'install again: nothing to do' quiet pkg second install -C "$out/app"
snapshot "$out/app" > "$tmp/after"
cmp "$tmp/before" "$tmp/after" || die "the second install changed something"

mkdir "$tmp/third-app"
cp "$out/app/pkg.toml" "$tmp/third-app/"
timed 'install in a third home, without the lock' quiet pkg third install -C "$tmp/third-app"
cmp "$out/app/pkg.lock" "$tmp/third-app/pkg.lock" || die "two homes wrote different locks"

stop
rm -rf "$out/app/pkg_modules"
timed 'install with the registry stopped' quiet pkg second install -C "$out/app"
cmp "$out/app/pkg.lock" "$tmp/third-app/pkg.lock" || die "the third install changed the lock"
compare "$out/app"
timed 'verify' quiet pkg second verify -C "$out/app"

printf '\n%s: %d packages published, %d locked, %d files equal\n' "$*" "$packages" "$rows" "$(wc -l < "$tmp/got")"
printf '%s\n' "${times[@]}"
