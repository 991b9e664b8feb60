# What the commands of the testbed share. Sourced, with bash, by each of them.
# shellcheck shell=bash
#
# A *system* (htcondor, slurm, storage, sandboxes) is a directory below TESTBED_DIR and a list of *daemons*. A daemon NAME has
#   program_NAME  the name of its executable, for telling it from a process that got its process id later
#   start_NAME    starts it
#   answers_NAME  whether it serves requests
# and a pid file <system>/run/NAME.pid. Nothing is ever stopped by its name alone.
set -euo pipefail
unset CDPATH
umask 022

TESTBED_DIR="${TESTBED_DIR:-/opt/analysis-testbed}"
TESTBED_USER="${TESTBED_USER:-analyst}"
here=$(cd -- "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck disable=SC2034
repository=${here%/tests/testbed}
systems=(htcondor slurm storage sandboxes)

say() { printf 'testbed: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

[[ "${TESTBED_DIR}" == /* ]] || fail "TESTBED_DIR=${TESTBED_DIR} is not an absolute path."

# ---- time

milliseconds() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# wait_for SECONDS COMMAND...: whether the command succeeds before the time is over.
wait_for() {
  local end=$(($(milliseconds) + $1 * 1000))
  shift
  until "$@" > /dev/null 2>&1; do
    (($(milliseconds) < end)) || return 1
    sleep 0.05
  done
}

# ---- one command at a time: started again below a lock, which daemons do not inherit (--close)

lock() {
  [[ -z "${TESTBED_LOCKED:-}" ]] || return 0
  ((EUID == 0)) || fail "only root can start and stop the testbed: use sudo."
  mkdir -p "${TESTBED_DIR}"
  TESTBED_LOCKED=1 exec flock --close "${TESTBED_DIR}/.lock" "$0" "$@"
}

# ---- processes

# process_of SYSTEM NAME: the id of a living daemon of ours, by its pid file.
process_of() {
  local pid command program
  { read -r pid < "${TESTBED_DIR}/$1/run/$2.pid"; } 2> /dev/null || [[ -n "${pid:-}" ]] || return 1
  [[ "${pid}" =~ ^[0-9]+$ ]] || return 1
  command=$({ tr '\0' ' ' < "/proc/${pid}/cmdline"; } 2> /dev/null) || return 1
  program=${command%% *}
  [[ "${program##*/}" == "$("program_$2")" && "${command}" == *"${TESTBED_DIR}/$1/"* ]] || return 1
  echo "${pid}"
}

gone() { [[ ! -e "/proc/$1" ]] || grep -qs '^State:.Z' "/proc/$1/status"; }
all_gone() { local pid; for pid in "$@"; do gone "${pid}" || return 1; done; }

# Prints the process ids given, and those of all their descendants.
with_descendants() {
  local stat pid parent rest grown=1
  local -A wanted=()
  local -a pairs=()
  for pid in "$@"; do wanted["${pid}"]=1; done
  for stat in /proc/[0-9]*/stat; do
    { read -r rest < "${stat}"; } 2> /dev/null || continue
    pid=${rest%% *} rest=${rest##*) }
    read -r _ parent _ <<< "${rest}"
    pairs+=("${parent} ${pid}")
  done
  while ((grown)); do
    grown=0
    for rest in "${pairs[@]}"; do
      parent=${rest% *} pid=${rest#* }
      [[ -n "${wanted[${parent}]:-}" && -z "${wanted[${pid}]:-}" ]] || continue
      wanted["${pid}"]=1 grown=1
    done
  done
  ((${#wanted[@]} == 0)) || printf '%s\n' "${!wanted[@]}"
}

# stop_processes SIGNAL PID...: and KILL for those that are there 20 s later.
stop_processes() {
  local signal=$1
  shift
  (($# > 0)) || return 0
  kill "-${signal}" "$@" 2> /dev/null || true
  wait_for 20 all_gone "$@" && return
  kill -KILL "$@" 2> /dev/null || true
  wait_for 10 all_gone "$@" || fail "processes $* do not end."
}

# ---- daemons

daemon_is_up() { process_of "$1" "$2" > /dev/null && "answers_$2" > /dev/null 2>&1; }

# Starts a daemon that is not there, replaces one that does not answer. Sets "started" if it did anything.
ensure() {
  local system=$1 name=$2 pid
  daemon_is_up "${system}" "${name}" && return
  started+=("${name}")
  if pid=$(process_of "${system}" "${name}"); then
    wait_for 15 daemon_is_up "${system}" "${name}" && return
    stop_processes KILL "${pid}"
  fi
  "start_${name}"
  wait_for 40 daemon_is_up "${system}" "${name}" || give_up "${system}" "${name} does not answer"
}

# stop SYSTEM NAME SIGNAL
stop() {
  local pid
  if pid=$(process_of "$1" "$2"); then stop_processes "$3" "${pid}"; fi
}

give_up() {
  local file
  for file in "${TESTBED_DIR}/$1"/log/*; do
    [[ -f "${file}" && -s "${file}" ]] || continue
    printf -- '---- %s\n' "${file}" >&2
    tail -n 8 "${file}" >&2
  done
  fail "$1: $2 (last lines of its logs above)."
}

# shellcheck source=tests/testbed/install.sh
source "${here}/install.sh"
# shellcheck source=tests/testbed/htcondor.sh
source "${here}/htcondor.sh"
# shellcheck source=tests/testbed/slurm.sh
source "${here}/slurm.sh"
# shellcheck source=tests/testbed/storage.sh
source "${here}/storage.sh"
# shellcheck source=tests/testbed/sandboxes.sh
source "${here}/sandboxes.sh"

# The system of a daemon, or nothing.
system_of() {
  local system daemon
  for system in "${systems[@]}"; do
    for daemon in $("daemons_${system}"); do [[ "${daemon}" != "$1" ]] || { echo "${system}"; return; }; done
  done
}

check_names() {
  local name
  for name in "$@"; do
    [[ " ${systems[*]} " == *" ${name} "* || -n "$(system_of "${name}")" ]] || fail "no system or daemon '${name}':" \
      "there are htcondor ($(daemons_htcondor)), slurm ($(daemons_slurm)), storage ($(daemons_storage)) and" \
      "sandboxes ($(daemons_sandboxes))."
  done
}
