# The storage servers: XRootD 6, each a daemon of its own of user "xrootd"; the clients are those of the machine's Debian.
# shellcheck shell=bash disable=SC2154

storage="${TESTBED_DIR}/storage"
# XRootD before 5.9.2 hangs or crashes when https:// asks for the checksums of small files, once in some hundred of them:
# https://github.com/xrootd/xrootd/issues/2602
storage_suite=forky
storage_port="${TESTBED_STORAGE_PORT:-12094}"  # root:// of the first server; https:// is the next one, and so on

daemons_storage() { echo xrd-open xrd-open2 xrd-auth xrd-readonly xrd-slow xrd-cache xrd-cache-slow xrd-full; }

# port_of SERVER: that of root://; the one of https:// follows.
port_of() {
  local port=${storage_port} server
  for server in $(daemons_storage); do
    [[ "${server}" != "$1" ]] || { echo "${port}"; return; }
    port=$((port + 2))
  done
}

# An XRootD server answers the 20 bytes of a client's greeting with 16 bytes.
greets() {
  local connection
  exec {connection}<> "/dev/tcp/127.0.0.1/$1" || return 1
  printf '%b' '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\04\0\0\07\0334' >&"${connection}"
  (($(timeout 3 head -c 16 <&"${connection}" | wc -c) == 16))
}

for server in $(daemons_storage); do
  eval "program_${server}() { echo xrootd; }
    answers_${server}() { (greets $(port_of "${server}")) 2> /dev/null; }
    start_${server}() { start_server ${server}; }"
done
unset server

install_storage() {
  install_servers
  install_packages '/usr/lib/*/libXrdSecgsi-5.so:xrootd-plugins' \
    xrdcp:xrootd-client davix-get:davix gfal-copy:gfal2-util-scripts openssl:openssl \
    '/usr/lib/*/gfal2-plugins/libgfal_plugin_file.so:gfal2-plugin-file' \
    '/usr/lib/*/gfal2-plugins/libgfal_plugin_xrootd.so:gfal2-plugin-xrootd' \
    '/usr/lib/*/gfal2-plugins/libgfal_plugin_http.so:gfal2-plugin-http' \
    '/usr/lib/python3/dist-packages/gfal2.*.so:python3-gfal2' \
    '/usr/lib/python3/dist-packages/cryptography:python3-cryptography' '/usr/lib/python3/dist-packages/jwt:python3-jwt'
}

