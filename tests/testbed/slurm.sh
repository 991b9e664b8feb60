# The Slurm cluster: Debian's packages, with a munge, a database and accounting of its own.
# shellcheck shell=bash

slurm="${TESTBED_DIR}/slurm"
slurm_port="${TESTBED_SLURM_PORT:-27817}"  # and the three that follow
testbed_cpus=4
testbed_memory=8192

daemons_slurm() { echo munged mariadbd slurmdbd slurmctld slurmd; }

program_munged() { echo munged; }
program_mariadbd() { echo mariadbd; }
program_slurmdbd() { echo slurmdbd; }
program_slurmctld() { echo slurmctld; }
program_slurmd() { echo slurmd; }

slurm_tool() { timeout 20 "${slurm}/bin/$@"; }
listens() { (: < "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
answers_munged() { munge --socket="${slurm}/munge/socket" --no-input; }
answers_mariadbd() { listens $((slurm_port + 3)); }
answers_slurmdbd() { slurm_tool sacctmgr --noheader show cluster; }
answers_slurmctld() { slurm_tool scontrol ping | grep -q ' UP'; }
answers_slurmd() { slurm_tool sinfo --noheader --format=%T | grep -qE '^(idle|mixed|allocated|completing)$'; }

install_slurm() {
  install_packages munged:munge slurmctld:slurmctld slurmd:slurmd sbatch:slurm-client slurmdbd:slurmdbd \
    mariadbd:mariadb-server-core mariadb:mariadb-client-core \
    '/usr/lib/*/slurm-wlm/accounting_storage_mysql.so:slurm-wlm-mysql-plugin'
}

# Returns 1 if nothing changed.
configure_slurm() {
  local name changed=1 host ports
  host=$(uname -n)
  host=${host%%.*}
  ports=("PORT=${slurm_port}" "PORT1=$((slurm_port + 1))" "PORT2=$((slurm_port + 2))" "PORT3=$((slurm_port + 3))")
  install -d -m 755 "${slurm}"/{etc,sbin}
  for name in log run state spool db; do install -d -o slurm -g slurm -m 755 "${slurm}/${name}"; done
  install -d -o munge -g munge -m 755 "${slurm}/munge"  # munged refuses directories of others
  ln -sfn ../munge/munged.pid "${slurm}/run/munged.pid"
  for name in $(daemons_slurm); do ln -sfn "$(PATH="${PATH}:/usr/sbin" command -v "${name}")" "${slurm}/sbin/${name}"; done
  for name in slurm.conf slurmdbd.conf cgroup.conf database.sql; do
    render "${name}" "${slurm}/etc/${name}" "${slurm}/etc/extra.${name}" "HOST=${host}" "${ports[@]}" \
      "CPUS=${testbed_cpus}" "MEMORY=${testbed_memory}" && changed=0
  done
  chown slurm:slurm "${slurm}/etc/slurmdbd.conf"
  chmod 600 "${slurm}/etc/slurmdbd.conf"
  ((changed == 0)) || return 1
  wrappers "SLURM_CONF=${slurm}/etc/slurm.conf" "${slurm}/bin" \
    /usr/bin/{sbatch,squeue,scancel,sacct,sacctmgr,scontrol,sinfo,srun,salloc,sstat,sdiag,sprio,sreport}
  # Slurm takes no address, not even 127.0.0.1, from a machine that has nothing but the loopback
  [[ -n "$(hostname -I | tr -d ' ')" ]] || ip address add 10.255.255.1/32 dev lo ||
    fail "Slurm needs an address other than 127.0.0.1, and none could be added to 'lo'."
}

# run_clean COMMAND...: with nothing of the caller's environment, which jobs would inherit.
run_clean() {
  env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "SLURM_CONF=${slurm}/etc/slurm.conf" "$@" < /dev/null
}

start_munged() {
  local own="${slurm}/munge"
  [[ -s "${own}/key" ]] || {
    (umask 077 && head -c 128 /dev/urandom > "${own}/key.new")
    chown munge:munge "${own}/key.new" && mv "${own}/key.new" "${own}/key"
  }
  rm -f "${own}"/socket{,.lock}
  run_clean setpriv --reuid munge --regid munge --clear-groups "${slurm}/sbin/munged" --key-file="${own}/key" \
    --socket="${own}/socket" --pid-file="${own}/munged.pid" --log-file="${own}/munged.log" --seed-file="${own}/seed"
}

start_mariadbd() {
  [[ -d "${slurm}/db/mysql" ]] ||
    mariadb-install-db --no-defaults --user=slurm --datadir="${slurm}/db" --auth-root-authentication-method=normal \
      --skip-test-db > "${slurm}/log/mariadb-install.log" 2>&1 || give_up slurm "the database could not be made"
  run_clean setsid "${slurm}/sbin/mariadbd" --no-defaults --user=slurm --datadir="${slurm}/db" \
    --socket="${slurm}/run/mariadbd.socket" --pid-file="${slurm}/run/mariadbd.pid" \
    --bind-address=127.0.0.1 --port=$((slurm_port + 3)) --init-file="${slurm}/etc/database.sql" \
    --innodb-buffer-pool-size=128M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2 \
    > "${slurm}/log/mariadbd.log" 2>&1 &
}

start_slurmdbd() { run_clean "${slurm}/sbin/slurmdbd"; }

# Without an association Slurm takes no job of a user, hence these are made first.
start_slurmctld() {
  if daemon_is_up slurm slurmdbd; then make_accounts; fi
  run_clean "${slurm}/sbin/slurmctld" -f "${slurm}/etc/slurm.conf"
}

start_slurmd() { run_clean "${slurm}/sbin/slurmd" -f "${slurm}/etc/slurm.conf"; }

make_accounts() {
  local sacctmgr=(slurm_tool sacctmgr --immediate --quiet)
  [[ -z "$("${sacctmgr[@]}" --noheader show association user="${TESTBED_USER}" format=user)" ]] || return 0
  {
    [[ -n "$("${sacctmgr[@]}" --noheader show cluster testbed)" ]] || "${sacctmgr[@]}" add cluster testbed
    [[ -n "$("${sacctmgr[@]}" --noheader show qos tiny)" ]] || "${sacctmgr[@]}" add qos tiny MaxSubmitJobsPerUser=5
    [[ -n "$("${sacctmgr[@]}" --noheader show account physics)" ]] ||
      "${sacctmgr[@]}" add account physics Description=testbed Organization=testbed
    "${sacctmgr[@]}" add user "${TESTBED_USER}" Account=physics QOS=normal,tiny DefaultQOS=normal
  } > "${slurm}/log/accounts.log" 2>&1 || give_up slurm "the accounts could not be made"
}

stop_slurm_daemon() { stop slurm "$@"; }

# Jobs outlive slurmd. Their supervisors have no pid file, but slurmd's working directory.
leftovers_slurm() {
  local link pids=()
  for link in /proc/[0-9]*/exe; do
    [[ "$(readlink "${link}" 2> /dev/null)" == */slurmstepd* ]] || continue
    [[ "$(readlink "${link%exe}cwd" 2> /dev/null)" != "${slurm}/"* ]] || pids+=("${link//[!0-9]/}")
  done
  ((${#pids[@]} == 0)) || mapfile -t pids < <(with_descendants "${pids[@]}")
  stop_processes KILL "${pids[@]}"
}

# Before the cluster stops, its running jobs go back into the queue: if slurmctld learnt later that they are gone, it
# would believe for minutes that they run.
before_slurm_stops() {
  local job jobs
  daemon_is_up slurm slurmctld && daemon_is_up slurm slurmd || return 0
  mapfile -t jobs < <(slurm_tool squeue --noheader --array --states=running,suspended --format=%A)
  for job in "${jobs[@]}"; do
    slurm_tool scontrol requeue "${job}" > /dev/null 2>&1 || slurm_tool scancel "${job}" > /dev/null 2>&1 || true
  done
  ((${#jobs[@]} == 0)) || wait_for 20 nothing_runs || say "some jobs of slurm do not end: they are killed."
}
nothing_runs() { [[ -z "$(slurm_tool squeue --noheader --states=running,suspended,completing)" ]]; }

in_accounting() { slurm_tool sacct --noheader --allocations --jobs "$1" --format=State | grep -q COMPLETED; }

# A job that ends before slurmctld is connected to slurmdbd is in neither's answer for seconds: one job goes ahead.
ready_slurm() {
  local job
  job=$(cd / && slurm_tool sbatch --parsable --mem=10 --time=1 --job-name=testbed-ready --output=/dev/null --wrap=true) ||
    give_up slurm "no job is taken"
  wait_for 60 in_accounting "${job}" || give_up slurm "a first job does not come into the accounting"
}

extra_slurm() { echo "${slurm}/etc/extra.slurm.conf"; }
reconfigure_slurm() { slurm_tool scontrol reconfigure; }
