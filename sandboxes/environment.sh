#!/usr/bin/env bash
# Prints the directory of the Python environment that belongs to a pinned list; builds it when there is none yet.
#
#   sandboxes/environment.sh [--hash] [LIST]
#
# LIST is columnar, ml, stats, dev (or --dev) or analysis, the default; with --hash, its hash is printed and nothing built.
# An environment is a directory <hash of the list>-py3.X; it counts only if its file .complete, written last, says that
# it was built in this very place. setup.sh calls this each time it is sourced, hence no process that is not needed.
set -euo pipefail
unset CDPATH

say() { printf '%s: %s\n' "${caller}" "$*" >&2; }
fail() { say "$*"; exit 1; }

only_hash=""
if [[ "${1:-}" == --hash ]]; then
  only_hash=yes
  shift
fi
name=${1:-analysis}
name=${name#--}
caller=setup.sh
[[ "${name}" == @(analysis|dev) ]] || caller="venv_${name}.sh"
script=${BASH_SOURCE[0]}
[[ "${script}" == */* ]] || script="./${script}"
base=$(cd -- "${script%/*}/.." && pwd)
list="${base}/sandboxes/${name}.txt"
[[ -f "${list}" && "${name}" != */* ]] || {
  caller=environment.sh
  lists=("${base}"/sandboxes/*.txt)
  lists=("${lists[@]##*/}")
  fail "there is no list '${name}': there are ${lists[*]%.txt}."
}
environments="${ANALYSIS_ENV_DIR:-${base}/.venv}"
[[ "${environments}" == /* ]] || environments="${PWD}/${environments}"
needed_mb=2000

# The annotations of the list ("# via ...") do not matter.
list_hash() {
  grep -v '^ *#' "${list}" | if command -v sha256sum > /dev/null; then sha256sum; else shasum -a 256; fi | cut -c 1-12
}

# Prints an environment, and places the command "analysis" in it: which code that runs, PYTHONPATH decides.
finish() {
  local launcher="$1/bin/analysis"
  # shellcheck disable=SC2016
  [[ -x "${launcher}" ]] || {
    printf '#!/bin/sh\nexec "${0%%/*}/python" -P -m analysis "$@"\n' > "${launcher}.$$" &&
      chmod 755 "${launcher}.$$" && mv -f "${launcher}.$$" "${launcher}"
  } 2> /dev/null || {
    rm -f "${launcher}.$$"
    say "$1 cannot be written, so it has no command 'analysis': use 'python -P -m analysis' instead."
  }
  printf '%s\n' "$1"
}

# The newest complete environment among the arguments, if any; with ANALYSIS_PYTHON only one made with it.
find_complete() {
  local wanted=$1 newest="" directory location made_with
  shift
  for directory in "$@"; do
    [[ -x "${directory}/bin/python" && -f "${directory}/.complete" ]] || continue
    { read -r location && read -r made_with; } < "${directory}/.complete" || continue
    [[ "${location}" -ef "${directory}" ]] || continue  # moved, or copied, perhaps by half
    [[ -z "${wanted}" || "${made_with}" == "${wanted}" ]] || continue
    [[ -n "${newest}" && ! "${directory}/.complete" -nt "${newest}/.complete" ]] || newest=${directory}
  done
  [[ -n "${newest}" ]] && finish "${newest}"
}

# "3.12 /path/of/the/interpreter" of a command, or nothing if it does not start or is of another version.
probe_python() {
  "$1" -I -c '
import sys
if sys.implementation.name == "cpython" and (3, 11) <= sys.version_info[:2] < (3, 14):
    print("%d.%d" % sys.version_info[:2], getattr(sys, "_base_executable", None) or sys.executable)
' 2> /dev/null || true
}

pick_python() {
  local candidate candidates=(python3.13 python3.12 python3.11 python3)
  [[ -z "${ANALYSIS_PYTHON:-}" ]] || candidates=("${ANALYSIS_PYTHON}")
  for candidate in "${candidates[@]}"; do
    probe_python "${candidate}" | grep . && return
  done
  [[ -z "${ANALYSIS_PYTHON:-}" ]] ||
    fail "ANALYSIS_PYTHON=${ANALYSIS_PYTHON} is not a Python 3.11, 3.12 or 3.13: set it to one, or unset it."
  fail "no Python 3.11, 3.12 or 3.13 on the PATH: install one, or set ANALYSIS_PYTHON to one."
}

check_disk() {
  local free_mb
  free_mb=$(df -Pk "${environments}" | awk 'NR == 2 {print int($4 / 1024)}')
  ((free_mb >= needed_mb)) ||
    fail "the environment needs ${needed_mb} MB, but ${environments} has ${free_mb} MB free:" \
      "make room, or set ANALYSIS_ENV_DIR to a directory on a larger disk."
}

# One build at a time: the lock belongs to descriptor 9, so it ends with this process, however that ends.
lock() {
  local take='import fcntl, sys; fcntl.flock(9, fcntl.LOCK_EX | (fcntl.LOCK_NB if sys.argv[1:] else 0))'
  [[ -e "${environments}/.lock" ]] || (umask 0 && : >> "${environments}/.lock") 2> /dev/null || true
  # of another user who shares the directory, or on a server: there only who can write can lock
  if [[ -w "${environments}/.lock" ]]; then exec 9>> "${environments}/.lock"; else exec 9< "${environments}/.lock"; fi
  "$1" -I -c "${take}" try 2> /dev/null && return
  say "another shell builds an environment in ${environments}, waiting for it ..."
  "$1" -I -c "${take}" || fail "${environments} cannot be locked: set ANALYSIS_ENV_DIR to a directory on a local disk."
}

# The command that runs uv: from the PATH, else from a small environment of its own; nothing if it cannot be had.
find_uv() {
  local python=$1 own="${environments}/.uv"
  if uv --version > /dev/null 2>&1; then
    echo uv
  elif "${own}/bin/uv" --version > /dev/null 2>&1; then
    echo "${own}/bin/uv"
  elif "${python}" -m venv --clear "${own}" > /dev/null 2>&1 &&
    "${own}/bin/python" -m pip install --quiet uv > /dev/null 2>&1; then
    echo "${own}/bin/uv"
  fi
}

# The list names every package of the closure: --no-deps installs these versions and no others.
install_with_uv() {
  "$1" venv --quiet --clear --relocatable --python "$2" "$3" &&
    "$1" pip install --quiet --python "$3/bin/python" --no-deps --compile-bytecode -r "${list}"
}

install_with_pip() {
  "$1" -m venv --clear "$2" && "$2/bin/python" -m pip install --quiet --no-deps --compile -r "${list}"
}

install() {
  local python=$1 directory=$2 uv
  uv=$(find_uv "${python}")
  if [[ -n "${uv}" ]]; then
    install_with_uv "${uv}" "${python}" "${directory}" && return
    # behind a proxy that signs what it passes on, only the certificates of the system are good
    UV_SYSTEM_CERTS=true UV_NATIVE_TLS=true install_with_uv "${uv}" "${python}" "${directory}" && return
  fi
  install_with_pip "${python}" "${directory}"
}

build() {
  local key=$1 version python directory log start=${SECONDS}
  read -r version python <<< "$2"
  directory="${environments}/${key}-py${version}"
  mkdir -p "${environments}" 2> /dev/null && [[ -w "${environments}" ]] ||
    fail "${environments} cannot be written: set ANALYSIS_ENV_DIR to a directory that can."
  lock "${python}"
  find_complete "" "${directory}" && return  # by another shell, while this one waited

  check_disk
  umask 022  # for whoever shares the directory
  log="${directory}.log"
  say "creating the environment with Python ${version} (about 1 minute, once) ..."
  rm -rf "${directory}"
  if ! install "${python}" "${directory}" > "${log}" 2>&1; then
    say "the packages could not be installed (all of it in ${log}); the last lines were:"
    tail -n 5 "${log}" >&2
    fail "the environment was not created: check the network and the free disk, and source ${caller} again" \
      "(on Debian, 'apt-get install python3-venv' if it says that ensurepip is missing)."
  fi
  printf '%s\n' "${directory}" "${ANALYSIS_PYTHON:-${python}}" > "${directory}/.complete.new"
  mv "${directory}/.complete.new" "${directory}/.complete"
  rm -f "${log}"
  say "environment ready after $((SECONDS - start)) s."
  finish "${directory}"
}

key=$(list_hash)
if [[ -n "${only_hash}" ]]; then
  echo "${key}"
  exit
fi
find_complete "${ANALYSIS_PYTHON:-}" "${environments}/${key}"-py3.* && exit
python=$(pick_python)  # only now: starting Python costs more than all of the above
if [[ -n "${ANALYSIS_PYTHON:-}" ]]; then
  find_complete "" "${environments}/${key}-py${python%% *}" && exit
fi
build "${key}" "${python}"
