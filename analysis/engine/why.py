"""The answer to ``--why``: for all that is not current, what changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from analysis.engine import plan
from analysis.engine.errors import ManifestError
from analysis.engine.manifest import FOLDER, Manifest
from analysis.engine.recipe import changes
from analysis.engine.shards import shard_of
from analysis.engine.snapshot import Snapshot, State

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask


def print_why(task: AnalysisTask) -> None:
    """Print why outputs of a task, and of what it requires, are stale or missing: causes first."""
    snapshot = Snapshot()
    tasks = [found for found, _ in plan.walk(task, snapshot)]
    blocks = [list(explain(found, snapshot)) for found in plan.in_order_of_data(tasks)]
    lines = [line for block in blocks for line in block]
    print("\n".join(lines) if lines else f"{task.title()} is current.")


def explain(task: AnalysisTask, snapshot: Snapshot) -> Iterator[str]:
    """Lines that say why branches of a task are not current; none if all are."""
    groups: dict[tuple[str, ...], list[AnalysisTask]] = {}
    branches = list(task.branch_tasks())
    for branch in branches:
        if snapshot.state(branch) is not State.CURRENT:
            groups.setdefault(tuple(reasons(branch, snapshot)), []).append(branch)
    for why, members in groups.items():
        state = snapshot.state(members[0])
        count = "" if len(branches) == 1 else f"{len(members)} of {len(branches)} branches "
        yield f"{task.title()}: {count}{state}{_numbers(members, len(branches))}"
        yield from (f"    {line}" for line in why)


def reasons(task: AnalysisTask, snapshot: Snapshot) -> Iterator[str]:
    """Why a branch, or a task without branches, is not current."""
    if snapshot.state(task) is State.MISSING:
        yield from _missing(task, snapshot)
        return
    manifest = snapshot.manifest(task)
    if manifest is None:
        yield "its manifest cannot be read"
        return
    found = changes(manifest.recipe, snapshot.recipes.recipe(task))
    own = [change for change in found if change.kind != "requirement"]
    yield from map(str, own)
    for change in found[:] if not own else [c for c in found if c.kind == "requirement"]:
        yield str(change)


def _missing(task: AnalysisTask, snapshot: Snapshot) -> Iterator[str]:
    names = snapshot.names(task)
    if not names:
        yield "not there yet"
        return
    for name, _ in names:
        path = task.folder / FOLDER / shard_of(name.branch) / str(name)
        try:
            manifest = Manifest.from_bytes(task.store.read(path), path)
        except ManifestError as error:
            yield str(error)
            continue
        written = {task.store.root / output.path: output.size for output in manifest.outputs}
        promised = set(task.output_paths())
        for final in sorted({*written, *promised}):
            size = snapshot.sizes(final.parent, task.store).get(final.name)
            if final not in written:
                yield f"{final.name} was not made yet: it is new"
            elif final not in promised:
                yield f"{final.name} is not among the outputs any more"
            elif size is None:
                yield f"{final.name} is gone"
            elif size != written[final]:
                yield f"{final.name} has {size} bytes, but was written with {written[final]}"


def _numbers(members: list[AnalysisTask], total: int) -> str:
    if total == 1 or len(members) == total:
        return ""
    numbers = [str(member.branch_number) for member in members]
    return f" ({', '.join(numbers[:8])}{', ...' if len(numbers) > 8 else ''})"
