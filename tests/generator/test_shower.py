from __future__ import annotations

import numpy as np
import pytest

from analysis.generator import DATASETS, record
from analysis.generator.events import random_stream
from analysis.generator.kinematics import pseudorapidity, wrap_angle
from analysis.generator.processes import make_hard_events
from analysis.generator.shower import Showered, shower


@pytest.fixture(scope="module")
def events() -> Showered:
    rng = random_stream("ttbar", 3, 0)
    settings = DATASETS["ttbar"]
    return shower(settings, make_hard_events(settings, 20_000, rng), rng)


def test_radiation_conserves_three_momentum(events: Showered) -> None:
    before = events.hard.p4[:3, record.DECAY_QUARKS]
    assert events.quarks[:3] + events.gluons[:3] == pytest.approx(before, abs=1e-8)


def test_only_quarks_radiate_and_as_often_as_asked(events: Showered) -> None:
    quark = np.abs(events.hard.pdg[record.DECAY_QUARKS]) <= record.BOTTOM_QUARK
    assert not (events.radiated & ~quark).any()
    assert events.radiated[quark].mean() == pytest.approx(DATASETS["ttbar"].splitting, abs=0.01)


def test_gluons_are_outside_of_the_quarks_jet(events: Showered) -> None:
    quark = events.hard.p4[:, record.DECAY_QUARKS][:, events.radiated]
    gluon = events.gluons[:, events.radiated]
    d_eta = pseudorapidity(quark) - pseudorapidity(gluon)
    d_phi = wrap_angle(np.arctan2(quark[1], quark[0]) - np.arctan2(gluon[1], gluon[0]))
    distance = np.hypot(d_eta, d_phi)
    assert distance.min() >= 0.4 - 1e-9
    assert distance.max() <= 1.3 + 1e-9


def test_tau_leptons_decay_as_they_should(events: Showered) -> None:
    tau = events.taus[0]
    is_tau = np.abs(events.hard.pdg[record.DOWN[0]]) == record.TAU
    leptonic = tau.pdg != 0
    assert np.array_equal(leptonic | tau.hadronic, is_tau)
    assert not (leptonic & tau.hadronic).any()
    assert leptonic[is_tau].mean() == pytest.approx(0.352, abs=0.035)
    # mean of (5 - 9 x^2 + 4 x^3) / 3 is 7/20
    assert tau.fraction[leptonic].mean() == pytest.approx(0.35, abs=0.03)
    assert np.array_equal(np.sign(tau.pdg[leptonic]), np.sign(events.hard.pdg[record.DOWN[0]][leptonic]))
