from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any, ClassVar

import pytest

from analysis.config import MODEL, SELECTION, VARIABLES, get_campaign, histogram_shifts
from analysis.config import types as config_types
from analysis.config.types import Campaign, Dataset, InputFile, SelectionStep, Variable
from analysis.settings import Settings, recorded_reads, settings, untracked


@dataclass(frozen=True)
class Leaf(Settings):
    name: str
    depth: int = 1


@dataclass(frozen=True)
class Branch(Settings):
    """Of every kind of value."""

    key: str
    leaf: Leaf
    leaves: tuple[Leaf, ...] = ()
    by_name: Mapping[str, Leaf] | None = None
    edges: tuple[float, ...] = (0.0, 1.5)
    tags: frozenset[str] = frozenset({"b", "a"})
    file: InputFile | None = None

    identity_field: ClassVar[str] = "key"

    @property
    def width(self) -> float:
        return self.edges[1] - self.edges[0]


HT = VARIABLES["ht"]
BRANCH = Branch("b", Leaf("one"), (Leaf("two", 2), Leaf("three", 3)), {"x": Leaf("four", 4)}, file=InputFile("f", 7))


def test_reads_of_fields_are_recorded_by_class_identity_and_field() -> None:
    with recorded_reads() as keys:
        assert HT.bins == 25
        assert MODEL.bounds == (0.0, 10.0)
        assert SELECTION[0].label
        assert get_campaign("demo").datasets["ttbar"].cross_section
    assert keys == {
        "Variable ht.bins",
        "StatisticalModel CMS_ttbar.bounds",
        "SelectionStep one_lepton.label",
        "Campaign demo.datasets",
        "Dataset ttbar.cross_section",
    }


def test_the_identity_and_methods_are_not_recorded_but_what_a_property_reads_is() -> None:
    with recorded_reads() as keys:
        assert (HT.name, SELECTION[0].column, MODEL.measurement) == ("ht", "one_lepton", "CMS_ttbar")
        assert get_campaign("demo").nominal()
    assert keys == set()
    with recorded_reads() as keys:
        assert HT.axis_label == "$H_T$ [GeV]"
    assert keys == {"Variable ht.label", "Variable ht.unit"}


def test_nothing_is_recorded_before_and_after() -> None:
    with recorded_reads() as keys:
        pass
    assert HT.bins == 25
    assert keys == set()


def test_a_recording_within_another_reaches_both_and_ends_with_an_error() -> None:
    def fail() -> None:
        with recorded_reads() as inner:
            assert HT.stop == 550
            assert inner == {"Variable ht.stop"}
            raise KeyError

    with recorded_reads() as outer:
        assert HT.bins == 25
        with pytest.raises(KeyError):
            fail()
        assert HT.start == 50
    assert outer == {"Variable ht.bins", "Variable ht.stop", "Variable ht.start"}


def test_reads_in_other_threads_are_recorded() -> None:
    with ThreadPoolExecutor(2) as pool, recorded_reads() as keys:
        assert list(pool.map(lambda name: VARIABLES[name].bins, ["ht", "n_jets"])) == [25, 8]
    assert keys == {"Variable ht.bins", "Variable n_jets.bins"}


def test_what_a_selector_reads_is_not_recorded_even_if_it_calls_another_or_fails() -> None:
    @untracked
    def inner(variable: Variable) -> int:
        return variable.bins

    @untracked
    def outer(variable: Variable) -> int:
        """Doc."""
        inner(variable)
        if variable.start > 50:
            raise ValueError
        return variable.bins

    with recorded_reads() as keys:
        assert outer(HT) == 25
        with pytest.raises(ValueError):  # noqa: PT011
            outer(replace(HT, name="other", start=60))
    assert {key for key in keys if key.startswith("Variable other")} == set()
    with recorded_reads() as keys:
        assert outer(HT) == 25
        assert HT.stop == 550
    assert keys == {"Variable ht.stop"}
    assert (outer.__name__, outer.__doc__) == ("outer", "Doc.")


def test_a_selector_in_one_thread_does_not_hide_what_another_reads() -> None:
    with ThreadPoolExecutor(1) as pool, recorded_reads() as keys:

        @untracked
        def selector() -> int:
            return HT.stop + pool.submit(lambda: HT.bins).result()  # type: ignore[return-value]

        assert selector() == 575
    assert keys == {"Variable ht.bins"}


def test_selectors_of_the_configuration_are_untracked() -> None:
    campaign = get_campaign("demo")
    with recorded_reads() as keys:
        for dataset in campaign.nominal().values():
            assert histogram_shifts(dataset)
    assert keys == set()


