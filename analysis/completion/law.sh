# Completion of "law" and "analysis" in bash and zsh: subcommands, tasks, parameters and values.
#
# Sourced by setup.sh. It runs at each keystroke, hence nothing but what the shell has built in, on two small files in
# LAW_HOME that "python -m analysis.completion" writes:
#   index   module:Family:parameter parameter ...     (the index of law)
#   values  parameter<TAB>value ... and Family.parameter<TAB>value ...; the value *.yaml stands for such files
# shellcheck shell=bash disable=SC2034,SC2206,SC2296

# Sets _analysis_found to the subcommands of the program $1, or to the options of the subcommand $1.
_analysis_options() {
  case "$1" in
    law) _analysis_found="run index config software completion location quickstart luigid --help --version" ;;
    analysis) _analysis_found="history logs jobs gc credentials ls cp rm cache doctor --help" ;;
    run) _analysis_found="--workers --local-scheduler --scheduler-host --scheduler-port --log-level --help" ;;
    index) _analysis_found="--modules --no-externals --remove --show --location --quiet --verbose --help" ;;
    config) _analysis_found="--remove --expand --location --help" ;;
    software) _analysis_found="--deps --location --print-deps --remove --help" ;;
    quickstart) _analysis_found="--directory --no-tasks --no-config --no-setup --help" ;;
    luigid) _analysis_found="--background --pidfile --logdir --state-path --address --unix-socket --port --help" ;;
    history | jobs) _analysis_found="--json --help" ;;
    logs) _analysis_found="--attempt --all --list --help" ;;
    gc) _analysis_found="--delete --moved --stale --history --store --version --yes --help" ;;
    credentials) _analysis_found="--renew --help" ;;
    ls) _analysis_found="--long --recursive --all --help" ;;
    cp) _analysis_found="--recursive --force --help" ;;
    rm) _analysis_found="--recursive --dry-run --yes --help" ;;
    cache) _analysis_found="--clear --help" ;;
    doctor) _analysis_found="--json --from --help" ;;
    *) _analysis_found="--help" ;;
  esac
}

# Whether a task and its parameters follow the subcommand $1.
_analysis_takes_task() {
  case "$1" in run | history | logs) return 0 ;; *) return 1 ;; esac
}

# Sets _analysis_found to what can stand at the word $3 of "law run $1", or of another subcommand $4 that takes a task:
# task families without $1; the values of the option $2; else options. An option --Family-parameter sets the parameter
# of a task further up the chain.
_analysis_lookup() {
  local module family parameters name values
  local families="" own="" upstream="" value_family="$1" value_name="${2#--}"
  _analysis_found=""
  [ -r "${LAW_HOME:-}/index" ] || return 0
  while IFS=: read -r module family parameters; do
    families="${families} ${family}"
    [ "${family}" != "$1" ] || own="${parameters}"
    case "$2" in --"${family}"-*) value_family="${family}" && value_name="${2#--"${family}"-}" ;; esac
    case "$3" in --"${family}"-*) upstream=" ${parameters}" && upstream="${upstream// / --${family}-}" ;; esac
  done < "${LAW_HOME}/index"

  if [ -z "$1" ]; then
    _analysis_found="${families}"
  elif [ -z "$2" ]; then
    _analysis_options "$4"
    own=" ${own}"
    _analysis_found="${upstream:-${own// / --} ${_analysis_found}}"
    case "${upstream}$3" in --[A-Z]*) _analysis_found="${families// / --}" && _analysis_partial=1 ;; esac
  elif [ -r "${LAW_HOME}/values" ]; then
    while IFS=$'\t' read -r name values; do
      case "${name}" in
        "${value_name}") _analysis_found="${values}" ;;
        "${value_family}.${value_name}") _analysis_found="${values}" && return 0 ;;
      esac
    done < "${LAW_HOME}/values"
  fi
}

