# Shared by quickstart.sh and test.sh: printing steps, installing packages. Sourced, not run.
# shellcheck shell=bash

# Paths below the clone count from it: what one clone has compiled, ccache has for the next.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

# Prints a command as it could be pasted, then runs it.
step() {
  printf '\n$ %s\n' "$*"
  "$@"
}

die() {
  printf 'error: %s\n' "$*" >&2
  exit 2
}

# Names in the first column of package lists that dpkg does not know as installed.
missing_packages() {
  local name
  grep -hv '^#' "$@" | awk 'NF {print $1}' | while read -r name; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' && continue
    # Node from elsewhere (a version manager, a vendor's package) is as good as Debian's.
    case $name in nodejs | npm) command -v "${name/nodejs/node}" >/dev/null && continue ;; esac
    printf '%s\n' "$name"
  done
}

# install_packages LIST...: apt as root or through sudo; with INSTALL=no only says what is missing.
install_packages() {
  local missing sudo=()
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  if [[ $INSTALL == no ]]; then
    printf 'missing packages; install them with:\n  apt-get install -y --no-install-recommends %s\n' "${missing[*]}" >&2
    return 1
  fi
  command -v apt-get >/dev/null || die "no apt-get here; install by other means: ${missing[*]}"
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "run as root or install sudo; missing packages: ${missing[*]}"
    sudo=(sudo)
  fi
  step "${sudo[@]}" apt-get update -qq
  step "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o Dpkg::Use-Pty=0 "${missing[@]}"
}

# npm_packages FOLDER: what the lock file names, unless it is there already.
npm_packages() {
  [[ $1/node_modules/.package-lock.json -nt $1/package-lock.json ]] && return 0
  if [[ $INSTALL == no ]]; then
    printf 'missing JavaScript packages; install them with:\n  npm ci --prefix %s\n' "$1" >&2
    return 1
  fi
  step npm ci --prefix "$1" --no-audit --no-fund --ignore-scripts --loglevel=error
  touch "$1/node_modules/.package-lock.json"
}

cores() { nproc 2>/dev/null || echo 2; }
