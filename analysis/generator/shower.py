"""What happens between the hard process and the detector: decays of tau leptons and hard gluon emission."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import record
from .kinematics import from_pt_eta_phi_mass, invariant_mass, pseudorapidity, transverse_momentum

if TYPE_CHECKING:
    from .datasets import Settings
    from .record import BoolArray, FloatArray, HardEvents, IntArray

TAU_TO_ELECTRON, TAU_TO_MUON = 0.1782, 0.1739
SMALLEST_FRACTION, LARGEST_FRACTION = 0.08, 0.5
SMALLEST_ANGLE, LARGEST_ANGLE = 0.4, 1.3

_FRACTIONS = np.linspace(0.0, 1.0, 201)
# Energy fraction of the lepton in the decay of a relativistic tau lepton, polarisation averaged (PDG, muon decay).
_FRACTION_CDF = (5.0 * _FRACTIONS - 3.0 * _FRACTIONS**3 + _FRACTIONS**4) / 3.0


class TauDecays(NamedTuple):
    """Decays of the tau lepton of one leg, in the collinear approximation.

    Attributes:
        pdg: PDG number of the light charged lepton, 0 without one, shape ``(n,)``.
        hadronic: whether there is a tau lepton that decays into hadrons, shape ``(n,)``.
        fraction: energy fraction of what can be seen, shape ``(n,)``.
        neutrino_share: share of the tau neutrino in the remaining energy, shape ``(n,)``.
    """

    pdg: IntArray
    hadronic: BoolArray
    fraction: FloatArray
    neutrino_share: FloatArray


class Showered(NamedTuple):
    """Partonic events after the shower.

    Attributes:
        hard: the partonic events.
        quarks: quarks from decays after they radiated, shape ``(4, 6, n)``.
        gluons: gluons that they radiated, zero where there is none, shape ``(4, 6, n)``.
        radiated: whether a quark radiated, shape ``(6, n)``.
        taus: decays of the tau leptons of both legs.
    """

    hard: HardEvents
    quarks: FloatArray
    gluons: FloatArray
    radiated: BoolArray
    taus: tuple[TauDecays, TauDecays]


def shower(settings: Settings, events: HardEvents, rng: np.random.Generator) -> Showered:
    """Lets quarks from decays radiate and tau leptons decay.

    Args:
        settings: settings of the dataset.
        events: partonic events.
        rng: source of randomness.

    Returns:
        The events after the shower.
    """
    before = events.p4[:, record.DECAY_QUARKS]
    absolute = np.abs(events.pdg[record.DECAY_QUARKS])
    quark = (absolute >= 1) & (absolute <= record.HEAVIEST_JET_QUARK)
    radiated = quark & (rng.random(quark.shape) < settings.splitting)
    gluons = np.zeros_like(before)
    gluons[:, radiated] = _emit(before[:, radiated], rng)
    quarks = before.copy()
    split = before[:, radiated]
    momentum = split[:3] - gluons[:, radiated][:3]
    quarks[:3, radiated] = momentum
    quarks[3, radiated] = np.sqrt((momentum**2).sum(axis=0) + invariant_mass(split) ** 2)
    taus = (_decay_tau(events.pdg[record.DOWN[0]], rng), _decay_tau(events.pdg[record.DOWN[1]], rng))
    return Showered(events, quarks, gluons, radiated, taus)


def _emit(quark: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Gluons with dz/z and dR/R spectra, at least as far from the quark as a jet is wide; shape ``(4, k)``."""
    number = quark.shape[-1]
    fraction = SMALLEST_FRACTION * (LARGEST_FRACTION / SMALLEST_FRACTION) ** rng.random(number)
    distance = SMALLEST_ANGLE * (LARGEST_ANGLE / SMALLEST_ANGLE) ** rng.random(number)
    angle = rng.uniform(-np.pi, np.pi, number)
    pt = fraction * transverse_momentum(quark)
    eta = pseudorapidity(quark) + distance * np.cos(angle)
    phi = np.arctan2(quark[1], quark[0]) + distance * np.sin(angle)
    return from_pt_eta_phi_mass(pt, eta, phi, 0.0)


def _decay_tau(pdg: IntArray, rng: np.random.Generator) -> TauDecays:
    """Decays the tau leptons among the given particles, shape ``(n,)``."""
    n_events = len(pdg)
    is_tau = np.abs(pdg) == record.TAU
    draw = rng.random(n_events)
    lepton = np.where(draw < TAU_TO_ELECTRON, record.ELECTRON, record.MUON)
    leptonic = is_tau & (draw < TAU_TO_ELECTRON + TAU_TO_MUON)
    fraction: FloatArray = np.interp(rng.random(n_events), _FRACTION_CDF, _FRACTIONS)
    # hadrons take more of the energy: only one neutrino
    fraction = np.where(leptonic, fraction, 0.25 + 0.75 * np.sqrt(fraction))
    light = np.where(leptonic, lepton * np.sign(pdg), 0).astype(np.int32)
    return TauDecays(light, is_tau & ~leptonic, fraction, rng.random(n_events))
