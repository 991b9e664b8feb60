"""Weight variations, evaluated by correctionlib from ``weights.json``.

Source: AGC ttbar specification v2, section "Systematics".
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.columnar.column import column_function

if TYPE_CHECKING:
    import awkward as ak


def _register_b_tag_variation(position: int, direction: str) -> None:
    @column_function(uses={"SelectedJet.pt"}, produces={f"weight_btag_var_{position}_{direction}"})
    def weight_btag_var(events: ak.Array) -> ak.Array:
        """Factor 1 +- 0.075 pT / 50 GeV of one jet in stored order, 1 if there is none, shape ``(events,)``."""
        import awkward as ak

        pt = ak.pad_none(events.SelectedJet.pt, position + 1, axis=1)[:, position]
        pt = ak.to_numpy(ak.fill_none(ak.values_astype(pt, "float64"), 0.0))
        return ak.Array(_event_systematics().evaluate("btag_var", direction, pt))


def _register_scale_variation(direction: str) -> None:
    @column_function(uses={"event"}, produces={f"weight_scale_var_{direction}"})
    def weight_scale_var(events: ak.Array) -> ak.Array:
        """Factor of the W+jets scale variation, the same for all events, shape ``(events,)``."""
        import awkward as ak
        import numpy as np

        factor = _event_systematics().evaluate("scale_var", direction, 0.0)
        return ak.Array(np.full(len(events), factor))


for _direction in ("up", "down"):
    _register_scale_variation(_direction)
    for _position in range(4):
        _register_b_tag_variation(_position, _direction)


@functools.cache
def _event_systematics() -> Any:
    import correctionlib

    return correctionlib.CorrectionSet.from_file(str(Path(__file__).with_name("weights.json")))["event_systematics"]
