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

# Prints the address of the Debian archive that has a suite: as apt of this machine knows it, else the archive of the
# machine's own release.
debian_archive() {
  local own
  own=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v suite="$1" -v own="${own}" '
      $2 == "main" && $1 == suite {exact = exact ? exact : $3}
      $2 == "main" && $1 == own {near = near ? near : $3}
      END {print exact ? exact : near}'
}

# bootstrap_debian SUITE DIRECTORY VARIANT PACKAGES [OPTION...]: packages of a release of Debian in a directory, which
# appears when all are there. The variant "extract" unpacks them with all they need, "essential" makes a small system.
bootstrap_debian() {
  local suite=$1 directory=$2 variant=$3 packages=$4 archive
  shift 4
  install_packages mmdebstrap:mmdebstrap patchelf:patchelf
  archive=$(debian_archive "${suite}")
  [[ -n "${archive}" ]] || fail "apt has no source for Debian's 'main': add one to /etc/apt/sources.list.d."
  say "unpacking ${packages//,/, } of ${archive} ${suite} ..."
  rm -rf "${directory}" "${directory}.new"
  mkdir -p "${directory}.new"
  mmdebstrap --quiet --mode=root --components=main --variant="${variant}" --include="${packages}" \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' "$@" \
    "${suite}" "${directory}.new" "${archive}" > "${directory}.log" 2>&1 ||
    { tail -n 20 "${directory}.log" >&2; fail "${packages//,/, } could not be unpacked (all of it in ${directory}.log)."; }
  mv "${directory}.new" "${directory}"
}

# use_own_libraries DIRECTORY: makes the programs and libraries that standard input names, each with a zero byte behind,
# use what was unpacked with them in the directory, C library included. Prints how many there were.
use_own_libraries() {
  local release=$1 libraries loader file patched=0
  libraries=$(dirname "$(find "${release}/usr/lib" -maxdepth 2 -name libc.so.6)")
  loader=$(find "${libraries}" -maxdepth 1 -name 'ld-linux*.so.*')
  while IFS= read -r -d '' file; do
    [[ "$(head -c 4 "${file}" | tail -c 3)" == ELF ]] || continue
    if patchelf --print-interpreter "${file}" > /dev/null 2>&1; then
      patchelf --set-interpreter "${loader}" "${file}"
    fi
    patchelf --force-rpath --set-rpath "${libraries}:${release}/usr/lib" "${file}" 2> /dev/null || continue
    patched=$((patched + 1))
  done
  echo "${patched}"
}

# finish_release DIRECTORY NAME PATCHED LEAST COMMAND...: marks as complete what was unpacked, if enough of its files use
# their own libraries and it runs; if not, the next start unpacks it again.
finish_release() {
  local directory=$1 name=$2 patched=$3 least=$4 said
  shift 4
  ((patched >= least)) || fail "only ${patched} programs and libraries of ${name} are in ${directory}."
  said=$("$@" 2>&1) || fail "${name} in ${directory} does not run: ${said##*$'\n'}."
  echo "${said}" > "${directory}/.complete"
}

# The user who submits jobs: HTCondor takes none of root.
make_user() {
  getent passwd "${TESTBED_USER}" > /dev/null ||
    useradd --no-create-home --home-dir "${TESTBED_DIR}/home" --shell /bin/bash "${TESTBED_USER}"
  # the account may have been made by a testbed that is gone, and apptainer wants its home directory
  install -d -o "${TESTBED_USER}" -g "${TESTBED_USER}" -m 755 "$(getent passwd "${TESTBED_USER}" | cut -d: -f6)" \
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
