#!/usr/bin/env bash
# Rewrites analysis.txt and dev.txt from the *.in files; arguments go to uv (e.g. --upgrade-package hist).
# One version per package on every Python, so that results do not depend on which one is used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
options=(--universal --python-version 3.11 --fork-strategy fewest
  --no-emit-index-url --no-header --no-annotate --quiet)
override=$(mktemp)
trap 'rm -f "${override}"' EXIT
echo "python-daemon>=3" > "${override}"  # luigi holds it at 2.1 for the sake of Windows
uv pip compile "${options[@]}" --override "${override}" "$@" analysis.in -o analysis.txt
uv pip compile "${options[@]}" --override "${override}" "$@" --constraint analysis.txt dev.in -o dev.txt
