from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import luigi
import pytest

import analysis.tasks
from analysis.engine import code
from analysis.engine.code import CodeError, closure, module_digest
from tests.engine.toy_project import Toy, digest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toy]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Toy(tmp_path)
    code.forget()


def test_closure_has_physics_whole_and_of_tasks_what_run_reaches(toy: Toy) -> None:
    found = toy.code()
    assert set(found.units) == {
        "physics.mass",
        "physics.constants",
        "physics.deep",
        "physics:mass",
        "tasks.base:Base.factor",
        "tasks.base:Base.helper",
        "tasks.base:LIMIT",
        "tasks.source:Source._parse",
        "tasks.source:Source.result",
        "tasks.stage:Row",
        "tasks.stage:Stage.run",
        "tasks.stage:TABLE",
        "tasks.stage:fill",
    }
    assert found.packages == ("numpy", "yaml")
    assert all(len(d) == 16 and int(d, 16) >= 0 for d in found.units.values())


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("physics/mass.py", "  # comment", "", id="comment"),
        pytest.param("physics/mass.py", '"""Mass."""', '"""The mass."""', id="docstring"),
        pytest.param("physics/mass.py", '    """Mass."""\n', "", id="docstring removed"),
        pytest.param("physics/mass.py", '"""Masses."""\n', "", id="docstring of the module"),
        pytest.param("physics/constants.py", "SCALE = 2\n", 'SCALE = 2\n"""Scale."""\n', id="docstring of a constant"),
        pytest.param("physics/mass.py", "y = x * SCALE", "y = (x  *\n      SCALE)", id="layout"),
        pytest.param("physics/mass.py", "def mass", "\n\n\ndef mass", id="blank lines"),
        pytest.param("physics/mass.py", "x: Array) -> Array", "x) -> list[int]", id="annotation"),
        pytest.param("physics/mass.py", "y = x", "y: int = x", id="annotation of a variable"),
        pytest.param("physics/mass.py", "types import Array", "types import Array as A", id="type-checking import"),
        pytest.param("physics/mass.py", "import TYPE_CHECKING", "import TYPE_CHECKING, Any", id="typing"),
        pytest.param("physics/types.py", "list", "tuple", id="module for type checkers"),
        pytest.param("physics/unused.py", "0", "1", id="re-exported but not used"),
        pytest.param("physics/registry.py", "import unused", "import deep", id="plumbing module"),
        pytest.param("config.py", "VALUE = 1", "VALUE = 2", id="settings"),
        pytest.param("__init__.py", '"1"', '"2"', id="version of the project"),
        pytest.param("engine.py", "return f", "return lambda: f()", id="engine"),
        pytest.param("tasks/stage.py", "far():\n    return 5", "far():\n    return 6", id="reached by output"),
        pytest.param("tasks/stage.py", "Source.req(self)", "Source()", id="requires"),
        pytest.param("tasks/stage.py", '"""Run."""', '"""Go."""', id="docstring of run"),
        pytest.param("tasks/stage.py", "import requests", "import yaml", id="package that run does not use"),
        pytest.param("tasks/base.py", "default=1", "default=4", id="parameter"),
        pytest.param("tasks/base.py", "return 0", "return 1", id="method that is not reached"),
        pytest.param("tasks/base.py", "'Base'", "'Task'", id="title"),
        pytest.param("tasks/base.py", "    def helper", "    @engine_decorator\n    def helper", id="engine decorator"),
        pytest.param("tasks/source.py", "return 2", "return 3", id="other method of a required task"),
        pytest.param("tasks/source.py", "        pass", "        print()", id="run of a required task"),
    ],
)
def test_edits_that_change_no_result(toy: Toy, file: str, old: str, new: str) -> None:
    packages = toy.code().packages
    assert toy.changes(file, old, new) == set()
    assert toy.code().packages == packages


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        pytest.param("physics/constants.py", "2", "3", {"physics.constants"}, id="constant"),
        pytest.param("physics/constants.py", "2", "2.0", {"physics.constants"}, id="type of a constant"),
        pytest.param("physics/mass.py", "y = x", "z = y = x", {"physics.mass"}, id="names count"),
        pytest.param("physics/mass.json", "1", "2", {"physics.mass"}, id="data file"),
        pytest.param("physics/deep.py", "return 1", "return 2", {"physics.deep"}, id="import within a function"),
        pytest.param("physics/__init__.py", '"mass"]', '"mass"]\nX = 1', {"physics", "physics.unused"}, id="code"),
        pytest.param(
            "physics/__init__.py", ".mass import mass", ".mass import SCALE as mass", {"physics:mass"}, id="as"
        ),
        pytest.param(
            "physics/__init__.py",
            ".mass import mass",
            ".unused import unused as mass",
            {"physics:mass", "physics.mass", "physics.constants", "physics.deep", "physics.unused"},
            id="re-export of something else",
        ),
        pytest.param("physics/mass.py", "if TYPE_CHECKING", "if not TYPE_CHECKING", {"physics.mass", "physics.types"}),
        pytest.param("tasks/base.py", "LIMIT = 3", "LIMIT = 4", {"tasks.base:LIMIT"}, id="constant of a task module"),
        pytest.param("tasks/base.py", "factor = 2", "factor = 3", {"tasks.base:Base.factor"}, id="constant of a class"),
        pytest.param(
            "tasks/base.py", "return work(LIMIT)", "return 2 * work(LIMIT)", {"tasks.base:Base.helper"}, id="inherited"
        ),
        pytest.param("tasks/stage.py", "x: int", "x: float", {"tasks.stage:Row"}, id="field"),
        pytest.param("tasks/stage.py", "TABLE = {}", "TABLE = {}\nTABLE['x'] = 1", {"tasks.stage:TABLE"}, id="changed"),
        pytest.param("tasks/stage.py", "Row(a), T", "Row(-a), T", {"tasks.stage:fill"}, id="helper function"),
        pytest.param("tasks/source.py", "json.loads('1')", "2", {"tasks.source:Source._parse"}, id="method of another"),
        pytest.param(
            "tasks/stage.py",
            "        fill(",
            "        far()\n        fill(",
            {"tasks.stage:Stage.run", "tasks.stage:far"},
        ),
        pytest.param(
            "tasks/stage.py",
            "        fill(",
            "        super().unreached()\n        fill(",
            {"tasks.stage:Stage.run", "tasks.base:Base.unreached"},
            id="super",
        ),
        pytest.param(
            "tasks/stage.py",
            "        fill(",
            "        getattr(self.requires(), 'other')()\n        fill(",
            {"tasks.stage:Stage.run", "tasks.source:Source.other"},
            id="getattr",
        ),
        pytest.param(
            "tasks/stage.py",
            "from TOY.physics import mass",
            "import TOY.physics\n        mass = TOY.physics.mass",
            {"tasks.stage:Stage.run", "physics.unused"},
            id="a package as a whole",
        ),
    ],
)
def test_edits_that_may_change_results(toy: Toy, file: str, old: str, new: str, expected: set[str]) -> None:
    if expected == {"physics", "physics.unused"}:
        expected |= {"physics:unused"}
    assert toy.changes(file, old, new) - {"physics:unused"} == expected - {"physics:unused"}


