"""Electrons and muons: prompt ones, those from hadrons with b and c quarks, and jets that look like them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import particles, quantiles, record
from .kinematics import wrap_angle
from .quantiles import sample_quantiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .particles import Particles
    from .record import BoolArray, FloatArray, IntArray
    from .shower import Showered

SMALLEST_ELECTRON_PT, LARGEST_ELECTRON_ETA = 5.0, 2.5
SMALLEST_MUON_PT, LARGEST_MUON_ETA = 3.0, 2.4
ELECTRON_MASS, MUON_MASS = 0.000511, 0.10566
FROM_BOTTOM, FROM_CHARM, FAKE_ELECTRON = 0.12, 0.06, 0.035
ELECTRON_EFFICIENCY, MUON_EFFICIENCY = 0.93, 0.98
FULL_JET_ID = 6
TIGHT_ELECTRON = 4
# Shares of prompt electrons with identification 0 to 4.
PROMPT_IDENTIFICATION = (0.12, 0.025, 0.10, 0.085, 0.67)
FAKE_IDENTIFICATION = (0.93, 0.02, 0.02, 0.01, 0.02)
PROMPT_FLAVOUR, TAU_FLAVOUR, BOTTOM_FLAVOUR, CHARM_FLAVOUR, UNMATCHED_FLAVOUR = 1, 15, 5, 4, 0


class Candidates(NamedTuple):
    """Leptons before identification, all events one after the other; each array has the shape ``(k,)``."""

    event: IntArray
    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    charge: IntArray
    origin: IntArray
    particle: IntArray

    def take(self, index: IntArray | BoolArray) -> Candidates:
        """The candidates chosen by an index or mask."""
        return Candidates(*(column[index] for column in self))


def reconstruct_leptons(
    events: Showered,
    generated: Particles,
    jets: tuple[IntArray, Mapping[str, FloatArray | IntArray]],
    rng: np.random.Generator,
) -> dict[str, tuple[IntArray, dict[str, FloatArray | IntArray]]]:
    """Reconstructs electrons and muons.

    Args:
        events: events after the shower.
        generated: their generator record.
        jets: event index and fields of the reconstructed jets, which hold the leptons that are not prompt.
        rng: source of randomness.

    Returns:
        For ``Electron`` and ``Muon`` the event index of each lepton, ascending and within an event by falling
        transverse momentum, and the fields of the collection.
    """
    electrons = _join(_prompt(events, generated, record.ELECTRON), _from_jets(jets, record.ELECTRON, rng))
    muons = _join(_prompt(events, generated, record.MUON), _from_jets(jets, record.MUON, rng))
    electrons = _measure(electrons, record.ELECTRON, rng)
    muons = _measure(muons, record.MUON, rng)
    return {
        "Electron": (electrons.event, _electron_columns(electrons, rng)),
        "Muon": (muons.event, _muon_columns(muons, rng)),
    }


def _join(first: Candidates, second: Candidates) -> Candidates:
    return Candidates(*(np.concatenate(columns) for columns in zip(first, second, strict=True)))


def _prompt(events: Showered, generated: Particles, number: int) -> Candidates:
    """Leptons from W bosons, directly or through a tau lepton."""
    found = []
    for leg, tau in enumerate(events.taus):
        pdg = events.hard.pdg[record.DOWN[leg]]
        from_tau = np.abs(tau.pdg) == number
        event = np.flatnonzero((np.abs(pdg) == number) | from_tau)
        from_tau = from_tau[event]
        p4 = events.hard.p4[:, record.DOWN[leg], event]
        pt = np.hypot(p4[0], p4[1])
        row = np.where(from_tau, particles.ROW_TAU + 3 * leg + 1, particles.ROW_DECAY + 2 * leg)
        found.append(
            Candidates(
                event.astype(np.int32),
                (pt * np.where(from_tau, tau.fraction[event], 1.0)).astype(np.float32),
                np.arcsinh(p4[2] / pt).astype(np.float32),
                np.arctan2(p4[1], p4[0]).astype(np.float32),
                -np.sign(pdg[event]).astype(np.int32),
                np.where(from_tau, TAU_FLAVOUR, PROMPT_FLAVOUR).astype(np.int32),
                generated.rows[row, event],
            )
        )
    return _join(*found)


def _from_jets(
    jets: tuple[IntArray, Mapping[str, FloatArray | IntArray]], number: int, rng: np.random.Generator
) -> Candidates:
    """Leptons in jets: from b and c hadrons, and jets taken for electrons."""
    event, columns = jets
    flavour = columns["hadronFlavour"]
    size = len(event)
    share = np.where(flavour == BOTTOM_FLAVOUR, FROM_BOTTOM, np.where(flavour == CHARM_FLAVOUR, FROM_CHARM, 0.0))
    if number == record.ELECTRON:
        # an electron's own jet is no further candidate
        share = np.where((flavour == 0) & (columns["jetId"] == FULL_JET_ID), FAKE_ELECTRON, share)
    chosen = np.flatnonzero(rng.random(size, dtype=np.float32) < share)
    flavour = flavour[chosen]
    uniform = rng.random(len(chosen), dtype=np.float32)
    # leptons of hadrons take a small part of the jet, fakes nearly all of it
    fraction = np.where(flavour == 0, 0.4 + 0.6 * uniform, 0.6 * uniform**1.5)
    shift = 0.1 * rng.standard_normal((2, len(chosen)), dtype=np.float32)
    charge = rng.choice((-1, 1), len(chosen)).astype(np.int32)
    return Candidates(
        event[chosen],
        (columns["pt"][chosen] * fraction).astype(np.float32),
        columns["eta"][chosen] + shift[0],
        wrap_angle(columns["phi"][chosen] + shift[1]),
        charge,
        flavour,
        np.full(len(chosen), -1, dtype=np.int32),
    )


def _measure(leptons: Candidates, number: int, rng: np.random.Generator) -> Candidates:
    """Acceptance, reconstruction efficiency, momentum resolution, and the order in the event."""
    electron = number == record.ELECTRON
    size = len(leptons.event)
    pt = leptons.pt * (1.0 + (0.02 if electron else 0.015) * rng.standard_normal(size, dtype=np.float32))
    pt = pt.astype(np.float32)
    efficiency = ELECTRON_EFFICIENCY if electron else MUON_EFFICIENCY
    seen = rng.random(size, dtype=np.float32) < efficiency
    smallest = SMALLEST_ELECTRON_PT if electron else SMALLEST_MUON_PT
    seen &= (pt > smallest) & (np.abs(leptons.eta) < (LARGEST_ELECTRON_ETA if electron else LARGEST_MUON_ETA))
    index = np.flatnonzero(seen)
    index = index[np.argsort(leptons.event[index] * 32768.0 - np.minimum(pt[index], 30000.0))]
    return leptons._replace(pt=pt).take(index)


def _impact(
    leptons: Candidates,
    tables: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]],
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Significance of the three-dimensional impact parameter, its length and its two components [cm]."""
    prompt, heavy, fake = tables
    size = len(leptons.event)
    uniform = rng.random(size, dtype=np.float32)
    significance = sample_quantiles(prompt, uniform)
    for flavours, table in (((BOTTOM_FLAVOUR, CHARM_FLAVOUR), heavy), ((UNMATCHED_FLAVOUR,), fake)):
        chosen = np.isin(leptons.origin, flavours)
        significance[chosen] = sample_quantiles(table, uniform[chosen])
    # the tau lepton's own flight
    significance = significance * np.where(leptons.origin == TAU_FLAVOUR, np.float32(1.5), np.float32(1.0))
    resolution = np.float32(0.002) + np.float32(0.02) / np.maximum(leptons.pt, 1.0)
    length = significance * resolution
    angle = rng.random(size, dtype=np.float32) * np.float32(2.0 * np.pi)
    return significance, length, length * np.cos(angle), length * np.sin(angle)