@pytest.mark.parametrize("item", [HT, MODEL, SELECTION[0], Dataset("d", "p", "nominal", ())])
def test_the_objects_stay_plain_values(item: Settings) -> None:
    with recorded_reads() as keys:
        same = pickle.loads(pickle.dumps(item))
        assert same == item
        assert same is not item
        assert hash(same) == hash(item)
        assert repr(same) == repr(item)
        assert copy.deepcopy(item) == item
        assert item != 1
        assert {item: 1}[same] == 1
    assert keys == set()
    with pytest.raises(FrozenInstanceError):
        item.label = "x"  # type: ignore[attr-defined]


def test_objects_of_two_classes_differ_and_so_do_those_of_other_values() -> None:
    @dataclass(frozen=True)
    class Other(Settings):
        name: str
        depth: int = 1

    assert repr(Leaf("a")) == "Leaf(name='a', depth=1)"
    assert Leaf("a") != Other("a")
    assert Leaf("a") != Leaf("a", 2)
    assert replace(Leaf("a"), depth=2) == Leaf("a", 2)
    assert hash(Leaf("a")) != hash(Leaf("a", 2))


def test_settings_are_the_values_by_key() -> None:
    assert settings([HT, VARIABLES["n_jets"]], "bins", "start") == {
        "Variable": ["ht", "n_jets"],
        "Variable ht.bins": 25,
        "Variable ht.start": 50,
        "Variable n_jets.bins": 8,
        "Variable n_jets.start": 3.5,
    }
    assert set(settings(SELECTION)) == {"SelectionStep", *(f"SelectionStep {s.column}.label" for s in SELECTION)}
    assert settings([]) == {}


def test_which_objects_there_are_and_their_order_is_a_setting() -> None:
    columns = [step.column for step in SELECTION]
    assert settings(SELECTION, "column")["SelectionStep"] == columns
    assert settings(SELECTION[::-1], "column")["SelectionStep"] == columns[::-1]
    assert settings(iter([Leaf("a"), HT, Leaf("b")]), "name") == {
        "Leaf": ["a", "b"],
        "Variable": ["ht"],
        "Leaf a.name": "a",
        "Variable ht.name": "ht",
        "Leaf b.name": "b",
    }


def test_of_fields_that_are_named_only_these_are_given() -> None:
    assert settings(BRANCH, "leaves", "by_name") == {
        "Branch b.leaves": ["two", "three"],
        "Branch b.by_name": {"x": "four"},
    }
    datasets = settings(get_campaign("agc_2015"), "datasets")
    assert list(datasets) == ["Campaign agc_2015.datasets"]


def test_settings_go_down_to_the_objects_within() -> None:
    found = settings(BRANCH)
    assert found == {
        "Branch b.leaf": "one",
        "Branch b.leaves": ["two", "three"],
        "Branch b.by_name": {"x": "four"},
        "Branch b.edges": [0.0, 1.5],
        "Branch b.tags": ["a", "b"],
        "Branch b.file": {"path": "f", "entries": 7},
        "Leaf one.depth": 1,
        "Leaf two.depth": 2,
        "Leaf three.depth": 3,
        "Leaf four.depth": 4,
    }
    assert json.loads(json.dumps(found)) == found


def test_settings_of_an_object_cover_every_read_below_it() -> None:
    with recorded_reads() as keys:
        for item in (*MODEL.regions, *MODEL.systematics, MODEL):
            for name in vars(item):
                getattr(item, name)
    assert keys == set(settings(MODEL))
    assert settings(MODEL)["FitRegion 4j1b CR.edges"][:2] == [110.0, 150.0]


def test_reading_the_settings_is_no_read() -> None:
    with recorded_reads() as keys:
        settings(MODEL)
    assert keys == set()


def test_a_field_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(AttributeError, match=r"^Leaf has no field 'dept': its fields are name, depth$"):
        settings(Leaf("a"), "dept")


def test_two_objects_of_one_identity_must_not_differ() -> None:
    assert settings([Leaf("a"), Leaf("a")]) == {"Leaf": ["a", "a"], "Leaf a.depth": 1}
    with pytest.raises(ValueError, match=r"^Leaf a\.depth is both 1 and 2: give the two objects different names$"):
        settings([Leaf("a"), Leaf("a", 2)])


def test_a_value_that_json_does_not_know_is_refused() -> None:
    with pytest.raises(TypeError, match="a setting is of type object"):
        settings(replace(Leaf("a"), depth=object()))  # type: ignore[arg-type]


def test_every_class_of_the_configuration_is_recorded() -> None:
    def is_value(item: Any) -> bool:
        return isinstance(item, type) and item.__module__ == config_types.__name__

    classes = {item for item in vars(config_types).values() if is_value(item)}
    assert {item.__name__ for item in classes if not issubclass(item, Settings)} == {"InputFile"}
    for item in classes - {InputFile}:
        assert item.identity_field in item.__dataclass_fields__, item
    assert {Campaign, SelectionStep} <= classes
