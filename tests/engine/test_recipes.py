from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.engine.errors import RecipeCycleError
from analysis.engine.recipe import VERSION
from analysis.engine.recipes import ABSENT, Recipes, combined, sandbox_identity
from analysis.engine.task import AnalysisTask
from tests.engine.toy_chain import Both, Circle, Count, Read, Split, Sum, Use, World, chain_states, forget, make, states
from tests.engine.toy_chain import write_module as write

pytestmark = pytest.mark.usefixtures("world")

REPOSITORY = Path(__file__).resolve().parents[2]
Change = Callable[[World, pytest.MonkeyPatch, Path], None]


def set_configuration(world: World, patch: pytest.MonkeyPatch, folder: Path) -> None:  # noqa: ARG001
    world.settings["Count"] = {"threshold": 31}


def edit_module(world: World, patch: pytest.MonkeyPatch, folder: Path) -> None:  # noqa: ARG001
    write(folder, "mass", "def mass(x):\n    return x + 1\n")


def comment_module(world: World, patch: pytest.MonkeyPatch, folder: Path) -> None:  # noqa: ARG001
    write(folder, "mass", "# why\n\n\ndef mass(x):\n    '''Mass.'''\n    return  x  # units\n")


def add_module(world: World, patch: pytest.MonkeyPatch, folder: Path) -> None:  # noqa: ARG001
    write(folder, "other", "VALUE = 1\n")
    world.modules["Count"] = ("toy_physics.mass", "toy_physics.other")


def change_branch(world: World, patch: pytest.MonkeyPatch, folder: Path) -> None:  # noqa: ARG001
    world.branches[1] = "changed"


def replace_file(world: World, patch: pytest.MonkeyPatch, folder: Path) -> None:  # noqa: ARG001
    world.identities[2] = "another uuid"


def revise_first(world: World, patch: pytest.MonkeyPatch, folder: Path) -> None:  # noqa: ARG001
    patch.setattr(Read, "revision", 1)


def revise_last(world: World, patch: pytest.MonkeyPatch, folder: Path) -> None:  # noqa: ARG001
    patch.setattr(Sum, "revision", 1)


def pin_package(world: World, patch: pytest.MonkeyPatch, folder: Path) -> None:  # noqa: ARG001
    edit_pins(patch, folder, "luigi")


def pin_other_package(world: World, patch: pytest.MonkeyPatch, folder: Path) -> None:  # noqa: ARG001
    edit_pins(patch, folder, "xgboost-cpu")


def edit_pins(patch: pytest.MonkeyPatch, folder: Path, package: str) -> None:
    text = (REPOSITORY / "sandboxes" / "analysis.txt").read_text()
    (folder / "sandboxes").mkdir()
    (folder / "sandboxes" / "analysis.txt").write_text(re.sub(f"(?m)^{package}==", f"{package}==99.", text))
    patch.setenv("ANALYSIS_BASE", str(folder))


def move_checkout(world: World, patch: pytest.MonkeyPatch, folder: Path) -> None:  # noqa: ARG001
    shutil.copytree(REPOSITORY / "sandboxes", folder / "elsewhere" / "sandboxes")
    patch.setenv("ANALYSIS_BASE", str(folder / "elsewhere"))
    (folder / "elsewhere" / "checkout").mkdir()
    shutil.move(folder / "toy_physics", folder / "elsewhere" / "checkout")
    patch.syspath_prepend(folder / "elsewhere" / "checkout")


