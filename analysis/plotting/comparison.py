"""A stack of histograms, its uncertainty and an observation, with their ratio: before, after and without a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.plotting.style import (
    BAND,
    Panels,
    bin_width,
    label_corner,
    label_events,
    place_legend,
    ratio_panels,
    set_ratio_limits,
)

if TYPE_CHECKING:
    import numpy as np
    from hist import Hist
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from analysis.config.types import Campaign, Process

REAL_DATA = "Data"
"""Label of collision data; a figure whose observation is called otherwise is marked as simulation."""

_POINTS = {"color": "black", "markersize": 13, "elinewidth": 1.5}


class Band(NamedTuple):
    """Uncertainty of a prediction: distances down and up, shape ``(bins,)`` each, and what it contains."""

    down: NDArray[np.float64]
    up: NDArray[np.float64]
    label: str


class Comparison(NamedTuple):
    """What is drawn.

    Args:
        processes: from the bottom of the stack to its top.
        histograms: one per process, with the same binning.
        band: uncertainty of their sum.
        observation: observed events; ``None`` draws the prediction alone.
        observation_label: its legend entry, see :data:`REAL_DATA`.
        title: heading of the legend.
        axis_label: label of the horizontal axis, with its unit.
        unit: unit of the bin width.
    """

    processes: Sequence[Process]
    histograms: Sequence[Hist[Any]]
    band: Band
    observation: Hist[Any] | None
    observation_label: str
    title: str
    axis_label: str
    unit: str


def draw_comparison(comparison: Comparison, campaign: Campaign) -> Figure:
    """Stack and observation above, their ratio below, or the relative uncertainty if nothing was observed.

    Args:
        comparison: what is drawn.
        campaign: for the label in the corner.

    Returns:
        The figure.
    """
    import numpy as np

    panels = ratio_panels()
    figure, main, ratio = panels
    edges = comparison.histograms[0].axes[0].edges
    total = np.sum([h.values() for h in comparison.histograms], axis=0)
    _draw_stack(panels, comparison, edges, total)
    if comparison.observation is None:
        ratio.axhline(1, color="black", linestyle="--", linewidth=1.0)
        ratio.set_ylabel("Rel. unc.", loc="center")
    else:
        _draw_observation(panels, comparison, edges, total)
        ratio.set_ylabel("Obs. / pred.", loc="center")
    set_ratio_limits(ratio, total, _deviations(comparison, total))
    ratio.set_xlabel(comparison.axis_label)
    main.set_xlabel("")
    main.set_xlim(edges[0], edges[-1])
    main.set_ylim(bottom=0)
    handles, labels = main.get_legend_handles_labels()
    # the observation is drawn last, but comes first in the legend
    observed = len(comparison.processes) + 1
    order = [*range(observed, len(handles)), *range(observed)]
    place_legend(
        main,
        main.dataLim.ymax,
        handles=[handles[i] for i in order],
        labels=[labels[i] for i in order],
        title=comparison.title,
        alignment="left",
        ncols=2,
    )
    label_events(main, bin_width(edges), comparison.unit)
    simulation = comparison.observation is None or comparison.observation_label != REAL_DATA
    label_corner(main, campaign, simulation=simulation)
    figure.align_ylabels()
    return figure


def counted(edges: Any, values: Any, variances: Any = None) -> Hist[Any]:
    """Histogram of numbers of events, with the variance of counting if no other is given.

    Args:
        edges: bin edges, shape ``(bins + 1,)``.
        values: numbers of events, shape ``(bins,)``.
        variances: their variances, shape ``(bins,)``.

    Returns:
        The histogram, without under- and overflow.
    """
    import numpy as np
    from hist import Hist, axis, storage

    histogram = Hist(axis.Variable(edges, flow=False), storage=storage.Weight())
    values = np.asarray(values, dtype=float)
    histogram[...] = np.stack([values, values if variances is None else variances], axis=-1)
    return histogram


def _draw_stack(panels: Panels, comparison: Comparison, edges: Any, total: NDArray[np.float64]) -> None:
    import mplhep
    import numpy as np

    mplhep.histplot(
        list(comparison.histograms),
        stack=True,
        histtype="fill",
        color=[p.color for p in comparison.processes],
        label=[p.label for p in comparison.processes],
        edgecolor="black",
        linewidth=0.5,
        flow="none",
        ax=panels.main,
    )
    errors = np.stack([comparison.band.down, comparison.band.up])
    label = comparison.band.label
    mplhep.histplot(total, edges, yerr=errors, histtype="band", label=label, flow="none", ax=panels.main, **BAND)
    relative = np.divide(errors, total, out=np.zeros_like(errors), where=total > 0)
    mplhep.histplot(np.ones_like(total), edges, yerr=relative, histtype="band", flow="none", ax=panels.ratio, **BAND)


def _draw_observation(panels: Panels, comparison: Comparison, edges: Any, total: NDArray[np.float64]) -> None:
    import mplhep
    import numpy as np

    assert comparison.observation is not None
    counts = counted(edges, comparison.observation.values())
    empty = [int(i) for i in np.flatnonzero((total == 0) & (counts.values() == 0))]
    # the interval of a distribution without any event has no scale
    method = "poisson" if counts.values().any() else "sqrt"
    options = {**_POINTS, "flow": "none", "w2method": method, "blind": empty or None}
    mplhep.histplot(counts, histtype="errorbar", label=comparison.observation_label, ax=panels.main, **options)
    # the uncertainty of the prediction is in the band, not in the points
    certain = counted(edges, total, np.zeros_like(total))
    mplhep.comp.comparison(counts, certain, panels.ratio, comparison="ratio", h1_w2method=method, **options)


def _deviations(comparison: Comparison, total: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    import numpy as np

    filled = total > 0
    sizes = [np.divide(e, total, out=np.zeros_like(total), where=filled) for e in comparison.band[:2]]
    if comparison.observation is not None:
        counts = comparison.observation.values()
        reach = np.abs(counts - total) + np.sqrt(counts)
        sizes.append(np.divide(reach, total, out=np.zeros_like(total), where=filled))
    return sizes
