"""What ``--accept`` and ``--verify`` do to the manifests of outputs that are there."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple, cast

from analysis.engine import plan
from analysis.engine.commit import Commit, hold
from analysis.engine.concurrent import LIMIT, concurrently
from analysis.engine.errors import ParameterError
from analysis.engine.manifest import FOLDER, OutputRecord, checksum
from analysis.engine.shards import shard_of
from analysis.engine.snapshot import Snapshot, State
from analysis.engine.storage.base import DamageError, OutageError, Store
from analysis.engine.withdrawal import names_of

if TYPE_CHECKING:
    from analysis.engine.storage.remote import RemoteStore
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
        snapshot.read_manifests(stale)
        for branch in stale:
            done = _accept(branch, snapshot)
            accepted += done
            unreadable += not done
        if stale:
            print(f"{task.title()}: {len(stale)} accepted")
    print(f"{accepted} accepted as current" + (f", {unreadable} have no readable manifest" if unreadable else ""))
    return 1 if unreadable else 0


def _accept(branch: AnalysisTask, snapshot: Snapshot) -> bool:
    with hold(branch) as lock:
        listed = branch.store.names(branch.folder / FOLDER / shard_of(branch.branch_number))
        seen = {name for name, _ in snapshot.names(branch)}
        is_as_seen = set(names_of(branch.branch_number, listed)) == seen
        manifest = (snapshot if is_as_seen else Snapshot()).manifest(branch)
        if manifest is None:
            return False
        Commit(branch, lock, listed).adopt(manifest, "accepted")
        return True


class Finding(Enum):
    """What became of an output."""

    WHOLE = auto()
    DAMAGED = auto()
    """It is not what was written."""
    MISSING = auto()
    """The store says that it is not there."""


class Checked(NamedTuple):
    """A branch that was looked at.

    Args:
        branch: the branch, or task.
        findings: of its outputs by path, relative to the store; without those that the store did not tell of.
        unknown: why the store did not tell of some of them; empty if it did.
    """

    branch: AnalysisTask
    findings: Mapping[str, Finding]
    unknown: str = ""


def verify_checksums(root: AnalysisTask) -> int:
    """Compare all outputs of a task, and of what it requires, with their checksums.

    Servers are asked for the checksums of their files; what they cannot tell is downloaded. The manifest of a damaged
    output is withdrawn, so that the next run makes it again. Of what a server does not say, nothing is concluded.

    Returns:
        Exit code: 1 if anything is damaged, or could not be looked at; 0 otherwise.

    Raises:
        OSError: if a store cannot be listed, or a manifest cannot be withdrawn.
    """
    snapshot = Snapshot()
    good = bad = missing = unknown = 0
    outages: dict[PurePath, str] = {}
    for task, _ in plan.walk(root, snapshot, everything=True):
        branches = list(task.branch_tasks())
        there = [branch for branch in branches if snapshot.record(branch) is not None]
        missing += len(branches) - len(there)
        snapshot.read_manifests(there)
        at_once = 1 if task.store.kind == "local" else LIMIT
        for checked in concurrently(functools.partial(_check, snapshot, outages), there, at_once):
            lines = [f"{path} {_SAID[finding]}" for path, finding in checked.findings.items() if finding in _SAID]
            found = set(checked.findings.values())
            print(*(f"{checked.branch.title()}: {line}" for line in lines), sep="\n", end="\n" if lines else "")
            if Finding.DAMAGED in found:
                bad += 1
                with hold(checked.branch) as lock:
                    Commit(checked.branch, lock).withdraw()
            elif Finding.MISSING in found:
                missing += 1
            elif checked.unknown:
                unknown += 1
                print(f"{checked.branch.title()} is not known to be whole: {checked.unknown}", file=sys.stderr)
            else:
                good += 1
    counts = [(missing, "missing"), (unknown, "not known")]
    print(", ".join([f"{good} whole", f"{bad} damaged", *(f"{n} {what}" for n, what in counts if n)]))
    return 1 if bad or unknown else 0


_SAID = {
    Finding.DAMAGED: "is not what was written: it counts as missing now",
    Finding.MISSING: "is not there any more",
}


def _check(snapshot: Snapshot, outages: dict[PurePath, str], branch: AnalysisTask) -> Checked:
    """Look at the outputs of a branch.

    Args:
        snapshot: the store.
        outages: why a store does not answer, by its root; it is asked no more then.
        branch: the branch.
    """
    store, findings = branch.store, dict[str, Finding]()
    if store.root in outages:
        return Checked(branch, findings, outages[store.root])
    manifest = snapshot.manifest(branch)
    if manifest is None:
        return Checked(branch, {f"the manifest {snapshot.record(branch)}": Finding.DAMAGED})
    unknown = ""
    for output in manifest.outputs:
        try:
            findings[output.path] = _look_at(store, output)
        except OutageError as error:
            outages[store.root] = unknown = str(error)
            break
        except OSError as error:
            unknown = f"{store.root / output.path}: {(error.strerror or str(error)).lower()}"
    return Checked(branch, findings, unknown)


def _look_at(store: Store, output: OutputRecord) -> Finding:
    address = store.root / output.path
    try:
        if isinstance(address, Path):
            return Finding.WHOLE if checksum(address) == output.adler32 else Finding.DAMAGED
        remote = cast("RemoteStore", getattr(store, "remote", store))
        told = remote.checksum(address)
        if told is not None:
            return Finding.WHOLE if told.lower() == output.adler32.lower() else Finding.DAMAGED
        # not localized(): the copy that is here already says nothing of the file that is there
        with TemporaryDirectory(prefix=f"analysis-{os.getpid()}-") as folder:
            remote.fetch(address, output.size, output.adler32, Path(folder, address.name))
    except FileNotFoundError:
        return Finding.MISSING
    except DamageError:
        return Finding.DAMAGED
    return Finding.WHOLE
