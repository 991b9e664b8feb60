"""What a run would do, where and why, before it does it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from analysis.engine.errors import RecipeCycleError
from analysis.engine.manifest import Manifest
from analysis.engine.recipe import changes
from analysis.engine.recipes import required_tasks
from analysis.engine.sandboxes import outside
from analysis.engine.snapshot import Snapshot, State

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask

LOCAL = "local"
"""Name of the store in ``$ANALYSIS_STORE``."""
_SAMPLES = 3


@dataclass(frozen=True)
class PlanRow:
    """One task of a plan.

    Args:
        task: title.
        branches: how many there are; 1 for a task without branches.
        missing: how many have no outputs, or not whole ones.
        changed: how many are stale for a reason of their own.
        affected: how many are stale because of what they require only: they run if their inputs turn out different.
        backend: where it runs.
        sandbox: what it runs in.
        reason: why, in a few words.
        cpu_seconds: expected for all that is counted, from earlier runs; ``None`` if nothing is known.
        bytes: expected size of the outputs; ``None`` if nothing is known.
        redone_cpu_seconds: the part of ``cpu_seconds`` for outputs that are there, and stale.
        store: name of the store that the outputs are written to.
        qos: label of its quality of service; empty for none.
    """

    task: str
    branches: int
    missing: int
    changed: int
    affected: int
    backend: str
    sandbox: str
    reason: str
    cpu_seconds: float | None
    bytes: int | None
    redone_cpu_seconds: float
    store: str = LOCAL
    qos: str = ""


def walk(root: AnalysisTask, snapshot: Snapshot, everything: bool = False) -> Iterator[tuple[AnalysisTask, int]]:
    """Tasks at the level of workflows, each once, from the root up to where all is complete.

    Args:
        root: where to start.
        snapshot: the store.
        everything: go on above complete tasks as well.

    Yields:
        Task, and its distance from the root.
    """
    level, seen, depth = [root], {root.key}, 0
    while level:
        snapshot.prefetch(level)
        above: list[AnalysisTask] = []
        for task in level:
            yield task, depth
            if everything or snapshot.needs_run(task):
                fresh = [other for other in required_tasks(task) if other.key not in seen]
                seen.update(other.key for other in fresh)
                above += {other.key: other for other in fresh}.values()
        level, depth = above, depth + 1


def in_order_of_data(tasks: Iterable[AnalysisTask]) -> list[AnalysisTask]:
    """Tasks such that each comes after what it requires.

    Raises:
        RecipeCycleError: if tasks require each other in a circle.
    """
    given = {task.key: task for task in tasks}
    done: dict[str, AnalysisTask] = {}

    path: dict[str, str] = {}

    def visit(task: AnalysisTask) -> None:
        if task.key in done:
            return
        if task.key in path:
            raise RecipeCycleError([*path.values(), task.title()])
        path[task.key] = task.title()
        for other in required_tasks(task):
            if other.key in given:
                visit(given[other.key])
        del path[task.key]
        done[task.key] = task

    for task in given.values():
        visit(task)
    return list(done.values())


def make_plan(root: AnalysisTask, snapshot: Snapshot, stale_only: bool = False) -> list[PlanRow]:
    """What ``law run`` of a task would do, in the order of the data.

    Args:
        root: the task.
        snapshot: the store.
        stale_only: leave tasks out of which nothing is stale; then no manifest is opened unless something is.
    """
    tasks = in_order_of_data([task for task, _ in walk(root, snapshot) if snapshot.needs_run(task)])
    if stale_only:
        tasks = [task for task in tasks if State.STALE in snapshot.states(task).values()]
    samples: dict[str, list[Manifest]] = {}
    for task in tasks:
        samples.setdefault(task.get_task_family(), []).extend(_samples(task, snapshot))
    return [_row(task, snapshot, samples[task.get_task_family()]) for task in tasks]


def _samples(task: AnalysisTask, snapshot: Snapshot) -> list[Manifest]:
    """A few manifests, from the whole range of branches."""
    present = [branch for branch in snapshot.states(task) if snapshot.has_names(task, branch)]
    step = max(1, len(present) // _SAMPLES)
    found = (snapshot.any_manifest(_branch(task, branch)) for branch in present[::step][:_SAMPLES])
    return [manifest for manifest in found if manifest is not None]


def _row(task: AnalysisTask, snapshot: Snapshot, samples: Sequence[Manifest]) -> PlanRow:
    states = snapshot.states(task)
    missing = [branch for branch, state in states.items() if state is State.MISSING]
    unwanted = None if snapshot.uses_stale(task) else State.STALE
    stale = [_branch(task, branch) for branch, state in states.items() if state is unwanted]
    changed = [b for b in stale if snapshot.has_own_changes(b)]
    cpu = _mean(m.resources.get("cpu_seconds", 0.0) for m in samples)
    size = _mean(float(sum(output.size for output in m.outputs)) for m in samples)
    number = len(missing) + len(stale)
    return PlanRow(
        task=task.title(),
        branches=len(states),
        missing=len(missing),
        changed=len(changed),
        affected=len(stale) - len(changed),
        backend=getattr(task, "effective_workflow", None) or "local",
        sandbox=str(outside.declared(task) or "none"),
        reason="; ".join(_reasons(task, snapshot, missing, changed, len(stale) > len(changed))),
        cpu_seconds=None if cpu is None else cpu * number,
        bytes=None if size is None else int(size * number),
        redone_cpu_seconds=(cpu or 0.0) * len(stale),
        store=task.store.name,
        qos=task.store.qos,
    )


def _reasons(
    task: AnalysisTask,
    snapshot: Snapshot,
    missing: Sequence[int | None],
    changed: Sequence[AnalysisTask],
    affected: bool,
) -> Iterator[str]:
    if missing:
        damaged = any(snapshot.has_names(task, branch) for branch in missing)
        yield "outputs gone, changed or new" if damaged else "not there yet"
    if changed:
        manifest = snapshot.manifest(changed[0])
        if manifest is not None:
            own = [c for c in changes(manifest.recipe, snapshot.recipes.recipe(changed[0])) if c.kind != "requirement"]
            yield ", ".join(f"{c.kind} {c.name}" for c in own[:2]) + (
                f" and {len(own) - 2} more" if len(own) > 2 else ""
            )
        else:
            yield f"{task.get_task_family()} changed"
    if affected:
        yield "its inputs may change"


def _branch(task: AnalysisTask, branch: int | None) -> AnalysisTask:
    return task if branch is None or not task.is_whole_workflow() else task.branch_task(branch)


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def plan_json(rows: Sequence[PlanRow]) -> str:
    """The plan for machines."""
    return json.dumps([asdict(row) for row in rows], indent=1)


def plan_table(root: AnalysisTask, rows: Sequence[PlanRow]) -> str:
    """The plan for people."""
    from tabulate import tabulate

    if not rows:
        return f"{root.title()} is complete: nothing would run."
    is_told = any((row.store, row.qos) != (LOCAL, "") for row in rows)
    header = ["task", "run", "if inputs change", "of", "where", *(["store"] if is_told else []), "CPU", "size", "why"]
    lines = [
        [
            row.task,
            row.missing + row.changed or "",
            row.affected or "",
            row.branches,
            row.backend + ("" if row.sandbox == "none" else f", {row.sandbox}"),
            *([row.store + (f" ({row.qos})" if row.qos else "")] if is_told else []),
            show_time(row.cpu_seconds),
            show_size(row.bytes),
            row.reason,
        ]
        for row in rows
    ]
    certain, possible = sum(r.missing + r.changed for r in rows), sum(r.affected for r in rows)
    known = [row for row in rows if row.cpu_seconds is not None]
    total = f"{certain} to run" + (f", {possible} more if their inputs change" if possible else "")
    cost = show_time(sum(row.cpu_seconds or 0.0 for row in known)) if known else "unknown"
    note = "" if len(known) == len(rows) else " (nothing is known of some tasks: they never ran)"
    return f"{tabulate(lines, header, disable_numparse=True)}\n\n{total}; CPU time {cost}{note if known else ''}"


def show_time(seconds: float | None) -> str:
    """Seconds for people."""
    if seconds is None:
        return "?"
    for limit, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= limit:
            return f"{seconds / limit:.1f} {unit}"
    return f"{seconds:.1f} s"


def show_size(size: int | None) -> str:
    """Bytes for people."""
    if size is None:
        return "?"
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
