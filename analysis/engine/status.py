"""Answers to ``--print-status`` and ``--plan``."""

from __future__ import annotations

from collections import Counter
from itertools import takewhile
from typing import TYPE_CHECKING

from analysis.engine import plan
from analysis.engine.errors import ParameterError
from analysis.engine.snapshot import Snapshot, State

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask


def print_status(task: AnalysisTask, depth: str) -> None:
    """Print how many branches of a task, and of all it requires, are current, stale and missing.

    Args:
        task: the task.
        depth: how many steps upstream to go; ``all`` for no limit.

    Raises:
        ParameterError: if the depth is not a number.
    """
    from tabulate import tabulate

    limit = _depth(depth)
    snapshot, total, rows = Snapshot(), Counter[State](), []
    found = plan.walk(task, snapshot, everything=True)
    shown = [required for required, _ in takewhile(lambda pair: limit is None or pair[1] <= limit, found)]
    for required in plan.in_order_of_data(shown):
        counts = Counter(snapshot.states(required).values())
        total += counts
        rows.append([required.title(), *(counts[state] or "" for state in State)])
    print(tabulate(rows, ["task", *(state.value for state in State)], disable_numparse=True))
    print(f"\n{', '.join(f'{total[state]} {state.value}' for state in State)}")


def print_plan(task: AnalysisTask, form: str) -> None:
    """Print what ``law run`` of a task would do.

    Raises:
        ParameterError: for a form other than ``all`` (a table) and ``json``.
    """
    if form not in {"all", "table", "json"}:
        msg = f"--plan {form} does not exist: use --plan or --plan json"
        raise ParameterError(msg)
    rows = plan.make_plan(task, Snapshot())
    print(plan.plan_json(rows) if form == "json" else plan.plan_table(task, rows))


def _depth(text: str) -> int | None:
    if text in {"all", "-1"}:
        return None
    try:
        return int(text.partition(",")[0])
    except ValueError as error:
        msg = f"--print-status {text}: use a number of steps upstream, or nothing for all"
        raise ParameterError(msg) from error
