"""What the reduction keeps."""

from __future__ import annotations

import pytest

from analysis.columnar.producers import OBSERVABLES, TRAINING, WEIGHTS, is_trained_on, produced_columns, reduced_columns
from analysis.config import get_campaign
from tests.columnar.chain import campaign, dataset

IDENTITY = ["event", "luminosityBlock", "run"]
LEPTONS = [
    *(f"Electron.{name}" for name in ("cutBased", "eta", "pt", "sip3d")),
    *(f"Muon.{name}" for name in ("eta", "pfRelIso04_all", "pt", "sip3d", "tightId")),
]
JETS = [f"Jet.{name}" for name in ("btagCSVV2", "eta", "index", "jetId", "mass", "phi", "pt")]
LEPTON_MOMENTA = ["Electron.mass", "Electron.phi", "Muon.mass", "Muon.phi"]


def test_reduction_for_training() -> None:
    agc = get_campaign("agc_2015")
    expected = sorted([*IDENTITY, *LEPTONS, *LEPTON_MOMENTA, *JETS, "Jet.qgl", "Jet.parton"])
    assert reduced_columns(agc.datasets["ttbar"], agc) == expected


@pytest.mark.parametrize("name", ["ttbar_ME_var", "ttbar_scaleup", "wjets", "single_top_tW"])
def test_reduction_without_training(name: str) -> None:
    agc = get_campaign("agc_2015")
    expected = sorted([*IDENTITY, *LEPTONS, *LEPTON_MOMENTA, *JETS, "Jet.qgl"])
    assert reduced_columns(agc.datasets[name], agc) == expected


def test_reduction_without_machine_learning() -> None:
    """The momentum of the lepton is a variable, hence its angles: one function makes all four columns."""
    ttbar = dataset("ttbar")
    expected = sorted([*IDENTITY, *LEPTONS, *LEPTON_MOMENTA, *JETS])
    assert reduced_columns(ttbar, campaign(ttbar)) == expected


def test_collision_data_keep_no_generator_columns() -> None:
    data = dataset("data", None, is_data=True)
    kept = reduced_columns(data, campaign(data, machine_learning=True))
    assert not [column for column in kept if column.startswith(("GenPart", "Jet.parton", "genWeight"))]


def test_produced_columns() -> None:
    agc = get_campaign("agc_2015")
    wjets, varied = agc.datasets["wjets"], agc.datasets["ttbar_ME_var"]
    assert produced_columns(OBSERVABLES, wjets) == ("in_4j1b", "in_4j2b", "ht", "trijet_mass", "lepton_pt", "n_jets")
    b_tag = [f"weight_btag_var_{i}_{direction}" for i in range(4) for direction in ("up", "down")]
    assert produced_columns(WEIGHTS, wjets) == (*b_tag, "weight_scale_var_up", "weight_scale_var_down")
    assert produced_columns(WEIGHTS, agc.datasets["ttbar"]) == tuple(b_tag)
    assert produced_columns(WEIGHTS, varied) == ()
    assert produced_columns(TRAINING, wjets) == ("training_features", "training_target", "trijet_jets")


def test_the_classifier_learns_from_nominal_ttbar_alone() -> None:
    agc = get_campaign("agc_2015")
    assert [d.name for d in agc.datasets.values() if is_trained_on(d, agc)] == ["ttbar"]
    assert not is_trained_on(agc.datasets["ttbar"], campaign())