def _common_columns(leptons: Candidates, mass: float, number: int) -> dict[str, FloatArray | IntArray]:
    return {
        "pt": leptons.pt,
        "eta": leptons.eta,
        "phi": leptons.phi,
        "mass": np.full(len(leptons.pt), mass, dtype=np.float32),
        "charge": leptons.charge,
        "pdgId": -number * leptons.charge,
        "genPartIdx": leptons.particle,
        "genPartFlav": leptons.origin.astype(np.uint8),
    }


def _electron_columns(leptons: Candidates, rng: np.random.Generator) -> dict[str, FloatArray | IntArray]:
    size = len(leptons.event)
    prompt = (leptons.origin == PROMPT_FLAVOUR) | (leptons.origin == TAU_FLAVOUR)
    uniform = rng.random(size, dtype=np.float32)
    grade = np.where(
        prompt,
        np.searchsorted(np.cumsum(PROMPT_IDENTIFICATION[:-1]), uniform),
        np.searchsorted(np.cumsum(FAKE_IDENTIFICATION[:-1]), uniform),
    )
    tables = (quantiles.ELECTRON_PROMPT_SIP, quantiles.ELECTRON_HEAVY_SIP, quantiles.ELECTRON_FAKE_SIP)
    significance, length, dxy, dz = _impact(leptons, tables, rng)
    isolation = sample_quantiles(quantiles.ELECTRON_PROMPT_ISOLATION, rng.random(size, dtype=np.float32))
    loose = sample_quantiles(quantiles.NONPROMPT_ISOLATION, rng.random(size, dtype=np.float32))
    # the tight identification contains an isolation requirement
    isolation = np.where(grade == TIGHT_ELECTRON, np.minimum(isolation, 0.06), np.where(prompt, isolation, loose))
    return _common_columns(leptons, ELECTRON_MASS, record.ELECTRON) | {
        "cutBased": grade.astype(np.int32),
        "sip3d": significance,
        "ip3d": length,
        "dxy": dxy,
        "dz": dz,
        "pfRelIso03_all": isolation.astype(np.float32),
    }


def _muon_columns(leptons: Candidates, rng: np.random.Generator) -> dict[str, FloatArray | IntArray]:
    size = len(leptons.event)
    prompt = (leptons.origin == PROMPT_FLAVOUR) | (leptons.origin == TAU_FLAVOUR)
    uniform = rng.random(size, dtype=np.float32)
    tables = (quantiles.MUON_PROMPT_SIP, quantiles.MUON_HEAVY_SIP, quantiles.MUON_HEAVY_SIP)
    significance, length, dxy, dz = _impact(leptons, tables, rng)
    isolation = sample_quantiles(quantiles.MUON_PROMPT_ISOLATION, rng.random(size, dtype=np.float32))
    loose = sample_quantiles(quantiles.NONPROMPT_ISOLATION, rng.random(size, dtype=np.float32))
    return _common_columns(leptons, MUON_MASS, record.MUON) | {
        "tightId": uniform < 0.96,
        "mediumId": uniform < 0.985,
        "looseId": uniform < 0.995,
        "sip3d": significance,
        "ip3d": length,
        "dxy": dxy,
        "dz": dz,
        "pfRelIso04_all": np.where(prompt, isolation, loose),
    }
