"""One block of events from the hard process to the columns of NanoAOD."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import record
from .events import EVENTS_PER_LUMINOSITY_BLOCK, GeneratedEvents
from .jets import reconstruct_jets
from .leptons import reconstruct_leptons
from .particles import record_particles
from .processes import make_hard_events
from .shower import shower

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .datasets import Settings
    from .record import FloatArray, IntArray
    from .shower import Showered

MISSING_MOMENTUM_RESOLUTION = 18.0
"""Resolution of each component of the missing transverse momentum [GeV]."""


class Block(NamedTuple):
    """Columns of a block of events, in the form of :class:`GeneratedEvents`."""

    flat: dict[str, FloatArray | IntArray]
    counts: dict[str, IntArray]
    content: dict[str, FloatArray | IntArray]


def simulate_block(settings: Settings, n_events: int, rng: np.random.Generator) -> Block:
    """Simulates a block of events.

    Args:
        settings: settings of the dataset.
        n_events: number of events.
        rng: source of randomness.

    Returns:
        Its columns, without those that number the events.
    """
    events = shower(settings, make_hard_events(settings, n_events, rng), rng)
    generated = record_particles(events)
    jets = reconstruct_jets(settings, events, rng)
    objects = {"Jet": jets, **reconstruct_leptons(events, generated, jets, rng)}
    counts: dict[str, IntArray] = {name: np.bincount(event, minlength=n_events) for name, (event, _) in objects.items()}
    content = {f"{name}_{field}": v for name, (_, columns) in objects.items() for field, v in columns.items()}
    counts["GenPart"] = generated.counts
    content |= {f"GenPart_{field}": values for field, values in generated.columns.items()}
    scalar_pt = np.bincount(jets[0], weights=jets[1]["pt"], minlength=n_events)
    return Block(_event_columns(settings, events, scalar_pt, rng), counts, content)


def _event_columns(
    settings: Settings, events: Showered, scalar_pt: FloatArray, rng: np.random.Generator
) -> dict[str, FloatArray | IntArray]:
    n_events = len(scalar_pt)
    missing = np.zeros((2, n_events))
    for leg, tau in enumerate(events.taus):
        neutrino = np.abs(events.hard.pdg[record.UP[leg]]) >= record.LIGHTEST_LEPTON
        missing += np.where(neutrino, events.hard.p4[:2, record.UP[leg]], 0.0)
        unseen = np.where((tau.pdg != 0) | tau.hadronic, 1.0 - tau.fraction, 0.0)
        missing += unseen * events.hard.p4[:2, record.DOWN[leg]]
    missing += rng.normal(0.0, MISSING_MOMENTUM_RESOLUTION, missing.shape)
    met = np.hypot(missing[0], missing[1])
    pileup = np.clip(rng.normal(22.0, 6.0, n_events), 3.0, 60.0)
    interactions = rng.poisson(pileup)
    vertices = 1 + rng.binomial(interactions, 0.7)
    negative = rng.random(n_events) < settings.negative_fraction
    scalar_sum = scalar_pt + 40.0 * interactions + rng.normal(300.0, 80.0, n_events)
    columns: dict[str, FloatArray | IntArray] = {
        "genWeight": np.where(negative, -1.0, 1.0),
        "MET_pt": met,
        "MET_phi": np.arctan2(missing[1], missing[0]),
        "MET_sumEt": np.maximum(scalar_sum, scalar_pt),
        "MET_significance": (met / MISSING_MOMENTUM_RESOLUTION) ** 2,
        "PV_z": rng.normal(0.0, 3.6, n_events),
        "Pileup_nTrueInt": pileup,
        "fixedGridRhoFastjetAll": np.maximum(0.6 * vertices + rng.normal(2.0, 1.5, n_events), 0.5),
    }
    columns = {name: values.astype(np.float32) for name, values in columns.items()}
    columns["PV_npvs"] = vertices.astype(np.int32)
    columns["PV_npvsGood"] = np.maximum(vertices - rng.poisson(2.5, n_events), 1).astype(np.int32)
    columns["Pileup_nPU"] = interactions.astype(np.int32)
    return columns


def join_blocks(blocks: Sequence[Block], first_event: int) -> GeneratedEvents:
    """Joins blocks and numbers their events.

    Args:
        blocks: consecutive blocks of a file.
        first_event: number of events before the first one.

    Returns:
        The events of the file.
    """
    flat = {name: np.concatenate([block.flat[name] for block in blocks]) for name in blocks[0].flat}
    number = np.arange(first_event, first_event + len(flat["genWeight"]), dtype=np.uint64)
    identity = {
        "run": np.ones(len(number), dtype=np.uint32),
        "luminosityBlock": (number // EVENTS_PER_LUMINOSITY_BLOCK + 1).astype(np.uint32),
        "event": number + np.uint64(1),
    }
    counts = {name: np.concatenate([block.counts[name] for block in blocks]) for name in blocks[0].counts}
    content = {name: np.concatenate([block.content[name] for block in blocks]) for name in blocks[0].content}
    return GeneratedEvents(identity | flat, counts, content)
