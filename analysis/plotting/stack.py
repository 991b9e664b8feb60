"""Stacked distributions compared to what was observed, before and after the fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from analysis.config.model import MODEL
from analysis.config.processes import PROCESSES, process
from analysis.config.selection import REGIONS
from analysis.config.variables import VARIABLES
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
from analysis.templates import TemplateError, TemplateKey

if TYPE_CHECKING:
    import numpy as np
    from hist import Hist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from analysis.config.types import Campaign, Process, StatisticalModel, Variable
    from analysis.templates import Templates

REAL_DATA = "Data"
"""Label of collision data; a figure whose observation is called otherwise is marked as simulation."""


class Band(NamedTuple):
    """Uncertainty of a prediction: distances down and up, shape ``(bins,)`` each, and what it contains."""

    down: NDArray[np.float64]
    up: NDArray[np.float64]
    label: str


def uncertainty_band(templates: Templates, variable: str, model: StatisticalModel = MODEL) -> Band:
    r"""Uncertainty of the sum of all processes.

    .. math::

        \sigma_\pm^2 = \sum_p \sigma_{\text{stat}, p}^2 + \sum_s \max(0, \pm d_s^{\text{up}}, \pm d_s^{\text{down}})^2

    with :math:`d_s` the change of the sum under systematic :math:`s`, taken as common to all processes; a systematic
    with one template only counts both ways. Systematics without a template for the variable are left out, and so are
    pure normalisations if no template of a shift exists at all.

    Args:
        templates: nominal and shifted templates.
        variable: name of the variable.
        model: says which shifts belong to one systematic.

    Returns:
        The band, labelled with what it contains.
    """
    import numpy as np

    processes = templates.processes(variable)
    nominal = {p: templates[TemplateKey(variable, p)] for p in processes}
    statistical: NDArray[np.float64] = np.sum([_variances(h) for h in nominal.values()], axis=0)
    down, up = statistical.copy(), statistical.copy()
    shifted = any(templates.shifts(variable, p) for p in processes)
    for systematic in model.systematics if shifted else ():
        affected = {p: h for p, h in nominal.items() if not systematic.processes or p in systematic.processes}
        changes = []
        if systematic.normalization:
            changes.append(systematic.normalization * np.sum([h.values() for h in affected.values()], axis=0))
        for shift in filter(None, (systematic.up, systematic.down)):
            keys = {p: TemplateKey(variable, p, shift) for p in affected}
            present = [templates[k].values() - nominal[p].values() for p, k in keys.items() if k in templates]
            if present:
                changes.append(np.sum(present, axis=0))
        if len(changes) == 1:
            changes.append(-changes[0])
        if changes:
            up += np.maximum(0, np.max(changes, axis=0)) ** 2
            down += np.minimum(0, np.min(changes, axis=0)) ** 2
    return Band(np.sqrt(down), np.sqrt(up), "Stat. + syst. unc." if shifted else "MC stat. unc.")


@cms_style()
def plot_stack(
    templates: Templates,
    variable: Variable,
    campaign: Campaign,
    observation: Hist | None = None,
    observation_label: str = REAL_DATA,
) -> Figure:
    """Stacked processes with their uncertainty, what was observed, and the ratio of the two.

    Args:
        templates: nominal and, if there are any, shifted templates of the variable.
        variable: the variable.
        campaign: for the label in the corner.
        observation: data or pseudo-data with the binning of the templates; ``None`` draws the prediction alone.
        observation_label: legend entry; :data:`REAL_DATA` for collision data.

    Returns:
        The figure: stack above, ratio (or relative uncertainty) below.
    """
    names = stack_order(templates.processes(variable.name))
    stack = [(process(name), templates[TemplateKey(variable.name, name)]) for name in names]
    figure, main, ratio = ratio_panels()
    _draw(main, ratio, stack, uncertainty_band(templates, variable.name), observation, observation_label)
    _finish(main, ratio, REGIONS[variable.region].label, variable.axis_label, variable.unit, stack[0][1])
    label_corner(main, campaign, simulation=observation is None or observation_label != REAL_DATA)
    figure.align_ylabels()
    return figure


class Prediction(Protocol):
    """Yields of a statistical model before or after the fit."""

    @property
    def channels(self) -> Sequence[str]:
        """Names of the regions."""

    @property
    def samples(self) -> Sequence[str]:
        """Names of the samples."""

    @property
    def yields(self) -> Mapping[str, Mapping[str, Any]]:
        """Expected events, ``yields[channel][sample]`` of shape ``(bins,)``."""

    @property
    def total_std(self) -> Mapping[str, Any]:
        """Uncertainty of the sum of samples by channel, shape ``(bins,)``."""

    @property
    def data(self) -> Mapping[str, Any]:
        """Observed events by channel, shape ``(bins,)``."""

    @property
    def edges(self) -> Mapping[str, Any]:
        """Bin edges by channel, shape ``(bins + 1,)``."""


@cms_style()
def plot_fit(
    prediction: Prediction, campaign: Campaign, model: StatisticalModel = MODEL, data_label: str = "Pseudo-data"
) -> dict[str, Figure]:
    """Fitted distributions: stacked samples with the uncertainty of their sum, observed events, and the ratio.

    Args:
        prediction: yields before or after the fit.
        campaign: for the label in the corner.
        model: gives the variable of each region; a region it does not have is drawn without axis label.
        data_label: legend entry; :data:`REAL_DATA` for collision data.

    Returns:
        One figure per region, by the region's name.
    """
    figures = {}
    for channel in prediction.channels:
        edges = prediction.edges[channel]
        known = {p.sample: p for p in PROCESSES.values()}
        drawn = {known.get(s, process(s)): s for s in prediction.samples if s in prediction.yields[channel]}
        order = stack_order([p.name for p in drawn])
        stack = [
            (p, _counts(edges, prediction.yields[channel][sample]))
            for p, sample in sorted(drawn.items(), key=lambda item: order.index(item[0].name))
        ]
        band = Band(prediction.total_std[channel], prediction.total_std[channel], prediction.label)
        variable = next((VARIABLES[r.variable] for r in model.regions if r.name == channel), None)
        text = REGIONS[variable.region].label if variable else channel
        figure, main, ratio = ratio_panels()
        _draw(main, ratio, stack, band, _counts(edges, prediction.data[channel]), data_label)
        label, unit = (variable.axis_label, variable.unit) if variable else ("", "")
        _finish(main, ratio, text, label, unit, stack[0][1])
        label_corner(main, campaign, simulation=data_label != REAL_DATA)
        figure.align_ylabels()
        figures[channel] = figure
    return figures


def stack_order(names: Iterable[str]) -> list[str]:
    """Process names from the bottom of the stack to its top; those the measurement does not know are at the bottom."""
    known = list(PROCESSES)
    return sorted(names, key=lambda name: known.index(name) if name in known else -1)


def _draw(
    main: Axes,
    ratio: Axes,
    stack: Sequence[tuple[Process, Hist]],
    band: Band,
    observation: Hist | None,
    observation_label: str,
) -> None:
    import mplhep
    import numpy as np

    histograms = [h for _, h in stack]
    mplhep.histplot(
        histograms,
        stack=True,
        histtype="fill",
        color=[p.color for p, _ in stack],
        label=[p.label for p, _ in stack],
        edgecolor="black",
        linewidth=0.5,
        flow="none",
        ax=main,
    )
    edges = histograms[0].axes[0].edges
    total = np.sum([h.values() for h in histograms], axis=0)
    errors = np.stack([band.down, band.up])
    mplhep.histplot(total, edges, yerr=errors, histtype="band", label=band.label, flow="none", ax=main, **BAND)
    relative = np.divide(errors, total, out=np.zeros_like(errors), where=total > 0)
    mplhep.histplot(np.ones_like(total), edges, yerr=relative, histtype="band", flow="none", ax=ratio, **BAND)
    deviations = [*relative]
    if observation is None:
        ratio.axhline(1, color="black", linestyle="--", linewidth=1.0)
        ratio.set_ylabel("Rel. unc.", loc="center")
    else:
        counts = _counts(edges, observation.values())
        empty = [int(i) for i in np.flatnonzero((total == 0) & (counts.values() == 0))]
        options = {**_POINTS, "flow": "none", "w2method": "poisson", "blind": empty or None}
        mplhep.histplot(counts, histtype="errorbar", label=observation_label, ax=main, **options)
        certain = _counts(edges, total, variances=np.zeros_like(total))
        mplhep.comp.comparison(counts, certain, ratio, comparison="ratio", h1_w2method="poisson", **options)
        ratio.set_ylabel("Obs. / pred.", loc="center")
        deviations.append(np.abs(np.divide(counts.values(), total, out=np.ones_like(total), where=total > 0) - 1))
    set_ratio_limits(ratio, total, deviations)


def _finish(main: Axes, ratio: Axes, text: str, label: str, unit: str, histogram: Hist) -> None:
    """Limits, axis labels, region and legend."""
    edges = histogram.axes[0].edges
    main.set_xlim(edges[0], edges[-1])
    main.set_ylim(bottom=0)
    main.set_xlabel("")
    ratio.set_xlabel(label)
    handles, labels = main.get_legend_handles_labels()
    first = [i for i, handle in enumerate(handles) if not hasattr(handle, "get_hatch")]
    order = [*first, *(i for i in range(len(handles)) if i not in first)]
    place_legend(
        main,
        main.dataLim.ymax,
        handles=[handles[i] for i in order],
        labels=[labels[i] for i in order],
        title=text,
        alignment="left",
        ncols=2,
    )
    label_events(main, bin_width(edges), unit)


def _counts(edges: Any, values: Any, variances: Any = None) -> Hist:
    """Histogram of numbers of events, with the Poisson variance if no other is given."""
    import numpy as np
    from hist import Hist, axis, storage

    histogram = Hist(axis.Variable(edges), storage=storage.Weight())
    values = np.asarray(values, dtype=float)
    histogram[...] = np.stack([values, values if variances is None else variances], axis=-1)
    return histogram


def _variances(histogram: Hist) -> NDArray[np.float64]:
    variances = histogram.variances()
    if variances is None:
        msg = "histogram has no sums of squared weights: fill it with storage.Weight()"
        raise TemplateError(msg)
    return variances


_POINTS = {"color": "black", "markersize": 13, "elinewidth": 1.5}
