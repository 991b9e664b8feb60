from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.engine.errors import StaleError
from analysis.engine.snapshot import Snapshot
from tests.engine.toy_chain import Count, Read, Sum, World, chain_states, make, states

pytestmark = pytest.mark.usefixtures("world")


def test_stale_is_run_again_unless_law_cfg_says_otherwise(world: World, stale: Callable[..., None]) -> None:
    make(Sum())
    world.settings["Count"] = {"x": 1}
    assert [Snapshot().is_complete(task) for task in (Read(), Count(), Sum())] == [True, False, False]
    stale(default="error", Sum="rerun")
    with pytest.raises(
        StaleError, match=r"^Count: 3 branches are stale, and law\.cfg says .*: ask --why, then --accept"
    ):
        Snapshot().is_complete(Count())
    assert not Snapshot().is_complete(Sum())
    stale(default="rerun", Count="warn")
    assert Snapshot().is_complete(Count())


def test_stale_error_names_a_single_task(world: World, stale: Callable[..., None]) -> None:
    make(Sum())
    world.settings["Sum"] = {"x": 1}
    stale(Sum="error")
    with pytest.raises(StaleError, match=r"^Sum is stale, and"):
        make(Sum())


def test_missing_branches_of_a_used_workflow_still_run(
    world: World, stale: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    make(Sum())
    stale(Read="warn")
    world.settings["Read"] = {"x": 1}
    caplog.clear()
    assert Snapshot().is_complete(Read())
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "Read: 3 branches are stale, and used all the same because law.cfg says so: see --why"
    ]
    (Path(Read().folder) / "read_1.txt").unlink()
    assert not Snapshot().is_complete(Read())
    assert make(Read()) == ["Read branch 1"]
    assert states(Read()) == "scs"


def test_what_is_made_of_stale_outputs_says_so_and_is_not_current_for_good(
    world: World, stale: Callable[..., None]
) -> None:
    make(Read())
    world.settings["Read"] = {"x": 1}
    world.contents["Read"] = "what the new setting makes"
    stale(Read="warn")
    assert make(Sum()) == ["Count branch 0", "Count branch 1", "Count branch 2", "Sum"]
    snapshot = Snapshot()
    assert snapshot.required_manifest(Count(branch=1)).stale_inputs == ("Read branch 1",)
    assert set(snapshot.required_manifest(Sum()).stale_inputs) == {f"Read branch {b}" for b in range(3)}
    assert chain_states() == "sss ccc c"
    assert make(Sum()) == []
    with_stale = Snapshot().recipes.digest(Count(branch=1))
    stale()
    assert chain_states() == "sss sss s"
    assert Snapshot().recipes.digest(Count(branch=1)).upstream != with_stale.upstream
    assert len(make(Sum())) == 7
    assert chain_states() == "ccc ccc c"
    assert Snapshot().required_manifest(Sum()).stale_inputs == ()


def test_without_stale_inputs_nothing_is_recorded(stale: Callable[..., None]) -> None:
    stale(default="warn")
    make(Sum())
    assert Snapshot().stale_requirements(Sum()) == []
    assert Snapshot().required_manifest(Sum()).stale_inputs == ()
