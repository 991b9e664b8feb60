"""Hard processes: top-quark pairs, single top quarks and W bosons with jets, decayed and filtered.

The spectra are simple shapes with the right averages, not matrix elements; decays are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import record
from .kinematics import (
    boost,
    from_pt_eta_phi_mass,
    from_pt_rapidity_phi_mass,
    transverse_momentum,
    two_body_decay,
)
from .record import HardEvents, is_charged_lepton, is_parton

if TYPE_CHECKING:
    from .datasets import Settings
    from .record import BoolArray, FloatArray, IntArray

TOP_MASS, TOP_WIDTH = 172.5, 1.42
W_MASS, W_WIDTH = 80.38, 2.085
BOTTOM_MASS = 4.7
LEPTONIC_BRANCHING = 0.1086
"""W boson into one lepton flavour (Particle Data Group)."""
RADIATION_CUTOFF = 600.0
FILTER_LEPTON_PT, FILTER_TAU_PT, FILTER_LEPTON_ETA = 28.0, 55.0, 2.2
FILTER_PARTON_ETA = 2.6
FILTER_HADRONIC_HT, FILTER_HADRONIC_PARTONS = 650.0, 6

_COSINES = np.linspace(-1.0, 1.0, 401)
# Integral of 3/4 F0 (1-c^2) + 3/8 FL (1-c)^2 + 3/8 FR (1+c)^2 with the standard-model fractions at next-to-next-to
# leading order (arXiv:1005.2625), c being the cosine of the charged lepton to the W boson in the top quark's frame.
_HELICITY_CDF = (
    0.687 * (0.75 * _COSINES - 0.25 * _COSINES**3 + 0.5)
    + 0.311 * (1.0 - (1.0 - _COSINES) ** 3 / 8.0)
    + 0.002 * (1.0 + _COSINES) ** 3 / 8.0
)


def make_hard_events(settings: Settings, n_events: int, rng: np.random.Generator) -> HardEvents:
    """Generates partonic events that pass the generator filter.

    Args:
        settings: settings of the dataset.
        n_events: number of events to return.
        rng: source of randomness.

    Returns:
        Exactly ``n_events`` events.
    """
    accepted: list[HardEvents] = []
    missing, tried, passed = n_events, 0, 0
    while missing > 0:
        efficiency = passed / tried if passed else 0.4
        size = int(missing / efficiency * 1.02) + 200
        events = make_candidates(settings, size, rng)
        events = events.select(passes_filter(events, settings))
        accepted.append(events)
        tried, passed = tried + size, passed + events.pdg.shape[-1]
        missing -= events.pdg.shape[-1]
    p4 = np.concatenate([events.p4 for events in accepted], axis=-1)[:, :, :n_events]
    pdg = np.concatenate([events.pdg for events in accepted], axis=-1)[:, :n_events]
    return HardEvents(p4, pdg)


def passes_filter(events: HardEvents, settings: Settings) -> BoolArray:
    """The generator filter: a charged lepton and enough partons, or no lepton and many hard partons.

    Args:
        events: partonic events.
        settings: settings of the dataset.

    Returns:
        Mask, shape ``(n,)``.
    """
    visible = events.p4[:, record.BOTTOM[0] :]
    pdg = events.pdg[record.BOTTOM[0] :]
    pt = transverse_momentum(visible)
    # abs(eta) < x without the cost of a logarithm: abs(pz) < pt sinh(x)
    inside = np.abs(visible[2]) < pt * np.sinh(FILTER_PARTON_ETA)
    parton = is_parton(pdg) & inside & (pt > settings.parton_pt)
    lepton = is_charged_lepton(pdg)
    threshold = np.where(np.abs(pdg) == record.TAU, FILTER_TAU_PT, FILTER_LEPTON_PT)
    good_lepton = lepton & (pt > threshold) & (np.abs(visible[2]) < pt * np.sinh(FILTER_LEPTON_ETA))
    transverse_energy = np.where(parton, pt, 0.0).sum(axis=0)
    number = parton.sum(axis=0)
    leptonic = good_lepton.any(axis=0) & (number >= settings.min_partons)
    hadronic = (transverse_energy > FILTER_HADRONIC_HT) & (number >= FILTER_HADRONIC_PARTONS)
    passed: BoolArray = leptonic | (hadronic & ~lepton.any(axis=0))
    return passed


def make_candidates(settings: Settings, n_events: int, rng: np.random.Generator) -> HardEvents:
    """Generates partonic events before the filter.

    Args:
        settings: settings of the dataset.
        n_events: number of events.
        rng: source of randomness.

    Returns:
        The events, top quarks and W bosons decayed.
    """
    events = HardEvents(np.zeros((4, record.N_SLOTS, n_events)), np.zeros((record.N_SLOTS, n_events), dtype=np.int32))
    n_process = _PROCESS_PARTONS[settings.process] + settings.spectator
    _radiate(settings, events, n_process, rng)
    _produce_heavy(settings, events, rng)
    for leg in range(2):
        _decay_leg(events, leg, rng, leptonic_only=settings.process == "wjets")
    return events


_PROCESS_PARTONS = {"ttbar": 0, "s_channel": 1, "t_channel": 1, "tW": 0, "wjets": 0}


def _radiate(settings: Settings, events: HardEvents, first: int, rng: np.random.Generator) -> None:
    """Fills initial-state partons with a falling spectrum into the extra slots from ``first`` on."""
    n_events: int = events.pdg.shape[-1]
    n_slots = record.N_EXTRA - first
    number = settings.radiation_min + rng.poisson(settings.radiation_mean, n_events)
    present = np.arange(n_slots)[:, None] < number
    flat = int(present.sum())
    slope = settings.radiation_slope
    # quantile function of the power law between the two limits
    reach = (settings.radiation_pt / RADIATION_CUTOFF) ** slope
    pt = settings.radiation_pt * (1.0 - rng.random(flat) * (1.0 - reach)) ** (-1.0 / slope)
    eta = rng.normal(0.0, settings.radiation_width, flat)
    phi = rng.uniform(-np.pi, np.pi, flat)
    events.p4[:, record.EXTRA][:, first:][:, present] = from_pt_eta_phi_mass(pt, eta, phi, 0.0)
    events.pdg[record.EXTRA][first:][present] = _radiated_flavour(settings, flat, rng)


def _radiated_flavour(settings: Settings, number: int, rng: np.random.Generator) -> IntArray:
    share_b, share_c = 0.03 * settings.heavy_fraction, 0.08 * settings.heavy_fraction
    edges = np.cumsum([share_b, share_c, 0.10, 0.10, 0.08])
    flavours = np.array([5, 4, 2, 1, 3, 21], dtype=np.int32)
    flavour = flavours[np.searchsorted(edges, rng.random(number))]
    sign = np.where((_coin(number, rng)) & (flavour != record.GLUON), -1, 1).astype(np.int32)
    return flavour * sign


def _breit_wigner(mass: float, width: float, n_events: int, rng: np.random.Generator) -> FloatArray:
    """Masses [GeV] from the Breit-Wigner curve within 12 half-widths, shape ``(n_events,)``."""
    limit = np.arctan(12.0)
    return mass + 0.5 * width * np.tan(rng.uniform(-limit, limit, n_events))


def _produce_heavy(settings: Settings, events: HardEvents, rng: np.random.Generator) -> None:
    """Fills top quarks, W bosons that are not from top quarks, and the partons produced with them."""
    n_events: int = events.pdg.shape[-1]
    p4, pdg = events
    recoil = -p4[:2, record.EXTRA].sum(axis=1)
    charge = np.where(_coin(n_events, rng), 1, -1).astype(np.int32)
    if settings.process == "wjets":
        mass = _breit_wigner(W_MASS, W_WIDTH, n_events, rng)
        pt = np.hypot(recoil[0], recoil[1]) + 1e-6
        rapidity = rng.normal(0.0, 1.3, n_events)
        p4[:, record.W[0]] = from_pt_rapidity_phi_mass(pt, rapidity, np.arctan2(recoil[1], recoil[0]), mass)
        pdg[record.W[0]] = record.W_BOSON * charge
        return
    pt = rng.gamma(2.3, settings.hardness / 2.3, n_events)
    phi = rng.uniform(-np.pi, np.pi, n_events)
    centre, half_gap = rng.normal(0.0, 0.8, n_events), rng.normal(0.0, 0.7, n_events)
    top = from_pt_rapidity_phi_mass(pt, centre + half_gap, phi, _breit_wigner(TOP_MASS, TOP_WIDTH, n_events, rng))
    pdg[record.TOP[0]] = record.TOP_QUARK * charge
    partner, slot, number = _partner(settings, n_events, rng)
    if settings.process == "t_channel":
        rapidity = np.where(_coin(n_events, rng), 1, -1) * rng.normal(2.3, 0.9, n_events)
    else:
        rapidity = centre - half_gap
    other = from_pt_rapidity_phi_mass(pt, rapidity, phi + np.pi, partner)
    system = top + other
    # a transverse boost that gives the system exactly the recoil: gamma beta = recoil / energy
    frame = np.zeros((4, n_events))
    frame[:2] = recoil
    frame[3] = np.sqrt(system[3] ** 2 + recoil[0] ** 2 + recoil[1] ** 2)
    p4[:, record.TOP[0]] = boost(top, frame)
    p4[:, slot] = boost(other, frame)
    pdg[slot] = number * charge
    if settings.spectator:
        spectator_pt = rng.gamma(1.8, 18.0, n_events) + 2.0
        eta, azimuth = rng.normal(0.0, 1.8, n_events), rng.uniform(-np.pi, np.pi, n_events)
        slot = record.EXTRA.start + _PROCESS_PARTONS[settings.process]
        p4[:, slot] = from_pt_eta_phi_mass(spectator_pt, eta, azimuth, BOTTOM_MASS)
        pdg[slot] = -record.BOTTOM_QUARK * charge


def _partner(settings: Settings, n_events: int, rng: np.random.Generator) -> tuple[FloatArray, int, int]:
    """What is produced against the top quark: mass [GeV], slot, PDG number for a top quark (not antiquark)."""
    first_extra = record.EXTRA.start
    if settings.process == "ttbar":
        return _breit_wigner(TOP_MASS, TOP_WIDTH, n_events, rng), record.TOP[1], -record.TOP_QUARK
    if settings.process == "tW":
        return _breit_wigner(W_MASS, W_WIDTH, n_events, rng), record.W[1], -record.W_BOSON
    if settings.process == "s_channel":
        return np.full(n_events, BOTTOM_MASS), first_extra, -record.BOTTOM_QUARK
    return np.full(n_events, 0.0), first_extra, 1


def _decay_leg(events: HardEvents, leg: int, rng: np.random.Generator, *, leptonic_only: bool) -> None:
    """Decays the top quark of a leg, if there is one, and its W boson."""
    p4, pdg = events
    n_events: int = pdg.shape[-1]
    axis = None
    # slots are filled for all events of a dataset or for none
    if pdg[record.TOP[leg], 0]:
        mass = np.minimum(_breit_wigner(W_MASS, W_WIDTH, n_events, rng), 120.0)
        top = p4[:, record.TOP[leg]]
        cos_theta, phi = rng.uniform(-1.0, 1.0, n_events), rng.uniform(-np.pi, np.pi, n_events)
        w_boson, bottom = two_body_decay(top, (mass, BOTTOM_MASS), cos_theta, phi)
        p4[:, record.W[leg]], p4[:, record.BOTTOM[leg]] = w_boson, bottom
        charge = np.sign(pdg[record.TOP[leg]])
        pdg[record.W[leg]], pdg[record.BOTTOM[leg]] = record.W_BOSON * charge, record.BOTTOM_QUARK * charge
        backwards = boost(bottom, w_boson, inverse=True)[:3]
        axis = -backwards / np.sqrt((backwards * backwards).sum(axis=0))
    if not pdg[record.W[leg], 0]:
        return
    w_boson = p4[:, record.W[leg]]
    if axis is None:
        cos_theta = rng.uniform(-1.0, 1.0, n_events)
    else:
        cos_theta = np.interp(rng.random(n_events), _HELICITY_CDF, _COSINES)
    phi = rng.uniform(-np.pi, np.pi, n_events)
    p4[:, record.DOWN[leg]], p4[:, record.UP[leg]] = two_body_decay(w_boson, (0.0, 0.0), cos_theta, phi, axis)
    down, up = _w_channel(n_events, rng, leptonic_only=leptonic_only)
    charge = np.sign(pdg[record.W[leg]])
    pdg[record.DOWN[leg]], pdg[record.UP[leg]] = down * charge, up * charge


def _w_channel(n_events: int, rng: np.random.Generator, *, leptonic_only: bool) -> tuple[IntArray, IntArray]:
    """PDG numbers of the down-type and up-type products of W+ bosons."""
    draw = rng.random(n_events)
    if leptonic_only:
        draw *= 3.0 * LEPTONIC_BRANCHING
    down = np.array([-11, -13, -15, -1, -3], dtype=np.int32)
    up = np.array([12, 14, 16, 2, 4], dtype=np.int32)
    hadronic = 1.0 - 3.0 * LEPTONIC_BRANCHING
    edges = np.cumsum([LEPTONIC_BRANCHING] * 3 + [0.5 * hadronic])
    channel = np.searchsorted(edges, draw, side="right")
    return down[channel], up[channel]


def _coin(number: int, rng: np.random.Generator) -> BoolArray:
    return rng.integers(0, 2, number, dtype=np.int8).astype(np.bool_)
