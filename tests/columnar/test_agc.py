"""Histograms of real events equal those of the plain-Python reference, bin by bin."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from analysis.columnar.assignments import FEATURE_COLUMNS, feature_blocks
from analysis.columnar.select import select
from analysis.columnar.sources import NanoAODSource
from analysis.columnar.table import Table
from analysis.config import FEATURES, NOMINAL, SHIFTS
from tests.columnar.chain import COMPARED, Chain, campaign, dataset
from tests.reference import agc

SAMPLES = {
    "ttbar": ("ttbar_1000.root", "ttbar"),
    "ttbar as W+jets": ("ttbar_1000.root", "wjets"),  # the W+jets file has no event in any region
    "W+jets": ("wjets_200.root", "wjets"),
    "RNTuple": ("ttbar_rntuple_10.root", "ttbar"),
    "Drell-Yan": ("dy_40.root", "dy"),
}
CROSS_SECTION = {**agc.CROSS_SECTION, "dy": 6025.2}
ROOT_RESOLUTION = replace(SHIFTS["pt_res_up"], replaces=(("Jet.pt", "jet_pt_res_up_root"),))


@functools.cache
def reference_events(path: Path) -> list[agc.Event]:
    return agc.read_events(path, generator="data" not in path.stem)


@functools.cache
def whole_file(path: Path) -> Table:
    """All events of a file; kept, because opening an RNTuple with many fields takes a second."""
    return Table(NanoAODSource(str(path)))


def nanoaod(test_data: Path, sample: str) -> Path:
    return test_data / "nanoaod" / SAMPLES[sample][0]


def chain(folder: Path, sample: str, machine_learning: bool = False) -> Chain:
    process = SAMPLES[sample][1]
    simulated = dataset(process, CROSS_SECTION[process])
    return Chain(folder, simulated, campaign(simulated, machine_learning=machine_learning))


@pytest.fixture(scope="module")
def histograms(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    @functools.cache
    def of(sample: str) -> dict[str, Any]:
        return chain(tmp_path_factory.mktemp("chain"), sample).histograms(nanoaod(test_data, sample))

    return of


@pytest.fixture(scope="module")
def ttbar(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Reduced ttbar events, with what machine learning needs."""
    result = chain(tmp_path_factory.mktemp("ttbar"), "ttbar", machine_learning=True)
    result.reduce(nanoaod(test_data, "ttbar"))
    return result


def assert_equal(histogram: Any, shift: str, expected: agc.Histogram) -> None:
    found = histogram[{"shift": shift}].view(flow=True)
    np.testing.assert_allclose(found["value"], expected.values, rtol=1e-12, atol=0, err_msg=shift)
    np.testing.assert_allclose(found["variance"], expected.variances, rtol=1e-12, atol=0, err_msg=shift)


@pytest.mark.parametrize("variable", COMPARED)
@pytest.mark.parametrize("sample", SAMPLES)
def test_histograms_equal_the_reference(test_data: Path, histograms: Any, sample: str, variable: str) -> None:
    events, process = reference_events(nanoaod(test_data, sample)), SAMPLES[sample][1]
    weight = CROSS_SECTION[process] * agc.LUMINOSITY / len(events)
    histogram = histograms(sample)[variable]
    assert tuple(histogram.axes["shift"]) == agc.shifts_of(process)
    for shift in agc.shifts_of(process):
        assert_equal(histogram, shift, agc.histogram(events, variable, shift, process, weight))


def test_histograms_with_the_resolution_of_root_equal_the_reference(test_data: Path, tmp_path: Path) -> None:
    path = nanoaod(test_data, "ttbar")
    varied = replace(chain(tmp_path, "ttbar"), replaced={"pt_res_up": ROOT_RESOLUTION})
    weight = CROSS_SECTION["ttbar"] * agc.LUMINOSITY / 1000
    for variable, histogram in varied.histograms(path).items():
        expected = agc.histogram(
            reference_events(path), variable, "pt_res_up", "ttbar", weight, resolution="pt_res_up_root"
        )
        assert_equal(histogram, "pt_res_up", expected)


def test_events_of_the_regions_are_those_counted_by_hand(histograms: Any) -> None:
    weight = CROSS_SECTION["ttbar"] * agc.LUMINOSITY / 1000
    counts = {name: histograms("ttbar")[name][{"shift": "nominal"}].sum(flow=True).value / weight for name in COMPARED}
    assert counts == pytest.approx({"ht": 35, "trijet_mass": 73, "lepton_pt": 35, "n_jets": 73})


