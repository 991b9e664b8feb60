#!/usr/bin/env bash
# Starts a batch job: finds the store, the repository, the sandbox and Python, and hands over to the worker.
#
#   job.sh BRANCH:DIGEST,BRANCH:DIGEST,...
#
# Nothing is taken for granted but a shell with the usual tools; the environment says the rest:
#   ANALYSIS_STORE           where results are kept
#   ANALYSIS_JOB_SPEC        description of the job: a file
#   ANALYSIS_JOB_REPOSITORY  a directory, or a bundle  repository-HASH.tar.gz
#   ANALYSIS_JOB_SANDBOX     directory of a Python environment, or a bundle  sandbox-HASH-pyX.Y.tar.gz; or nothing
#   ANALYSIS_JOB_PYTHON      the Python to use; default: that of the environment, or pythonX.Y of the PATH
#   ANALYSIS_WORKER_CACHE    where unpacked sandboxes stay for later jobs of this machine; default: nowhere
#   ANALYSIS_JOB_SECRET_X509_USER_PROXY, ANALYSIS_JOB_SECRET_BEARER_TOKEN_FILE
#                            content of these files in base64, where no file can be sent
# A file is looked for where its path says, then by its name in the working directory and in $ANALYSIS_STORE/.bundles.
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
  for path in "$1" "${PWD}/${1##*/}" "${ANALYSIS_STORE}/.bundles/${1##*/}"; do
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

find_repository() {
  local wanted=${ANALYSIS_JOB_REPOSITORY:-} file hash
  [[ -n "${wanted}" ]] || fail 81 "ANALYSIS_JOB_REPOSITORY is not set"
  repository=${wanted}
  if [[ "${wanted}" == *.tar.gz ]]; then
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
    file=$(find_file "${wanted}") || fail 82 "the sandbox ${wanted} is not on this machine"
    version=${file##*-py} version=${version%.tar.gz}
    packages="${ANALYSIS_WORKER_CACHE:-${scratch}}/${file##*/}"
    packages="${packages%.tar.gz}"
    unpack "${file}" "${packages}" 82
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
    [[ "${!name}" == /* ]] || export "${name}=${repository}/${!name}"
    [[ -r "${!name}" ]] || unset "${name}"
  done
}

# Version X.Y of a Python; nothing if it does not start.
version_of() {
  [[ -z "$1" ]] || "$1" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null
}

[[ -d "${ANALYSIS_STORE:-}" && -x "${ANALYSIS_STORE}" ]] ||
  fail 85 "the store ${ANALYSIS_STORE:-(ANALYSIS_STORE is not set)} is not on this machine"
make_scratch
spec=$(find_file "${ANALYSIS_JOB_SPEC:-spec.json}") ||
  fail 83 "the description of the job, ${ANALYSIS_JOB_SPEC:-spec.json}, is not on this machine"
find_repository
find_sandbox
bring_credentials
find_authorities

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
