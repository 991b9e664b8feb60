"""Systematic shifts of one process compared to its nominal distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.config.processes import process as find_process
from analysis.config.selection import REGIONS
from analysis.config.shifts import SHIFTS
from analysis.plotting.stack import variances
from analysis.plotting.style import (
    BAND,
    bin_width,
    cms_style,
    label_corner,
    label_events,
    place_legend,
    ratio_panels,
    set_ratio_limits,
)
from analysis.templates import TemplateKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.config.types import Campaign, Variable
    from analysis.templates import Templates

_COLORS = ("#bd1f01", "#3f90da")


@cms_style()
def plot_shift(
    templates: Templates, variable: Variable, process: str, shifts: Sequence[str], campaign: Campaign
) -> Figure:
    """One or two shifts of a process against its nominal distribution, which carries its statistical uncertainty.

    Args:
        templates: templates of the variable.
        variable: the variable.
        process: name of the process.
        shifts: names of the upward and, if there is one, the downward shift.
        campaign: for the label in the corner.

    Returns:
        The figure: distributions above, ratio to the nominal below.

    Raises:
        TemplateError: if there is no template of the process and shift.
    """
    import mplhep
    import numpy as np

    nominal = templates[TemplateKey(variable.name, process)]
    edges, values = nominal.axes[0].edges, nominal.values()
    errors = np.sqrt(variances(nominal))
    figure, main, ratio = ratio_panels()
    mplhep.histplot(values, edges, yerr=False, color="black", label="nominal", linewidth=2.0, flow="none", ax=main)
    mplhep.histplot(values, edges, yerr=errors, histtype="band", label="MC stat. unc.", flow="none", ax=main, **BAND)
    filled = values > 0
    relative = np.divide(errors, values, out=np.zeros_like(values), where=filled)
    mplhep.histplot(np.ones_like(values), edges, yerr=relative, histtype="band", flow="none", ax=ratio, **BAND)
    ratio.axhline(1, color="black", linewidth=2.0)
    deviations = [relative]
    for shift, color, style in zip(shifts, _COLORS, ("-", "--"), strict=False):
        shifted = templates[TemplateKey(variable.name, process, shift)].values()
        label = SHIFTS[shift].label if shift in SHIFTS else shift
        line: dict[str, Any] = {"yerr": False, "color": color, "linewidth": 2.5, "linestyle": style, "flow": "none"}
        mplhep.histplot(shifted, edges, label=label, ax=main, **line)
        to_nominal = np.divide(shifted, values, out=np.ones_like(values), where=filled)
        mplhep.histplot(to_nominal, edges, edges=False, ax=ratio, **line)
        deviations.append(np.abs(to_nominal - 1))
    set_ratio_limits(ratio, values, deviations)
    ratio.set_ylabel("Ratio to nom.", loc="center")
    ratio.set_xlabel(variable.axis_label)
    main.set_xlabel("")
    main.set_xlim(edges[0], edges[-1])
    main.set_ylim(bottom=0)
    title = f"{find_process(process).label}, {REGIONS[variable.region].label}"
    place_legend(main, main.dataLim.ymax, title=title, alignment="left")
    label_events(main, bin_width(edges), variable.unit)
    label_corner(main, campaign)
    figure.align_ylabels()
    return figure
