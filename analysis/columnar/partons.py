"""Matching of jets to the quarks of the top decays.

Source: AGC ttbar specification v2, section "ML", training labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.columnar.column import column_function
from analysis.columnar.errors import InputFileError

if TYPE_CHECKING:
    from typing import TypeAlias

    import awkward as ak
    import numpy as np

    IntArray: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

W_JET, HADRONIC_B, LEPTONIC_B, UNMATCHED = 24, 6, -6, 100
"""Labels of a jet: from a W boson, the b quark beside a hadronic W, the one beside a leptonic W, none of these."""

_MATCHING_RADIUS = 0.4
_LONGEST_CHAIN = 1000  # copies of one particle; real records have some ten
_IS_LAST_COPY = 1 << 13
_W, _TOP = 24, 6


@column_function(
    uses={
        *(f"GenPart.{field}" for field in ("eta", "phi", "pdgId", "genPartIdxMother", "statusFlags")),
        "Jet.eta",
        "Jet.phi",
    },
    produces={"Jet.parton"},
)
def jet_parton(events: ak.Array) -> ak.Array:
    """Label of each jet by the nearest quark from a top or W decay within dR < 0.4, shape ``(events, var)``."""
    import awkward as ak
    import numpy as np

    particles = events.GenPart
    counts = ak.to_numpy(ak.num(particles.pdgId, axis=1))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    pdg = _flat(particles.pdgId)
    mother = _flat(particles.genPartIdxMother)
    mother = np.where(mother >= 0, mother + np.repeat(offsets[:-1], counts), -1)
    parent = distinct_parents(pdg, mother)
    label = quark_labels(pdg, parent)
    is_quark = (label != 0) & ((_flat(particles.statusFlags) & _IS_LAST_COPY) != 0)

    mask = ak.unflatten(is_quark, counts)
    quarks = ak.zip(
        {"eta": particles.eta[mask], "phi": particles.phi[mask], "label": ak.unflatten(label, counts)[mask]}
    )
    jet, quark = ak.unzip(ak.cartesian([events.Jet, quarks], axis=1, nested=True))
    dphi = (jet.phi - quark.phi + np.pi) % (2 * np.pi) - np.pi
    distance = np.hypot(jet.eta - quark.eta, dphi)
    nearest = ak.argmin(distance, axis=2, keepdims=True)
    matched = ak.firsts(quark.label[nearest], axis=2)
    near = ak.firsts(distance[nearest], axis=2) < _MATCHING_RADIUS
    result = ak.where(ak.fill_none(near, False), ak.fill_none(matched, UNMATCHED), UNMATCHED)
    return ak.values_astype(result, "int8")


def distinct_parents(pdg: IntArray, mother: IntArray) -> IntArray:
    """Nearest ancestor of each particle that is of another kind.

    Args:
        pdg: PDG identifiers, shape ``(particles,)``.
        mother: index of each particle's mother in the same array, -1 if it has none.

    Returns:
        Index of the ancestor, -1 if there is none.

    Raises:
        InputFileError: if a particle descends from itself.

    Examples:
        >>> import numpy as np
        >>> distinct_parents(np.array([6, 6, 24, 5]), np.array([-1, 0, 1, 1])).tolist()
        [-1, -1, 1, 1]
    """
    parent = mother.copy()
    for _ in range(_LONGEST_CHAIN):
        same = (parent >= 0) & (pdg[parent] == pdg)
        if not same.any():
            return parent
        parent[same] = mother[parent[same]]
    msg = "a generator particle descends from itself: GenPart_genPartIdxMother is damaged, take the file out"
    raise InputFileError(msg)


def quark_labels(pdg: IntArray, parent: IntArray) -> IntArray:
    """Label of each particle: 0 unless it is a quark from a top or W.

    Args:
        pdg: PDG identifiers, shape ``(particles,)``.
        parent: distinct parents, see :func:`distinct_parents`.

    Returns:
        Labels, shape ``(particles,)``.
    """
    import numpy as np

    kind = np.abs(pdg)
    parent_kind = np.where(parent >= 0, kind[parent], 0)
    from_decay = np.isin(parent_kind, (_W, _TOP)) & (kind >= 1) & (kind <= 6)

    grandparent = np.where(parent >= 0, parent[parent], -1)
    is_lepton = (kind >= 11) & (kind <= 18) & (grandparent >= 0)
    decays_to_charged, decays_to_neutrino = np.zeros(len(pdg), bool), np.zeros(len(pdg), bool)
    decays_to_charged[grandparent[is_lepton & (kind % 2 == 1)]] = True
    decays_to_neutrino[grandparent[is_lepton & (kind % 2 == 0)]] = True
    leptonic = decays_to_charged & decays_to_neutrino

    label = np.where(from_decay, parent_kind, 0)
    label[from_decay & leptonic[parent]] = LEPTONIC_B
    return label


def _flat(values: ak.Array) -> IntArray:
    import awkward as ak
    import numpy as np

    return np.asarray(ak.to_numpy(ak.flatten(values)), dtype=np.int64)