def reorder(world: World, patch: pytest.MonkeyPatch, folder: Path) -> None:  # noqa: ARG001
    world.settings["Count"] = dict(reversed(world.settings["Count"].items()))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (set_configuration, "ccc sss s"),
        (edit_module, "ccc sss s"),
        (comment_module, "ccc ccc c"),
        (add_module, "ccc sss s"),
        (change_branch, "csc csc s"),
        (replace_file, "ccs ccs s"),
        (revise_first, "sss sss s"),
        (revise_last, "ccc ccc s"),
        (pin_package, "sss sss s"),
        (pin_other_package, "ccc ccc c"),
        (move_checkout, "ccc ccc c"),
        (reorder, "ccc ccc c"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_exactly_what_a_change_concerns_is_stale(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: Change, expected: str
) -> None:
    write(tmp_path, "mass", "def mass(x):\n    return x\n")
    monkeypatch.setattr(Read, "preload", ("luigi.task",))
    world.modules["Count"] = ("toy_physics.mass",)
    world.settings["Count"] = {"threshold": 30, "cuts": ("a", "b")}
    make(Sum())
    assert chain_states() == "ccc ccc c"
    before = digests()
    change(world, monkeypatch, tmp_path)
    forget()
    assert chain_states() == expected
    after = digests()
    assert [b == a for b, a in zip(before, after, strict=True)] == [s == "c" for s in expected.replace(" ", "")]


def digests() -> list[str]:
    recipes = Recipes()
    return [str(recipes.digest(task)) for whole in (Read(), Count(), Sum()) for task in whole.branch_tasks()]


def test_change_of_what_is_required_is_in_the_upstream_half(world: World) -> None:
    before = Recipes().digest(Count(branch=0)), Recipes().digest(Sum())
    world.settings["Count"] = {"threshold": 31}
    after = Recipes().digest(Count(branch=0)), Recipes().digest(Sum())
    assert (before[0].own != after[0].own, before[0].upstream != after[0].upstream) == (True, False)
    assert (before[1].own != after[1].own, before[1].upstream != after[1].upstream) == (False, True)


def test_parameter_that_matters_is_another_recipe_in_another_place() -> None:
    make(Sum())
    assert states(Sum(number=2), Count(number=2)) == "m mmm"
    assert Recipes().recipe(Sum(number=2)).parameters == {"number": "2"}
    assert Recipes().digest(Sum(number=2)).own != Recipes().digest(Sum()).own


@pytest.mark.parametrize("parameters", [{"note": "hello"}, {"yes": True}, {"version": "v2"}])
def test_parameter_that_does_not_matter_is_not_in_the_recipe(parameters: dict[str, Any]) -> None:
    assert Recipes().digest(Sum(**parameters)) == Recipes().digest(Sum())


def test_insignificant_parameter_finds_the_outputs() -> None:
    make(Sum())
    assert make(Sum(note="hello")) == []


def test_recipe_has_all_its_parts(world: World) -> None:
    world.settings["Read"] = {"cut": (1, 2)}
    recipe = Recipes().recipe(Count(branch=1))
    assert recipe.task == "Count"
    assert recipe.version == VERSION
    assert recipe.branch is None
    assert recipe.requirements == {"Read branch 1": str(Recipes().digest(Read(branch=1)))}
    assert "tests.engine.toy_chain:Count.run" in recipe.code
    required = Recipes().recipe(Read(branch=1))
    assert required.settings == {"cut": [1, 2]}
    assert required.branch == "one"
    assert required.external == {"file.root": "uuid 1"}
    assert required.requirements == {}


def test_recipe_of_a_whole_workflow_has_all_branches() -> None:
    recipe = Recipes().recipe(Read())
    assert recipe.branch == {"0": "zero", "1": "one", "2": "two"}
    assert recipe.external == {f"{b} file.root": f"uuid {b}" for b in range(3)}


def test_branch_that_is_added_concerns_itself_and_what_reads_all(world: World) -> None:
    make(Sum())
    world.branches[3] = "three"
    forget()
    assert chain_states() == "cccm cccm s"
    del world.branches[3], world.branches[2]
    forget()
    assert chain_states() == "cc cc s"


def test_file_out_of_reach_that_was_never_read_is_absent(world: World) -> None:
    world.identities[0] = None
    assert Recipes().recipe(Read(branch=0)).external == {"file.root": ABSENT}


def test_only_consumers_of_the_output_that_changed_are_stale(world: World) -> None:
    users = [Use(names=names) for names in ("a", "b", "a+b", "all", "none")]
    for user in users:
        make(user)
    assert states(Split(), *users) == "c c c c c c"
    world.settings["Split"] = {"a": 1}
    assert states(Split(), *users) == "s s c s s c"
    world.settings["Split"] = {"b": 1}
    assert states(Split(), *users) == "s c s s s c"


def test_names_of_outputs_count_only_if_they_are_independent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Split, "independent_outputs", False)
    make(Use(names="a"))
    make(Use(names="none"))
    world.settings["Split"] = {"b": 1}
    assert states(Use(names="a"), Use(names="none")) == "s c"


def test_requirement_that_is_not_needed_is_not_in_the_recipe() -> None:
    assert Recipes().recipe(Use(names="none")).requirements == {}


def test_task_that_is_required_twice_counts_twice() -> None:
    assert len(Recipes().recipe(Both()).requirements) == 2


def test_task_that_requires_its_own_family_is_no_circle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Split, "requires", lambda self: [Split.req(self, number=self.number - 1)] if self.number > 1 else []
    )
    assert Recipes().digest(Split(number=3)) != Recipes().digest(Split(number=2))


def test_circle_is_named() -> None:
    with pytest.raises(RecipeCycleError, match=r"in a circle: Circle b -> Circle c -> Circle a -> Circle b: correct"):
        Recipes().digest(Circle())


def test_recipe_is_computed_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    configuration = Count.configuration

    def count(task: AnalysisTask, outputs: frozenset[str] | None = None) -> Any:
        asked.append(task.get_task_family())
        return configuration(task, outputs)

    monkeypatch.setattr(Count, "configuration", count)
    world.branches = dict.fromkeys(range(50), "x")
    recipes = Recipes()
    for branch in Count().branch_tasks():
        recipes.digest(branch)
    recipes.digest(Sum())
    assert asked == ["Count"]


def test_recipes_are_the_same_in_every_process_and_import_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        "from analysis.engine.recipes import Recipes\n"
        "from tests.engine.toy_chain import *\n"
        "tasks = [*Read().branch_tasks(), *Count().branch_tasks(), Sum(), Use(names='a+b')]\n"
        "heavy = {'numpy', 'awkward', 'uproot', 'pandas', 'matplotlib', 'hist', 'xgboost'} & sys.modules.keys()\n"
        "print(json.dumps([[str(Recipes().digest(t)) for t in tasks], sorted(heavy)]))\n"
    )
    expected = [str(Recipes().digest(task)) for whole in (Read(), Count(), Sum()) for task in whole.branch_tasks()]
    expected.append(str(Recipes().digest(Use(names="a+b"))))
    for seed, folder in (("1", tmp_path / "a"), ("2", tmp_path / "b")):
        folder.mkdir()
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONHASHSEED": seed,
            "ANALYSIS_STORE": str(folder),
            "LAW_HOME": str(folder),
        }
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=folder, capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout) == [expected, []]


def test_sandbox_that_is_not_used_is_not_read() -> None:
    assert sandbox_identity("there_is_no_such_list", []) == {}


def test_combined_digest_depends_on_names_and_digests_only() -> None:
    assert combined({"a": "1", "b": "2"}) == combined({"b": "2", "a": "1"})
    assert len({combined(d) for d in ({"a": "1", "b": "2"}, {"a": "2", "b": "1"}, {"a": "1"}, {})}) == 4
