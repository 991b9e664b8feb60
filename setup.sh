# Sets up the analysis in this shell:  source setup.sh [--dev]
#
# Works in bash and zsh, from any directory, any number of times. The first time it creates the Python environment of
# sandboxes/analysis.txt (with --dev, or ANALYSIS_DEV=1: of sandboxes/dev.txt, which adds what tests and checks need).
# Respected when set before:
#   ANALYSIS_PYTHON   the Python to use (3.11 to 3.13)           default: the newest on the PATH
#   ANALYSIS_ENV_DIR  where environments are kept (2 GB)          default: .venv
#   ANALYSIS_STORE    where results are kept                      default: data/store
#   LAW_HOME          task index, scheduler history, job files    default: .law
#   ANALYSIS_PROFILE  the site: a file of profiles/               default: local
# shellcheck shell=bash disable=SC2296

if [ -z "${BASH_VERSION:-}${ZSH_VERSION:-}" ]; then
  echo "setup.sh: this shell is neither bash nor zsh: start one of them and source setup.sh there." >&2
  return 1 2> /dev/null || exit 1
fi
if [ -n "${BASH_VERSION:-}" ] && [ "${BASH_SOURCE[0]}" = "$0" ]; then
  echo "setup.sh: it must be sourced, not executed: source setup.sh" >&2
  exit 1
fi

_analysis_setup() {
  local file base list=analysis message
  if [ -n "${ZSH_VERSION:-}" ]; then
    emulate -L zsh  # the options of the caller come back at the end of the function
    eval 'file="${(%):-%x}"'
  else
    file="${BASH_SOURCE[0]}"
  fi
  case "${file}" in */*) ;; *) file="./${file}" ;; esac
  base="$(CDPATH="" builtin cd -- "${file%/*}" > /dev/null && pwd)" || return 1

  case " $* " in *" --dev "*) list=dev ;; esac
  case "${ANALYSIS_DEV:-0}" in 0 | "") ;; *) list=dev ;; esac
  # shellcheck source=sandboxes/activate.sh
  . "${base}/sandboxes/activate.sh"
  _analysis_activate "${base}/sandboxes" "${list}" || return 1

  # What still points to the copy of the repository that was set up in this shell before follows to this one.
  if [ -n "${ANALYSIS_BASE:-}" ] && [ "${ANALYSIS_BASE}" != "${base}" ]; then
    [ "${LAW_HOME:-}" != "${ANALYSIS_BASE}/.law" ] || unset LAW_HOME
    [ "${ANALYSIS_STORE:-}" != "${ANALYSIS_BASE}/data/store" ] || unset ANALYSIS_STORE
  fi
  PYTHONPATH="$(_analysis_prepend "${PYTHONPATH:-}" "${base}" "${ANALYSIS_BASE:-}")"
  export PYTHONPATH
  export ANALYSIS_BASE="${base}"
  export ANALYSIS_STORE="${ANALYSIS_STORE:-${base}/data/store}"
  export LAW_HOME="${LAW_HOME:-${base}/.law}"
  export LAW_CONFIG_FILE="${base}/law.cfg"
  export ANALYSIS_PROFILE="${ANALYSIS_PROFILE:-local}"

  # The index tells law which module a task is in, and the completion what can be typed.
  if [ ! -s "${LAW_HOME}/index" ] || [ ! -e "${LAW_HOME}/values" ] || [ -n "$(find \
    "${base}/law.cfg" "${base}/analysis/tasks" "${base}/analysis/config" "${base}/analysis/engine" \
    -name __pycache__ -prune -o -type f -newer "${LAW_HOME}/values" -print 2> /dev/null)" ]; then
    message="$(python -P -m analysis.completion 2>&1)" || {
      printf '%s\n' "${message}" | tail -n 5 >&2
      echo "setup.sh: the task index could not be renewed, so tasks may be missing: mend the above, then" \
        "'python -m analysis.completion'." >&2
    }
  fi
  # shellcheck source=analysis/completion/law.sh
  . "${base}/analysis/completion/law.sh"
}

if _analysis_setup "$@"; then
  unset -f _analysis_setup _analysis_activate _analysis_prepend
else
  unset -f _analysis_setup _analysis_activate _analysis_prepend
  return 1
fi
