"""What is histogrammed: variables, shifts, and the names of the AGC's histograms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.config import (
    FEATURES,
    MODEL,
    OBSERVABLES,
    PROCESSES,
    REGIONS,
    SELECTION,
    SHIFTS,
    VARIABLES,
    get_campaign,
    histogram_shifts,
    kinematic_shifts,
    process,
)
from analysis.config.types import Dataset
from analysis.templates import PSEUDODATA, TemplateKey

KINEMATIC = ["nominal", "pt_scale_up", "pt_res_up"]
B_TAG = [f"btag_var_{i}_{direction}" for i in range(4) for direction in ("up", "down")]


def names(dataset: str) -> list[str]:
    return [shift.name for shift in histogram_shifts(get_campaign("agc_2015").datasets[dataset])]


def test_the_histograms_are_those_of_the_agc(test_data: Path) -> None:
    reference = json.loads((test_data / "agc" / "reference" / "histos_all_file_per_process.json").read_text())
    keys = [
        TemplateKey(variable.name, dataset.process, dataset.shift if shift.name == "nominal" else shift.name)
        for variable in OBSERVABLES
        for dataset in get_campaign("agc_2015").datasets.values()
        for shift in histogram_shifts(dataset)
    ]
    keys += [TemplateKey(variable.name, PSEUDODATA) for variable in OBSERVABLES]
    assert len(keys) == len(set(keys)) == 124
    assert {key.name for key in keys} == set(reference)


def test_shifts_of_a_nominal_data_set() -> None:
    assert names("ttbar") == names("single_top_tW") == [*KINEMATIC, *B_TAG]
    assert names("wjets") == [*KINEMATIC, *B_TAG, "scale_var_up", "scale_var_down"]


@pytest.mark.parametrize("dataset", ["ttbar_ME_var", "ttbar_PS_var", "ttbar_scaleup", "ttbar_scaledown"])
def test_a_varied_sample_is_not_varied_again(dataset: str) -> None:
    assert names(dataset) == ["nominal"]


def test_data_are_not_varied() -> None:
    data = Dataset("data", "data", "nominal", (), is_data=True)
    assert [shift.name for shift in histogram_shifts(data)] == ["nominal"]
    assert kinematic_shifts(data) == histogram_shifts(data)


def test_passes_over_the_events() -> None:
    datasets = get_campaign("agc_2015").datasets
    assert [shift.name for shift in kinematic_shifts(datasets["wjets"])] == KINEMATIC
    assert [shift.name for shift in kinematic_shifts(datasets["ttbar_PS_var"])] == ["nominal"]


def test_each_shift_says_how_it_enters() -> None:
    for name, shift in SHIFTS.items():
        assert shift.name == name
        assert bool(shift.replaces) == (shift.kind == "kinematic")
        assert bool(shift.weight) == (shift.kind == "weight")


def test_observables_are_binned_as_specified() -> None:
    assert [(v.name, v.region, v.bins, v.start, v.stop) for v in OBSERVABLES] == [
        ("ht", "4j1b", 25, 50, 550),
        ("trijet_mass", "4j2b", 25, 50, 550),
    ]


def test_features_are_binned_as_specified() -> None:
    ranges = (
        [(0, 6)] * 4 + [(50, 300), (50, 300), (50, 550), (50, 550)] + [(25, 300)] * 4 + [(0, 1)] * 4 + [(-1, 1)] * 4
    )
    assert [(v.start, v.stop) for v in FEATURES] == ranges
    assert {(v.bins, v.region, v.needs_model) for v in FEATURES} == {(25, "4j2b", True)}


def test_names_are_unique_and_regions_exist() -> None:
    assert all(name == v.name for name, v in VARIABLES.items())
    assert all(v.region in REGIONS and v.start < v.stop for v in VARIABLES.values())
    assert len(VARIABLES) == 2 + 2 + 20 + 1
    assert [step.column for step in SELECTION] == ["one_lepton", "four_jets", "one_b_jet"]


def test_the_model_speaks_of_what_exists() -> None:
    for systematic in MODEL.systematics:
        assert all(name in SHIFTS for name in (systematic.up, systematic.down) if name)
        assert bool(systematic.up) != bool(systematic.normalization)
        assert set(systematic.processes) <= set(PROCESSES)
    assert {*MODEL.pseudodata} <= set(get_campaign("agc_2015").datasets)
    assert {*MODEL.pseudodata_backgrounds, MODEL.signal} <= set(PROCESSES)
    used = {name for s in MODEL.systematics for name in (s.up, s.down) if name}
    assert used == set(SHIFTS) - {"nominal"}


def test_the_model_is_rebinned_on_edges_of_the_variables() -> None:
    for region in MODEL.regions:
        variable = VARIABLES[region.variable]
        width = (variable.stop - variable.start) / variable.bins
        assert all(((edge - variable.start) / width).is_integer() for edge in region.edges)
        assert len(region.edges) == 12
        assert (region.edges[0], region.edges[-1]) == (110, 550)


def test_a_process_that_is_not_known_is_drawn_under_its_own_name() -> None:
    assert process("ttbar") is PROCESSES["ttbar"]
    assert (process("drell_yan").name, process("drell_yan").label) == ("drell_yan", "drell yan")
