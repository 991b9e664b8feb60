"""Assignments of jets and their features, by hand."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from analysis.columnar.assignments import FEATURE_COLUMNS, assignment_features, assignments, feature_blocks
from analysis.config import FEATURES
from tests.columnar.chain import table
from tests.columnar.test_objects import lepton_events

JETS = {
    "pt": [100.0, 80.0, 60.0, 40.0],
    "eta": [0.0, 1.0, -1.0, 0.5],
    "phi": [3.0, -3.0, 1.0, 0.0],
    "mass": [10.0, 5.0, 0.0, 8.0],
    "btagCSVV2": [0.125, 0.25, 0.5, 0.75],
    "qgl": [-1.0, 0.25, 0.5, 1.0],
}
LEPTON = {"pt": 50.0, "eta": 0.5, "phi": -3.0, "mass": 0.0}


def features_of(assignment: tuple[int, int, int, int]) -> dict[str, float]:
    """Features of one assignment of the jets above, by name."""
    jets = {name: np.array([values]) for name, values in JETS.items()}
    lepton = {name: np.array([[value]]) for name, value in LEPTON.items()}
    (row,) = assignment_features(jets, lepton, np.array([assignment]))[0]
    return {feature.name: float(value) for feature, value in zip(FEATURES, row, strict=True)}


def test_assignments_of_four_jets() -> None:
    assert assignments(4).tolist() == [
        [1, 0, 2, 3],
        [1, 0, 3, 2],
        [2, 0, 1, 3],
        [2, 0, 3, 1],
        [2, 1, 0, 3],
        [2, 1, 3, 0],
        [3, 0, 1, 2],
        [3, 0, 2, 1],
        [3, 1, 0, 2],
        [3, 1, 2, 0],
        [3, 2, 0, 1],
        [3, 2, 1, 0],
    ]


@pytest.mark.parametrize(("n", "count"), [(4, 12), (5, 60), (6, 180)])
def test_assignments_are_complete_and_ordered(n: int, count: int) -> None:
    rows = [tuple(row) for row in assignments(n).tolist()]
    assert len(rows) == len(set(rows)) == count == math.perm(n, 4) // 2
    assert all(a < b for a, b in pairwise(rows))
    assert all(len(set(row)) == 4 and row[0] > row[1] and set(row) <= set(range(n)) for row in rows)


def test_assignments_are_shared_and_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        assignments(4)[0, 0] = 3


def test_features_by_hand() -> None:
    found = features_of((1, 0, 2, 3))
    wrapped = 2 * math.pi - 6
    expected = {
        "deltar_leptonbtoplep": 3.0,
        "deltar_w1w2": math.hypot(1, wrapped),
        "deltar_w1btophad": math.hypot(2, 2 * math.pi - 4),
        "deltar_w2btophad": math.hypot(1, 2),
        "pt_w1": 80,
        "pt_w2": 100,
        "pt_btophad": 60,
        "pt_btoplep": 40,
        "btag_w1": 0.25,
        "btag_w2": 0.125,
        "btag_btophad": 0.5,
        "btag_btoplep": 0.75,
        "qgl_w1": 0.25,
        "qgl_w2": -1,
        "qgl_btophad": 0.5,
        "qgl_btoplep": 1,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_masses_by_hand() -> None:
    found = features_of((1, 0, 2, 3))
    # m^2 = m1^2 + m2^2 + 2 (mT1 mT2 cosh(y1 - y2) - pT1 pT2 cos(dphi)), with the rapidity y from sinh(y) = pz / mT
    mt = [math.hypot(pt, m) for pt, m in zip(JETS["pt"], JETS["mass"], strict=True)]
    y = [math.asinh(pt * math.sinh(eta) / t) for pt, eta, t in zip(JETS["pt"], JETS["eta"], mt, strict=True)]

    def dot(i: int, j: int) -> float:
        dphi = JETS["phi"][i] - JETS["phi"][j]
        return mt[i] * mt[j] * math.cosh(y[i] - y[j]) - JETS["pt"][i] * JETS["pt"][j] * math.cos(dphi)

    w = 10**2 + 5**2 + 2 * dot(0, 1)
    assert found["mass_w1w2"] == pytest.approx(math.sqrt(w), rel=1e-6)
    assert found["mass_w1w2btophad"] == pytest.approx(math.sqrt(w + 2 * dot(0, 2) + 2 * dot(1, 2)), rel=1e-6)
    with_lepton = mt[3] * 50 * math.cosh(y[3] - 0.5) - 40 * 50 * math.cos(3)
    assert found["mass_leptonbtoplep"] == pytest.approx(math.sqrt(8**2 + 2 * with_lepton), rel=1e-6)
    x = 100 * math.cos(3) + 80 * math.cos(3) + 60 * math.cos(1)
    y_momentum = 100 * math.sin(3) - 80 * math.sin(3) + 60 * math.sin(1)
    assert found["pt_w1w2btophad"] == pytest.approx(math.hypot(x, y_momentum), rel=1e-6)


def test_roles_are_exchanged_with_the_jets() -> None:
    one, other = features_of((1, 0, 2, 3)), features_of((1, 0, 3, 2))
    assert one["mass_w1w2"] == other["mass_w1w2"]
    assert (one["pt_btophad"], one["pt_btoplep"]) == (other["pt_btoplep"], other["pt_btophad"])
    assert one["mass_w1w2btophad"] != other["mass_w1w2btophad"]


@pytest.mark.parametrize(
    ("phi1", "phi2", "dphi"),
    [(0.0, 0.0, 0.0), (3.0, -3.0, 2 * math.pi - 6), (-3.0, 3.0, 2 * math.pi - 6), (1.0, -1.0, 2.0), (0.0, 3.0, 3.0)],
)
def test_distances_wrap_the_azimuth(phi1: float, phi2: float, dphi: float) -> None:
    jets = {name: np.zeros((1, 4)) for name in JETS} | {"phi": np.array([[phi1, phi2, 0, 0]])}
    lepton = {name: np.zeros((1, 1)) for name in LEPTON}
    row = assignment_features(jets, lepton, np.array([[1, 0, 2, 3]]))[0, 0]
    assert row[1] == pytest.approx(dphi, abs=1e-6)


def test_collinear_massless_jets_have_no_mass_but_a_number() -> None:
    jets = {name: np.full((1, 4), value) for name, value in {"pt": 77.7, "eta": 1.1, "phi": 0.3}.items()}
    jets |= {name: np.zeros((1, 4)) for name in ("mass", "btagCSVV2", "qgl")}
    row = assignment_features(jets, {name: values[:, :1] for name, values in jets.items()}, assignments(4))
    assert np.isfinite(row).all()


def events(*n_jets: int, parton: list[list[int]] | None = None) -> Any:
    """Events with one lepton and some jets, all b-tagged."""
    pt = [[100.0 - i for i in range(n)] for n in n_jets]
    columns: dict[str, Any] = {
        f"Jet__{name}": [[value] * n for n in n_jets]
        for name, value in {"eta": 0.5, "phi": 0.5, "mass": 5.0, "btagCSVV2": 0.9, "qgl": 0.5, "jetId": 6}.items()
    }
    if parton is not None:
        columns["Jet__parton"] = parton
    leptons = lepton_events([[40.0]] * len(n_jets), [[12.0]] * len(n_jets))
    return table(Jet__pt=pt, **columns, **leptons)


def test_events_are_grouped_by_the_number_of_jets() -> None:
    blocks = feature_blocks(events(5, 4, 9, 5, 6).records(FEATURE_COLUMNS))
    assert [block.rows.tolist() for block in blocks] == [[1], [0, 3], [2, 4]]
    assert [block.features.shape for block in blocks] == [(1, 12, 20), (2, 60, 20), (2, 180, 20)]


def test_jets_behind_the_sixth_take_no_part() -> None:
    nine, six = feature_blocks(events(9, 6).records(FEATURE_COLUMNS))[0].features
    assert np.array_equal(nine, six)


def test_no_event_makes_no_block() -> None:
    table = events(4)
    assert feature_blocks(table.filter(np.array([False])).records(FEATURE_COLUMNS)) == []


@pytest.mark.parametrize(
    ("parton", "target"),
    [
        ([6, 24, -6, 24], 8),
        ([24, 24, 6, -6], 0),
        ([24, 24, -6, 6], 1),
        ([-6, 6, 24, 24], 11),
        ([24, 24, 6, 6], -1),
        ([24, 6, 6, -6], -1),
        ([100, 24, 6, -6], -1),
        ([24, 24, 24, -6], -1),
    ],
)
def test_training_target(parton: list[int], target: int) -> None:
    sample = events(4, 6, parton=[parton, [*parton, 24, 100]])
    assert sample["training_target"].to_list() == [target, target]
    assert [len(rows) for rows in sample["training_features"]] == [12 if target >= 0 else 0] * 2


def test_training_uses_the_four_leading_jets_of_the_right_events() -> None:
    good = [24, 24, 6, -6]
    sample = events(6, 4, 4, 5, parton=[[*good, 100, 100], [24, 24, 6, 100], good, [100, *good]])
    assert sample["training_target"].to_list() == [0, -1, 0, -1]
    first, _, third, _ = sample["training_features"].to_list()
    assert first == third
    assert first[0][8:12] == [99, 100, 98, 97]


def test_events_outside_the_region_are_not_learned_from() -> None:
    good = [24, 24, 6, -6]
    sample = events(4, parton=[good]).filter(np.array([True]))
    assert sample["training_target"].to_list() == [0]
    without_lepton = table(
        **{f"Jet__{name}": [[value] * 4] for name, value in {"pt": 50.0, "eta": 0.5, "phi": 0.5, "mass": 5.0}.items()},
        **{f"Jet__{name}": [[value] * 4] for name, value in {"btagCSVV2": 0.9, "qgl": 0.5, "jetId": 6}.items()},
        Jet__parton=[good],
        **lepton_events([[12.0]], [[12.0]]),
    )
    assert without_lepton["training_target"].to_list() == [-1]
    assert without_lepton["training_features"].to_list() == [[]]
