#!/usr/bin/env bash
# Installs a software set in an image that is being built:  image.sh SET [HASH]   (for Dockerfile and apptainer.def)
#
# Its environment is /opt/environment then. HASH, if given, has to be that of the list, for it is what the image says of
# itself. What the site needs may be in /mnt while the image is built: certificates (PEM), uv.toml, pip.conf; cache/ is
# where downloads are kept, environments/ has what was installed before upon the same base.
set -euo pipefail
here=${BASH_SOURCE[0]%/*}
export ANALYSIS_ENV_DIR=/opt/environments UV_LINK_MODE=copy
unset ANALYSIS_PYTHON

hash=$(bash "${here}/environment.sh" --hash "$1")
[[ "${2:-${hash}}" == "${hash}" ]] || {
  echo "image.sh: $1.txt has the hash ${hash}, not '$2': give what 'sandboxes/environment.sh --hash $1' prints." >&2
  exit 1
}
[[ ! -s /mnt/certificates ]] || export SSL_CERT_FILE=/mnt/certificates PIP_CERT=/mnt/certificates
[[ ! -s /mnt/uv.toml ]] || export UV_CONFIG_FILE=/mnt/uv.toml
[[ ! -s /mnt/pip.conf ]] || export PIP_CONFIG_FILE=/mnt/pip.conf
export UV_CACHE_DIR=/tmp/cache/uv PIP_CACHE_DIR=/tmp/cache/pip
if [[ -d /mnt/cache ]]; then
  export UV_CACHE_DIR=/mnt/cache/uv PIP_CACHE_DIR=/mnt/cache/pip PATH="/mnt/cache/bin:${PATH}"
fi
[[ ! -d /mnt/environments ]] || cp -R --preserve=links,mode,timestamps /mnt/environments "${ANALYSIS_ENV_DIR%/*}"
environment=$(bash "${here}/environment.sh" "$1")
ln -sfn "${environment}" /opt/environment
if [[ -d /mnt/cache && -x "${ANALYSIS_ENV_DIR}/.uv/bin/uv" ]]; then  # for the next image
  mkdir -p /mnt/cache/bin
  cp "${ANALYSIS_ENV_DIR}/.uv/bin/uv" /mnt/cache/bin/uv.new
  mv -f /mnt/cache/bin/uv.new /mnt/cache/bin/uv
fi
rm -rf "${ANALYSIS_ENV_DIR:?}"/{.uv,.lock} /tmp/cache
