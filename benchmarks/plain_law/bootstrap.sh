#!/usr/bin/env bash
# Sets up the environment of a job; law fills in the variables.
bootstrap() {
  export PATH="{{path}}" PYTHONPATH="{{code}}" LAW_CONFIG_FILE="{{settings}}"
  export PLAIN_LAW_STORE="{{store}}" PLAIN_LAW_DATA="{{data}}"
  export LAW_HOME="${LAW_JOB_HOME}/.law" HOME="${HOME:-${LAW_JOB_HOME}}"
}
bootstrap "$@"
