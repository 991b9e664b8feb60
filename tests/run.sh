#!/usr/bin/env bash
# Everything the tests need, then all checks and tests:  bash tests/run.sh [arguments of pytest]
#
# Without arguments, the tests of batch systems and containers, which mostly wait, run at the same time as all others;
# those have storage servers of their own then.
#
# Exit code 0 only if everything passed and nothing was skipped for want of a program or service.
# The one exception: tests on real events skip where neither ANALYSIS_TEST_DATA nor ../shared/data is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n=== %s\n' "$*"; }

# Installs the Debian packages of the programs that are missing.
programs() {
  local package packages=()
  command -v git > /dev/null || packages+=(git)
  command -v zsh > /dev/null || packages+=(zsh)
  if grep -rqs chromium --include='test_*.py' tests; then
    command -v chromium > /dev/null || packages+=(chromium)
  fi
  if ! uv --version > /dev/null 2>&1; then
    "${ANALYSIS_PYTHON:-python3}" -c 'import ensurepip' 2> /dev/null || packages+=(python3 python3-venv)
  fi
  ((${#packages[@]} > 0)) || { echo "all there"; return; }
  if ((EUID != 0)) || ! command -v apt-get > /dev/null; then
    echo "tests/run.sh: these Debian packages are missing: ${packages[*]}. Install them" \
      "('sudo apt-get install ${packages[*]}') and run it again." >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
}

failed=()
check() {
  step "$*"
  "$@" || failed+=("$1 ${2:-}")
}

step "programs"
programs

step "environment"
# shellcheck source=setup.sh
source setup.sh --dev
echo "${VIRTUAL_ENV}"

arguments=("$@")
is_in_halves() { ((${#arguments[@]} == 0)); }
has_testbed() { ((EUID == 0)) && command -v apt-get > /dev/null; }

ANALYSIS_STORE=$(mktemp -d)  # the tests leave the results of the user alone
started=()  # systems of the testbed that were not running before
batch_tests=""  # process of the tests of batch systems and containers
other=(env "TESTBED_DIR=${TESTBED_DIR:-/opt/analysis-testbed}-2" "TESTBED_STORAGE_PORT=22094")
finish() {
  [[ -z "${batch_tests}" ]] || kill "${batch_tests}" 2> /dev/null || true
  rm -rf "${ANALYSIS_STORE}"
  ((${#started[@]} == 0)) || tests/testbed/down "${started[@]}"
  if is_in_halves && has_testbed; then "${other[@]}" tests/testbed/down storage; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The batch systems, the storage and the containers that tests need; the tests say what is missing where they cannot be had.
testbed() {
  local system
  if ! has_testbed; then
    echo "not on this machine: only for root, on Debian"
    return
  fi
  for system in htcondor slurm storage sandboxes; do
    if ! tests/testbed/status "${system}" > /dev/null; then started+=("${system}"); fi
  done
  tests/testbed/up && tests/testbed/status || return
  if is_in_halves; then "${other[@]}" tests/testbed/up storage; fi
}

# What the tests of batch systems and containers say follows when the others have ended.
both_halves() {
  local said code=0
  said=$(mktemp)
  pytest --no-skips -m batch > "${said}" 2>&1 &
  batch_tests=$!
  "${other[@]}" ANALYSIS_STORE="${ANALYSIS_STORE}-2" pytest --no-skips -m "not batch" || code=$?
  wait "${batch_tests}" || code=$?
  batch_tests=""
  step "pytest -m batch"
  cat "${said}"
  rm -rf "${said}" "${ANALYSIS_STORE}-2"
  return "${code}"
}

check ruff check
check ruff format --check
check mypy
check lint-imports
check testbed
if is_in_halves; then check both_halves; else check pytest --no-skips "$@"; fi

if ((${#failed[@]} > 0)); then
  printf '\ntests/run.sh: failed:'; printf ' [%s]' "${failed[@]}"; echo
  exit 1
fi
