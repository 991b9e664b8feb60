# The HTCondor pool: Debian trixie's package, moved to a directory, with daemons of user "condor".
# shellcheck shell=bash

htcondor="${TESTBED_DIR}/htcondor"
htcondor_port="${TESTBED_HTCONDOR_PORT:-9728}"
htcondor_suite=trixie

daemons_htcondor() { echo master collector negotiator startd schedd; }

program_master() { echo condor_master; }
program_collector() { echo condor_collector; }
program_negotiator() { echo condor_negotiator; }
program_startd() { echo condor_startd; }
program_schedd() { echo condor_schedd; }

condor_tool() { timeout 20 "${htcondor}/bin/$@"; }
advertised() { condor_tool condor_status "$@" -af Name | grep -q .; }
answers_master() { advertised -master; }
answers_collector() { condor_tool condor_status -any -limit 1; }
answers_negotiator() { advertised -negotiator; }
answers_startd() { advertised; }
answers_schedd() { advertised -schedd && condor_tool condor_q -limit 1; }

# Unpacks the package with all that it needs, C library included, and points its programs to these libraries: they run
# as they are, and no package of this machine changes.
install_htcondor() {
  local release="${htcondor}/release" patched
  [[ ! -f "${release}/.complete" ]] || return 0
  bootstrap_debian "${htcondor_suite}" "${release}" extract minicondor
  patched=$(use_own_libraries "${release}" < <(find "${release}"/usr/bin/{condor_,classad}* \
    "${release}"/usr/sbin/condor_* "${release}/usr/libexec/condor" "${release}"/usr/lib/lib{condor,classad}* \
    -type f -print0 2> /dev/null))
  finish_release "${release}" HTCondor "${patched}" 51 "${release}/usr/bin/condor_version"
}

# Returns 1 if nothing changed.
configure_htcondor() {
  local part
  getent passwd condor > /dev/null ||
    useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin condor
  for part in log spool execute lock run; do install -d -o condor -g condor -m 755 "${htcondor}/${part}"; done
  install -d -m 755 "${htcondor}"/{credentials,etc}
  render condor_config "${htcondor}/etc/condor_config" "$(extra_htcondor)" \
    "IDS=$(id -u condor).$(id -g condor)" "PORT=${htcondor_port}" "CPUS=${testbed_cpus}" "MEMORY=${testbed_memory}" ||
    return 1
  wrappers "CONDOR_CONFIG=${htcondor}/etc/condor_config" "${htcondor}/bin" "${htcondor}"/release/usr/bin/condor_* \
    "${htcondor}"/release/usr/sbin/condor_{on,off,reconfig,restart,set_shutdown}
}

start_master() {
  leftovers_htcondor
  env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "CONDOR_CONFIG=${htcondor}/etc/condor_config" \
    "${htcondor}/release/usr/sbin/condor_master" -pidfile "${htcondor}/run/master.pid" > /dev/null 2>&1 < /dev/null
}

# The master starts the others by itself, unless they were switched off; to be told is no harm.
start_by_master() { condor_tool condor_on -daemon "$1" > /dev/null 2>&1 || true; }
start_collector() { start_by_master collector; }
start_negotiator() { start_by_master negotiator; }
start_startd() { start_by_master startd; }
start_schedd() { start_by_master schedd; }

# Switches a daemon off, so that the master does not start it again; KILL is a crash, after which the master does.
stop_htcondor_daemon() {
  local pid
  pid=$(process_of htcondor "$1") || return 0
  if [[ "$1" == master || "$2" == KILL ]]; then
    [[ "$2" == KILL ]] || set -- "$1" QUIT
    stop_processes "$2" "${pid}"
  else
    condor_tool condor_off -fast -daemon "$1" > /dev/null
    wait_for 30 gone "${pid}" || fail "$1 does not end."
  fi
}

# Ends what a dead master left behind.
leftovers_htcondor() {
  local link pids=()
  for link in /proc/[0-9]*/exe; do
    [[ "$(readlink "${link}" 2> /dev/null)" != "${htcondor}/release/"* ]] || pids+=("${link//[!0-9]/}")
  done
  ((${#pids[@]} == 0)) || mapfile -t pids < <(with_descendants "${pids[@]}")
  stop_processes KILL "${pids[@]}"
}

before_htcondor_stops() { :; }  # it puts running jobs back itself
ready_htcondor() { :; }
extra_htcondor() { echo "${htcondor}/etc/extra"; }
reconfigure_htcondor() { condor_tool condor_reconfig > /dev/null; }
