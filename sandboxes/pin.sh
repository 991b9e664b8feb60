#!/usr/bin/env bash
# Rewrites all lists from the *.in files; arguments go to uv (e.g. --upgrade-package hist).
# analysis.txt decides the versions: dev.txt has more packages, the software sets (columnar, ml, stats) have fewer.
# The annotations say what requires what: a stage goes stale only with the pins that it uses (analysis/engine/pins.py).
# One version per package on every Python, so that results do not depend on which one is used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
options=(--universal --python-version 3.11 --fork-strategy fewest
  --no-emit-index-url --no-header --annotation-style split --quiet)
override="python-daemon>=3"  # luigi holds it at 2.1 for the sake of Windows
new=$(mktemp -d)  # all lists change, or none
trap 'rm -rf "${new}"' EXIT
cp -- *.in *.txt "${new}"
cd "${new}"
pin() { uv pip compile "${options[@]}" --override /dev/stdin "$@" <<< "${override}"; }

pin "$@" analysis.in -o analysis.txt
pin "$@" --constraint analysis.txt dev.in -o dev.txt
for set in columnar ml stats; do
  # without --upgrade: what is not in analysis.txt is in no set
  pin --constraint analysis.txt "${set}.in" -o "${set}.txt"
done
mv -f -- *.txt "${OLDPWD}"
