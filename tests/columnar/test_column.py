"""The registry of column functions."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.columnar import column as registry
from analysis.columnar.column import (
    ColumnFunction,
    column_function,
    depends_on,
    leaves,
    modules_behind,
    object_selection,
    parents,
)
from analysis.columnar.errors import ColumnError
from analysis.columnar.table import Table
from analysis.config import REGIONS, SELECTION, SHIFTS
from tests.columnar.chain import table


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_FUNCTIONS", dict(registry._FUNCTIONS))
    monkeypatch.setattr(registry, "_SELECTIONS", dict(registry._SELECTIONS))


def register(produces: str, *uses: str) -> ColumnFunction:
    @column_function(uses=uses, produces={produces})
    def total(events: Any) -> Any:
        return sum(events[name] for name in uses)

    return total


def test_a_registered_function_makes_its_column() -> None:
    register("test_sum", "event", "run")
    assert table(event=[1, 2], run=[10, 20])["test_sum"].to_list() == [11, 22]


def test_columns_are_computed_from_computed_columns() -> None:
    register("test_one", "event")
    register("test_two", "test_one", "run")
    assert leaves(["test_two"]) == {"event", "run"}
    assert leaves(["test_two"], available={"test_one"}) == {"test_one", "run"}
    assert leaves(["test_two"], available={"test_two"}) == {"test_two"}
    assert table(event=[1, 2], run=[10, 20])["test_two"].to_list() == [11, 22]


def test_two_functions_must_not_make_one_column() -> None:
    @column_function(uses={"event"}, produces={"test_column"})
    def first(events: Any) -> Any:
        return events.event

    with pytest.raises(ColumnError) as caught:

        @column_function(uses={"event"}, produces={"test_column"})
        def second(events: Any) -> Any:
            return events.event

    message = str(caught.value)
    assert message.startswith("column 'test_column' is produced by ")
    assert "first and by " in message
    assert message.endswith("second: rename one")


def test_registering_one_function_again_is_no_conflict() -> None:
    """A module that is executed twice, in a notebook, say."""
    register("test_column", "event")
    register("test_column", "run")
    assert parents("test_column") == {"run"}


@pytest.mark.parametrize("start", ["test_a", "test_b", "test_c"])
def test_columns_that_use_each_other_in_a_circle(start: str) -> None:
    register("test_a", "test_b", "event")
    register("test_b", "test_c")
    register("test_c", "test_a")
    with pytest.raises(ColumnError, match="columns use each other in a circle: ") as caught:
        leaves([start])
    circle = str(caught.value).split(": ")[1].split(" -> ")
    assert circle[0] == circle[-1] == start
    assert set(circle) == {"test_a", "test_b", "test_c"}


@pytest.mark.parametrize("ask", [lambda events: events["test_a"], lambda _: depends_on("test_a", {"Jet.pt"})])
def test_a_circle_is_named_wherever_it_is_met(ask: Any) -> None:
    register("test_a", "test_b")
    register("test_b", "test_a")
    with pytest.raises(ColumnError, match="columns use each other in a circle: test_"):
        ask(table(event=[1]))


@pytest.mark.parametrize("column", ["no_such_column", "Jet.no_such_field", "SelectedJet.no_such_field"])
def test_unknown_column(column: str) -> None:
    events = table(Jet__pt=[[40.0]], Jet__eta=[[0.0]], Jet__jetId=[[6]])
    with pytest.raises(ColumnError, match=rf"^memory has no column {column.replace('Selected', '')}, and no column"):
        events[column]


def test_a_column_made_from_an_unknown_one() -> None:
    register("test_column", "no_such_column")
    with pytest.raises(ColumnError, match=r"^memory has no column no_such_column, and no column function makes it$"):
        table(event=[1])["test_column"]


def test_selected_objects_have_the_fields_of_the_objects() -> None:
    @object_selection("TestJet", of="Jet", uses={"Jet.pt"})
    def central(events: Any) -> Any:
        return events.Jet.pt > 10

    events: Table = table(Jet__pt=[[5.0, 15.0], [20.0]], Jet__mass=[[1.0, 2.0], [3.0]])
    assert events["TestJet.mass"].to_list() == [[2], [3]]
    assert parents("TestJet.mass") == {"TestJet", "Jet.mass"}
    assert leaves(["TestJet.mass"]) == {"Jet.pt", "Jet.mass"}


@pytest.mark.parametrize(
    ("column", "depends"),
    [
        ("Jet.pt", True),
        ("SelectedJet", True),
        ("SelectedJet.eta", True),
        ("ht", True),
        ("trijet_mass", True),
        ("in_4j2b", True),
        ("weight_btag_var_3_down", True),
        ("Jet.eta", False),
        ("one_lepton", False),
        ("lepton_pt", False),
        ("weight_scale_var_up", False),
        ("no_such_column", False),
    ],
)
def test_what_depends_on_the_transverse_momenta_of_jets(column: str, depends: bool) -> None:
    assert depends_on(column, {"Jet.pt"}) is depends


def behind(*columns: str, available: tuple[str, ...] = ()) -> set[str]:
    return {name.removeprefix("analysis.columnar.") for name in modules_behind(columns, available)}


@pytest.mark.parametrize(
    ("column", "modules"),
    [
        ("Jet.pt", set()),
        ("no_such_column", set()),
        ("SelectedJet", {"objects"}),
        ("SelectedJet.eta", {"objects"}),
        ("one_lepton", {"selection", "objects"}),
        ("in_4j2b", {"selection", "objects"}),
        ("jet_pt_scale_up", {"corrections"}),
        ("jet_pt_res_up", {"corrections", "objects"}),
        ("weight_scale_var_up", {"weights"}),
        ("weight_btag_var_0_up", {"weights", "objects"}),
    ],
)
def test_modules_behind_a_column(column: str, modules: set[str]) -> None:
    assert behind(column) == modules


def test_modules_behind_several_columns_and_what_is_there_already() -> None:
    assert behind("one_lepton", "weight_scale_var_up") == {"selection", "objects", "weights"}
    assert behind("one_lepton", available=("SelectedElectron", "SelectedMuon")) == {"selection"}
    assert behind("one_lepton", available=("one_lepton",)) == set()
    assert behind() == set()


def test_the_selection_does_not_need_the_weights() -> None:
    selected = [*(step.column for step in SELECTION), *(region.column for region in REGIONS.values())]
    replacing = [new for shift in SHIFTS.values() for _, new in shift.replaces]
    assert behind(*selected, *replacing) == {"selection", "objects", "corrections"}


def test_modules_behind_columns_in_a_circle_are_found() -> None:
    register("test_a", "test_b")
    register("test_b", "test_a")
    assert modules_behind(["test_a"]) == {__name__}


def test_every_registered_function_says_what_it_does() -> None:
    for function in set(registry._FUNCTIONS.values()):
        assert function.uses
        assert function.produces
        assert not function.uses & set(function.produces)
        assert function.function.__doc__