def test_data_files_are_those_named_like_the_module(toy: Toy) -> None:
    before = toy.code().units
    for name in ("massive.json", "mass.pyi", "mass.py~", "mass.json~", "other.json"):
        toy.write(f"physics/{name}", "1")
    assert toy.code().units == before
    toy.write("physics/mass.html.j2", "1")
    assert toy.code().units["physics.mass"] != before["physics.mass"]


def test_packages_of_what_run_uses(toy: Toy) -> None:
    toy.edit("tasks/stage.py", "        fill(", "        requests.get(luigi.__version__)\n        fill(")
    assert toy.code().packages == ("luigi", "numpy", "requests", "yaml")


def test_modules_that_are_found_by_name_count_if_they_are_named(toy: Toy) -> None:
    assert "physics.unused" in toy.code(modules=("physics.unused",)).units
    with pytest.raises(CodeError, match=r"module toy\d+\.physics\.unsued cannot be found: correct its name"):
        toy.code(modules=("physics.unsued",))


def test_star_and_module_imports_of_helpers(toy: Toy) -> None:
    toy.write("tasks/helpers.py", "from TOY.physics.unused import unused\ndef help():\n    return unused()\n")
    toy.edit("tasks/stage.py", "import requests", "from TOY.tasks.helpers import *\nfrom TOY.tasks import helpers")
    assert "tasks.helpers:help" not in toy.code().units
    toy.edit("tasks/stage.py", "        fill(", "        help()\n        fill(")
    assert {"tasks.helpers:help", "physics.unused"} <= toy.code().units.keys()
    toy.edit("tasks/stage.py", "        help()", "        helpers.help()")
    assert {"tasks.helpers:help", "physics.unused"} <= toy.code().units.keys()