if [ -n "${BASH_VERSION:-}" ]; then
  _analysis_complete() {
    local current="${COMP_WORDS[COMP_CWORD]}" option="" prefix="" suffix="" word
    local _analysis_found="" _analysis_partial="" candidates=()
    COMPREPLY=()
    if ((COMP_CWORD < 2)); then
      _analysis_options "${COMP_WORDS[0]##*/}"
    elif ! _analysis_takes_task "${COMP_WORDS[1]}"; then
      _analysis_options "${COMP_WORDS[1]}"
    elif ((COMP_CWORD == 2)); then
      _analysis_lookup "" "" "${current}" "${COMP_WORDS[1]}"
    else
      # "--option=value" is three words where COMP_WORDBREAKS contains "=", and one word where it does not
      if [[ "${current}" == "=" ]]; then
        option="${COMP_WORDS[COMP_CWORD - 1]}" current=""
      elif [[ "${COMP_WORDS[COMP_CWORD - 1]}" == "=" ]]; then
        option="${COMP_WORDS[COMP_CWORD - 2]}"
      elif [[ "${current}" == --*=* ]]; then
        option="${current%%=*}" prefix="${current%%=*}=" current="${current#*=}"
      elif [[ "${current}" != -* && "${COMP_WORDS[COMP_CWORD - 1]}" == --* ]]; then
        option="${COMP_WORDS[COMP_CWORD - 1]}"
      fi
      _analysis_lookup "${COMP_WORDS[2]}" "${option}" "${current}" "${COMP_WORDS[1]}"
      if [[ -n "${option}" && "${current}" == *,* ]]; then
        prefix+="${current%,*}," current="${current##*,}"
      fi
    fi
    if [[ -n "${_analysis_partial}" ]]; then
      suffix="-"
      compopt -o nospace 2> /dev/null
    fi
    IFS=' ' read -r -a candidates <<< "${_analysis_found}"
    for word in ${candidates[@]+"${candidates[@]}"}; do
      if [[ "${word}" == "*."* ]]; then
        compopt -o filenames 2> /dev/null
        while IFS= read -r word; do
          COMPREPLY+=("${prefix}${word}")
        done < <(compgen -f -X "!${word}" -- "${current}"; compgen -d -- "${current}")
      elif [[ "${word}" == "${current}"* ]]; then
        COMPREPLY+=("${prefix}${word}${suffix}")
      fi
    done
  }
  complete -o bashdefault -o default -F _analysis_complete law analysis
elif [[ -o interactive ]]; then
  _analysis_complete() {
    local option="" word _analysis_found="" _analysis_partial=""
    local -a names patterns
    if ((CURRENT <= 2)); then
      _analysis_options "${words[1]##*/}"
    elif ! _analysis_takes_task "${words[2]}"; then
      _analysis_options "${words[2]}"
    elif ((CURRENT == 3)); then
      _analysis_lookup "" "" "${PREFIX}" "${words[2]}"
    else
      if [[ "${PREFIX}" == --*=* ]]; then
        option="${PREFIX%%=*}"
        compset -P 1 '*='
      elif [[ "${PREFIX}" != -* && "${words[CURRENT-1]}" == --* ]]; then
        option="${words[CURRENT-1]}"
      fi
      _analysis_lookup "${words[3]}" "${option}" "${PREFIX}" "${words[2]}"
      [[ -z "${option}" ]] || compset -P '*,'
    fi
    for word in $(printf '%s' "${_analysis_found}"); do
      if [[ "${word}" == '*.'* ]]; then patterns+=("${word}"); else names+=("${word}"); fi
    done
    ((${#names} == 0)) || compadd ${_analysis_partial:+-S-} -a names
    for word in "${patterns[@]}"; do _files -g "${word}"; done
    ((${#names} + ${#patterns} > 0)) || _files
  }
  if ! whence compdef > /dev/null; then  # the user has not set up completion
    autoload -Uz compinit
    compinit -i -d "${LAW_HOME}/zcompdump"
  fi
  compdef _analysis_complete law analysis
fi