def test_cutflow_of_real_events(ttbar: Chain, test_data: Path, tmp_path: Path) -> None:
    _, cutflow = replace(ttbar, folder=tmp_path).reduce(nanoaod(test_data, "ttbar"))
    one_lepton = [e for e in reference_events(nanoaod(test_data, "ttbar")) if len(agc.leptons(e)) == 1]
    assert sum(len(agc.jets(event)) >= 4 for event in one_lepton) == 113
    assert [(step.name, step.events, step.is_region) for step in cutflow.steps] == [
        ("all events", 1000, False),
        ("one_lepton", 190, False),
        ("four_jets", 113, False),
        ("one_b_jet", 108, False),
        ("4j1b", 35, True),
        ("4j2b", 73, True),
    ]


def test_chunks_of_a_file_add_up_to_the_file(ttbar: Chain, test_data: Path, tmp_path: Path) -> None:
    path = nanoaod(test_data, "ttbar")
    events, cutflow = replace(ttbar, folder=tmp_path).reduce(path, chunks=[(0, 137), (137, 500), (500, None)])
    assert events.to_list() == ak.from_parquet(ttbar.folder / "events.parquet").to_list()
    assert [step.events for step in cutflow.steps] == [1000, 190, 113, 108, 35, 73]


def test_no_selected_event_is_no_error(test_data: Path, tmp_path: Path) -> None:
    """The Drell-Yan events taken for ttbar, so that all stages run, those of machine learning too."""
    sample = dataset("ttbar")
    run = Chain(tmp_path, sample, campaign(sample, machine_learning=True))
    events, _ = run.reduce(nanoaod(test_data, "Drell-Yan"))
    assert len(events) == len(run.training()["training_target"]) == 0
    assert feature_blocks(run.events().records(FEATURE_COLUMNS)) == []
    tables, weights = run.produce()
    assert {name: len(table["ht"]) for name, table in tables.items()} == dict.fromkeys(agc.KINEMATIC, 0)
    assert weights is not None
    assert len(weights["weight_btag_var_0_up"]) == 0


@pytest.mark.parametrize("shift", ["pt_scale_up", "pt_res_up"])
@pytest.mark.parametrize("variable", ["ht", "trijet_mass"])
def test_kinematic_shifts_move_the_real_events(histograms: Any, variable: str, shift: str) -> None:
    histogram = histograms("ttbar")[variable]
    nominal = histogram[{"shift": "nominal"}].values(flow=True)
    assert not np.array_equal(histogram[{"shift": shift}].values(flow=True), nominal)


@pytest.mark.parametrize("sample", ["ttbar", "W+jets", "RNTuple", "Drell-Yan"])
def test_columns_of_all_events_equal_the_reference(test_data: Path, sample: str) -> None:
    path = nanoaod(test_data, sample)
    table = whole_file(path)
    for shift in agc.KINEMATIC:
        assert_columns_equal(table.shifted(SHIFTS[shift]), reference_events(path), shift)


def assert_columns_equal(table: Table, events: list[agc.Event], shift: str) -> None:
    selected = [agc.jets(event, shift) for event in events]
    assert table["one_lepton"].to_list() == [len(agc.leptons(event)) == 1 for event in events]
    assert table["n_jets"].to_list() == [len(jets) for jets in selected]
    assert table["n_b_jets"].to_list() == [sum(jet.b_tag > 0.5 for jet in jets) for jets in selected]
    for region in ("4j1b", "4j2b"):
        assert table[f"in_{region}"].to_list() == [agc.region(event, shift) == region for event in events]
    np.testing.assert_allclose(table["ht"], [sum(jet.pt for jet in jets) for jets in selected], rtol=1e-12)
    trijets = [agc.leading_trijet(jets) for jets in selected]
    masses = [agc.mass(trijet) if trijet else math.nan for trijet in trijets]
    np.testing.assert_allclose(table["trijet_mass"], masses, rtol=1e-12)
    members = [sum(2 ** jets.index(jet) for jet in trijet) for jets, trijet in zip(selected, trijets, strict=True)]
    assert table["trijet_jets"].to_list() == members


