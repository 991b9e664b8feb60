from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import pytest
import uproot

from analysis.generator import generate_events, write_nanoaod
from analysis.generator.nanoaod import content_uuid

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generated") / "ttbar.root"
    write_nanoaod(path, "ttbar", 3_000, seed=1, first_event=10)
    return path


def test_file_holds_the_generated_events(path: Path) -> None:
    events = generate_events("ttbar", 3_000, seed=1, first_event=10)
    with uproot.open(path) as file:
        tree = file["Events"]
        assert sorted(tree.keys()) == sorted(events.branches)
        assert len(tree.keys()) == 69
        assert tree.num_entries == 3_000
        for name, values in events.flat.items():
            assert np.array_equal(tree[name].array(library="np"), values), name
        for name, values in events.content.items():
            read = tree[name].array()
            assert np.array_equal(ak.num(read), events.counts[name.split("_")[0]]), name
            flat = ak.to_numpy(ak.flatten(read))
            assert flat.dtype == values.dtype, name
            assert np.array_equal(flat, values), name


def test_types_are_those_of_nanoaod(path: Path, test_data: Path) -> None:
    # real NanoAOD counts in unsigned integers, uproot in signed ones
    with uproot.open(path) as ours, uproot.open(test_data / "nanoaod" / "ttbar_1000.root") as real:
        types = {name: branch.typename for name, branch in ours["Events"].items() if not name.startswith("n")}
        assert types == {name: real["Events"][name].typename for name in types}


def test_clusters_are_large(tmp_path: Path) -> None:
    write_nanoaod(tmp_path / "w.root", "wjets", 110_000, seed=1)
    with uproot.open(tmp_path / "w.root") as file:
        assert file["Events"].num_entries == 110_000
        assert file["Events"]["event"].num_baskets == 2


def test_the_same_arguments_give_the_same_content(path: Path, tmp_path: Path) -> None:
    """Under another name and over an older file."""
    other = tmp_path / "another_name.root"
    other.write_bytes(bytes(10_000_000))
    write_nanoaod(other, "ttbar", 3_000, seed=1, first_event=10)
    assert other.stat().st_size == path.stat().st_size
    with uproot.open(path) as one, uproot.open(other) as two:
        assert one.file.uuid == two.file.uuid
        assert one["Events"].keys() == two["Events"].keys()
        for name, branch in one["Events"].items():
            for number in range(branch.num_baskets):
                baskets = [tree["Events"][name].basket(number).data for tree in (one, two)]
                assert np.array_equal(*baskets), name


def test_the_uuid_stands_for_the_content(path: Path) -> None:
    events = generate_events("ttbar", 3_000, seed=1, first_event=10)
    with uproot.open(path) as file:
        assert file.file.uuid == content_uuid(events, "ttbar/1/10")
    changed = replace(events, content={**events.content, "Jet_pt": events.content["Jet_pt"] * 2})
    moved = replace(events, counts={**events.counts, "Jet": events.counts["Jet"][::-1]})
    uuids = {content_uuid(e, origin) for e in (events, changed, moved) for origin in ("ttbar/1/10", "wjets/1/10")}
    assert len(uuids) == 6


@pytest.mark.filterwarnings("ignore")
def test_coffea_follows_the_generator_record(path: Path) -> None:
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    events = NanoEventsFactory.from_root({path: "Events"}, schemaclass=NanoAODSchema, mode="eager").events()
    partons = events.GenPart[(abs(events.GenPart.pdgId) < 6) & events.GenPart.hasFlags("isLastCopy")]
    parent = abs(partons.distinctParent.pdgId)
    from_decay = partons[(parent == 6) | (parent == 24)]
    # two b quarks and two for each W boson that decays into quarks
    assert set(ak.num(from_decay).to_list()) == {2, 4, 6}
    bottom = from_decay[abs(from_decay.distinctParent.pdgId) == 6]
    assert ak.all(ak.num(bottom) == 2)
    assert ak.all(abs(bottom.pdgId) == 5)
    # the AGC's label of a leptonic top quark: a charged lepton and its neutrino among the grandchildren
    grandchildren = abs(ak.flatten(bottom.distinctParent.distinctChildren.distinctChildren.pdgId, axis=3))
    lepton = ak.any((grandchildren >= 11) & (grandchildren <= 16), axis=2)
    number = abs(events.GenPart.pdgId)
    charged = (number == 11) | (number == 13) | (number == 15)
    direct = charged & ak.fill_none(abs(events.GenPart.distinctParent.pdgId) == 24, False)
    assert ak.all(ak.sum(lepton, axis=1) == ak.sum(direct, axis=1))
    matched = events.Muon[events.Muon.genPartIdx >= 0].matched_gen
    assert ak.all(abs(ak.flatten(matched.pdgId)) == 13)
