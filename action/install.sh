#!/usr/bin/env bash
# Finds tollgate's binary for the steps that follow, and puts its path into the output `binary`:
#
#   1. `binary-path`, where it is given
#   2. built from the action's own source, where `build-from-source: true` asks for it
#   3. the runner's tool cache, checked again against checksums.txt
#   4. the release's asset, checked against checksums.txt, which is part of the action's own commit
#
# What does not match its checksum is never run, and never replaced by something else without a word.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=action/common.sh
. "$here/common.sh"

bin=$RUNNER_TEMP/tollgate/bin
seconds_max=120
bytes_max=67108864

sha256() { # FILE
  if command -v sha256sum >/dev/null; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d ' ' -f 1
}

finish() { # BINARY
  local version
  version=$("$1" --version) || die "$1 does not start on this machine"
  say "using $version, $2"
  put binary "$1"
  exit 0
}

# --- 1. a binary that is there
if [ -n "${INPUT_BINARY_PATH:-}" ]; then
  path=$INPUT_BINARY_PATH
  case $path in /*) ;; *) path=$PWD/$path ;; esac
  [ -f "$path" ] && [ -x "$path" ] || die "binary-path: there is no program at $path"
  finish "$path" 'from `binary-path`'
fi

# --- 2. from source
if is_true build-from-source "${INPUT_BUILD_FROM_SOURCE:-}"; then
  [ -z "${INPUT_VERSION:-}" ] || die '`version` chooses a release and `build-from-source` needs none: leave out one of them'
  command -v cargo >/dev/null || die 'build-from-source: cargo is not on PATH; install Rust in an earlier step'
  # In the action's own folder: the checkout's toolchain file must not choose the compiler.
  cd "$here/.."
  cargo install --quiet --locked --path . --root "$RUNNER_TEMP/tollgate" >&2 </dev/null
  finish "$bin/tollgate" 'built from the action'\''s own source'
fi

# --- which release, and what it must look like
case $(uname -s)-$(uname -m) in
  Linux-x86_64) target=x86_64-unknown-linux-musl ;;
  Linux-aarch64) target=aarch64-unknown-linux-musl ;;
  Darwin-arm64) target=aarch64-apple-darwin ;;
  *) die "there is no binary for $(uname -s) on $(uname -m); use \`build-from-source: true\`, or give \`binary-path\`" ;;
esac
checksums=$here/checksums.txt
version=${INPUT_VERSION:-}
version=${version#v}
[ -n "$version" ] || version=$(awk '!/^#/ && NF == 3 { last = $1 } END { print last }' "$checksums")
[ -n "$version" ] || die 'this commit of the action knows no release yet; use `build-from-source: true`, or give `binary-path`'
expected=$(awk -v v="$version" -v t="$target" '!/^#/ && NF == 3 && $1 == v && $2 == t { print $3 }' "$checksums")
[[ $expected =~ ^[0-9a-f]{64}$ ]] || die "version: this commit of the action has no checksum of $version for $target; leave \`version\` out, or pin a commit that knows it"

# What is checked is what is run: a copy in a folder of this job's own.
mkdir -p "$bin"
binary=$bin/tollgate
take() { # FILE; whether it is what was released
  cp "$1" "$binary"
  [ "$(sha256 "$binary")" = "$expected" ] || { rm -f "$binary"; return 1; }
  chmod 755 "$binary"
}

# --- 3. the tool cache
cache=${RUNNER_TOOL_CACHE:-$RUNNER_TEMP}/tollgate/$version/$target
if [ -f "$cache/tollgate" ]; then
  if take "$cache/tollgate"; then finish "$binary" 'from the tool cache'; fi
  say "the tool cache's tollgate $version is not what was released: it is downloaded again"
  rm -f "$cache/tollgate"
fi

# --- 4. the release
base=${TOLLGATE_DOWNLOAD_URL:-}
if [ -n "$base" ]; then
  [[ $base =~ ^http://127\.0\.0\.1:[0-9]+$ ]] || die 'TOLLGATE_DOWNLOAD_URL is for tests and must be http://127.0.0.1:PORT'
  protocol='=http'
else
  [ -n "${ACTION_REPOSITORY:-}" ] || die 'the runner does not say which repository the action is from; give `binary-path`'
  base=$SERVER_URL/$ACTION_REPOSITORY/releases/download
  protocol='=https'
fi
url=$base/v$version/tollgate-$target
command -v curl >/dev/null || die 'curl is not on PATH, and the release is downloaded with it; install it, or give `binary-path`'
download=$bin/download
curl --silent --show-error --fail --location --proto "$protocol" --proto-redir "$protocol" --tlsv1.2 \
  --retry 3 --max-time "$seconds_max" --max-filesize "$bytes_max" --output "$download" "$url" ||
  die "$url could not be downloaded; on a machine without a way there, give \`binary-path\`"
if ! take "$download"; then
  found=$(sha256 "$download")
  rm -f "$download"
  die "$url is not the file that was released: its SHA-256 is $found, and this commit of the action expects $expected; nothing was run"
fi
rm -f "$download"
# A cache that cannot be written only costs the next job a download.
if mkdir -p "$cache" 2>/dev/null && cp "$binary" "$cache/.tollgate.$$" 2>/dev/null; then
  mv -f "$cache/.tollgate.$$" "$cache/tollgate"
fi
finish "$binary" "downloaded from $url"
