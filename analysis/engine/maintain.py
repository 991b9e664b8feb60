"""What ``--accept`` and ``--verify`` do to the manifests of outputs that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.engine import plan
from analysis.engine.commit import Commit, hold
from analysis.engine.errors import ParameterError
from analysis.engine.manifest import OutputRecord, checksum
from analysis.engine.snapshot import Snapshot, State
from analysis.engine.storage.base import DamageError, Store

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask


def accept(root: AnalysisTask, families: str) -> int:
    """Take stale outputs over for today's recipes; the manifests keep who did it, when, and from which recipe.

    Args:
        root: the task; what it requires is meant as well.
        families: names of task families, separated by commas; ``all`` for all.

    Returns:
        Exit code: 1 if a manifest could not be read, 0 otherwise.

    Raises:
        ParameterError: for a family that the task does not require.
    """
    snapshot = Snapshot()
    tasks = plan.in_order_of_data(task for task, _ in plan.walk(root, snapshot, everything=True))
    known = {task.get_task_family() for task in tasks}
    wanted = known if families == "all" else set(families.split(","))
    if unknown := wanted - known:
        msg = (
            f"--accept {', '.join(sorted(unknown))}: {root.get_task_family()} requires {', '.join(sorted(known))} only"
        )
        raise ParameterError(msg)
    accepted = unreadable = 0
    chosen = [task for task in tasks if task.get_task_family() in wanted]
    # all of them before the first one is accepted: an error leaves everything as it is
    found = [[branch for branch in task.branch_tasks() if snapshot.state(branch) is State.STALE] for task in chosen]
    for task, stale in zip(chosen, found, strict=True):
        for branch in stale:
            done = _accept(branch)
            accepted += done
            unreadable += not done
        if stale:
            print(f"{task.title()}: {len(stale)} accepted")
    print(f"{accepted} accepted as current" + (f", {unreadable} have no readable manifest" if unreadable else ""))
    return 1 if unreadable else 0


def _is_damaged(store: Store, output: OutputRecord) -> bool:
    address = store.root / output.path
    try:
        with store.localized(address, output.size, output.adler32) as path:
            return checksum(path) != output.adler32
    except DamageError:
        return True


def _accept(branch: AnalysisTask) -> bool:
    with hold(branch) as lock:
        manifest = Snapshot().manifest(branch)
        if manifest is None:
            return False
        Commit(branch, lock).adopt(manifest, "accepted")
        return True


def verify_checksums(root: AnalysisTask) -> int:
    """Compare all outputs of a task, and of what it requires, with their checksums.

    The manifest of a damaged output is withdrawn, so that the next run makes it again.

    Returns:
        Exit code: 1 if anything is damaged, 0 otherwise.
    """
    snapshot = Snapshot()
    good = bad = missing = 0
    for task, _ in plan.walk(root, snapshot, everything=True):
        for branch in task.branch_tasks():
            name = snapshot.record(branch)
            if name is None:
                missing += 1
                continue
            manifest = snapshot.manifest(branch)
            outputs = manifest.outputs if manifest else ()
            wrong = [o.path for o in outputs if _is_damaged(branch.store, o)]
            if manifest is None:
                wrong = [f"the manifest {name}"]
            good, bad = good + (not wrong), bad + bool(wrong)
            for path in wrong:
                print(f"{branch.title()}: {path} is not what was written: it counts as missing now")
            if wrong:
                with hold(branch) as lock:
                    Commit(branch, lock).withdraw()
    print(f"{good} whole, {bad} damaged" + (f", {missing} missing" if missing else ""))
    return 1 if bad else 0
