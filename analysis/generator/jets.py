"""Jets: clustering of partons, detector response, flavour tagging and identification."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import quantiles, record
from .kinematics import wrap_angle
from .quantiles import sample_quantiles

if TYPE_CHECKING:
    from .datasets import Settings
    from .record import FloatArray, IntArray
    from .shower import Showered

RADIUS = 0.4
SMALLEST_PT, LARGEST_ETA = 15.0, 4.7
SMALLEST_PARTON_PT = 8.0
PILEUP_JETS, PILEUP_PT, PILEUP_SLOPE = 2.5, 12.0, 4.0
LOST, FAILED_IDENTIFICATION = 0.02, 0.005
NOISE_TERM, STOCHASTIC_TERM, CONSTANT_TERM = 4.5, 0.75, 0.05
SEMILEPTONIC_BOTTOM, SEMILEPTONIC_CHARM = 0.25, 0.12
LEPTON_VETO_FRACTION = 0.8
PILEUP_REJECTION = 0.6
TIGHT, TIGHT_LEPTON_VETO = 2, 4
NO_B_TAG, NO_QUARK_GLUON = -10.0, -1.0

# Charged leptons first: a jet at an electron remains recognisable as such.
_ORDER = [2, 4, 0, 1, 3, 5]


class Clusters(NamedTuple):
    """Jets before the detector, all events one after the other.

    Attributes:
        event: index of the event, shape ``(k,)``.
        p4: four-vectors, shape ``(4, k)``.
        flavour: absolute PDG number of the parton that determines the flavour, 11 for electrons, 15 for hadronic
            tau decays, 0 for jets from pile-up.
        lepton_fraction: energy fraction of a prompt electron.
    """

    event: IntArray
    p4: FloatArray
    flavour: IntArray
    lepton_fraction: FloatArray


def cluster(events: Showered) -> Clusters:
    """Combines partons nearer to each other than the jet radius.

    Args:
        events: events after the shower.

    Returns:
        The jets.
    """
    p4, flavour = _deposits(events)
    present = flavour > 0
    lepton_energy = np.where(flavour[:2] == record.ELECTRON, p4[3, :2], 0.0)
    eta = np.empty(present.shape, dtype=np.float32)
    # far away from everything, also from each other
    eta[:] = 100.0 * (1.0 + np.arange(len(eta), dtype=np.float32))[:, None]
    phi = np.zeros_like(eta)
    px, py, pz = p4[0][present], p4[1][present], p4[2][present]
    eta[present] = np.arcsinh(pz / np.sqrt(px * px + py * py))
    phi[present] = np.arctan2(py, px)
    for first in range(len(eta) - 1):
        d_eta = eta[first + 1 :] - eta[first]
        d_phi = wrap_angle(phi[first + 1 :] - phi[first])
        partner, event = np.nonzero(d_eta * d_eta + d_phi * d_phi < RADIUS * RADIUS)
        for second in range(first + 1, len(eta)):
            merged = event[partner == second - first - 1]
            if not merged.size:
                continue
            p4[:, first, merged] += p4[:, second, merged]
            flavour[first, merged] = _heavier(flavour[first, merged], flavour[second, merged])
            flavour[second, merged] = 0
            eta[second, merged] = -100.0 * (1.0 + second)
    present = np.ascontiguousarray((flavour > 0).T)
    fraction = np.zeros(flavour.shape, dtype=np.float32)
    fraction[:2] = lepton_energy / np.maximum(p4[3, :2], 1e-3)
    index = np.broadcast_to(np.arange(len(present), dtype=np.int32)[:, None], present.shape)[present]
    return Clusters(index, p4.transpose(0, 2, 1)[:, present], flavour.T[present].astype(np.int32), fraction.T[present])


def _heavier(first: IntArray, second: IntArray) -> IntArray:
    """The flavour of two merged jets: bottom before charm before what was there."""
    bottom = (first == record.BOTTOM_QUARK) | (second == record.BOTTOM_QUARK)
    charm = (first == record.CHARM_QUARK) | (second == record.CHARM_QUARK)
    lepton = first == record.ELECTRON
    other = np.where(lepton, second, first)
    merged: IntArray = np.where(bottom, record.BOTTOM_QUARK, np.where(charm, record.CHARM_QUARK, other)).astype(
        first.dtype
    )
    return merged


def _deposits(events: Showered) -> tuple[FloatArray, IntArray]:
    """What reaches the calorimeter: four-vectors ``(4, k, n)`` and flavours ``(k, n)``, 0 where there is nothing."""
    hard = events.hard
    decay = hard.pdg[record.DECAY_QUARKS]
    quarks = events.quarks.astype(np.float32)
    flavour = np.abs(decay).astype(np.int8)
    flavour[flavour > record.HEAVIEST_JET_QUARK] = 0
    for leg, tau in enumerate(events.taus):
        slot = record.DOWN[leg] - record.DECAY_QUARKS.start
        seen = (tau.pdg != 0) | tau.hadronic
        quarks[:, slot] *= np.where(seen, tau.fraction, 1.0).astype(np.float32)
        electron = (np.abs(decay[slot]) == record.ELECTRON) | (np.abs(tau.pdg) == record.ELECTRON)
        flavour[slot] = np.where(electron, record.ELECTRON, np.where(tau.hadronic, record.TAU, flavour[slot]))
    extra = np.abs(hard.pdg[record.EXTRA]).astype(np.int8)
    gluons = np.where(events.radiated, record.GLUON, 0).astype(np.int8)
    p4 = np.concatenate(
        [quarks[:, _ORDER], events.gluons.astype(np.float32), hard.p4[:, record.EXTRA].astype(np.float32)], axis=1
    )
    flavour = np.concatenate([flavour[_ORDER], gluons, extra])
    flavour[p4[0] ** 2 + p4[1] ** 2 < SMALLEST_PARTON_PT**2] = 0
    return p4, flavour


def reconstruct_jets(
    settings: Settings, events: Showered, rng: np.random.Generator
) -> tuple[IntArray, dict[str, FloatArray | IntArray]]:
    """Reconstructs the jets.

    Args:
        settings: settings of the dataset.
        events: events after the shower.
        rng: source of randomness.

    Returns:
        Index of the event of each jet, ascending and within an event by falling transverse momentum, and the fields
        of ``Jet``.
    """
    clusters = _add_pileup(cluster(events), events.hard.pdg.shape[-1], rng)
    flavour, p4 = clusters.flavour, clusters.p4
    size = len(flavour)
    true_pt = np.sqrt(p4[0] ** 2 + p4[1] ** 2)
    pt = true_pt * _response(settings, true_pt, flavour, rng)
    eta = np.arcsinh(p4[2] / true_pt) + 0.02 * rng.standard_normal(size, dtype=np.float32)
    phi = wrap_angle(np.arctan2(p4[1], p4[0]) + 0.02 * rng.standard_normal(size, dtype=np.float32))
    keep = (pt > SMALLEST_PT) & (np.abs(eta) < LARGEST_ETA) & (rng.random(size, dtype=np.float32) > LOST)
    keep = np.flatnonzero(keep)
    # one sort by event and falling pt: the momentum never reaches the step between events
    keep = keep[np.argsort(clusters.event[keep] * 32768.0 - np.minimum(pt[keep], 30000.0))]
    event, pt, eta, phi, flavour = clusters.event[keep], pt[keep], eta[keep], phi[keep], flavour[keep]
    columns: dict[str, FloatArray | IntArray] = {"pt": pt, "eta": eta, "phi": phi}
    size = len(pt)
    mass_fraction = sample_quantiles(quantiles.JET_MASS_FRACTION, rng.random(size, dtype=np.float32))
    columns["mass"] = pt * mass_fraction
    columns["btagCSVV2"] = _b_tag(settings, flavour, rng)
    columns["qgl"] = _quark_gluon(flavour, rng)
    columns |= _identification(clusters.lepton_fraction[keep], flavour, pt, rng)
    return event, columns


def _add_pileup(clusters: Clusters, n_events: int, rng: np.random.Generator) -> Clusters:
    counts = rng.poisson(PILEUP_JETS, n_events)
    size = int(counts.sum())
    pt = (PILEUP_PT * (1.0 - rng.random(size, dtype=np.float32)) ** np.float32(-1.0 / PILEUP_SLOPE)).astype(np.float32)
    eta = (rng.random(size, dtype=np.float32) * 2.0 - 1.0) * np.float32(LARGEST_ETA)
    phi = (rng.random(size, dtype=np.float32) * 2.0 - 1.0) * np.float32(np.pi)
    p4 = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)])
    return Clusters(
        np.concatenate([clusters.event, np.repeat(np.arange(n_events, dtype=np.int32), counts)]),
        np.concatenate([clusters.p4, p4], axis=1),
        np.concatenate([clusters.flavour, np.zeros(size, dtype=np.int32)]),
        np.concatenate([clusters.lepton_fraction, np.zeros(size, dtype=np.float32)]),
    )


def _response(settings: Settings, pt: FloatArray, flavour: IntArray, rng: np.random.Generator) -> FloatArray:
    """Measured over true transverse momentum: calorimeter resolution, neutrinos, energy outside of the cone."""
    size = len(pt)
    resolution = np.sqrt((NOISE_TERM / pt) ** 2 + STOCHASTIC_TERM**2 / pt + CONSTANT_TERM**2)
    electron = flavour == record.ELECTRON
    resolution = np.where(electron, 0.02, resolution).astype(np.float32)
    response = settings.jet_scale * (1.0 + resolution * rng.standard_normal(size, dtype=np.float32))
    outside = settings.out_of_cone * rng.standard_exponential(size, dtype=np.float32)
    response *= np.where(electron | (flavour == 0), np.float32(1.0), np.maximum(1.0 - outside, 0.3))
    share = np.where(flavour == record.BOTTOM_QUARK, SEMILEPTONIC_BOTTOM, 0.0)
    share = np.where(flavour == record.CHARM_QUARK, SEMILEPTONIC_CHARM, share)
    semileptonic = rng.random(size, dtype=np.float32) < share
    neutrino = 0.5 * rng.random(size, dtype=np.float32) ** 2
    scaled: FloatArray = np.maximum(response * np.where(semileptonic, 1.0 - neutrino, 1.0), 0.0).astype(np.float32)
    return scaled


def _b_tag(settings: Settings, flavour: IntArray, rng: np.random.Generator) -> FloatArray:
    uniform = rng.random(len(flavour), dtype=np.float32)
    tag = sample_quantiles(quantiles.B_TAG_LIGHT, uniform ** np.float32(settings.mistag_power))
    bottom, charm = flavour == record.BOTTOM_QUARK, flavour == record.CHARM_QUARK
    tag[bottom] = sample_quantiles(quantiles.B_TAG_BOTTOM, uniform[bottom] ** np.float32(settings.b_tag_power))
    tag[charm] = sample_quantiles(quantiles.B_TAG_CHARM, uniform[charm] ** np.float32(settings.b_tag_power))
    missing = np.where(bottom, 0.001, np.where(charm, 0.008, np.where(flavour == 0, 0.35, 0.02)))
    tag[rng.random(len(flavour), dtype=np.float32) < missing] = NO_B_TAG
    return tag


def _quark_gluon(flavour: IntArray, rng: np.random.Generator) -> FloatArray:
    uniform = rng.random(len(flavour), dtype=np.float32)
    value = sample_quantiles(quantiles.QUARK_GLUON_LIGHT, uniform)
    for number, table in (
        (record.BOTTOM_QUARK, quantiles.QUARK_GLUON_BOTTOM),
        (record.CHARM_QUARK, quantiles.QUARK_GLUON_CHARM),
        (record.GLUON, quantiles.QUARK_GLUON_GLUON),
        (0, quantiles.QUARK_GLUON_PILEUP),
    ):
        chosen = flavour == number
        value[chosen] = sample_quantiles(table, uniform[chosen])
    missing = np.where(flavour == record.GLUON, 0.058, np.where(flavour == 0, 0.37, 0.003))
    value[rng.random(len(flavour), dtype=np.float32) < missing] = NO_QUARK_GLUON
    return value


def _identification(
    lepton_fraction: FloatArray, flavour: IntArray, pt: FloatArray, rng: np.random.Generator
) -> dict[str, FloatArray | IntArray]:
    size = len(pt)
    uniform = rng.random(size, dtype=np.float32)
    lepton_like = lepton_fraction > LEPTON_VETO_FRACTION
    identification = np.where(lepton_like, TIGHT, TIGHT | TIGHT_LEPTON_VETO)
    identification[uniform < np.where(lepton_like, 0.15, FAILED_IDENTIFICATION)] = 0
    pileup = flavour == 0
    heavy = (flavour == record.BOTTOM_QUARK) | (flavour == record.CHARM_QUARK)
    lepton = (flavour == record.ELECTRON) | (flavour == record.TAU)
    parton = np.where(lepton, 0, flavour)
    sign = np.where(parton == record.GLUON, 1, rng.choice((-1, 1), size))
    spread = rng.standard_normal(size, dtype=np.float32)
    constituents = np.rint(6.0 * np.log(pt) - 5.0 + np.where(flavour == record.GLUON, 4.0, 0.0) + 4.0 * spread)
    return {
        "jetId": identification.astype(np.int32),
        "puId": np.where(pileup & (uniform < PILEUP_REJECTION), 0, 7).astype(np.int32),
        "hadronFlavour": np.where(heavy, flavour, 0).astype(np.int32),
        "partonFlavour": (parton * sign).astype(np.int32),
        "nConstituents": np.maximum(constituents, 1.0).astype(np.int32),
        "area": (0.5 + 0.03 * spread).astype(np.float32),
        "rawFactor": (0.02 + 0.05 * rng.standard_normal(size, dtype=np.float32)).astype(np.float32),
    }
