"""Observables of the measurement.

Source: AGC ttbar specification v2, section "Observables".
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from analysis.columnar.column import column_function
from analysis.columnar.kinematics import cartesian, invariant_mass
from analysis.columnar.objects import B_TAG_THRESHOLD

if TYPE_CHECKING:
    import awkward as ak

_JET_FIELDS = ("pt", "eta", "phi", "mass", "btagCSVV2")


@column_function(uses={"SelectedJet.pt"}, produces={"ht"})
def ht(events: ak.Array) -> ak.Array:
    """Scalar sum of the transverse momenta of the selected jets [GeV], shape ``(events,)``."""
    import awkward as ak

    return ak.sum(ak.values_astype(events.SelectedJet.pt, "float64"), axis=1)


@column_function(
    uses={f"SelectedJet.{field}" for field in _JET_FIELDS},
    produces={"trijet_mass", "trijet_jets"},
)
def leading_trijet(events: ak.Array) -> dict[str, ak.Array]:
    """Mass and members of the trijet with the largest transverse momentum among those with a b-tagged jet.

    Returns:
        ``trijet_mass`` [GeV], NaN where no trijet qualifies, and ``trijet_jets``, the positions of its three jets
        among the selected jets as bits of a number, 0 where no trijet qualifies; shape ``(events,)`` each.
    """
    import awkward as ak
    import numpy as np

    jets = events.SelectedJet
    counts = ak.to_numpy(ak.num(jets.pt, axis=1))
    flat = {field: ak.to_numpy(ak.flatten(jets[field])).astype(np.float64) for field in _JET_FIELDS}
    p4, tagged = cartesian(flat), flat["btagCSVV2"] > B_TAG_THRESHOLD
    first = np.cumsum(counts) - counts
    mass, members = np.full(len(counts), np.nan), np.zeros(len(counts), dtype=np.int64)
    for n in np.unique(counts[counts >= 3]):  # events with equally many jets make a rectangular array
        rows = np.flatnonzero(counts == n)
        jet = first[rows, None] + np.arange(n)
        trijets = np.array(list(combinations(range(n), 3))).T
        one, two, three = (p4[:, jet[:, slot]] for slot in trijets)
        total = one + two + three
        pt_squared = np.where(tagged[jet][:, trijets].any(axis=1), total[0] ** 2 + total[1] ** 2, -1.0)
        best = pt_squared.argmax(axis=1)
        found = np.take_along_axis(pt_squared, best[:, None], axis=1)[:, 0] >= 0
        leading = np.take_along_axis(total, best[None, :, None], axis=2)[..., 0]
        mass[rows] = np.where(found, invariant_mass(leading), np.nan)
        members[rows] = np.where(found, (1 << trijets).sum(axis=0)[best], 0)
    return {"trijet_mass": ak.Array(mass), "trijet_jets": ak.Array(members)}
