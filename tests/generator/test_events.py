from __future__ import annotations

import numpy as np
import pytest

from analysis.generator import DATASETS, GeneratedEvents, UnknownDatasetError, generate_events
from analysis.generator.events import random_stream


@pytest.fixture(scope="module", params=list(DATASETS))
def events(request: pytest.FixtureRequest) -> GeneratedEvents:
    return generate_events(request.param, 2_000, seed=1, first_event=500)


def columns(events: GeneratedEvents) -> dict[str, np.ndarray]:
    return {**events.flat, **events.content}


def test_there_are_69_branches(events: GeneratedEvents) -> None:
    assert len(events.branches) == len(set(events.branches)) == 69
    assert {"nJet", "nElectron", "nMuon", "nGenPart"} < set(events.branches)


def test_all_values_are_finite_and_as_many_as_counted(events: GeneratedEvents) -> None:
    for name, values in events.flat.items():
        assert values.shape == (2_000,), name
        assert np.isfinite(values).all(), name
    for name, values in events.content.items():
        assert values.shape == (events.counts[name.split("_")[0]].sum(),), name
        assert np.isfinite(values).all(), name


def test_events_are_numbered_from_the_first(events: GeneratedEvents) -> None:
    assert events.flat["event"].dtype == np.uint64
    assert np.array_equal(events.flat["event"], np.arange(501, 2_501))
    assert list(np.unique(events.flat["luminosityBlock"])) == [1, 2, 3]


@pytest.mark.parametrize("collection", ["Jet", "Electron", "Muon"])
def test_objects_fall_in_transverse_momentum(events: GeneratedEvents, collection: str) -> None:
    owner = np.repeat(np.arange(2_000), events.counts[collection])
    pt = events.content[f"{collection}_pt"]
    same_event = owner[1:] == owner[:-1]
    assert (pt[1:] <= pt[:-1])[same_event].all()
    assert pt.min() > {"Jet": 15.0, "Electron": 5.0, "Muon": 3.0}[collection]


def test_mothers_come_before_their_daughters(events: GeneratedEvents) -> None:
    counts = events.counts["GenPart"]
    position = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    mother = events.content["GenPart_genPartIdxMother"]
    assert (mother < position).all()
    assert np.array_equal(mother == -1, position < 2)
    # a quark of the decays is the daughter of a W boson, a top quark, or itself before it radiated
    start = np.repeat(np.cumsum(counts) - counts, counts)
    pdg, flags = events.content["GenPart_pdgId"], events.content["GenPart_statusFlags"]
    parent = np.where(mother >= 0, pdg[start + mother], 0)
    lepton = (np.abs(pdg) >= 11) & (np.abs(pdg) <= 16)
    assert np.isin(np.abs(parent[lepton]), (15, 24)).all()
    last = (flags >> 13) & 1 == 1
    after = last & (np.abs(pdg) <= 5) & (events.content["GenPart_status"] == 71)
    assert np.array_equal(parent[after], pdg[after])


@pytest.mark.parametrize(("collection", "number"), [("Electron", 11), ("Muon", 13)])
def test_prompt_leptons_point_to_their_particle(events: GeneratedEvents, collection: str, number: int) -> None:
    index = events.content[f"{collection}_genPartIdx"]
    prompt = np.isin(events.content[f"{collection}_genPartFlav"], (1, 15))
    assert np.array_equal(index >= 0, prompt)
    counts = events.counts["GenPart"]
    start = np.repeat(np.cumsum(counts) - counts, events.counts[collection])
    matched = events.content["GenPart_pdgId"][(start + index)[prompt]]
    assert np.array_equal(matched, events.content[f"{collection}_pdgId"][prompt])
    assert np.array_equal(np.abs(matched), np.full(len(matched), number))


def test_each_requirement_removes_something() -> None:
    content = generate_events("ttbar", 5_000, seed=2).content
    hard = (content["Electron_pt"] > 30) & (np.abs(content["Electron_eta"]) < 2.1)
    muon = (content["Muon_pt"] > 30) & (np.abs(content["Muon_eta"]) < 2.1)
    for mask in (
        content["Electron_cutBased"][hard] == 4,
        content["Electron_sip3d"][hard] < 4,
        content["Muon_tightId"][muon],
        content["Muon_sip3d"][muon] < 4,
        content["Muon_pfRelIso04_all"][muon] < 0.15,
        content["Jet_jetId"] & 4 > 0,
    ):
        assert 0.3 < mask.mean() < 0.995


def test_weights_are_of_both_signs_at_next_to_leading_order_only() -> None:
    negative = {name: (generate_events(name, 2_000, seed=3).flat["genWeight"] < 0).mean() for name in DATASETS}
    assert negative.pop("ttbar_ME_var") == pytest.approx(0.1, abs=0.03)
    assert set(negative.values()) == {0.0}


def test_same_arguments_same_events_over_several_blocks() -> None:
    first, second = (columns(generate_events("wjets", 12_000, seed=7)) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_streams_differ_by_dataset_seed_and_first_event() -> None:
    base = generate_events("ttbar", 500, seed=1).flat["MET_pt"]
    others = [
        generate_events("ttbar", 500, seed=2),
        generate_events("ttbar", 500, seed=1, first_event=500),
        generate_events("ttbar_scaleup", 500, seed=1),
    ]
    for other in others:
        assert abs(np.corrcoef(base, other.flat["MET_pt"])[0, 1]) < 0.2


def test_the_stream_does_not_change_with_the_interpreter() -> None:
    # blake2b of "ttbar/1/0/0" seeds it: another value means that every generated file has changed
    assert random_stream("ttbar", 1, 0).random() == pytest.approx(random_stream("ttbar", 1, 0, 0).random())
    assert random_stream("ttbar", 1, 0).integers(2**32) == 197548413


@pytest.mark.parametrize(("n_events", "first_event"), [(0, 0), (-1, 0), (10, -1)])
def test_impossible_ranges_are_refused(n_events: int, first_event: int) -> None:
    with pytest.raises(ValueError, match="at least one event"):
        generate_events("ttbar", n_events, seed=1, first_event=first_event)


def test_unknown_dataset_is_refused() -> None:
    with pytest.raises(UnknownDatasetError, match="zjets"):
        generate_events("zjets", 10, seed=1)
