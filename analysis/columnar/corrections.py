"""Kinematic variations, evaluated by correctionlib from ``corrections.json``; the weights are in ``weights``.

Source: AGC ttbar specification v2, section "Systematics".
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.columnar.column import column_function

if TYPE_CHECKING:
    import awkward as ak

RESOLUTION_SEED = 2015.0
JET_RESOLUTION = 0.05
_IDENTITY = ("run", "luminosityBlock", "event")


@column_function(uses={"Jet.pt"}, produces={"jet_pt_scale_up"})
def jet_pt_scale_up(events: ak.Array) -> ak.Array:
    """Jet transverse momenta [GeV] with the energy scale raised by 3 %, shape ``(events, var)``."""
    import awkward as ak

    return ak.values_astype(events.Jet.pt, "float64") * 1.03


@column_function(uses={"Jet.pt", "Jet.index", *_IDENTITY}, produces={"jet_pt_res_up"})
def jet_pt_res_up(events: ak.Array) -> ak.Array:
    """Jet transverse momenta [GeV] smeared by 5 %, shape ``(events, var)``.

    The random number of a jet is a hash of (seed, run, luminosity block, event, index of the jet), so that it depends
    neither on chunking nor on order, backend or selection. The AGC reference draws it unseeded.
    """
    import awkward as ak

    pt = ak.values_astype(events.Jet.pt, "float64")
    counts = ak.num(pt, axis=1)
    identity = [ak.flatten(_per_jet(events[name], pt)) for name in _IDENTITY]
    index = ak.flatten(ak.values_astype(events.Jet.index, "float64"))
    number = _jet_resolution().evaluate(RESOLUTION_SEED, *identity, index)
    return pt * ak.unflatten(1 + JET_RESOLUTION * number, counts)


@column_function(uses={"Jet.pt"}, produces={"jet_pt_res_up_root"})
def jet_pt_res_up_root(events: ak.Array) -> ak.Array:
    r"""Jet transverse momenta [GeV] smeared as in ROOT's implementation of the AGC, shape ``(events, var)``.

    :math:`p_T \cdot (1 + 0.05\,\Phi^{-1}(0.001\,(\lfloor 1000\,p_T \rfloor \bmod 1000) + 0.0005))`. An alternative to
    :func:`jet_pt_res_up` for comparisons bin by bin; to use it, name it in ``config/shifts.py``.
    """
    import awkward as ak
    import numpy as np
    from scipy.special import ndtri

    pt = ak.values_astype(events.Jet.pt, "float64")
    flat = ak.to_numpy(ak.flatten(pt))
    quantile = 0.001 * (np.floor(flat * 1000) % 1000) + 0.0005
    return pt * ak.unflatten(1 + JET_RESOLUTION * ndtri(quantile), ak.num(pt, axis=1))


@functools.cache
def _jet_resolution() -> Any:
    import correctionlib

    return correctionlib.CorrectionSet.from_file(str(Path(__file__).with_name("corrections.json")))["jet_resolution"]


def _per_jet(values: ak.Array, jets: ak.Array) -> ak.Array:
    import awkward as ak

    return ak.broadcast_arrays(ak.values_astype(values, "float64"), jets)[0]
