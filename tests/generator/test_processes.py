from __future__ import annotations

import numpy as np
import pytest

from analysis.config import get_campaign
from analysis.generator import DATASETS, record
from analysis.generator.events import random_stream
from analysis.generator.kinematics import boost, invariant_mass, pseudorapidity, transverse_momentum
from analysis.generator.processes import make_candidates, make_hard_events, passes_filter


@pytest.fixture(scope="module")
def pairs() -> record.HardEvents:
    return make_candidates(DATASETS["ttbar"], 40_000, random_stream("ttbar", 1, 0))


@pytest.mark.parametrize("leg", [0, 1])
def test_decays_conserve_momentum(pairs: record.HardEvents, leg: int) -> None:
    p4 = pairs.p4
    assert p4[:, record.W[leg]] + p4[:, record.BOTTOM[leg]] == pytest.approx(p4[:, record.TOP[leg]], abs=1e-8)
    assert p4[:, record.DOWN[leg]] + p4[:, record.UP[leg]] == pytest.approx(p4[:, record.W[leg]], abs=1e-8)


def test_masses_peak_where_they_should(pairs: record.HardEvents) -> None:
    assert np.median(invariant_mass(pairs.p4[:, 0])) == pytest.approx(172.5, abs=0.05)
    assert np.median(invariant_mass(pairs.p4[:, 2])) == pytest.approx(80.38, abs=0.05)


def test_pair_recoils_against_radiation(pairs: record.HardEvents) -> None:
    total = pairs.p4[:2, list(record.TOP)].sum(axis=1) + pairs.p4[:2, record.EXTRA].sum(axis=1)
    assert total == pytest.approx(np.zeros(total.shape), abs=1e-8)


def test_charges_of_decays_add_up(pairs: record.HardEvents) -> None:
    pdg = pairs.pdg
    assert np.array_equal(pdg[0], -pdg[1])
    for leg in range(2):
        assert np.array_equal(np.sign(pdg[record.W[leg]]), np.sign(pdg[record.TOP[leg]]))
        assert np.array_equal(np.sign(pdg[record.DOWN[leg]]), -np.sign(pdg[record.W[leg]]))
        assert np.array_equal(np.sign(pdg[record.UP[leg]]), np.sign(pdg[record.W[leg]]))


def test_leptonic_branching_fraction(pairs: record.HardEvents) -> None:
    electrons = np.abs(pairs.pdg[list(record.DOWN)]) == record.ELECTRON
    assert electrons.mean() == pytest.approx(0.1086, abs=0.004)


def test_w_bosons_are_polarised(pairs: record.HardEvents) -> None:
    w_boson = pairs.p4[:, record.W[0]]
    lepton = boost(pairs.p4[:, record.DOWN[0]], w_boson, inverse=True)
    bottom = boost(pairs.p4[:, record.BOTTOM[0]], w_boson, inverse=True)
    cosine = -(lepton[:3] * bottom[:3]).sum(axis=0) / np.sqrt(
        (lepton[:3] ** 2).sum(axis=0) * (bottom[:3] ** 2).sum(axis=0)
    )
    # (right - left-handed fraction) / 2
    assert cosine.mean() == pytest.approx((0.002 - 0.311) / 2.0, abs=0.01)


def test_filter_efficiency_of_pairs_is_what_passes(pairs: record.HardEvents) -> None:
    declared = get_campaign("demo").datasets["ttbar"].filter_efficiency
    assert passes_filter(pairs, DATASETS["ttbar"]).mean() == pytest.approx(declared, rel=0.05)


@pytest.mark.parametrize("name", DATASETS)
def test_filtered_events_have_lepton_and_partons_or_many_partons(name: str) -> None:
    settings = DATASETS[name]
    events = make_hard_events(settings, 500, random_stream(name, 2, 0))
    assert events.pdg.shape == (record.N_SLOTS, 500)
    for event in range(500):
        pdg, p4 = events.pdg[4:, event], events.p4[:, 4:, event]
        pt, present = transverse_momentum(p4), pdg != 0
        eta = np.full(len(pdg), 99.0)
        eta[present] = pseudorapidity(p4[:, present])
        n_partons = sum(record.is_parton(pdg) & (pt > settings.parton_pt) & (np.abs(eta) < 2.6))
        leptons = record.is_charged_lepton(pdg)
        assert n_partons >= (settings.min_partons if leptons.any() else 6)
        assert not leptons.any() or pt[leptons].max() > 28.0