def test_task_without_run_of_its_own_has_that_of_its_base(toy: Toy) -> None:
    toy.write("tasks/wrap.py", "from TOY.tasks.stage import Stage\nclass Wrap(Stage):\n    factor = 7\n")
    units = toy.code("Wrap").units
    assert {"tasks.stage:Stage.run", "tasks.wrap:Wrap.factor", "tasks.base:Base.factor"} <= units.keys()
    toy.write("tasks/none.py", "from TOY.tasks.base import Base\nclass None_(Base):\n    pass\nNone1 = None_\n")
    assert toy.code("Source").units.keys() == {"tasks.source:Source.run"}


def test_task_class_made_in_a_function_takes_its_module_whole() -> None:
    class Local(luigi.Task):  # type: ignore[misc]
        def run(self) -> None:
            """Nothing."""

    assert __name__ in closure(Local).units


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(:\n", r"toy\d+/physics/deep\.py is not valid Python in line 1 \(.+\): correct it"),
        ("x = '\0'\n", r"toy\d+/physics/deep\.py is not valid Python.* \(.+\): correct it"),
    ],
)
def test_broken_source_is_named(toy: Toy, text: str, message: str) -> None:
    toy.write("physics/deep.py", text)
    with pytest.raises(CodeError, match=message):
        toy.code()


def test_unreadable_source_is_named(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "constants.py":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    expected = r"^toy\d+/physics/constants\.py cannot be read \(permission denied\): make it readable"
    with pytest.raises(CodeError, match=expected):
        toy.code()


def test_files_are_read_once_per_process(toy: Toy) -> None:
    toy.code()
    stage = sys.modules[f"{toy.name}.tasks.stage"].Stage
    before = closure(stage)
    toy.edit("physics/constants.py", "2", "3")
    assert closure(stage) is before
    assert module_digest(f"{toy.name}.physics.constants") == digest("SCALE = 2")
    code.forget()
    assert module_digest(f"{toy.name}.physics.constants") == digest("SCALE = 3")


def test_closure_depends_neither_on_the_hash_seed_nor_on_the_place(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "analysis", tmp_path / "analysis", ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "import json, dataclasses; from analysis.engine.code import closure; from analysis import tasks\n"
        "print(json.dumps({n: dataclasses.asdict(closure(getattr(tasks, n))) for n in tasks.__all__}))"
    )
    outputs = set()
    for seed, place in enumerate((REPOSITORY, tmp_path)):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed + 1), "PYTHONPATH": str(place)}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
        )
        outputs.add(done.stdout.splitlines()[-1])
    assert len(outputs) == 1


def project_closure(name: str) -> tuple[set[str], set[str]]:
    found = closure(getattr(analysis.tasks, name))
    return {unit.removeprefix("analysis.") for unit in found.units}, set(found.packages)


def test_stages_depend_on_their_own_physics() -> None:
    units, packages = project_closure("SelectEvents")
    assert {"columnar.select", "columnar.sources", "tasks.select_events:chunk_steps"} <= units
    assert not [u for u in units if u.startswith(("stats.", "plotting.", "ml.", "config", "engine", "errors"))]
    assert {"awkward", "uproot"} <= packages
    assert not packages & {"matplotlib", "pyhf", "xgboost", "analysis"}
    units, packages = project_closure("FillHistograms")
    assert {"columnar.histograms", "templates"} <= units
    assert "ml.training" not in units
    assert not packages & {"matplotlib", "pyhf", "xgboost"}
    assert "generator:write_nanoaod" in project_closure("GenerateEvents")[0]


def test_figures_depend_on_what_they_read_of_other_tasks() -> None:
    units, packages = project_closure("PlotPulls")
    assert {"stats.fit", "stats.covariance", "plotting.fit"} <= units
    assert {"tasks.fit_model:FitModel.result", "tasks.figures:FiguresTask.save"} <= units
    assert "tasks.fit_model:FitModel.run" not in units
    assert {"matplotlib", "mplhep"} <= packages
    assert "tasks.train_model:TrainModel.training_sample" in project_closure("PlotTraining")[0]


@pytest.mark.parametrize("name", analysis.tasks.__all__)
def test_no_task_depends_on_how_it_is_wired(name: str) -> None:
    units, _ = project_closure(name)
    assert units
    assert not [u for u in units if u.rpartition(".")[2] in code.NOT_RUN or u.startswith(("engine", "config"))]
