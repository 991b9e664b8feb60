"""HT and the trijet mass, by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.columnar.chain import table


def jets(**columns: list[list[float]]) -> dict[str, Any]:
    pt = columns["pt"]
    default = {"eta": 0.0, "phi": 0.0, "mass": 0.0, "btagCSVV2": 0.9}
    filled = {name: [[value] * len(event) for event in pt] for name, value in default.items()} | columns
    return {f"Jet__{name}": values for name, values in filled.items()} | {"Jet__jetId": [[6] * len(e) for e in pt]}


def test_ht_sums_selected_jets_only() -> None:
    events = table(**jets(pt=[[50.0, 30.0, 40.5], [31.25], []]))
    assert events["ht"].to_list() == [90.5, 31.25, 0.0]


def test_ht_is_summed_in_double_precision() -> None:
    events = table(**jets(pt=[[2.0**24, 31.0, 31.0]]))
    assert events["ht"].to_list() == [2.0**24 + 62]


def test_trijet_mass_of_three_jets_at_rest_relative_to_each_other() -> None:
    """Three parallel massless jets have no mass, three at 120 degrees have the sum of their energies."""
    phi = [[0.25, 0.25, 0.25], [0.0, 2 * math.pi / 3, -2 * math.pi / 3]]
    events = table(**jets(pt=[[40.0, 50.0, 60.0], [50.0, 50.0, 50.0]], phi=phi))
    np.testing.assert_allclose(events["trijet_mass"], [0, 150], rtol=1e-6, atol=1e-5)


def test_trijet_mass_uses_eta_and_mass() -> None:
    # two jets back to back with opposite eta, and one at rest in z: energies 50 cosh(1), 50 cosh(1), sqrt(40^2 + 30^2)
    events = table(
        **jets(pt=[[50.0, 50.0, 40.0]], eta=[[1.0, -1.0, 0.0]], phi=[[0.0, math.pi, 0.0]], mass=[[0.0, 0.0, 30.0]])
    )
    energy = 2 * 50 * math.cosh(1) + 50
    np.testing.assert_allclose(events["trijet_mass"], [math.sqrt(energy**2 - 40**2)], rtol=1e-6)


def test_the_b_tag_decides_before_the_transverse_momentum() -> None:
    # jets 0, 1, 2 have the largest sum, but only jet 3 is tagged: the winner is the largest sum with it
    phi = [[0.0, 0.0, 0.0, math.pi / 2]]
    tags = [[0.1, 0.5, 0.2, 0.6]]
    events = table(**jets(pt=[[100.0, 90.0, 80.0, 40.0]], phi=phi, btagCSVV2=tags))
    assert events["trijet_jets"].to_list() == [0b1011]
    # (100 + 90, 0) and (0, 40): mass^2 = 230^2 - 190^2 - 40^2
    np.testing.assert_allclose(events["trijet_mass"], [math.sqrt(230**2 - 190**2 - 40**2)], rtol=1e-6)


def test_the_largest_transverse_momentum_wins_not_the_largest_sum_of_momenta() -> None:
    # 0 and 1 are back to back: with 2 they give 50, while 0, 2, 3 give 100 + 50 + 40
    events = table(
        **jets(pt=[[100.0, 100.0, 50.0, 40.0]], phi=[[0.0, math.pi, 0.0, 0.0]], mass=[[0.0, 0.0, 0.0, 30.0]])
    )
    assert events["trijet_jets"].to_list() == [0b1101]
    np.testing.assert_allclose(events["trijet_mass"], [math.sqrt(200**2 - 190**2)], rtol=1e-5)


@pytest.mark.parametrize(
    ("pt", "tags"),
    [
        ([40.0, 40.0], [0.9, 0.9]),
        ([40.0, 40.0, 30.0], [0.9, 0.9, 0.9]),
        ([40.0, 40.0, 40.0], [0.5, 0.5, 0.5]),
    ],
)
def test_without_a_trijet_the_mass_is_not_a_number(pt: list[float], tags: list[float]) -> None:
    events = table(**jets(pt=[pt, [40.0, 40.0, 40.0]], btagCSVV2=[tags, [0.9, 0.9, 0.9]]))
    assert np.isnan(events["trijet_mass"]).tolist() == [True, False]
    assert events["trijet_jets"].to_list() == [0, 7]


def test_members_are_counted_among_the_selected_jets() -> None:
    events = table(**jets(pt=[[20.0, 40.0, 41.0, 25.0, 42.0]]))
    assert events["trijet_jets"].to_list() == [0b111]
