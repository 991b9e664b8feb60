"""Kinematic and weight variations, by hand."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from analysis.config import SHIFTS
from tests.columnar.chain import table

IDENTITY = {"run": [1, 1], "luminosityBlock": [7, 7], "event": [12, 13]}


def selected(*pt: list[float]) -> dict[str, Any]:
    return {
        "Jet__pt": list(pt),
        "Jet__eta": [[0.0] * len(event) for event in pt],
        "Jet__jetId": [[6] * len(event) for event in pt],
    }


def test_energy_scale_raises_the_transverse_momentum_by_three_percent() -> None:
    events = table(**selected([100.0, 29.5], []))
    assert events["jet_pt_scale_up"].to_list() == [[103.0, 29.5 * 1.03], []]


def test_energy_scale_moves_a_jet_into_the_selection() -> None:
    events = table(**selected([29.5, 29.0]))
    assert events["n_jets"].to_list() == [0]
    assert events.shifted(SHIFTS["pt_scale_up"])["SelectedJet.pt"].to_list() == [[29.5 * 1.03]]


def test_resolution_of_root_by_hand() -> None:
    """50.5004 GeV: the last three digits of 50500 are 500, quantile 0.5005; 40.999: 999, quantile 0.9995."""
    events = table(Jet__pt=[[50.5004, 40.9992], [30.0]])
    first, second, third = (NormalDist().inv_cdf(quantile) for quantile in (0.5005, 0.9995, 0.0005))
    expected = [50.5004 * (1 + 0.05 * first), 40.9992 * (1 + 0.05 * second), 30 * (1 + 0.05 * third)]
    found = [pt for event in events["jet_pt_res_up_root"].to_list() for pt in event]
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    assert found[1] == pytest.approx(40.9992 * (1 + 0.05 * 3.2905), rel=1e-5)


def test_resolution_depends_on_event_and_jet_alone() -> None:
    events = table(Jet__pt=[[100.0, 100.0], [100.0]], **IDENTITY)
    (a, b), (c,) = events["jet_pt_res_up"].to_list()
    assert len({a, b, c}) == 3
    other = table(Jet__pt=[[50.0], [200.0, 50.0]], run=[1, 1], luminosityBlock=[7, 7], event=[13, 12])
    (c_half,), (a_double, b_half) = other["jet_pt_res_up"].to_list()
    assert (a_double / 2, 2 * b_half, 2 * c_half) == (a, b, c)


@pytest.mark.parametrize("changed", ["run", "luminosityBlock", "event"])
def test_resolution_changes_with_each_part_of_the_identity(changed: str) -> None:
    nominal = table(Jet__pt=[[100.0]], run=[1], luminosityBlock=[7], event=[12])["jet_pt_res_up"]
    identity: dict[str, Any] = {"run": [1], "luminosityBlock": [7], "event": [12], changed: [99]}
    assert table(Jet__pt=[[100.0]], **identity)["jet_pt_res_up"].to_list() != nominal.to_list()


def test_resolution_is_normal_with_a_width_of_five_percent() -> None:
    n = 20_000
    events = table(Jet__pt=[[100.0]] * n, run=[1] * n, luminosityBlock=[1] * n, event=list(range(n)))
    relative = np.asarray(events["jet_pt_res_up"][:, 0]) / 100 - 1
    assert abs(relative.mean()) < 4 * 0.05 / n**0.5
    assert relative.std() == pytest.approx(0.05, rel=4 / (2 * n) ** 0.5)
    assert (abs(relative) < 0.05).mean() == pytest.approx(0.6827, abs=4 * (0.6827 * 0.3173 / n) ** 0.5)


@pytest.mark.parametrize(("direction", "sign"), [("up", 1), ("down", -1)])
@pytest.mark.parametrize("position", range(4))
def test_b_tag_weight_of_one_jet(position: int, direction: str, sign: int) -> None:
    events = table(**selected([200.0, 20.0, 100.0, 50.0, 32.0], [40.0, 35.0], []))
    factors: list[list[float]] = [[1.3, 1.15, 1.075, 1.048], [1.06, 1.0525, 1, 1], [1, 1, 1, 1]]
    expected = [1 + sign * (event[position] - 1) for event in factors]
    np.testing.assert_allclose(events[f"weight_btag_var_{position}_{direction}"], expected, rtol=1e-12)


@pytest.mark.parametrize(("direction", "factor"), [("up", 1.025), ("down", 0.975)])
def test_scale_weight_is_the_same_for_all_events(direction: str, factor: float) -> None:
    assert table(event=[1, 2, 3])[f"weight_scale_var_{direction}"].to_list() == [factor] * 3
