# Docker and Apptainer, with an image of each software set (sandboxes/*.txt) that needs no registry.
# shellcheck shell=bash disable=SC2154

sandboxes="${TESTBED_DIR}/sandboxes"
docker_host="unix://${sandboxes}/run/docker.sock"
software_sets=(columnar ml stats)
apptainer_suite=sid  # the only one that has it
base_suite=bookworm  # as in the recipes
base_packages=python3,python3-venv,python-is-python3,ca-certificates,libstdc++6

daemons_sandboxes() { echo dockerd; }
program_dockerd() { echo dockerd; }
docker_tool() { DOCKER_HOST="${docker_host}" DOCKER_CONFIG="${sandboxes}/docker" /usr/bin/docker "$@"; }
answers_dockerd() { DOCKER_HOST="${docker_host}" timeout 20 /usr/bin/docker version; }

install_sandboxes() {
  local base
  install_packages /usr/sbin/dockerd:docker.io newuidmap:uidmap mmdebstrap:mmdebstrap patchelf:patchelf
  base_is_current || unpack_base &
  base=$!
  install_apptainer
  wait "${base}"
}

# As HTCondor, it is unpacked with all that it needs. It looks for its settings beside its libraries.
install_apptainer() {
  local release="${sandboxes}/release" patched
  [[ ! -f "${release}/.complete" ]] || return 0
  bootstrap_debian "${apptainer_suite}" "${release}" extract apptainer,squashfuse
  rm -f "${release}"/usr/bin/new{u,g}idmap  # only those of the system have their rights
  patched=$(use_own_libraries "${release}" < <(find "${release}"/usr/bin/{apptainer,*squash*} \
    "${release}"/usr/lib/*/apptainer/bin -type f -print0))
  mkdir -p "${release}/var/lib/apptainer/mnt/session"
  ln -sfn ../etc "${release}/usr/etc"
  ln -sfn ../var "${release}/usr/var"
  ln -sfn ../../etc "${release}/usr/lib/etc"
  ln -sfn ../../var "${release}/usr/lib/var"
  # a container, as this machine may be one, has not all rights that root could pass on
  sed -i 's/^root default capabilities = .*/root default capabilities = no/' "${release}/etc/apptainer/apptainer.conf"
  finish_release "${release}" Apptainer "${patched}" 4 "${release}/usr/bin/apptainer" version
}

# Returns 1: there is nothing that a running daemon would have to be told.
configure_sandboxes() {
  local name
  install -d -m 755 "${sandboxes}"/{bin,docker,images,log,run}
  install -d -o "${TESTBED_USER}" -g "${TESTBED_USER}" -m 755 "${sandboxes}"/{build,cache}
  ln -sfn /usr/bin/docker "${sandboxes}/bin/docker"
  [[ ! -c /dev/fuse ]] || chmod 666 /dev/fuse  # as udev does; without it, images of Apptainer are mounted by root only
  # to build, the home directory of the user, which may be that of a testbed that is gone, would have to be there
  sed 's/^mount home = .*/mount home = no/' "${sandboxes}/release/etc/apptainer/apptainer.conf" > "${sandboxes}/build.conf"
  for name in apptainer singularity; do
    printf '#!/bin/sh\nPATH="${PATH}:/usr/sbin:%s/usr/bin" exec %s "$@"\n' \
      "${sandboxes}/release" "${sandboxes}/release/usr/bin/apptainer" > "${sandboxes}/bin/${name}.new"
    chmod 755 "${sandboxes}/bin/${name}.new"
    mv "${sandboxes}/bin/${name}.new" "${sandboxes}/bin/${name}"
  done
  return 1
}

# containerds PATTERN: processes of containerd, or of a shim of it, that belong to the daemon.
containerds() {
  local file command
  for file in /proc/[0-9]*/cmdline; do
    command=$({ tr '\0' ' ' < "${file}"; } 2> /dev/null) || continue
    # shellcheck disable=SC2053
    [[ "${command%% *}" != $1 || "${command}" != *"${sandboxes}/docker/exec/"* ]] || echo "${file//[!0-9]/}"
  done
}
no_containerd() { [[ -z "$(containerds '*containerd')" ]]; }

# Networks are of the host only, so no rule of the machine's firewall changes.
start_dockerd() {
  # that of a killed daemon dies with it, a moment later: the new one would rely on it
  wait_for 10 no_containerd || give_up sandboxes "containerd of a daemon before does not end"
  # any process with such an id, even a dead one, would count
  rm -f "${sandboxes}/run/dockerd.pid" "${sandboxes}/docker/exec/containerd/containerd.pid"
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DOCKER_CONFIG="${sandboxes}/docker" \
    setsid dockerd --data-root "${sandboxes}/docker/root" --exec-root "${sandboxes}/docker/exec" \
    --pidfile "${sandboxes}/run/dockerd.pid" --host "${docker_host}" --group "${TESTBED_USER}" \
    --iptables=false --ip6tables=false --bridge=none --ip-forward=false --ip-masq=false \
    > "${sandboxes}/log/dockerd.log" 2>&1 < /dev/null &
}

stop_sandboxes_daemon() { stop sandboxes "$@"; }
before_sandboxes_stops() { :; }  # it ends containers itself
ready_sandboxes() { :; }

# What a killed daemon leaves: containerd, a shim for each container, the container, its file system.
leftovers_sandboxes() {
  local pids folders
  mapfile -t pids < <(containerds '*containerd*')
  ((${#pids[@]} == 0)) || mapfile -t pids < <(with_descendants "${pids[@]}")
  stop_processes KILL "${pids[@]}"
  mapfile -t folders < <(awk -v below="${sandboxes}/docker/" 'index($2, below) == 1 {print $2}' /proc/mounts | tac)
  ((${#folders[@]} == 0)) || umount --lazy "${folders[@]}"
}

# ---- images

list_hash() { bash "${repository}/sandboxes/environment.sh" --hash "$1"; }

# recipe_of KIND SET: a hash of all that the image is made of.
recipe_of() {
  local recipe=Dockerfile
  [[ "$1" == docker ]] || recipe=apptainer.def
  (cd "${repository}/sandboxes" && cat "$2.txt" environment.sh image.sh "${recipe}" "${sandboxes}/base.stamp") | sha256sum
}

# is_built KIND SET: whether there is an image of today's recipe.
is_built() {
  local built="${sandboxes}/images/$2.$1" hash
  [[ -f "${built}" && "$(< "${built}")" == "$(recipe_of "$1" "$2")" ]] || return 1
  hash=$(list_hash "$2")
  case "$1" in
    docker) docker_tool image inspect "analysis/$2:${hash}" > /dev/null 2>&1 ;;
    apptainer) [[ -f "${sandboxes}/images/$2-${hash}.sif" ]] ;;
  esac
}

# Builds what is not there yet: while Docker builds a set, Apptainer is at the one before.
build_images() {
  local set pid="" failed=0 prepared=""
  build_base
  for set in "${software_sets[@]}"; do
    ! is_built docker "${set}" || ! is_built apptainer "${set}" || continue
    [[ -n "${prepared}" ]] || { prepare_build; prepared=yes; }
    say "building the images of ${set} ..."
    is_built docker "${set}" || build_for_docker "${set}" || { failed=1; break; }
    [[ -z "${pid}" ]] || wait "${pid}" || { failed=1; break; }
    pid=""
    is_built apptainer "${set}" || { build_for_apptainer "${set}" & pid=$!; }
  done
  [[ -z "${pid}" ]] || wait "${pid}" || failed=1
  rm -f "${sandboxes}"/build/{certificates,uv.toml,pip.conf}
  ((failed == 0)) || give_up sandboxes "the images of ${set} could not be built"
}

# A small Debian with Python, for both.
base_is_current() {
  [[ -f "${sandboxes}/base.stamp" && "$(< "${sandboxes}/base.stamp")" == "${base_suite} ${base_packages}" ]]
}

unpack_base() {
  bootstrap_debian "${base_suite}" "${sandboxes}/base" essential "${base_packages}" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*'
}

build_base() {
  ! base_is_current || ! docker_tool image inspect "analysis/base:${base_suite}" > /dev/null 2>&1 || return 0
  [[ -d "${sandboxes}/base" ]] || unpack_base
  {
    tar -C "${sandboxes}/base" -c . | docker_tool import - "analysis/base:${base_suite}" &&
      # all files are of root, for others can unpack no other ones
      apptainer_build -all-root "${sandboxes}/base.sif" "${sandboxes}/base"
  } > "${sandboxes}/log/base.log" 2>&1 || give_up sandboxes "the base of the images could not be made"
  rm -rf "${sandboxes}/base"
  echo "${base_suite} ${base_packages}" > "${sandboxes}/base.stamp"
}

# apptainer_build OPTIONS_OF_MKSQUASHFS ARGUMENT...
apptainer_build() {
  local options=$1
  shift
  "${sandboxes}/bin/apptainer" --quiet build --force \
    --mksquashfs-args "${options} -comp zstd -Xcompression-level 1" "$@"
}

# What image.sh finds in /mnt: certificates and package index as this machine has them, and room for downloads. It is
# removed after the build.
prepare_build() {
  local build="${sandboxes}/build" certificates index name
  certificates=${SSL_CERT_FILE:-${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}}
  install -d -o "${TESTBED_USER}" -g "${TESTBED_USER}" -m 755 "${build}/cache"
  for name in certificates uv.toml pip.conf; do
    install -o "${TESTBED_USER}" -g "${TESTBED_USER}" -m 600 /dev/null "${build}/${name}"
  done
  [[ ! -r "${certificates}" ]] || cat "${certificates}" > "${build}/certificates"
  index=${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2> /dev/null)}}} || true
  [[ -n "${index}" ]] || return 0
  printf '[global]\nindex-url = %s\n' "${index}" > "${build}/pip.conf"
  printf '[[index]]\nurl = "%s"\ndefault = true\n' "${index}" > "${build}/uv.toml"
}

build_for_docker() {
  local set=$1 pins recipe name secrets=()
  pins=$(list_hash "${set}")
  recipe=$(recipe_of docker "${set}")
  for name in certificates uv.toml pip.conf; do
    [[ ! -s "${sandboxes}/build/${name}" ]] || secrets+=(--secret "id=${name},src=${sandboxes}/build/${name}")
  done
  DOCKER_BUILDKIT=1 docker_tool build --progress plain --network host "${secrets[@]}" \
    --build-arg "BASE=analysis/base:${base_suite}" --build-arg "SET=${set}" --build-arg "PINS=${pins}" \
    --tag "analysis/${set}:${pins}" --tag "analysis/${set}:latest" "${repository}/sandboxes" \
    > "${sandboxes}/log/docker-${set}.log" 2>&1 || return 1
  echo "${recipe}" > "${sandboxes}/images/${set}.docker"
  # those of older lists
  docker_tool image ls --format '{{.Repository}}:{{.Tag}}' "analysis/${set}" | grep -v -e ":${pins}$" -e ':latest$' |
    while read -r name; do docker_tool image rm "${name}" > /dev/null; done || true
  docker_tool image prune --force --filter "label=analysis.set=${set}" > /dev/null || true
}

# By a user without rights, who needs none, with the environment of the image for Docker.
build_for_apptainer() {
  local set=$1 pins recipe file target container
  pins=$(list_hash "${set}")
  recipe=$(recipe_of apptainer "${set}")
  target="${sandboxes}/images/${set}-${pins}.sif"
  rm -rf "${sandboxes}/build/${set}"
  install -d -o "${TESTBED_USER}" -g "${TESTBED_USER}" -m 755 "${sandboxes}/build/${set}"
  for file in environment.sh image.sh "${set}.txt" apptainer.def; do
    install -m 644 "${repository}/sandboxes/${file}" "${sandboxes}/build/${set}"
  done
  (
    cd "${sandboxes}/build/${set}"
    container=$(docker_tool create "analysis/${set}:${pins}") || exit 1
    docker_tool cp "${container}:/opt/environments" - | tar -x --no-same-owner || exit 1
    docker_tool rm "${container}"
    setpriv --reuid "${TESTBED_USER}" --regid "${TESTBED_USER}" --init-groups \
      env -i HOME="${sandboxes}/build/${set}" PATH=/usr/bin:/bin APPTAINER_TMPDIR="${sandboxes}/build/${set}" \
      "${sandboxes}/bin/apptainer" --quiet --config "${sandboxes}/build.conf" build --force --mksquashfs-args "-comp zstd -Xcompression-level 1" \
      --bind "${sandboxes}/build/${set}:/mnt" --build-arg bootstrap=localimage --build-arg "base=${sandboxes}/base.sif" \
      --build-arg "set=${set}" image.sif apptainer.def
  ) > "${sandboxes}/log/apptainer-${set}.log" 2>&1 < /dev/null || return 1
  mv "${sandboxes}/build/${set}/image.sif" "${target}"
  ln -sfn "${target##*/}" "${sandboxes}/images/${set}.sif"
  rm -rf "${sandboxes}/build/${set}"
  echo "${recipe}" > "${sandboxes}/images/${set}.apptainer"
  find "${sandboxes}/images" -name "${set}-*.sif" ! -name "${target##*/}" -delete
}

# NAME=VALUE: where the daemon is, and the images.
environment_sandboxes() {
  local set
  echo "DOCKER_HOST=${docker_host}"
  for set in "${software_sets[@]}"; do
    printf 'TESTBED_DOCKER_%s=analysis/%s:%s\n' "${set^^}" "${set}" "$(list_hash "${set}")"
    printf 'TESTBED_APPTAINER_%s=%s/images/%s-%s.sif\n' "${set^^}" "${sandboxes}" "${set}" "$(list_hash "${set}")"
  done
}
