# Puts a shell, bash or zsh, into the environment of a pinned list. Sourced by setup.sh and venv_*.sh, which then call
#   _analysis_activate DIRECTORY LIST       (the directory of this file)
# shellcheck shell=bash

# Prints a colon-separated list ($1) with one entry ($2) at its front, and without the one it replaces ($3).
_analysis_prepend() {
  local list=":$1:" entry
  for entry in "$2" "${3:-$2}"; do
    while case "${list}" in *":${entry}:"*) true ;; *) false ;; esac; do
      list="${list%%":${entry}:"*}:${list#*":${entry}:"}"
    done
  done
  list="${list#:}" && list="${list%:}"
  printf '%s' "$2${list:+:${list}}"
}

_analysis_activate() {
  local environment
  [ -z "${ZSH_VERSION:-}" ] || emulate -L zsh
  environment="$(bash "$1/environment.sh" "$2")" || return 1
  PATH="$(_analysis_prepend "${PATH}" "${environment}/bin" "${VIRTUAL_ENV:+${VIRTUAL_ENV}/bin}")"
  export PATH
  export VIRTUAL_ENV="${environment}"
  unset PYTHONHOME
}
