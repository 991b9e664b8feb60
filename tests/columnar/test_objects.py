"""Object selection at its boundaries."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.columnar.chain import table

ELECTRON = {"pt": 30.5, "eta": 1.0, "cutBased": 4, "sip3d": 1.0}
MUON = {"pt": 30.5, "eta": 1.0, "tightId": True, "sip3d": 1.0, "pfRelIso04_all": 0.05}
JET = {"pt": 30.5, "eta": 1.0, "jetId": 6}


def is_selected(collection: str, **fields: Any) -> bool:
    """Whether the only object of the only event is selected."""
    columns = {f"{collection}__{name}": [[value]] for name, value in fields.items()}
    ((selected,),) = table(**columns)[f"Selected{collection}"].to_list()
    return bool(selected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"pt": 30.0}, False),
        ({"pt": 30.000002}, True),
        ({"eta": 2.1}, False),
        ({"eta": -2.1}, False),
        ({"eta": 2.0999}, True),
        ({"eta": -2.0999}, True),
        ({"cutBased": 3}, False),
        ({"cutBased": 0}, False),
        ({"sip3d": 4.0}, False),
        ({"sip3d": 3.9999}, True),
    ],
)
def test_electron(change: dict[str, Any], expected: bool) -> None:
    assert is_selected("Electron", **{**ELECTRON, **change}) is expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"pt": 30.0}, False),
        ({"pt": 30.000002}, True),
        ({"eta": 2.1}, False),
        ({"eta": -2.1}, False),
        ({"eta": -2.0999}, True),
        ({"tightId": False}, False),
        ({"sip3d": 4.0}, False),
        ({"sip3d": 3.9999}, True),
        ({"pfRelIso04_all": 0.15}, False),
        ({"pfRelIso04_all": 0.1499}, True),
    ],
)
def test_muon(change: dict[str, Any], expected: bool) -> None:
    assert is_selected("Muon", **{**MUON, **change}) is expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"pt": 30.0}, False),
        ({"pt": 30.000002}, True),
        ({"eta": 2.4}, False),
        ({"eta": -2.4}, False),
        ({"eta": -2.3999}, True),
        ({"jetId": 0}, False),
        ({"jetId": 2}, False),
        ({"jetId": 3}, False),
        ({"jetId": 4}, True),
        ({"jetId": 7}, True),
        ({"jetId": 8}, False),
    ],
)
def test_jet(change: dict[str, Any], expected: bool) -> None:
    assert is_selected("Jet", **{**JET, **change}) is expected


def test_selected_objects_are_those_of_the_mask_in_stored_order() -> None:
    events = table(
        Jet__pt=[[50.0, 20.0, 40.0], [], [31.0]], Jet__eta=[[0.0, 0.0, 1.0], [], [3.0]], Jet__jetId=[[6, 6, 6], [], [6]]
    )
    assert events["SelectedJet"].to_list() == [[True, False, True], [], [False]]
    assert events["SelectedJet.pt"].to_list() == [[50, 40], [], []]
    assert events["Jet.index"].to_list() == [[0, 1, 2], [], [0]]
    assert events["SelectedJet.index"].to_list() == [[0, 2], [], []]


def lepton_events(electrons: list[list[float]], muons: list[list[float]]) -> dict[str, Any]:
    """Columns of leptons of which only the transverse momentum differs."""

    def like(pts: list[list[float]], value: Any) -> Any:
        return [[value] * len(event) for event in pts]

    others = {
        "Electron": {"eta": 0.5, "phi": 1.5, "mass": 0.25, "cutBased": 4, "sip3d": 1.0},
        "Muon": {"eta": -0.5, "phi": -1.5, "mass": 0.125, "tightId": True, "sip3d": 1.0, "pfRelIso04_all": 0.0},
    }
    columns: dict[str, Any] = {"Electron__pt": electrons, "Muon__pt": muons}
    for collection, pts in (("Electron", electrons), ("Muon", muons)):
        columns |= {f"{collection}__{name}": like(pts, value) for name, value in others[collection].items()}
    return columns


def test_lepton_is_the_selected_electron_or_muon() -> None:
    events = table(**lepton_events([[20.0, 40.0], [], [35.0]], [[10.0], [29.0, 50.0], [60.0]]))
    assert events["lepton_pt"].to_list() == [40, 50, 35]
    assert events["lepton_eta"].to_list() == [0.5, -0.5, 0.5]
    assert events["lepton_phi"].to_list() == [1.5, -1.5, 1.5]
    assert events["lepton_mass"].to_list() == [0.25, 0.125, 0.25]


def test_lepton_is_not_a_number_where_there_is_none() -> None:
    events = table(**lepton_events([[], [40.0]], [[12.0], []]))
    missing, found = events["lepton_pt"].to_list()
    assert math.isnan(missing)
    assert found == 40


@pytest.mark.parametrize(
    ("electrons", "muons", "expected"),
    [
        ([40.0], [], True),
        ([], [40.0], True),
        ([40.0], [40.0], False),
        ([40.0, 50.0], [], False),
        ([], [40.0, 50.0], False),
        ([], [], False),
        ([40.0, 30.0], [30.0, 12.0], True),
    ],
)
def test_one_lepton_counts_electrons_and_muons_together(
    electrons: list[float], muons: list[float], expected: bool
) -> None:
    # an event without leptons of a kind alone would leave its list without a type
    events = table(**lepton_events([electrons, [40.0]], [muons, [40.0]]))
    assert events["one_lepton"].to_list() == [expected, False]
