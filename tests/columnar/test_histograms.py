"""Weights and filling, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.columnar.histograms import event_weight, fill
from analysis.config import NOMINAL, REGIONS, SHIFTS, get_campaign
from analysis.config.types import Variable
from analysis.settings import recorded_reads
from analysis.templates import dump_histogram
from tests.columnar.chain import campaign, dataset, table

VARIABLE = Variable("x", "x", "4j1b", 2, 0, 20, "x")
REGION = REGIONS["4j1b"]


def contents(histogram: Any, shift: str) -> tuple[list[float], list[float]]:
    view = histogram[{"shift": shift}].view(flow=True)
    return view["value"].tolist(), view["variance"].tolist()


def test_event_weight_by_hand() -> None:
    sample = replace(dataset("wjets", 61457.0), filter_efficiency=0.252)
    assert event_weight(sample, campaign(sample), 1000) == pytest.approx(15487.164 * 3378 / 1000, rel=1e-12)


def test_event_weight_of_data_is_one() -> None:
    assert event_weight(dataset("SingleMuon", None, is_data=True), campaign(), 1000) == 1


@pytest.mark.parametrize(
    ("name", "cross_section"),
    [
        ("ttbar", 729.84),
        ("ttbar_ME_var", 729.84),
        ("single_top_s_chan", 3.2944),
        ("single_top_t_chan", 234.7936507936508),
        ("single_top_tW", 75.842),
        ("wjets", 15487.164),
    ],
)
def test_event_weights_of_the_agc(name: str, cross_section: float) -> None:
    agc = get_campaign("agc_2015")
    assert event_weight(agc.datasets[name], agc, 500) == pytest.approx(cross_section * 3378 / 500, rel=1e-12)


def test_filling_keeps_under_and_overflow_and_squared_weights() -> None:
    events = table(x=[-1.0, 0.0, 10.0, 19.0, 20.0, 5.0], in_4j1b=[True] * 5 + [False])
    histogram = fill(VARIABLE, REGION, {"nominal": events}, None, [NOMINAL], 0.5)
    assert contents(histogram, "nominal") == ([0.5, 0.5, 1.0, 0.5], [0.25, 0.25, 0.5, 0.25])


def test_each_shift_is_filled_from_its_own_columns() -> None:
    shifts = [NOMINAL, SHIFTS["pt_scale_up"], SHIFTS["btag_var_0_up"]]
    tables = {
        "nominal": table(x=[5.0, 15.0], in_4j1b=[True, True]),
        "pt_scale_up": table(x=[5.0, 25.0], in_4j1b=[False, True]),
    }
    weights = table(weight_btag_var_0_up=[1.5, 2.0])
    histogram = fill(VARIABLE, REGION, tables, weights, shifts, 2.0)
    assert contents(histogram, "nominal") == ([0, 2, 2, 0], [0, 4, 4, 0])
    assert contents(histogram, "pt_scale_up") == ([0, 0, 0, 2], [0, 0, 0, 4])
    assert contents(histogram, "btag_var_0_up") == ([0, 3, 4, 0], [0, 9, 16, 0])


def test_weights_are_taken_for_the_events_of_the_region() -> None:
    shifts = [NOMINAL, SHIFTS["btag_var_0_up"]]
    events = table(x=[5.0, 5.0, 15.0], in_4j1b=[False, True, True])
    histogram = fill(VARIABLE, REGION, {"nominal": events}, table(weight_btag_var_0_up=[9.0, 1.5, 2.0]), shifts, 1.0)
    assert contents(histogram, "btag_var_0_up")[0] == [0, 1.5, 2, 0]


def test_labels_are_left_to_the_figures(tmp_path: Path) -> None:
    events, text = table(x=[5.0], in_4j1b=[True]), []
    for label in ("one", "another"):
        variable = replace(VARIABLE, label=label, unit="GeV")
        with recorded_reads() as keys:
            histogram = fill(variable, REGION, {"nominal": events}, None, [NOMINAL], 1.0)
        assert {key for key in keys if "label" in key or "unit" in key} == set()
        dump_histogram(histogram, tmp_path / "x.json")
        text.append((tmp_path / "x.json").read_text())
    assert text[0] == text[1]


def test_no_event_gives_an_empty_histogram() -> None:
    events = table(x=[5.0], in_4j1b=[False])
    histogram = fill(VARIABLE, REGION, {"nominal": events}, None, [NOMINAL], 1.0)
    assert contents(histogram, "nominal") == ([0] * 4, [0] * 4)
