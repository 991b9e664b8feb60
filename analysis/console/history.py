"""``analysis history``: who made the outputs of a task, when, from what."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.engine.history import Entry
    from analysis.engine.manifest import Manifest

HELP = "list the manifests of a task, those in force and those that were replaced, newest first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.usage = "analysis history [-h] [--json] TASK [--parameters as in law run]"
    parser.add_argument(
        "task", metavar="TASK", help="task family; its parameters follow as in law run, e.g. --branch 3"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")


def run(arguments: argparse.Namespace) -> int:
    """Print the history of a task.

    Args:
        arguments: ``task``, ``parameters`` and ``json``.

    Returns:
        Exit code.

    Raises:
        AnalysisError: if there is no such task, or a parameter makes no sense.
    """
    from analysis.console.tasks import asked_task, load_tasks
    from analysis.engine.history import read_history

    load_tasks()
    with asked_task(arguments.task, arguments.parameters) as task:
        entries = read_history(task)
        title = task.title()
    if arguments.json:
        print(json.dumps([entry.to_json() for entry in entries], indent=1))
        return 0
    print(_table(entries) if entries else f"{title} has no history: it was never run, or its manifests were removed.")
    for problem in dict.fromkeys(entry.problem for entry in entries if entry.problem):
        print(problem, file=sys.stderr)
    return 0


def _table(entries: Sequence[Entry]) -> str:
    from tabulate import tabulate

    header = ["finished (UTC)", "branch", "recipe", "events out", "CPU", "host", "commit", "state", "adopted by"]
    rows = [_row(entry, entry.manifest) for entry in entries if entry.manifest]
    return str(tabulate(rows, header, disable_numparse=True))


def _row(entry: Entry, manifest: Manifest) -> list[str]:
    from analysis.engine.plan import show_time

    events = manifest.accounting.get("events_out")
    return [
        entry.finished[:19].replace("T", " "),
        "" if entry.name.branch is None else str(entry.name.branch),
        f"{entry.name.recipe.own[:6]}-{entry.name.recipe.upstream[:6]}",
        "" if events is None else f"{events:,.0f}",
        show_time(manifest.resources.get("cpu_seconds")),
        str(manifest.provenance.get("host", "")),
        str(manifest.provenance.get("git_commit", "")) + ("+" if manifest.provenance.get("git_dirty") else ""),
        entry.state,
        ", ".join(f"{adoption.who} ({adoption.why})" for adoption in manifest.adopted[-1:]),
    ]
