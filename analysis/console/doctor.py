"""``analysis doctor``: is all here that a run needs, and what to do if not."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from analysis.engine.doctor.finding import Report

HELP = "look whether Python, disks, stores, batch systems and the rest work here, and say what to do if not"


_INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended, as shells have it."""


class UnknownGroupError(AnalysisError):
    """There is no such group of checks."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.usage = "analysis doctor [-h] [--json] [--from REPORT | GROUP ...]"
    parser.add_argument("groups", metavar="GROUP", nargs="*", help="look at these only, e.g. storage htcondor")
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="REPORT",
        help="show a report made elsewhere, e.g. by the task Doctor on a worker: a path, or NAME:/PATH in a store",
    )


def run(arguments: argparse.Namespace) -> int:
    """Look at this machine, or show what was found on another one.

    Args:
        arguments: ``groups``, ``json`` and ``source``.

    Returns:
        Exit code: 1 if anything is red.

    Raises:
        AnalysisError: if there is no such group or report.
    """
    from analysis.engine.doctor.table import show

    if arguments.source and arguments.groups:
        arguments.usage_error("--from shows a report as it is: leave out the groups")
    try:
        report = _read(arguments.source) if arguments.source else _look(arguments.groups)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    if arguments.json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        show(report)
    return 0 if report.is_healthy() else 1


def _look(groups: Sequence[str]) -> Report:
    from difflib import get_close_matches

    from analysis.engine.doctor.examine import all_groups, examine

    known = list(all_groups())
    for name in groups:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            msg = f"there is no group of checks {name!r}: {hint}"
            raise UnknownGroupError(msg)
    if not sys.stderr.isatty():
        return examine(groups)
    from rich.console import Console

    with Console(stderr=True).status("looking ..."):
        return examine(groups)


def _read(source: str) -> Report:
    from analysis.console.files import find_place, one_sentence
    from analysis.engine.doctor.finding import Report

    with one_sentence():
        place = find_place(source, on_disk=True)
        return Report.from_json(place.store.read(place.address).decode(errors="replace"), source)
