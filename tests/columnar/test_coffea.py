"""Column functions run on coffea's events, and agree with coffea where it computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from analysis.columnar.objects import selected_electron, selected_jet, selected_muon
from analysis.columnar.observables import ht, leading_trijet
from analysis.columnar.partons import jet_parton
from analysis.columnar.sources import NanoAODSource
from analysis.columnar.table import Table

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:coffea.nanoevents")


@pytest.fixture(scope="module")
def events(test_data: Path) -> Any:
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    path = str(test_data / "nanoaod" / "ttbar_1000.root")
    return NanoEventsFactory.from_root({path: "Events"}, schemaclass=NanoAODSchema, mode="virtual").events()


@pytest.fixture(scope="module")
def table(test_data: Path) -> Table:
    return Table(NanoAODSource(str(test_data / "nanoaod" / "ttbar_1000.root")))


@pytest.mark.parametrize(
    ("function", "column"),
    [(selected_jet, "SelectedJet"), (selected_electron, "SelectedElectron"), (selected_muon, "SelectedMuon")],
)
def test_object_selection_on_coffea_events(events: Any, table: Table, function: Any, column: str) -> None:
    assert function(events).to_list() == table[column].to_list()


def test_observables_on_coffea_events(events: Any, table: Table) -> None:
    with_jets = ak.with_field(events, events.Jet[selected_jet(events)], "SelectedJet")
    np.testing.assert_array_equal(ht(with_jets), table["ht"])
    trijet = leading_trijet(ak.zip({"SelectedJet": with_jets.SelectedJet}, depth_limit=1))
    np.testing.assert_allclose(trijet["trijet_mass"], table["trijet_mass"], rtol=1e-12)


def test_parton_labels_on_coffea_events(events: Any, table: Table) -> None:
    assert jet_parton(events).to_list() == table["Jet.parton"].to_list()


def test_parton_labels_agree_with_the_particle_relations_of_coffea(events: Any, table: Table) -> None:
    particles = events.GenPart
    parent_kind = abs(particles.distinctParent.pdgId)
    kind = abs(particles.pdgId)
    is_quark = (kind >= 1) & (kind <= 6) & particles.hasFlags("isLastCopy")
    quarks = particles[is_quark & ak.fill_none((parent_kind == 6) | (parent_kind == 24), False)]
    family = abs(quarks.distinctParent.distinctChildren.distinctChildren.pdgId)
    is_lepton = (family >= 11) & (family <= 18)
    charged = ak.any(ak.any(is_lepton & (family % 2 == 1), axis=-1), axis=-1)
    neutrino = ak.any(ak.any(is_lepton & (family % 2 == 0), axis=-1), axis=-1)
    quarks = ak.with_field(quarks, ak.where(charged & neutrino, -6, abs(quarks.distinctParent.pdgId)), "label")
    expected = ak.fill_none(events.Jet.nearest(quarks, threshold=0.4).label, 100)
    assert table["Jet.parton"].to_list() == expected.to_list()
    assert {-6, 6, 24, 100} == set(ak.flatten(expected).to_list())
