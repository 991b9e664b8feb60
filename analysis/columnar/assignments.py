"""Assignments of jets to the quarks of the top decays, and the features by which the classifier ranks them.

Source: AGC ttbar specification v2, section "ML"; differences in azimuth are wrapped to [-pi, pi] here, which the
reference omits.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from itertools import permutations
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.columnar.column import column_function
from analysis.columnar.kinematics import cartesian, delta_r, invariant_mass
from analysis.columnar.partons import HADRONIC_B, LEPTONIC_B, W_JET

if TYPE_CHECKING:
    from typing import TypeAlias

    import awkward as ak
    import numpy as np

    FloatArray: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]
    IntArray: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

MAX_JETS = 6
"""Only the first selected jets, in stored order, take part."""

TRAINING_JETS = 4

JET_FIELDS = ("pt", "eta", "phi", "mass", "btagCSVV2", "qgl")
LEPTON_FIELDS = ("lepton_pt", "lepton_eta", "lepton_phi", "lepton_mass")
FEATURE_COLUMNS = frozenset({*(f"SelectedJet.{field}" for field in JET_FIELDS), *LEPTON_FIELDS})
"""Columns from which the features are computed."""


class FeatureBlock(NamedTuple):
    """Features of all assignments of the events with one number of jets.

    Args:
        rows: positions of the events, shape ``(n,)``.
        features: shape ``(n, assignments, 20)``, single precision, in the order of ``config.FEATURES``.
    """

    rows: IntArray
    features: FloatArray


@functools.cache
def assignments(n_jets: int) -> IntArray:
    """All assignments of jets to (W1, W2, hadronic b, leptonic b), W1 behind W2 in the list of jets.

    Args:
        n_jets: number of jets that take part, 4 to 6.

    Returns:
        Jet positions in lexicographic order, shape ``(12 | 60 | 180, 4)``.

    Examples:
        >>> [len(assignments(n)) for n in (4, 5, 6)]
        [12, 60, 180]
    """
    import numpy as np

    table = np.array([p for p in permutations(range(n_jets), 4) if p[0] > p[1]], dtype=np.int64)
    table.setflags(write=False)
    return table


def feature_blocks(events: ak.Array, max_jets: int = MAX_JETS) -> list[FeatureBlock]:
    """Features of every assignment, events grouped by their number of jets.

    Args:
        events: with the fields of :data:`FEATURE_COLUMNS`, each with at least four selected jets.
        max_jets: number of leading jets that take part.

    Returns:
        One block per number of jets that occurs.
    """
    import awkward as ak
    import numpy as np

    n = np.minimum(ak.to_numpy(ak.num(events.SelectedJet.pt, axis=1)), max_jets)
    blocks = []
    for n_jets in range(TRAINING_JETS, max_jets + 1):
        rows = np.flatnonzero(n == n_jets)
        if not len(rows):
            continue
        jets = {
            field: np.asarray(ak.to_numpy(events.SelectedJet[field][rows, :n_jets]), dtype=np.float64)
            for field in JET_FIELDS
        }
        lepton = {
            field.removeprefix("lepton_"): np.asarray(ak.to_numpy(events[field][rows]), dtype=np.float64)[:, None]
            for field in LEPTON_FIELDS
        }
        blocks.append(FeatureBlock(rows, assignment_features(jets, lepton, assignments(n_jets))))
    return blocks


def assignment_features(
    jets: Mapping[str, FloatArray], lepton: Mapping[str, FloatArray], table: IntArray
) -> FloatArray:
    r"""The 20 features of each assignment.

    Args:
        jets: ``pt``, ``eta``, ``phi``, ``mass`` [GeV], ``btagCSVV2``, ``qgl``; shape ``(n, jets)`` each.
        lepton: ``pt``, ``eta``, ``phi``, ``mass`` [GeV]; shape ``(n, 1)`` each.
        table: assignments, see :func:`assignments`.

    Returns:
        Shape ``(n, assignments, 20)``, single precision: four distances
        :math:`\Delta R = \sqrt{\Delta\eta^2 + \Delta\phi^2}`, the masses of (lepton, leptonic b), (W1, W2) and
        (W1, W2, hadronic b), pT of the latter, then pT, b tag and quark-gluon likelihood of the four jets.
    """
    import numpy as np

    w1, w2, b_had, b_lep = table.T
    p4, lepton_p4 = cartesian(jets), cartesian(lepton)
    jet_distance = delta_r(jets["eta"][:, :, None], jets["phi"][:, :, None], jets["eta"][:, None], jets["phi"][:, None])
    lepton_distance = delta_r(lepton["eta"], lepton["phi"], jets["eta"], jets["phi"])
    w = p4[..., w1] + p4[..., w2]
    top = w + p4[..., b_had]
    columns = [
        lepton_distance[:, b_lep],
        jet_distance[:, w1, w2],
        jet_distance[:, w1, b_had],
        jet_distance[:, w2, b_had],
        invariant_mass(lepton_p4 + p4)[:, b_lep],
        invariant_mass(w),
        invariant_mass(top),
        np.hypot(top[0], top[1]),
        *(jets[field][:, members] for field in ("pt", "btagCSVV2", "qgl") for members in (w1, w2, b_had, b_lep)),
    ]
    return np.stack(columns, axis=-1).astype(np.float32)


@column_function(
    uses={*FEATURE_COLUMNS, "SelectedJet.parton", "in_4j2b"},
    produces={"training_features", "training_target"},
)
def training_sample(events: ak.Array) -> dict[str, ak.Array]:
    """Features and target of the events from which the classifier learns.

    An event is used if it is in region 4j2b and its first four jets are matched to two quarks of the W and both b.

    Returns:
        ``training_features``, shape ``(events, 12 or 0, 20)``: the assignments of the first four jets, none for
        events that are not used; ``training_target``, shape ``(events,)``: position of the right one, -1 if not used.
    """
    import awkward as ak
    import numpy as np

    parton = ak.fill_none(ak.pad_none(events.SelectedJet.parton, TRAINING_JETS, axis=1, clip=True), 0)
    parton = np.asarray(ak.to_numpy(parton), dtype=np.int64)
    complete = np.sort(parton, axis=1) == np.array([LEPTONIC_B, HADRONIC_B, W_JET, W_JET])
    used = complete.all(axis=1) & ak.to_numpy(events.in_4j2b)
    target = np.full(len(events), -1, dtype=np.int8)
    counts = np.where(used, len(assignments(TRAINING_JETS)), 0)
    features = np.zeros((0, len(assignments(TRAINING_JETS)), 20), np.float32)
    if used.any():
        features = feature_blocks(events[used], TRAINING_JETS)[0].features
        right = parton[used][:, assignments(TRAINING_JETS)] == np.array([W_JET, W_JET, HADRONIC_B, LEPTONIC_B])
        target[used] = right.all(axis=2).argmax(axis=1)
    rows = ak.from_numpy(features.reshape(-1, features.shape[-1]), regulararray=False)
    return {
        "training_features": ak.unflatten(ak.from_regular(rows), counts),
        "training_target": ak.Array(target),
    }
