"""Each stage has a software set: what it imports is in it, with the versions of analysis.txt."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import analysis.tasks as chain
from analysis.engine.code import closure
from analysis.engine.pins import PinnedList, pins_of, read_pins
from analysis.engine.recipes import required_tasks, sandbox_identity
from analysis.engine.task import AnalysisTask

REPOSITORY = Path(__file__).resolve().parents[2]
SETS = {
    "columnar": {
        "GenerateEvents",
        "IndexFiles",
        "SelectEvents",
        "ReduceEvents",
        "ProduceColumns",
        "FillHistograms",
        "MergeHistograms",
        "PlotCutflow",
        "PlotVariables",
        "PlotShifts",
        "Doctor",
    },
    "ml": {"TrainModel", "EvaluateModel", "PlotTraining"},
    "stats": {"BuildModel", "FitModel", "PlotFit", "PlotPulls", "TabulateYields", "Report"},
}
ELSEWHERE = {
    "classad2": "batch systems are asked from outside",
    "gfal2": "of the system",
    "htcondor2": "batch systems are asked from outside",
    "docker": "containers are started from outside",
    "requests": "as docker",
    "s3fs": "for those who have such a store",
    "torch": "for those who have such models",
}
"""What the engine can use, and no set has."""
OF_SOME_SETS = {"hist", "uhi", "xgboost"}
"""What the engine imports for outputs that only some stages have."""


def pinned(name: str) -> PinnedList:
    return read_pins(REPOSITORY / "sandboxes" / f"{name}.txt")


def missing(name: str, packages: Iterable[str]) -> set[str]:
    """Packages, by the name they are imported with, that a list has not: each counts as needing all of the list."""
    pins = pinned(name)
    return {package for package in packages if len(pins_of(pins, [package])) == len(pins.versions)}


def packages_of(task: AnalysisTask) -> set[str]:
    """Top-level packages that a task imports, as its recipe sees them."""
    preloaded = {module.partition(".")[0] for module in task.preload}
    return {*closure(type(task), task.code_modules()).packages, *preloaded}


def stages() -> dict[str, type[AnalysisTask]]:
    """Task classes of the chain by name."""
    classes = {name: value for name, value in vars(chain).items() if isinstance(value, type)}
    return {name: value for name, value in classes.items() if issubclass(value, AnalysisTask)}


def whole_chain(task: AnalysisTask, seen: dict[str, AnalysisTask]) -> Iterator[AnalysisTask]:
    """A task and all that it requires, one per folder of the store."""
    whole = task.whole()
    if whole.relative_folder not in seen:
        seen[whole.relative_folder] = whole
        yield whole
        first = [whole.as_branch(branch) for branch in list(whole.branch_map)[:1]] if whole.is_whole_workflow() else []
        for one in (whole, *first):
            for required in required_tasks(one):
                yield from whole_chain(required, seen)


def imports_of_the_engine() -> set[str]:
    found = set()
    sources = [*(REPOSITORY / "analysis" / "engine").rglob("*.py"), *(REPOSITORY / "analysis").glob("*.py")]
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"analysis"}


def test_each_stage_has_its_set() -> None:
    found: dict[str, set[str]] = {}
    for name, stage in stages().items():
        found.setdefault(stage.pinned_list, set()).add(name)
    assert found == SETS


@pytest.mark.parametrize("name", SETS)
def test_set_has_the_versions_of_the_whole(name: str) -> None:
    assert pinned(name).versions.items() < pinned("analysis").versions.items()


@pytest.mark.parametrize("name", SETS)
def test_engine_runs_in_each_set(name: str) -> None:
    imported = imports_of_the_engine()
    assert imported >= {"luigi", "law", "XRootD", "uproot"} | OF_SOME_SETS
    assert missing(name, imported - ELSEWHERE.keys() - OF_SOME_SETS) == set()


def test_recipes_are_those_of_the_whole_list() -> None:
    """What a stage uses, it finds in its set, and nothing of its recipe depends on which set that is."""
    families = set()
    for task in whole_chain(chain.Report(), {}):
        packages = packages_of(task)
        assert missing(task.pinned_list, packages) == set(), task
        assert sandbox_identity(task.pinned_list, packages) == sandbox_identity("analysis", packages), task
        families.add(task.get_task_family())
    assert families == stages().keys() - {"Doctor"}  # which is no stage


def test_what_a_set_lacks_is_noticed() -> None:
    assert missing("columnar", ["awkward", "pyhf", "xgboost"]) == {"pyhf", "xgboost"}
    assert missing("ml", ["sklearn", "pyhf"]) == {"pyhf"}
    assert missing("stats", ["cabinetry", "xgboost"]) == {"xgboost"}
