"""Observables of the measurement.

Source: AGC ttbar specification v2, section "Observables".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.columnar.column import column_function
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

    jets = ak.values_astype(events.SelectedJet, "float64")
    index = ak.argcombinations(jets.pt, 3, axis=1)
    one, two, three = (jets[index[slot]] for slot in "012")
    trijet = one.to_xyzt() + two.to_xyzt() + three.to_xyzt()
    has_b = np.maximum(np.maximum(one.btagCSVV2, two.btagCSVV2), three.btagCSVV2) > B_TAG_THRESHOLD
    best = ak.argmax(ak.where(has_b, trijet.pt, -1.0), axis=1, keepdims=True)
    best = ak.mask(best, ak.any(has_b, axis=1))
    bits = sum(2 ** ak.values_astype(index[slot], "int64") for slot in "012")
    return {
        "trijet_mass": ak.fill_none(ak.firsts(trijet.mass[best]), np.nan),
        "trijet_jets": ak.values_astype(ak.fill_none(ak.firsts(bits[best]), 0), "int64"),
    }
