"""How many events each step of the selection keeps."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.config.processes import process
from analysis.config.selection import REGIONS, SELECTION
from analysis.config.shifts import SHIFTS
from analysis.plotting.style import PlotError, cms_style, label_corner, place_legend, single_panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.columnar.cutflow import Cutflow, CutflowStep
    from analysis.config.types import Campaign

_GAP = 0.5
_LINE_STYLES = ("-", "--", ":", "-.", (0, (1, 3)))


class CutflowParts(NamedTuple):
    """Steps of a cutflow, each on top of the one before, and the regions beside each other after the last one."""

    steps: tuple[CutflowStep, ...]
    regions: tuple[CutflowStep, ...]


def split_cutflow(cutflow: Cutflow) -> CutflowParts:
    """Separate the cumulative steps from the regions."""
    return CutflowParts(
        tuple(s for s in cutflow.steps if not s.is_region), tuple(s for s in cutflow.steps if s.is_region)
    )


def step_label(step: CutflowStep) -> str:
    """What a step requires; its name if the selection does not know it."""
    return next((known.label for known in SELECTION if known.column == step.name), step.name)


def step_efficiency(step: CutflowStep, reference: CutflowStep) -> float:
    """Fraction of the sum of weights of ``reference`` that ``step`` keeps; 0 if there is nothing to keep."""
    return step.sum_of_weights / reference.sum_of_weights if reference.sum_of_weights else 0.0


@cms_style()
def plot_cutflow(cutflows: Sequence[Cutflow], campaign: Campaign) -> Figure:
    """Fraction of all events that is left after each step, per data set, and apart from it in each region.

    Args:
        cutflows: one cutflow per data set, all with the same steps.
        campaign: gives process and shift of each data set, and the label in the corner.

    Returns:
        The figure.

    Raises:
        PlotError: if there is no cutflow.
    """
    import mplhep
    import numpy as np

    if not any(cutflow.steps for cutflow in cutflows):
        msg = "there is no cutflow to draw: run SelectEvents for at least one data set"
        raise PlotError(msg)
    figure, axes = single_panel(12.0, 10.0, left=0.13, bottom=0.15)
    steps, regions = split_cutflow(cutflows[0])
    edges = np.arange(len(steps) + 1.0)
    region_edges = len(steps) + _GAP + np.arange(len(regions) + 1.0)
    smallest = 1.0
    seen: dict[str, int] = {}
    for cutflow in cutflows:
        name, label = _process_and_label(cutflow.dataset, campaign)
        style = _LINE_STYLES[seen.get(name, 0) % len(_LINE_STYLES)]
        seen[name] = seen.get(name, 0) + 1
        parts = split_cutflow(cutflow)
        options = {"color": process(name).color, "linestyle": style, "linewidth": 2.5, "flow": "none", "ax": axes}
        fractions = [np.array([step_efficiency(s, parts.steps[0]) for s in part]) for part in parts]
        mplhep.histplot(fractions[0], edges, yerr=False, edges=False, label=label, **options)
        for i, fraction in enumerate(fractions[1]):
            mplhep.histplot([fraction], region_edges[i : i + 2], yerr=False, edges=False, **options)
        smallest = min([smallest, *(f for part in fractions for f in part if f > 0)])
    centers = np.append((edges[1:] + edges[:-1]) / 2, (region_edges[1:] + region_edges[:-1]) / 2)
    texts = [fill(step_label(s), 13) for s in steps] + [_region_text(s.name) for s in regions]
    axes.set_xticks(centers, texts, fontsize=19, linespacing=1.05)
    axes.tick_params(axis="x", which="both", bottom=False, top=False)
    axes.set_xlim(0, region_edges[-1])
    axes.axvspan(edges[-1], region_edges[0], color="#e8e8e8", linewidth=0)
    for edge in (*edges[1:-1], *region_edges[1:-1]):
        axes.axvline(edge, color="#cccccc", linewidth=0.8, linestyle=":", zorder=0)
    axes.set_yscale("log")
    lowest = int(np.floor(np.log10(smallest) - 0.1))
    axes.set_ylim(bottom=10.0**lowest)
    axes.set_yticks(10.0 ** np.arange(lowest, 1))
    axes.set_yticks([m * 10.0**d for d in range(lowest, 0) for m in range(2, 10)], minor=True)
    below: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top", "fontsize": 21}
    axes.text(edges[-1] / 2, -0.105, "selection, each step after the one before", **below)
    axes.text((region_edges[0] + region_edges[-1]) / 2, -0.105, "regions", **below)
    axes.set_ylabel("Fraction of all events")
    axes.set_xlabel("")
    place_legend(axes, 1.0, ncols=2, fontsize=18)
    datasets = (campaign.datasets.get(c.dataset) for c in cutflows)
    label_corner(axes, campaign, simulation=not any(d.is_data for d in datasets if d))
    return figure


def _process_and_label(dataset_name: str, campaign: Campaign) -> tuple[str, str]:
    dataset = campaign.datasets.get(dataset_name)
    name, shift = (dataset.process, dataset.shift) if dataset else (dataset_name, "nominal")
    label = process(name).label
    if shift == "nominal":
        return name, label
    shift_label = SHIFTS[shift].label if shift in SHIFTS else shift
    return name, shift_label if shift_label.startswith(label) else f"{label}, {shift_label}"


def _region_text(name: str) -> str:
    return REGIONS[name].label.replace(", ", ",\n") if name in REGIONS else fill(name, 13)
