#!/usr/bin/env bash
# Starts a batch job: finds the store, the repository, the sandbox and Python, and hands over to the worker.
#
#   job.sh BRANCH:DIGEST,BRANCH:DIGEST,...
#
# Nothing is taken for granted but a shell with the usual tools; the environment says the rest:
#   ANALYSIS_STORE           a directory where results are kept
#   ANALYSIS_JOB_STORES      "remote": they are kept on servers, and that directory is not needed; default: local
#   ANALYSIS_JOB_BUNDLES     where bundles are if they were not sent: a directory, or URLs of the same folder on servers,
#                            with spaces in between; default: $ANALYSIS_STORE/.bundles
#   ANALYSIS_JOB_PATIENCE    how long servers are asked for a bundle [s]; default: 300
#   ANALYSIS_JOB_SPEC        description of the job: a file
#   ANALYSIS_JOB_REPOSITORY  a directory, or a bundle  repository-HASH.tar.gz
#   ANALYSIS_JOB_SANDBOX     directory of a Python environment, or a bundle  sandbox-HASH-pyX.Y.tar.gz; or nothing
#   ANALYSIS_JOB_PYTHON      the Python to use; default: that of the environment, or pythonX.Y of the PATH
#   ANALYSIS_WORKER_CACHE    where unpacked sandboxes stay for later jobs of this machine; default: nowhere
#   ANALYSIS_JOB_SECRET_X509_USER_PROXY, ANALYSIS_JOB_SECRET_BEARER_TOKEN_FILE
#                            content of these files in base64, where no file can be sent
# A file is looked for where its path says, then by its name in the working directory, then where bundles are.
#
# Exit codes: those of the worker (0 all branches are done, 1 not all), and
#   80 no Python   81 repository   82 sandbox   83 description   84 scratch directory   85 store
set -uo pipefail
unset CDPATH PYTHONHOME
case "$(declare -p PATH)" in
  "declare -x "*) ;;
  *) export PATH=/usr/local/bin:/usr/bin:/bin ;;  # bash has one of its own, with the working directory in it
esac
export ANALYSIS_JOB_STARTED="${EPOCHSECONDS:-$(date +%s)}"

fail() {
  local code=$1
  shift
  printf 'job on %s: %s\n' "$(uname -n)" "$*" >&2
  exit "${code}"
}