# As HTCondor, they are unpacked with all that they need.
install_servers() {
  local release="${storage}/release" patched
  [[ ! -f "${release}/.complete" ]] || return 0
  bootstrap_debian "${storage_suite}" "${release}" extract xrootd-server,xrootd-scitokens-plugins
  patched=$(use_own_libraries "${release}" < <(find "${release}/usr/bin/xrootd" "${release}"/usr/lib/*/libXrd* \
    -type f -print0))
  finish_release "${release}" XRootD "${patched}" 41 "${release}/usr/bin/xrootd" -v
}

# Returns 1 if nothing changed.
configure_storage() {
  local name changed=1 server renewed ports=()
  getent passwd xrootd > /dev/null ||
    useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin xrootd
  install -d -m 755 "${storage}"/{data,etc,python}
  install -d -o xrootd -g xrootd -m 755 "${storage}/run"
  install -d -o xrootd -g xrootd -m 750 "${storage}/log"  # it has the tokens that clients send
  for server in $(daemons_storage); do
    install -d -o xrootd -g xrootd -m 755 "${storage}/data/${server}"/{,store}
    ports+=("${server}=$(port_of "${server}")" "${server}+=$(($(port_of "${server}") + 1))")
  done
  for name in xrootd.cfg scitokens.cfg authdb grid-mapfile; do
    render "${name}" "${storage}/etc/${name}" "${storage}/etc/extra.${name}" "${ports[@]}" && changed=0
  done
  make_clients
  renewed=$(/usr/bin/python3 "${here}/credentials.py" "${storage}" prepare xrootd root "${TESTBED_USER}") ||
    fail "certificates and tokens could not be made."
  [[ -z "${renewed}" ]] || changed=0
  return "${changed}"
}

# What clients need: settings of gfal2, and a directory for PYTHONPATH that holds its module and nothing else.
make_clients() {
  mkdir -p "${storage}/gfal2.d"
  cp -r /etc/gfal2.d/. "${storage}/gfal2.d"
  # no search for a token before each request; an outage is noticed within half a minute
  sed -i 's/^\(RETRIEVE_BEARER_TOKEN\)=.*/\1=false/' "${storage}/gfal2.d/http_plugin.conf"
  sed -i 's/^\(NAMESPACE_TIMEOUT\)=.*/\1=30/' "${storage}/gfal2.d/gfal2_core.conf"
  ln -sf /usr/lib/python3/dist-packages/gfal2.*.so "${storage}/python"
}

start_server() {
  local log="${storage}/log/$1.log" keeper
  [[ "$1" != xrd-full ]] || mount_full
  [[ ! -f "${log}" || $(stat -c %s "${log}") -lt 100000000 ]] || mv "${log}" "${log}.old"
  (
    cd "${storage}/run"
    exec env -i PATH=/usr/local/bin:/usr/bin:/bin XDG_CACHE_HOME="${storage}/keys" \
      X509_CERT_DIR="${storage}/pki/certificates" XRD_LOGLEVEL=Error XRD_CONNECTIONWINDOW=5 XRD_CONNECTIONRETRY=2 \
      XRD_STREAMERRORWINDOW=5 setsid "${here}/keep" "${storage}/log/crashes" \
      setpriv --reuid xrootd --regid xrootd --clear-groups \
      "${storage}/release/usr/bin/xrootd" -n "$1" -c "${storage}/etc/xrootd.cfg" -l "=${log}" -k hup \
      -s "${storage}/run/$1.pid" \
      > /dev/null 2>&1 < /dev/null
  ) &
  keeper=$!
  wait_for 40 ended_or_up "${keeper}" "$1" && ! gone "${keeper}" || give_up storage "$1 does not start"
}
ended_or_up() { gone "$1" || daemon_is_up storage "$2"; }

mount_full() {
  local folder="${storage}/data/xrd-full/store"
  mountpoint -q "${folder}" ||
    mount -t tmpfs -o "size=50m,mode=755,uid=xrootd,gid=xrootd" testbed "${folder}" 2> /dev/null ||
    fail "xrd-full has no disk to fill: this machine lets nobody mount one (a container needs CAP_SYS_ADMIN)."
}

stop_storage_daemon() { stop storage "$@"; }
before_storage_stops() { :; }
leftovers_storage() {
  local folder="${storage}/data/xrd-full/store"
  ! mountpoint -q "${folder}" || umount --lazy "${folder}"
}
ready_storage() { :; }
extra_storage() { echo "${storage}/etc/extra.xrootd.cfg"; }

# Servers read their settings when they start; those that were stopped on purpose stay stopped.
reconfigure_storage() {
  local server
  for server in $(daemons_storage); do
    process_of storage "${server}" > /dev/null || continue
    stop storage "${server}" TERM
    ensure storage "${server}"
  done
}

# NAME=VALUE of what clients need, and the addresses. No credential.
environment_storage() {
  local server host variable
  printf '%s\n' "X509_CERT_DIR=${storage}/pki/certificates" \
    "SSL_CERT_FILE=${storage}/pki/ca.pem" "SSL_CERT_DIR=${storage}/pki/certificates" \
    "GFAL_CONFIG_DIR=${storage}/gfal2.d" GFAL_PYTHONBIN=/usr/bin/python3 XRD_RUNFORKHANDLER=1 \
    XRD_CONNECTIONWINDOW=5 XRD_CONNECTIONRETRY=2 XRD_STREAMERRORWINDOW=5 XRD_STREAMTIMEOUT=15 XRD_REQUESTTIMEOUT=30 \
    XRD_TIMEOUTRESOLUTION=1
  for server in $(daemons_storage); do
    host=127.0.0.1
    [[ "${server}" != xrd-auth ]] || host=localhost  # GSI wants the name that is in the certificate
    variable="TESTBED_${server//-/_}"
    printf '%s=root://%s:%s//store\n' "${variable^^}" "${host}" "$(port_of "${server}")"
    printf '%s_HTTPS=https://%s:%s/store\n' "${variable^^}" "${host}" "$(($(port_of "${server}") + 1))"
  done
}