@pytest.mark.parametrize("shift", agc.KINEMATIC)
def test_features_of_all_assignments_equal_the_reference(ttbar: Chain, test_data: Path, shift: str) -> None:
    events = [e for e in reference_events(nanoaod(test_data, "ttbar")) if agc.region(e, shift) == "4j2b"]
    table = ttbar.events().shifted(SHIFTS[shift])
    table = table.filter(table["in_4j2b"])
    assert table["event"].to_list() == [event["event"] for event in events]
    blocks = feature_blocks(table.records(FEATURE_COLUMNS))
    found = {row: features for block in blocks for row, features in zip(block.rows, block.features, strict=True)}
    assert sorted(found) == list(range(len(events)))
    for row, event in enumerate(events):
        expected = np.array(list(agc.features(event, shift=shift)))
        assert found[row].dtype == np.float32
        np.testing.assert_allclose(found[row], expected, rtol=1e-6, atol=1e-6)
    assert {len(found[row]) for row in found} == {12, 60, 180}


def test_features_are_as_many_as_the_variables_that_show_them(ttbar: Chain) -> None:
    table = ttbar.events()
    block = feature_blocks(table.filter(table["in_4j2b"]).records(FEATURE_COLUMNS))[0]
    assert block.features.shape[-1] == len(FEATURES) == 20


def test_parton_labels_of_all_jets_equal_the_reference(test_data: Path) -> None:
    path = nanoaod(test_data, "ttbar")
    expected = [agc.parton_labels(event) for event in reference_events(path)]
    found = whole_file(path)["Jet.parton"].to_list()
    assert found == expected
    assert {label for labels in found for label in labels} == {24, 6, -6, 100}


def test_training_sample_equals_the_reference(ttbar: Chain, test_data: Path) -> None:
    by_number = {event["event"]: event for event in reference_events(nanoaod(test_data, "ttbar"))}
    table = ttbar.training()
    events = [by_number[number] for number in table["event"].to_list()]
    targets = [agc.training_target(event) for event in events]
    assert table["training_target"].to_list() == targets
    assert sum(target >= 0 for target in targets) == 9
    for features, target, event in zip(table["training_features"], targets, events, strict=True):
        expected = list(agc.features(event, max_jets=4)) if target >= 0 else []
        assert len(features) == len(expected)
        if expected:
            np.testing.assert_allclose(ak.to_numpy(features), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("sample", "used"), [("ttbar", 9), ("W+jets", 0), ("RNTuple", 0)])
def test_no_event_outside_the_reduction_is_learned_from(test_data: Path, sample: str, used: int) -> None:
    """The target of every event of a file, selected or not."""
    path = nanoaod(test_data, sample)
    found = whole_file(path)["training_target"].to_list()
    assert found == [agc.training_target(event) for event in reference_events(path)]
    assert sum(target >= 0 for target in found) == used


def test_collision_data_need_neither_generator_nor_weights(test_data: Path, tmp_path: Path) -> None:
    path = test_data / "nanoaod" / "dimuon_data_40.root"
    data = dataset("DoubleMuon", None, is_data=True)
    run = Chain(tmp_path, data, campaign(data, machine_learning=True))
    for variable, histogram in run.histograms(path).items():
        assert tuple(histogram.axes["shift"]) == ("nominal",)
        assert_equal(histogram, "nominal", agc.histogram(reference_events(path), variable, "nominal", "data", 1.0))
    tables, weights = run.produce()
    assert list(tables) == ["nominal"]
    assert weights is None


def test_every_event_of_collision_data_has_weight_one(test_data: Path, tmp_path: Path) -> None:
    """Simulated events taken for data, because the real ones leave none in the regions."""
    data = dataset("SingleMuon", None, is_data=True)
    run = Chain(tmp_path, data, campaign(data))
    histogram: Any = run.histograms(nanoaod(test_data, "ttbar"))["trijet_mass"]
    view = histogram[{"shift": "nominal"}].view(flow=True)
    assert view["value"].sum() == view["variance"].sum() == 73


def test_cutflow_of_collision_data_counts_events(test_data: Path) -> None:
    data = dataset("SingleMuon", None, is_data=True)
    table = Table(NanoAODSource(str(test_data / "nanoaod" / "dimuon_data_40.root")))
    steps = select(table, data, [NOMINAL]).cutflow.steps
    assert [step.sum_of_weights for step in steps] == [step.events for step in steps]
    assert steps[0].events == 40