# Prints the path of a file.
find_file() {
  local path
  for path in "$1" "${PWD}/${1##*/}" "${ANALYSIS_JOB_BUNDLES:-${ANALYSIS_STORE:-}/.bundles}/${1##*/}" \
    "${scratch:-}/${1##*/}"; do
    if [[ "${path}" == /* && -f "${path}" && -r "${path}" ]]; then
      printf '%s' "${path}"
      return
    fi
  done
  return 1
}

make_scratch() {
  local place
  for place in "${_CONDOR_SCRATCH_DIR:-}" "${SLURM_TMPDIR:-}" "${TMPDIR:-}" /tmp; do
    [[ -n "${place}" ]] || continue
    # a short name: the path of a socket has 107 characters at most
    if scratch=$(mktemp -d "${place}/job.XXXXXX" 2> /dev/null) && mkdir "${scratch}/law" 2> /dev/null; then
      trap 'rm -rf "${scratch}"' EXIT
      return
    fi
  done
  fail 84 "no scratch directory can be made, the last one tried was ${place}: is its disk full?"
}

# Unpacks a bundle ($1) into a directory ($2) that is there whole or not at all; reports a failure with a code ($3).
unpack() {
  local part
  [[ ! -d "$2" ]] || return 0  # by an earlier job, or one that runs at the same time
  part="$2.$$.part"
  if ! { mkdir -p "${part}" && touch "${part}/.writable"; } 2> /dev/null; then
    fail 84 "${2%/*} cannot be written"
  fi
  if ! tar -xzf "$1" -C "${part}" 2> "${scratch}/tar.txt"; then
    rm -rf "${part}"
    gzip -t "$1" 2> /dev/null || fail "$3" "the bundle $1 is damaged: submit again"
    fail 84 "the bundle $1 could not be unpacked into ${2%/*}: $(head -n 1 "${scratch}/tar.txt")"
  fi
  rm -f "${part}/.writable"
  mv -T "${part}" "$2" 2> /dev/null || rm -rf "${part}"
  [[ -d "$2" ]] || fail 84 "${2%/*} cannot be written"
}

# Fetches a bundle ($1) from servers, unless it is here: each client and each server in turn, for some minutes.
bring() {
  local name=${1##*/} end pause=2 url said="" last=""
  [[ "${ANALYSIS_JOB_BUNDLES:-}" == *://* ]] && ! find_file "$1" > /dev/null || return 0
  end=$((SECONDS + ${ANALYSIS_JOB_PATIENCE:-300}))
  while true; do
    for url in ${ANALYSIS_JOB_BUNDLES}; do
      said=$(fetch "${url}/${name}" "${scratch}/.${name}" 2>&1) && {
        mv "${scratch}/.${name}" "${scratch}/${name}"
        return
      }
      rm -f "${scratch}/.${name}"
      last="${url}/${name}: $(head -n 1 <<< "${said:-no answer}" | cut -c 1-300)"
    done
    ((SECONDS < end)) || fail 85 "a bundle of the job cannot be fetched from the store, ${last}"
    sleep "$((1 + pause / 2 + RANDOM % pause))"  # thousands of jobs do not come back at the same moment
    pause=$((pause < 32 ? 2 * pause : 32))
  done
}

# Copies a URL ($1) to a file ($2) with the first client that works; what arrives is verified.
fetch() {
  local client clients="gfal-copy" any=""
  [[ "${X509_CERT_DIR:-/}" == /* ]] || unset X509_CERT_DIR  # it is in the repository, which may be still to come
  case "$1" in
    root://* | roots://* | xroot://* | xroots://*) clients="xrdcp gfal-copy" ;;
    davs://* | dav://* | https://* | http://* | file://*) clients="curl gfal-copy davix-get" ;;
  esac
  for client in ${clients}; do
    type -P "${client}" > /dev/null || continue
    any=${client}
    "fetch_${client//-/_}" "$1" "$2" < /dev/null || continue
    if is_whole "$2"; then return; fi
    echo "what ${client} brought is damaged"
  done
  [[ -n "${any}" ]] || echo "there is none of ${clients// /, } on this machine"
  return 1
}

is_whole() {
  local hash=${2:-${1##*/}}
  gzip -t "$1" 2> /dev/null || return 1
  [[ "${hash}" == .repository-* ]] || return 0
  hash=${hash##*-} hash=${hash%.tar.gz}
  [[ "$(gzip -dc "$1" 2> /dev/null | sha256sum)" == "${hash}"* ]]
}

fetch_xrdcp() {
  timeout 600 xrdcp --force --nopbar --silent "$1" "$2"
}

# gfal2 takes a token from a variable only
fetch_gfal_copy() {
  (
    [[ ! -r "${BEARER_TOKEN_FILE:-}" ]] || BEARER_TOKEN=$(< "${BEARER_TOKEN_FILE}")
    export BEARER_TOKEN
    timeout 600 gfal-copy --force --timeout 600 "$1" "file://$2"
  )
}

# With the token if there is one, else or if that is refused with the proxy; neither is ever among the arguments.
fetch_curl() {
  local url=${1/#dav/http} header="${scratch}/header" authorities=${X509_CERT_DIR:-/etc/grid-security/certificates}
  local options=(--silent --show-error --fail --location --connect-timeout 30 --speed-time 60 --speed-limit 1000)
  [[ ! -d "${authorities}" ]] || options+=(--capath "${authorities}")
  if [[ -r "${BEARER_TOKEN_FILE:-}" ]]; then
    (umask 077 && printf 'Authorization: Bearer %s\n' "$(< "${BEARER_TOKEN_FILE}")" > "${header}") || return 1
    curl "${options[@]}" --header "@${header}" --output "$2" "${url}" && rm -f "${header}" && return
    rm -f "${header}"
    [[ -r "${X509_USER_PROXY:-}" ]] || return 1
  fi
  if [[ -r "${X509_USER_PROXY:-}" ]]; then
    options+=(--cert "${X509_USER_PROXY}" --key "${X509_USER_PROXY}")
  fi
  curl "${options[@]}" --output "$2" "${url}"
}

fetch_davix_get() {
  local options=() url=${1/#dav/http}
  [[ ! -r "${X509_USER_PROXY:-}" ]] || options+=(-P grid)
  timeout 600 davix-get "${options[@]}" "${url}" "$2"
}

find_repository() {
  local wanted=${ANALYSIS_JOB_REPOSITORY:-} file hash
  [[ -n "${wanted}" ]] || fail 81 "ANALYSIS_JOB_REPOSITORY is not set"
  repository=${wanted}
  if [[ "${wanted}" == *.tar.gz ]]; then
    bring "${wanted}"
    file=$(find_file "${wanted}") || fail 81 "the repository ${wanted} is not on this machine"
    hash=${file##*-} hash=${hash%.tar.gz}
    [[ "$(gzip -dc "${file}" 2> /dev/null | sha256sum)" == "${hash}"* ]] ||
      fail 81 "the bundle ${file} is damaged: submit again"
    repository="${scratch}/repository"
    unpack "${file}" "${repository}" 81
  fi
  [[ -r "${repository}/analysis/__init__.py" ]] || fail 81 "the repository ${repository} is not on this machine"
}

find_sandbox() {
  local wanted=${ANALYSIS_JOB_SANDBOX:-} file version candidate
  python=${ANALYSIS_JOB_PYTHON:-}
  packages=""
  if [[ "${wanted}" == *.tar.gz ]]; then
    version=${wanted##*-py} version=${version%.tar.gz}
    packages="${ANALYSIS_WORKER_CACHE:-${scratch}}/${wanted##*/}"
    packages="${packages%.tar.gz}"
    if [[ ! -d "${packages}" ]]; then
      bring "${wanted}"
      file=$(find_file "${wanted}") || fail 82 "the sandbox ${wanted} is not on this machine"
      unpack "${file}" "${packages}" 82
      [[ "${file}" != "${scratch}"/* ]] || rm -f "${file}"
    fi
    for candidate in "${python}" "$(type -P "python${version}")"; do
      [[ "$(version_of "${candidate}")" == "${version}" ]] || continue
      python=${candidate}
      return
    done
    fail 80 "there is no Python ${version} on this machine, as ${python:+${python} or }python${version}"
  elif [[ -n "${wanted}" ]]; then
    [[ -d "${wanted}" ]] || fail 82 "the sandbox ${wanted} is not on this machine"
    PATH="${wanted}/bin:${PATH}"
    export VIRTUAL_ENV="${wanted}"
    python=${python:-${wanted}/bin/python}
  fi
  [[ -n "${python}" ]] || python=$(type -P python3)
  [[ -x "${python}" && ! -d "${python}" ]] || fail 80 "the Python ${python:-python3} is not on this machine"
}

# Puts each secret that came in a variable into a file of this user, and has variables name files by whole paths.
bring_credentials() {
  local name secret file
  for name in X509_USER_PROXY BEARER_TOKEN_FILE; do
    secret="ANALYSIS_JOB_SECRET_${name}"
    if [[ -n "${!secret:-}" ]]; then
      file="${scratch}/${name,,}"
      (umask 077 && base64 -d <<< "${!secret}" > "${file}") || fail 84 "${file} cannot be written"
      export "${name}=${file}"
    elif [[ -n "${!name:-}" && "${!name}" != /* ]]; then
      chmod 600 "${!name}" 2> /dev/null  # of our own, as file transfer may not have kept it
      export "${name}=${PWD}/${!name}"
    fi
    unset "${secret}"
  done
}

# Has the certificates of authorities be those of this machine if what the submitting side uses is not here.
find_authorities() {
  local name
  for name in X509_CERT_DIR SSL_CERT_DIR SSL_CERT_FILE; do
    [[ -n "${!name:-}" ]] || continue
    if [[ "${!name}" != /* ]]; then
      [[ -n "${repository:-}" ]] || continue
      export "${name}=${repository}/${!name}"
    fi
    [[ -r "${!name}" ]] || unset "${name}"
  done
}

# Version X.Y of a Python; nothing if it does not start.
version_of() {
  [[ -z "$1" ]] || "$1" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null
}

[[ "${ANALYSIS_JOB_STORES:-local}" == remote || (-d "${ANALYSIS_STORE:-}" && -x "${ANALYSIS_STORE}") ]] ||
  fail 85 "the store ${ANALYSIS_STORE:-(ANALYSIS_STORE is not set)} is not on this machine"
make_scratch
spec=$(find_file "${ANALYSIS_JOB_SPEC:-spec.json}") ||
  fail 83 "the description of the job, ${ANALYSIS_JOB_SPEC:-spec.json}, is not on this machine"
bring_credentials
find_authorities
find_repository
find_authorities
find_sandbox

export ANALYSIS_JOB_SPEC="${spec}"
export ANALYSIS_JOB_SCRATCH="${scratch}"
export ANALYSIS_BASE="${repository}"
export PYTHONPATH="${repository}${packages:+:${packages}}"
export PYTHONNOUSERSITE=1
export LAW_HOME="${scratch}/law"
export LAW_CONFIG_FILE="${repository}/law.cfg"
export HOME="${HOME:-${scratch}}"
export TMPDIR="${scratch}"

trap - EXIT  # the worker removes the scratch directory
exec "${python}" -P -m analysis.engine.backends.worker "$@"
