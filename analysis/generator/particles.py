"""The generator record: collection ``GenPart`` of NanoAOD."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import record
from .kinematics import invariant_mass

if TYPE_CHECKING:
    from .record import FloatArray, IntArray
    from .shower import Showered

# Bits of GenPart_statusFlags (CMS NanoAOD documentation).
PROMPT, TAU_PRODUCT, PROMPT_TAU_PRODUCT, DIRECT_TAU_PRODUCT, DIRECT_PROMPT_TAU_PRODUCT = 1, 4, 8, 16, 32
HARD, FROM_HARD, HARD_TAU_PRODUCT, DIRECT_HARD_TAU_PRODUCT = 1 << 7, 1 << 8, 1 << 9, 1 << 10
BEFORE_RADIATION, FIRST_COPY, LAST_COPY, LAST_BEFORE_RADIATION = 1 << 11, 1 << 12, 1 << 13, 1 << 14

_HARD_FIRST = PROMPT | HARD | FROM_HARD | FIRST_COPY
_HARD_BEFORE = _HARD_FIRST | BEFORE_RADIATION | LAST_BEFORE_RADIATION
_ONLY_COPY = _HARD_FIRST | LAST_COPY
_AFTER = PROMPT | FROM_HARD | LAST_COPY
_RADIATED = PROMPT | FROM_HARD | FIRST_COPY | LAST_COPY
_FROM_TAU = (
    TAU_PRODUCT | PROMPT_TAU_PRODUCT | DIRECT_TAU_PRODUCT | DIRECT_PROMPT_TAU_PRODUCT | FROM_HARD
    | HARD_TAU_PRODUCT | DIRECT_HARD_TAU_PRODUCT | FIRST_COPY | LAST_COPY
)  # fmt: skip
INCOMING, INTERMEDIATE, LAST_HEAVY, OUTGOING, ISR, FSR, AFTER_RADIATION, STABLE, DECAYED = (
    21, 22, 62, 23, 43, 51, 71, 1, 2,
)  # fmt: skip

# Rows of the record; a mother is always before its daughters.
ROW_TOP_LAST = 4
ROW_W = 6
ROW_BOTTOM = 8
ROW_DECAY = 10
ROW_EXTRA = 14
ROW_AFTER = 21
ROW_RADIATED = 27
ROW_TAU = 33
N_ROWS = 39


class Particles(NamedTuple):
    """Generator particles of n events, one after the other.

    Attributes:
        counts: particles per event, shape ``(n,)``.
        rows: index in the event of each row of the record, meaningless where it is absent, shape ``(N_ROWS, n)``.
        columns: the fields of ``GenPart``.
    """

    counts: IntArray
    rows: IntArray
    columns: dict[str, FloatArray | IntArray]


def record_particles(events: Showered) -> Particles:
    """Writes the generator record.

    Top quarks and the quarks from decays appear twice, before and after radiation, as in the record of a parton
    shower; everything else once.

    Args:
        events: events after the shower.

    Returns:
        The generator particles.
    """
    n_events = events.hard.pdg.shape[-1]
    p4 = np.zeros((4, N_ROWS, n_events), dtype=np.float32)
    pdg = np.zeros((N_ROWS, n_events), dtype=np.int32)
    _fill_rows(events, p4, pdg)
    status, flags = np.array(_STATUS, dtype=np.int32), np.array(_FLAGS, dtype=np.int32)
    # events first, so that a boolean mask yields event after event
    present = np.ascontiguousarray((pdg != 0).T)
    rows = (np.cumsum(present, axis=1, dtype=np.int32) - 1).T
    flat = p4.transpose(0, 2, 1)[:, present]
    row = np.broadcast_to(np.arange(N_ROWS, dtype=np.int32), present.shape)[present]
    number = np.ascontiguousarray(pdg.T)[present]
    mothers = np.ascontiguousarray(_mother_index(pdg, rows).T)[present]
    pt = np.sqrt(flat[0] ** 2 + flat[1] ** 2)
    incoming = row < record.TOP[0] + 2
    eta = np.arcsinh(flat[2] / np.where(incoming, 1.0, np.maximum(pt, 1e-3)))
    lepton = np.abs(number) >= record.LIGHTEST_LEPTON
    final = lepton & (np.abs(number) <= record.HEAVIEST_LEPTON)
    is_tau = np.abs(number) == record.TAU
    columns: dict[str, FloatArray | IntArray] = {
        "pt": np.where(incoming, np.float32(0.0), pt),
        "eta": np.where(incoming, np.where(row == 0, 1.0, -1.0) * np.float32(2e4), eta).astype(np.float32),
        "phi": np.arctan2(flat[1], flat[0]),
        "mass": np.where((row < ROW_BOTTOM) & ~incoming, _mass(flat), np.float32(0.0)),
        "pdgId": number,
        "status": np.where(final, np.where(is_tau, DECAYED, STABLE), status[row]).astype(np.int32),
        "statusFlags": np.where(final & (row < ROW_EXTRA), _ONLY_COPY, flags[row]).astype(np.int32),
        "genPartIdxMother": mothers,
    }
    return Particles(present.sum(axis=1), rows, columns)


def _mass(p4: FloatArray) -> FloatArray:
    return invariant_mass(p4.astype(np.float64)).astype(np.float32)


def _fill_rows(events: Showered, p4: FloatArray, pdg: IntArray) -> None:
    hard = events.hard
    pdg[:2] = record.GLUON
    for rows, slots in (
        (slice(2, 4), slice(0, 2)),
        (slice(4, 6), slice(0, 2)),
        (slice(6, 8), slice(2, 4)),
        (slice(8, 14), record.DECAY_QUARKS),
        (slice(14, 21), record.EXTRA),
    ):
        p4[:, rows], pdg[rows] = hard.p4[:, slots], hard.pdg[slots]
    quark = np.abs(hard.pdg[record.DECAY_QUARKS]) <= record.HEAVIEST_JET_QUARK
    p4[:, ROW_AFTER:ROW_RADIATED] = events.quarks
    pdg[ROW_AFTER:ROW_RADIATED] = np.where(quark, hard.pdg[record.DECAY_QUARKS], 0)
    p4[:, ROW_RADIATED:ROW_TAU] = events.gluons
    pdg[ROW_RADIATED:ROW_TAU] = np.where(events.radiated, record.GLUON, 0)
    for leg, tau in enumerate(events.taus):
        parent, sign = hard.p4[:, record.DOWN[leg]], np.sign(tau.pdg)
        unseen = (1.0 - tau.fraction) * parent
        row = ROW_TAU + 3 * leg
        p4[:, row], pdg[row] = unseen * tau.neutrino_share, sign * (record.TAU + 1)
        p4[:, row + 1], pdg[row + 1] = tau.fraction * parent, tau.pdg
        p4[:, row + 2], pdg[row + 2] = unseen * (1.0 - tau.neutrino_share), -sign * (np.abs(tau.pdg) + 1)


def _mother_rows() -> list[int]:
    """The mother's row of every row; for bosons and quarks of legs without a top quark see ``_mother_index``."""
    decay = [ROW_TOP_LAST, ROW_TOP_LAST + 1, ROW_W, ROW_W, ROW_W + 1, ROW_W + 1]
    before = list(range(ROW_BOTTOM, ROW_EXTRA))
    taus = [ROW_DECAY] * 3 + [ROW_DECAY + 2] * 3
    return [-1, -1, 0, 0, 2, 3, ROW_TOP_LAST, ROW_TOP_LAST + 1, *decay, *[0] * record.N_EXTRA, *before, *before, *taus]


_MOTHERS = _mother_rows()
_STATUS = (
    [INCOMING] * 2 + [INTERMEDIATE] * 2 + [LAST_HEAVY] * 2 + [INTERMEDIATE] * 2 + [OUTGOING] * 6
    + [ISR] * record.N_EXTRA + [AFTER_RADIATION] * 6 + [FSR] * 6 + [STABLE] * 6
)  # fmt: skip
_FLAGS = (
    [_HARD_FIRST] * 4 + [_AFTER] * 2 + [_ONLY_COPY] * 2 + [_HARD_BEFORE] * 6
    + [_RADIATED] * record.N_EXTRA + [_AFTER] * 6 + [_RADIATED] * 6 + [_FROM_TAU] * 6
)  # fmt: skip


def _mother_index(pdg: IntArray, rows: IntArray) -> IntArray:
    """Index in the event of each particle's mother, shape ``(N_ROWS, n)``."""
    mothers = np.array(_MOTHERS)
    # slots are filled for all events of a dataset or for none: bosons without a top quark come from the collision
    for leg in range(2):
        if not pdg[ROW_TOP_LAST + leg, 0]:
            mothers[ROW_W + leg] = 0
    index: IntArray = rows[mothers]
    index[:2] = -1
    return index
