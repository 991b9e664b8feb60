"""Histograms between stages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hist import Hist, axis, storage

from analysis.config import get_campaign
from analysis.config.types import Campaign, Dataset
from analysis.templates import (
    DATA,
    PSEUDODATA,
    SHIFT_AXIS,
    TemplateError,
    TemplateKey,
    Templates,
    dump_histogram,
    load_histogram,
    template_from_counts,
    templates_from_datasets,
)


def filled(**values: list[float]) -> Any:
    """A filled histogram by shift, with each entry's weight its value."""
    histogram: Any = Hist(
        axis.StrCategory(list(values), name=SHIFT_AXIS), axis.Regular(2, 0, 20, name="ht"), storage=storage.Weight()
    )
    for shift, weights in values.items():
        histogram.fill(**{SHIFT_AXIS: shift, "ht": [-5, 5, 15, 25][: len(weights)]}, weight=weights)
    return histogram


def values(histogram: Any) -> list[float]:
    return list(histogram.values(flow=True))


def variances(histogram: Any) -> list[float]:
    return list(histogram.variances(flow=True))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (TemplateKey("ht", "ttbar"), "4j1b_ttbar"),
        (TemplateKey("trijet_mass", "wjets", "scale_var_up"), "4j2b_wjets_scale_var_up"),
        (TemplateKey("ht", PSEUDODATA), "4j1b_pseudodata"),
        (TemplateKey("lepton_pt", "ttbar", "pt_res_up"), "lepton_pt_ttbar_pt_res_up"),
    ],
)
def test_names_of_the_agc(key: TemplateKey, name: str) -> None:
    assert key.name == name


def test_filled_histograms_are_sorted_by_process_and_shift() -> None:
    campaign = get_campaign("agc_2015")
    templates = templates_from_datasets(
        campaign,
        [
            ("ttbar", "ht", filled(nominal=[1, 2, 3, 4], pt_scale_up=[5, 6, 7, 8])),
            ("ttbar_ME_var", "ht", filled(nominal=[9, 10])),
            ("wjets", "ht", filled(nominal=[0, 1])),
        ],
    )
    assert {key.name: values(h) for key, h in templates.items()} == {
        "4j1b_ttbar": [1, 2, 3, 4],
        "4j1b_ttbar_pt_scale_up": [5, 6, 7, 8],
        "4j1b_ttbar_ME_var": [9, 10, 0, 0],
        "4j1b_wjets": [0, 1, 0, 0],
    }
    assert variances(templates[TemplateKey("ht", "ttbar")]) == [1, 4, 9, 16]
    assert templates.processes("ht") == ["ttbar", "wjets"]
    assert templates.shifts("ht", "ttbar") == ["pt_scale_up", "ME_var"]
    assert templates.variables() == ["ht"]
    assert len(templates) == 4


def test_data_sets_of_one_process_and_of_data_are_added() -> None:
    nominal = Dataset("a", "ttbar", "nominal", (), 1.0)
    data = Dataset("d", "SingleMuon", "nominal", (), is_data=True)
    datasets = [nominal, replace(nominal, name="b"), data, replace(data, name="e", process="SingleElectron")]
    campaign = Campaign("mine", 1.0, 13.0, {d.name: d for d in datasets})
    inputs = [(d.name, "ht", filled(nominal=[0, 1, 2])) for d in datasets]
    templates = templates_from_datasets(campaign, inputs)
    assert {key: values(h) for key, h in templates.items()} == {
        TemplateKey("ht", "ttbar"): [0, 2, 4, 0],
        TemplateKey("ht", DATA): [0, 2, 4, 0],
    }
    assert variances(templates[TemplateKey("ht", DATA)]) == [0, 2, 8, 0]
    assert templates.processes("ht") == ["ttbar"]
    assert values(inputs[0][2][{SHIFT_AXIS: "nominal"}]) == [0, 1, 2, 0]


def test_a_template_that_does_not_exist() -> None:
    templates = Templates({TemplateKey("ht", "ttbar"): filled(nominal=[1])[{SHIFT_AXIS: "nominal"}]})
    key = TemplateKey("ht", "ttbar", "pt_up")
    assert key not in templates
    assert TemplateKey("ht", "ttbar") in templates
    with pytest.raises(TemplateError) as caught:
        templates[key]
    assert str(caught.value) == (
        "no template for variable 'ht', process 'ttbar' and shift 'pt_up': there are the processes ttbar "
        "with the shifts (none)"
    )
    with pytest.raises(TemplateError, match=r"there are the processes \(none\)"):
        templates[TemplateKey("n_jets", "ttbar")]


def test_templates_from_numbers_have_the_binning_of_the_variable() -> None:
    counts = np.arange(27.0)
    template: Any = template_from_counts("ht", counts, 2 * counts)
    assert template.axes[0].edges.tolist() == pytest.approx([50 + 20 * i for i in range(26)])
    assert values(template) == counts.tolist()
    assert variances(template) == (2 * counts).tolist()


def test_writing_and_reading_loses_nothing(tmp_path: Path) -> None:
    histogram = filled(nominal=[0.1, 1 / 3, 1e-300, 7], pt_scale_up=[1, 2, 3, 4])
    dump_histogram(histogram, tmp_path / "ht.json")
    again: Any = load_histogram(tmp_path / "ht.json")
    assert again == histogram
    assert list(again.axes[SHIFT_AXIS]) == ["nominal", "pt_scale_up"]
    assert values(again[{SHIFT_AXIS: "nominal"}]) == [0.1, 1 / 3, 1e-300, 7]
    assert variances((again + again)[{SHIFT_AXIS: "pt_scale_up"}]) == [2, 8, 18, 32]


def test_the_file_follows_the_schema_of_the_unified_histogram_interface(tmp_path: Path) -> None:
    dump_histogram(filled(nominal=[1, 2]), tmp_path / "ht.json")
    content = json.loads((tmp_path / "ht.json").read_text())
    assert [a["type"] for a in content["axes"]] == ["category_str", "regular"]
    assert content["storage"]["type"] == "weighted"


@pytest.mark.parametrize("text", ["", "not json", "{}", "[]", '{"axes": 1}', '{"axes": [], "storage": {}}', "null"])
def test_a_file_that_holds_no_histogram(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ht.json"
    path.write_text(text)
    with pytest.raises(TemplateError, match=r"ht\.json is not a histogram in UHI JSON .*: remove it and run the task"):
        load_histogram(path)
