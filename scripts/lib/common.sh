# Shared by the scripts; sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

build_packages="libssl-dev libnghttp2-dev libsystemd-dev libyaml-dev zlib1g-dev libc-ares-dev libhiredis-dev pkg-config python3 libbrotli-dev libzstd-dev"
test_packages="nginx-light haproxy wrk nghttp2-client nghttp2-server nghttp2-proxy valgrind curl openssl dnsmasq-base binutils systemd iproute2 python3-venv brotli zstd redis-server chromium groff-base zsh fish"

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Installs those of the named Debian packages that are missing.
ensure_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "Installing ${missing[*]}"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "please install as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  # Services of the test tools (nginx, haproxy) must not start.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

ensure_swift() {
  command -v swift >/dev/null || die "no Swift found: install Swift 6.3 from https://www.swift.org/install/linux/"
}

# Builds the programs as they are shipped, into .build/release.
build_release() {
  say "Building gatewayd and gatewayctl"
  local product
  for product in gatewayd gatewayctl; do
    swift build -c release --static-swift-stdlib --product "$product" >&2
  done
}
