# Packages, the user and configuration files of the testbed.
# shellcheck shell=bash

# Writes what is wrong into apt.log; fails only while another apt updates: the timeout of apt-get is not for that lock.
update_packages() {
  apt-get update -qq > /dev/null 2> "${TESTBED_DIR}/apt.log" && : > "${TESTBED_DIR}/apt.log" ||
    ! grep -q 'Could not get lock' "${TESTBED_DIR}/apt.log"
}

# install_packages COMMAND:PACKAGE...: those whose command, or file (a path, may be a pattern), is missing. Another apt is
# waited for.
install_packages() {
  local entry packages=()
  for entry in "$@"; do
    if [[ "${entry}" == /* ]]; then
      compgen -G "${entry%%:*}" > /dev/null || packages+=("${entry#*:}")
    else
      PATH="${PATH}:/usr/sbin:/sbin" command -v "${entry%%:*}" > /dev/null || packages+=("${entry#*:}")
    fi
  done
  ((${#packages[@]} > 0)) || return 0
  command -v apt-get > /dev/null || fail "packages are missing (${packages[*]}) and there is no apt-get: use Debian 12."
  say "installing ${packages[*]} ..."
  wait_for 600 update_packages
  [[ ! -s "${TESTBED_DIR}/apt.log" ]] || { cat "${TESTBED_DIR}/apt.log" >&2; fail "'apt-get update' failed."; }
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends \
    "${packages[@]}" > "${TESTBED_DIR}/apt.log" 2>&1 ||
    { tail -n 20 "${TESTBED_DIR}/apt.log" >&2; fail "'apt-get install ${packages[*]}' failed."; }
}

# The user who submits jobs: HTCondor takes none of root.
make_user() {
  getent passwd "${TESTBED_USER}" > /dev/null ||
    useradd --no-create-home --home-dir "${TESTBED_DIR}/home" --shell /bin/bash "${TESTBED_USER}"
  install -d -o "${TESTBED_USER}" -g "${TESTBED_USER}" -m 755 \
    "${TESTBED_DIR}"/{home,repository,scratch,environments}
}

# render TEMPLATE FILE EXTRA [NAME=VALUE...]: fills @NAME@; a line "Key = value" of the file EXTRA replaces those of that
# key. Returns 1 if the file was that already.
render() {
  local template=$1 file=$2 extra=$3 setting program=()
  shift 3
  for setting in "DIR=${TESTBED_DIR}" "$@"; do program+=(-e "s|@${setting%%=*}@|${setting#*=}|g"); done
  touch "${extra}"
  sed "${program[@]}" "${here}/config/${template}" | awk -v extra="${extra}" '
    function key(line) {sub(/[ =].*/, "", line); return line}
    BEGIN {while ((getline line < extra) > 0) {replaced[key(line)]; added = added line "\n"}}
    !(key($0) in replaced)
    END {printf "%s", added}
  ' > "${file}.new"
  if cmp -s "${file}.new" "${file}"; then rm "${file}.new"; return 1; fi
  mv "${file}.new" "${file}"
}

# wrappers VARIABLE=VALUE DIRECTORY PROGRAM...: so that PATH alone selects the testbed's pool or cluster.
wrappers() {
  local variable=$1 directory=$2 program
  shift 2
  mkdir -p "${directory}"
  for program in "$@"; do
    [[ -x "${program}" ]] || continue
    printf '#!/bin/sh\nexport %s\nexec %s "$@"\n' "${variable}" "${program}" > "${directory}/${program##*/}.new"
    chmod 755 "${directory}/${program##*/}.new"
    mv "${directory}/${program##*/}.new" "${directory}/${program##*/}"
  done
}
