from __future__ import annotations

import os
from pathlib import Path

import pytest

from analysis.engine.backends import joblogs
from analysis.engine.backends.joblogs import Attempt, timestamp
from analysis.engine.garbage import find_garbage
from analysis.engine.snapshot import Snapshot
from analysis.engine.storage.local import LocalStore
from tests.engine.backends.batch_toys import BatchInput, BatchToy


@pytest.fixture
def workflow(store: Path) -> BatchToy:  # noqa: ARG001
    """A workflow of two branches that ran, with logs of these and of one that is gone."""
    BatchInput().run()
    workflow = BatchToy(what="pass+pass")
    for branch in workflow.branch_tasks():
        branch.run()
    for number in range(3):
        attempt = Attempt(number, timestamp(1.6e9), "0a1b-0", "ok")
        joblogs.write(LocalStore(Path("/")), Path(workflow.folder), attempt, b"log", None)
    (Path(workflow.folder) / "logs" / "note.txt").touch()
    return workflow


def test_logs_belong_to_their_branches(workflow: BatchToy, store: Path) -> None:
    found = {os.path.basename(item.file.relative): item.why for item in find_garbage(LocalStore(store)).garbage}  # noqa: PTH119
    assert found == {
        "2.20200913T122640000.0a1b-0.ok.log.gz": "branch does not exist any more",
        "note.txt": "no log of a job",
    }
    assert workflow.complete()


def test_logs_are_no_outputs_for_a_snapshot(workflow: BatchToy) -> None:
    snapshot = Snapshot()
    assert set(snapshot.sizes(workflow.folder, workflow.store)) == {"toy_0.txt", "toy_1.txt"}
    assert snapshot.states(workflow) == {0: "current", 1: "current"}
