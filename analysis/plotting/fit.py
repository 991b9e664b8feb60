"""Results of the fit: nuisance parameters, their correlations, and distributions before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.config.model import MODEL
from analysis.config.processes import PROCESSES, process
from analysis.config.selection import REGIONS
from analysis.config.variables import VARIABLES
from analysis.plotting.comparison import REAL_DATA, Band, Comparison, counted, draw_comparison
from analysis.plotting.stack import stack_order
from analysis.plotting.style import cms_style, label_corner, single_panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.config.types import Campaign
    from analysis.stats.fit import FitResult, Parameter
    from analysis.stats.prediction import Prediction

_STATISTICAL = "staterror"
_ONE_SIGMA, _TWO_SIGMA = "#c8e6b0", "#fff2ae"
_DARK = 0.6


def is_statistical(parameter: str) -> bool:
    """Whether a parameter stands for the limited number of simulated events in one bin."""
    return parameter.startswith(_STATISTICAL)


def format_measurement(value: float, *errors: float, style: str = "plain") -> str:
    """Number with its uncertainty in the rounding of publications (one digit more than the PDG's).

    Args:
        value: central value.
        errors: one uncertainty, or the upper and the lower one, both positive.
        style: ``"plain"``, ``"latex"`` or ``"fancy"`` (Unicode).

    Returns:
        The text.

    Examples:
        >>> format_measurement(0.96032, 0.10413)
        '0.960 +- 0.104'
    """
    import scinum

    number = scinum.Number(value, errors[0] if len(errors) == 1 else (errors[0], errors[1]))
    text = number.str("publication", style=style)
    for tight, spaced in (("+-", "+- "), ("±", "± "), (r"\pm", r"\pm ")):
        text = text.replace(tight, spaced)
    return text.replace("-", " \N{MINUS SIGN}") if style == "fancy" else text


def poi_errors(fit: FitResult) -> tuple[float, ...]:
    """Uncertainty of the parameter of interest: upper and lower one from MINOS if it was run, else the one of Hesse."""
    return (fit.minos[1], -fit.minos[0]) if fit.minos else (fit.poi_error,)


@cms_style()
def plot_pulls(fit: FitResult, campaign: Campaign, *, simulation: bool = True) -> Figure:
    r"""Pulls :math:`(\hat\theta - \theta_0) / \Delta\theta` of the nuisance parameters and their constraints.

    The parameter of interest is written as text. The parameters for the limited number of simulated events, one per
    bin, are summed up in one line.

    Args:
        fit: result of the fit.
        campaign: for the label in the corner.
        simulation: whether the fit was to simulation.

    Returns:
        The figure.
    """
    import numpy as np

    constrained = [p for p in fit.parameters if p.kind == "constrained" and p.name != fit.poi]
    shown = [p for p in constrained if not is_statistical(p.name)]
    statistical = [p for p in constrained if is_statistical(p.name)]
    figure, axes = single_panel(12.5, 3.7 + 0.5 * len(shown), left=0.355)
    height = figure.get_figheight()
    figure.subplots_adjust(bottom=1.3 / height, top=1 - 0.7 / height)
    rows = np.arange(len(shown))[::-1]
    top = len(shown) - 0.5
    for reach, color in ((2, _TWO_SIGMA), (1, _ONE_SIGMA)):
        axes.fill_betweenx([-0.5, top], -reach, reach, color=color, linewidth=0)
    axes.plot([0, 0], [-0.5, top], color="black", linestyle=":", linewidth=1.2)
    pulls = np.array([p.pull for p in shown])
    constraints = np.array([p.constraint for p in shown])
    axes.errorbar(pulls, rows, xerr=constraints, fmt="o", color="black", markersize=8, linewidth=2.0, capsize=0)
    reach = max([2.3, *(np.abs(pulls) + constraints + 0.2)])
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-0.5, top + 2.2)
    axes.set_yticks(rows, [p.name for p in shown], fontsize=24)
    axes.tick_params(axis="y", which="both", left=False, right=False, pad=10)
    axes.set_xlabel(r"$(\hat{\theta} - \theta_0)\, /\, \Delta\theta$")
    axes.plot([-reach, reach], [top, top], color="black", linewidth=1.2)
    text: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
    measured = format_measurement(fit.poi_value, *poi_errors(fit), style="latex")
    axes.text(0.03, top + 1.5, f"{fit.poi} = ${measured}$", fontsize=24, **text)
    axes.text(0.03, top + 0.6, _summary(statistical), fontsize=20, color="#444444", **text)
    label_corner(axes, campaign, simulation=simulation)
    return figure


@cms_style()
def plot_correlations(fit: FitResult, campaign: Campaign, threshold: float = 0.1, *, simulation: bool = True) -> Figure:
    """Correlation matrix of the parameters, in percent.

    Args:
        fit: result of the fit.
        campaign: for the label in the corner.
        threshold: a parameter is shown if the size of one of its correlations is at least this large, apart from those
            for the limited number of simulated events, which are left out; the parameter of interest always is.
        simulation: whether the fit was to simulation.

    Returns:
        The figure.
    """
    import numpy as np

    matrix = np.asarray(fit.correlation)
    kept = correlated(fit, threshold)
    names = [fit.labels[i] for i in kept]
    part = matrix[np.ix_(kept, kept)]
    side = max(13.5, 6.1 + 0.75 * len(kept))
    figure, axes = single_panel(side, side)
    figure.subplots_adjust(left=4.2 / side, right=1 - 1.9 / side, bottom=3.35 / side, top=1 - 0.65 / side)
    image = axes.imshow(100 * part, vmin=-100, vmax=100, cmap="RdBu_r", aspect="auto")
    for (i, j), value in np.ndenumerate(part):
        if round(100 * abs(value)) >= 1:
            color = "white" if abs(value) > _DARK else "black"
            axes.text(j, i, _with_minus(f"{100 * value:.0f}"), ha="center", va="center", color=color, fontsize=21)
    ticks = range(len(kept))
    axes.set_xticks(ticks, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=23)
    axes.set_yticks(ticks, names, fontsize=23)
    axes.tick_params(which="both", length=0)
    axes.minorticks_off()
    bar = figure.colorbar(image, cax=axes.inset_axes((1.03, 0.0, 0.045, 1.0)))
    bar.set_label("Correlation [%]", fontsize=22)
    bar.ax.tick_params(labelsize=20)
    label_corner(axes, campaign, simulation=simulation)
    return figure


@cms_style()
def plot_fit(prediction: Prediction, campaign: Campaign, observation_label: str = REAL_DATA) -> dict[str, Figure]:
    """Fitted distributions: stacked samples with the uncertainty of their sum, observed events, and the ratio.

    Args:
        prediction: yields before or after the fit, which its label says.
        campaign: for the label in the corner.
        observation_label: legend entry; a figure of anything but ``"Data"`` is marked as simulation.

    Returns:
        One figure per region, by the region's name.
    """
    import numpy as np

    by_sample = {p.sample: p.name for p in PROCESSES.values()}
    variables = {r.name: VARIABLES[r.variable] for r in MODEL.regions}
    figures = {}
    for channel in prediction.channels:
        yields = {by_sample.get(s, s): y for s, y in prediction.yields[channel].items()}
        names = stack_order(yields)
        edges = prediction.edges[channel]
        error = np.asarray(prediction.total_std[channel])
        variable = variables.get(channel)
        comparison = Comparison(
            processes=[process(name) for name in names],
            histograms=[counted(edges, yields[name]) for name in names],
            band=Band(error, error, "Total unc."),
            observation=counted(edges, prediction.data[channel]),
            observation_label=observation_label,
            title=f"{REGIONS[variable.region].label if variable else channel}, {prediction.label}",
            axis_label=variable.axis_label if variable else "",
            unit=variable.unit if variable else "",
        )
        figures[channel] = draw_comparison(comparison, campaign)
    return figures


def correlated(fit: FitResult, threshold: float) -> list[int]:
    """Indices of the parameters that :func:`plot_correlations` shows, the parameter of interest first."""
    import numpy as np

    candidates = [i for i, p in enumerate(fit.parameters) if p.kind != "fixed" and not is_statistical(p.name)]
    size = np.abs(np.asarray(fit.correlation)[np.ix_(candidates, candidates)])
    np.fill_diagonal(size, 0)
    kept = [i for i, largest in zip(candidates, size.max(axis=1, initial=0), strict=True) if largest >= threshold]
    poi = fit.labels.index(fit.poi)
    return [poi, *(i for i in kept if i != poi)]


def _summary(statistical: Sequence[Parameter]) -> str:
    if not statistical:
        return "MC statistics: no parameters"
    largest = max((p.pull for p in statistical), key=abs)
    return f"MC statistics: {len(statistical)} parameters, largest pull {_with_minus(f'{largest:+.2f}')}"


def _with_minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
