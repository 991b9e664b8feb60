"""Filling of histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.templates import SHIFT_AXIS

if TYPE_CHECKING:
    import numpy as np
    from hist import Hist
    from numpy.typing import NDArray

    from analysis.columnar.table import Table
    from analysis.config.types import Campaign, Dataset, Region, Shift, Variable


def event_weight(dataset: Dataset, campaign: Campaign, events: int) -> float:
    """Weight of each event: cross section x filter efficiency x luminosity / events, and 1 for data.

    Args:
        dataset: the data set.
        campaign: the campaign, for its luminosity.
        events: number of events of all files of the data set.

    Source:
        AGC ttbar specification v2; generator weights are not used.

    Examples:
        >>> from analysis.config import get_campaign
        >>> campaign = get_campaign("agc_2015")
        >>> round(event_weight(campaign.datasets["wjets"], campaign, 1_000_000), 4)
        52.3156
    """
    if dataset.is_data or dataset.cross_section is None:
        return 1.0
    return dataset.cross_section * dataset.filter_efficiency * campaign.luminosity / events


def fill(
    variable: Variable,
    region: Region,
    tables: Mapping[str, Table],
    weights: Table | None,
    shifts: Sequence[Shift],
    weight: float,
) -> Hist[Any]:
    """Fill one variable under all shifts.

    Args:
        variable: what is filled.
        region: events for which it is filled.
        tables: columns under nominal and each kinematic shift, by name of the shift.
        weights: columns of the weight shifts; ``None`` if there are none.
        shifts: the shifts, in the order of the axis; weight shifts share the columns of the nominal.
        weight: weight of each event.

    Returns:
        Histogram with the axes shift and variable, and sums of squared weights.
    """
    import awkward as ak
    import numpy as np
    from hist import Hist, axis, storage

    histogram = Hist(
        axis.StrCategory([s.name for s in shifts], name=SHIFT_AXIS),
        axis.Regular(variable.bins, variable.start, variable.stop, name=variable.name),
        storage=storage.Weight(),
    )
    for shift in shifts:
        table = tables["nominal" if shift.kind == "weight" else shift.name]
        inside: NDArray[np.bool_] = ak.to_numpy(table[region.column])
        factor = np.ones(int(inside.sum()))
        if shift.kind == "weight" and weights is not None:
            factor = ak.to_numpy(weights[shift.weight])[inside]
        values = ak.to_numpy(table[variable.column])[inside]
        histogram.fill(**{SHIFT_AXIS: shift.name, variable.name: values}, weight=weight * factor)
    return histogram
