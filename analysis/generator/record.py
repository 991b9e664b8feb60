"""The partonic event: fixed slots, so that every step is one operation on whole arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[Any]
    IntArray = NDArray[Any]
    BoolArray = NDArray[np.bool_]

# A leg is a W boson with its top quark (if any), the top quark's b quark and the two products of the W decay, the
# charged lepton or down-type quark first. Slots without a particle have the PDG number 0.
TOP = (0, 1)
W = (2, 3)
BOTTOM = (4, 5)
DOWN = (6, 8)
UP = (7, 9)
DECAY_QUARKS = slice(4, 10)
"""The slots that can hold quarks from decays: both b quarks and the products of both W bosons."""
EXTRA = slice(10, 17)
"""Partons of the hard process that are not from a top quark or W boson, and initial-state radiation."""
N_SLOTS = 17
N_EXTRA = 7

BOTTOM_QUARK = 5
HEAVIEST_JET_QUARK = 5
LIGHTEST_LEPTON, HEAVIEST_LEPTON = 11, 16
CHARM_QUARK, TOP_QUARK, ELECTRON, MUON, TAU, GLUON, W_BOSON = 4, 6, 11, 13, 15, 21, 24


class HardEvents(NamedTuple):
    """Partons of n events after the decays of top quarks and W bosons.

    Attributes:
        p4: four-vectors (px, py, pz, E) in GeV, shape ``(4, N_SLOTS, n)``.
        pdg: PDG numbers, 0 where the slot is empty, shape ``(N_SLOTS, n)``.
    """

    p4: FloatArray
    pdg: IntArray

    def select(self, mask: BoolArray) -> HardEvents:
        """The events for which the mask, of shape ``(n,)``, holds."""
        return HardEvents(self.p4[:, :, mask], self.pdg[:, mask])


def is_parton(pdg: IntArray) -> BoolArray:
    """Whether a PDG number is that of a quark that makes a jet or of a gluon."""
    absolute = np.abs(pdg)
    found: BoolArray = ((absolute >= 1) & (absolute <= HEAVIEST_JET_QUARK)) | (absolute == GLUON)
    return found


def is_charged_lepton(pdg: IntArray) -> BoolArray:
    """Whether a PDG number is that of an electron, muon or tau lepton."""
    absolute = np.abs(pdg)
    found: BoolArray = (absolute == ELECTRON) | (absolute == MUON) | (absolute == TAU)
    return found
