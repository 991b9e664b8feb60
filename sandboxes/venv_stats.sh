# Puts this shell into the software set of stats.txt, built at first use:  source sandboxes/venv_stats.sh
#
# Works in bash and zsh. ANALYSIS_PYTHON and ANALYSIS_ENV_DIR mean what they mean for setup.sh.
# shellcheck shell=bash
_analysis_file="${BASH_SOURCE[0]:-$0}"
case "${_analysis_file}" in */*) ;; *) _analysis_file="./${_analysis_file}" ;; esac
# shellcheck source=sandboxes/activate.sh
. "${_analysis_file%/*}/activate.sh"
if _analysis_activate "${_analysis_file%/*}" stats; then
  unset -f _analysis_activate _analysis_prepend
  unset _analysis_file
else
  unset -f _analysis_activate _analysis_prepend
  unset _analysis_file
  return 1
fi
