"""Exactly what an edit concerns is stale after it: on the chain of the generated campaign, and on files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from analysis.generator import write_nanoaod
from tests.integration.edit_table import TABLES, documentation
from tests.integration.edits import HISTOGRAMS, MADE_INTO, WEIGHTED, Change, Edit, Project, expand
from tests.integration.edits_of_code import DATA_LAYOUT, RENAMED_LOCAL
from tests.integration.edits_of_inputs import FEWER_BINS, FILES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "what-makes-stale.md"
DEMO = [edit for edits in TABLES.values() if edits is not FILES for edit in edits]
CAMPAIGN = """\
name: small
luminosity: 3378
datasets:
  wjets:
    cross_section: 15487.164
    files:
      - wjets_0.root
      - wjets_1.root
      - wjets_2.root
"""


def check(project: Project, edit: Edit, family: str, **parameters: Any) -> None:
    """Compare what is stale and missing with what is expected."""
    with project.edited(edit.changes):
        states = project.states(family, **{**parameters, **edit.parameters})
    missing = expand(edit.missing, states)
    stale = expand(edit.stale, states) - missing
    found = {kind: {name for name, state in states.items() if state == kind} for kind in ("stale", "missing")}
    differences = {
        "not stale, but has to be": stale - found["stale"],
        "stale, but must not be": found["stale"] - stale,
        "not missing, but has to be": missing - found["missing"],
        "missing, but must not be": found["missing"] - missing,
    }
    wrong = {problem: sorted(names) for problem, names in differences.items() if names}
    assert wrong == {}


@pytest.fixture(scope="module")
def demo_copy(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished demo in another checkout, with its store at another place."""
    return Project.copy(tmp_path_factory.mktemp("copy"), demo_store)


@pytest.mark.integration
@pytest.mark.parametrize("edit", DEMO, ids=lambda edit: edit.what)
def test_edit_makes_stale_what_it_concerns(demo_copy: Project, edit: Edit) -> None:
    check(demo_copy, edit, "Report")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Figures of three files, one branch for each."""
    project = Project.copy(tmp_path_factory.mktemp("files"))
    for number, name in enumerate(("wjets_0", "wjets_1", "wjets_2", "spare")):
        write_nanoaod(project.path(f"files/{name}.root"), "wjets", 500, seed=3, first_event=500 * number)
    project.path("files/small.yaml").write_text(CAMPAIGN)
    project.law("PlotVariables", "--campaign", "files/small.yaml", "--merge-chunks", "1")
    return project


@pytest.mark.integration
@pytest.mark.parametrize("edit", FILES, ids=lambda edit: edit.what)
def test_change_of_files_makes_stale_what_it_concerns(files: Project, edit: Edit) -> None:
    check(files, edit, "PlotVariables", campaign="files/small.yaml", merge_chunks=1)


def outputs(project: Project) -> dict[str, bytes]:
    """Contents of all outputs by path."""
    paths = (p for p in project.store.rglob("*") if p.is_file() and p.parent.name not in {"manifests", "history"})
    return {p.relative_to(project.store).as_posix(): p.read_bytes() for p in paths}


def reported(said: str, how: str, names: Iterable[str]) -> set[str]:
    """Names of what a run reports; of those with a variable for the number of the branch."""
    found = {title.replace(" branch", "") for title in re.findall(rf"^(.+): {how}", said, re.MULTILINE)}
    figures = {f"PlotVariables {i}": n for i, n in enumerate(n for n in names if n.startswith("PlotVariables "))}
    return {figures.get(name, name) for name in found}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("changes", "ran", "adopted", "new"),
    [
        pytest.param(
            RENAMED_LOCAL,
            ("SelectEvents", "ReduceEvents"),
            ("ProduceColumns", "TrainModel →", "PlotCutflow"),
            set(),
            id="local variable renamed",
        ),
        pytest.param(DATA_LAYOUT, ("ProduceColumns * nominal weights",), WEIGHTED, set(), id="layout of a data file"),
        pytest.param(
            FEWER_BINS,
            (*HISTOGRAMS, "PlotVariables n_jets", "Report"),
            (),
            {"n_jets", "n_jets_0", "report"},
            id="binning of a control variable",
        ),
    ],
)
def test_rerun_adopts_what_is_made_of_the_same_files(
    demo_store: Path,
    tmp_path: Path,
    changes: tuple[Change, ...],
    ran: tuple[str, ...],
    adopted: tuple[str, ...],
    new: set[str],
) -> None:
    project = Project.copy(tmp_path / "copy", demo_store)
    names, before = list(project.states("Report")), outputs(project)
    with project.edited(changes):
        said = project.law("Report")
        assert set(project.states("Report").values()) == {"current"}
    expected = expand(ran, names)
    assert reported(said, "done in", names) == expected
    assert reported(said, "unchanged", names) == expand(adopted, names) - expected
    after = outputs(project)
    assert after.keys() == before.keys()
    assert {Path(path).stem for path in after if after[path] != before[path]} == new


def test_docs_have_the_tables() -> None:
    assert PAGE.read_text().endswith(f"\n\n{documentation()}\n"), (
        "the tables of docs/what-makes-stale.md are not those of tests/integration/edit_table.py: "
        "replace them by the output of python -m tests.integration.edit_table"
    )


def test_there_are_enough_edits_and_none_twice() -> None:
    titles = [edit.what for edits in TABLES.values() for edit in edits]
    assert len(titles) == len(set(titles)) >= 35
    assert {family for family in MADE_INTO if f"`{family}" not in documentation()} == set()


def test_patterns_stand_for_names() -> None:
    names = ["SelectEvents ttbar 0", "SelectEvents ttbar_ME_var 0", "PlotCutflow all", "PlotFit", "Report"]
    assert expand(["SelectEvents ttbar"], names) == {"SelectEvents ttbar 0"}
    assert expand(["SelectEvents *"], names) == set(names[:2])
    assert expand(["FitModel →"], [*names, "FitModel", "PlotPulls", "TabulateYields"]) == {
        "FitModel", "PlotFit", "PlotPulls", "TabulateYields", "Report",
    }  # fmt: skip
    with pytest.raises(AssertionError, match="nothing is called 'TrainModel'"):
        expand(["TrainModel"], names)
