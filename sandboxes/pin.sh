#!/usr/bin/env bash
# Rewrites analysis.txt and dev.txt from the *.in files; arguments go to uv (e.g. --upgrade-package hist).
# The annotations say what requires what: a stage goes stale only with the pins that it uses (analysis/engine/pins.py).
# One version per package on every Python, so that results do not depend on which one is used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
options=(--universal --python-version 3.11 --fork-strategy fewest
  --no-emit-index-url --no-header --annotation-style split --quiet)
override="python-daemon>=3"  # luigi holds it at 2.1 for the sake of Windows
uv pip compile "${options[@]}" --override /dev/stdin "$@" analysis.in -o analysis.txt <<< "${override}"
uv pip compile "${options[@]}" --override /dev/stdin "$@" --constraint analysis.txt dev.in -o dev.txt <<< "${override}"
