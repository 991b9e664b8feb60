"""Jets counted, regions told apart."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.config import NOMINAL, REGIONS, SELECTION
from tests.columnar.chain import table
from tests.columnar.test_objects import lepton_events


def jet_events(*b_tags: list[float], pt: float = 40.0) -> dict[str, Any]:
    """Columns of selected jets of which only the b tag differs."""

    def like(value: Any) -> Any:
        return [[value] * len(event) for event in b_tags]

    return {
        "Jet__pt": like(pt),
        "Jet__eta": like(0.0),
        "Jet__jetId": like(6),
        "Jet__btagCSVV2": list(b_tags),
    }


def test_jets_and_b_jets_are_counted() -> None:
    events = table(**jet_events([0.9, 0.5, 0.500001, 0.1], [0.9], []))
    assert events["n_jets"].to_list() == [4, 1, 0]
    assert events["n_b_jets"].to_list() == [2, 1, 0]
    assert events["four_jets"].to_list() == [True, False, False]
    assert events["one_b_jet"].to_list() == [True, True, False]


def test_jets_that_are_not_selected_do_not_count() -> None:
    events = table(**jet_events([0.9, 0.9, 0.9, 0.9], pt=30.0))
    assert events["n_jets"].to_list() == [0]
    assert events["n_b_jets"].to_list() == [0]


@pytest.mark.parametrize(
    ("b_tags", "electrons", "inside"),
    [
        ([0.9, 0.1, 0.1, 0.1], [40.0], "4j1b"),
        ([0.9, 0.9, 0.1, 0.1], [40.0], "4j2b"),
        ([0.9, 0.9, 0.9, 0.9, 0.9], [40.0], "4j2b"),
        ([0.1, 0.1, 0.1, 0.1], [40.0], None),
        ([0.5, 0.5, 0.5, 0.5], [40.0], None),
        ([0.9, 0.9, 0.9], [40.0], None),
        ([0.9, 0.1, 0.1], [40.0], None),
        ([0.9, 0.1, 0.1, 0.1], [29.0], None),
        ([0.9, 0.9, 0.1, 0.1], [40.0, 50.0], None),
    ],
)
def test_regions(b_tags: list[float], electrons: list[float], inside: str | None) -> None:
    events = table(**jet_events(b_tags), **lepton_events([electrons], [[12.0]]))
    assert [name for name, region in REGIONS.items() if events[region.column][0]] == ([inside] if inside else [])


def test_an_event_is_in_a_region_exactly_if_it_passes_all_steps() -> None:
    tags = [[0.9, 0.1, 0.1, 0.1], [0.9] * 4, [0.9] * 3, [0.1] * 4]
    events = table(**jet_events(*tags), **lepton_events([[40.0]] * 4, [[12.0]] * 4)).shifted(NOMINAL)
    passes = [all(events[step.column][i] for step in SELECTION) for i in range(4)]
    assert passes == [any(events[region.column][i] for region in REGIONS.values()) for i in range(4)]
    assert passes == [True, True, False, False]
