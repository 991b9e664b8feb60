from __future__ import annotations

import numpy as np
import pytest

from analysis.generator import DATASETS, generate_events, record
from analysis.generator.jets import cluster
from analysis.generator.kinematics import from_pt_eta_phi_mass
from analysis.generator.quantiles import B_TAG_LIGHT, sample_quantiles
from analysis.generator.shower import Showered, TauDecays


def partonic_event(partons: dict[int, tuple[int, float, float, float]]) -> Showered:
    """One event with a parton (PDG number, pT, eta, phi) in each of the given slots."""
    p4, pdg = np.zeros((4, record.N_SLOTS, 1)), np.zeros((record.N_SLOTS, 1), dtype=np.int32)
    for slot, (number, pt, eta, phi) in partons.items():
        p4[:, slot] = from_pt_eta_phi_mass(np.array([pt]), np.array([eta]), np.array([phi]), 0.0)
        pdg[slot] = number
    none = np.zeros((6, 1), dtype=bool)
    tau = TauDecays(np.zeros(1, dtype=np.int32), np.zeros(1, dtype=bool), np.ones(1), np.zeros(1))
    quarks = p4[:, record.DECAY_QUARKS].copy()
    return Showered(record.HardEvents(p4, pdg), quarks, np.zeros_like(quarks), none, (tau, tau))


def test_near_partons_merge_and_the_heaviest_names_the_jet() -> None:
    event = partonic_event({6: (-1, 50.0, 0.1, 3.1), 4: (5, 30.0, 0.1, -3.1), 10: (21, 40.0, 1.5, 0.0)})
    clusters = cluster(event)
    pt = np.hypot(clusters.p4[0], clusters.p4[1])
    # 50 and 30 GeV at an angle of 2 pi - 6.2
    merged = np.sqrt(50.0**2 + 30.0**2 + 2 * 50.0 * 30.0 * np.cos(6.2))
    assert sorted(pt) == pytest.approx([40.0, merged], rel=1e-5)
    assert dict(zip(np.rint(pt), clusters.flavour, strict=True)) == {40.0: 21, 80.0: 5}


def test_far_partons_stay_apart_and_soft_ones_are_dropped() -> None:
    event = partonic_event({6: (-1, 50.0, 0.0, 0.0), 7: (2, 30.0, 0.41, 0.0), 10: (21, 7.0, 2.0, 0.0)})
    assert sorted(cluster(event).flavour) == [1, 2]


def test_an_electron_leaves_a_jet_and_a_muon_does_not() -> None:
    clusters = cluster(partonic_event({6: (11, 50.0, 0.0, 0.0), 8: (13, 50.0, 1.0, 2.0)}))
    assert list(clusters.flavour) == [record.ELECTRON]
    assert clusters.lepton_fraction == pytest.approx([1.0])


def test_quantiles_are_interpolated() -> None:
    table = (0.0, 1.0, 3.0)
    uniform = np.array([0.0, 0.25, 0.5, 0.75, 1.0], dtype=np.float32)
    assert sample_quantiles(table, uniform) == pytest.approx([0.0, 0.5, 1.0, 2.0, 3.0])


def test_tagging_efficiencies() -> None:
    jets = generate_events("ttbar", 20_000, seed=4).content
    selected = (jets["Jet_pt"] > 30) & (np.abs(jets["Jet_eta"]) < 2.4) & (jets["Jet_jetId"] == 6)
    tagged, flavour = jets["Jet_btagCSVV2"] > 0.5, jets["Jet_hadronFlavour"]
    assert tagged[selected & (flavour == 5)].mean() == pytest.approx(0.85 ** (1 / 1.28), abs=0.11)
    assert 0.30 < tagged[selected & (flavour == 4)].mean() < 0.45
    assert 0.05 < tagged[selected & (flavour == 0)].mean() < 0.12
    assert B_TAG_LIGHT[-1] < 1.0


def test_light_quarks_score_above_gluons() -> None:
    jets = generate_events("wjets", 10_000, seed=5).content
    scored = jets["Jet_qgl"] >= 0
    quark = jets["Jet_qgl"][scored & np.isin(np.abs(jets["Jet_partonFlavour"]), (1, 2, 3))]
    gluon = jets["Jet_qgl"][scored & (jets["Jet_partonFlavour"] == 21)]
    assert quark.mean() - gluon.mean() == pytest.approx(0.24, abs=0.05)


def test_true_jet_scale_of_a_dataset_shows() -> None:
    pt = {name: generate_events(name, 20_000, seed=6).content["Jet_pt"] for name in ("ttbar", "ttbar_PS_var")}
    ratio = np.median(pt["ttbar_PS_var"]) / np.median(pt["ttbar"])
    assert DATASETS["ttbar_PS_var"].jet_scale == 0.967
    assert 0.93 < ratio < 1.0
