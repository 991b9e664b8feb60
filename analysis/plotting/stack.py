"""Stacked processes compared to what was observed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from analysis.config.model import MODEL
from analysis.config.processes import PROCESSES, process
from analysis.config.selection import REGIONS
from analysis.plotting.comparison import REAL_DATA, Band, Comparison, draw_comparison
from analysis.plotting.style import cms_style
from analysis.templates import TemplateError, TemplateKey

if TYPE_CHECKING:
    import numpy as np
    from hist import Hist
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from analysis.config.types import Campaign, StatisticalModel, Variable
    from analysis.templates import Templates


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
    statistical: NDArray[np.float64] = np.sum([variances(h) for h in nominal.values()], axis=0)
    down, up = statistical.copy(), statistical.copy()
    shifted = any(templates.shifts(variable, p) for p in processes)
    for systematic in model.systematics if shifted else ():
        affected = {p: h for p, h in nominal.items() if not systematic.processes or p in systematic.processes}
        pairs = []
        if systematic.normalization:
            change = systematic.normalization * np.sum([h.values() for h in affected.values()], axis=0)
            pairs.append((change, -change))
        found = []
        for shift in filter(None, (systematic.up, systematic.down)):
            keys = {p: TemplateKey(variable, p, shift) for p in affected}
            present = [templates[k].values() - nominal[p].values() for p, k in keys.items() if k in templates]
            if present:
                found.append(np.sum(present, axis=0))
        if found:
            pairs.append((found[0], found[1] if len(found) > 1 else -found[0]))
        for pair in pairs:
            up += np.maximum(0, np.max(pair, axis=0)) ** 2
            down += np.minimum(0, np.min(pair, axis=0)) ** 2
    return Band(np.sqrt(down), np.sqrt(up), "Stat. + syst. unc." if shifted else "MC stat. unc.")


@cms_style()
def plot_stack(
    templates: Templates,
    variable: Variable,
    campaign: Campaign,
    observation: Hist[Any] | None = None,
    observation_label: str = REAL_DATA,
) -> Figure:
    """Stacked processes with their uncertainty, what was observed, and the ratio of the two.

    Args:
        templates: nominal and, if there are any, shifted templates of the variable.
        variable: the variable.
        campaign: for the label in the corner.
        observation: data or pseudo-data with the binning of the templates; ``None`` draws the prediction alone.
        observation_label: legend entry; a figure of anything but ``"Data"`` is marked as simulation.

    Returns:
        The figure: stack above, ratio (or relative uncertainty) below.

    Raises:
        TemplateError: if there is no nominal template of the variable.
    """
    names = stack_order(templates.processes(variable.name))
    if not names:
        msg = f"there is no nominal template of variable {variable.name!r} to draw: run FillHistograms for it"
        raise TemplateError(msg)
    comparison = Comparison(
        processes=[process(name) for name in names],
        histograms=[templates[TemplateKey(variable.name, name)] for name in names],
        band=uncertainty_band(templates, variable.name),
        observation=observation,
        observation_label=observation_label,
        title=REGIONS[variable.region].label,
        axis_label=variable.axis_label,
        unit=variable.unit,
    )
    return draw_comparison(comparison, campaign)


def stack_order(names: Iterable[str]) -> list[str]:
    """Process names from the bottom of the stack to its top; those the measurement does not know are at the bottom."""
    known = list(PROCESSES)
    return sorted(names, key=lambda name: known.index(name) if name in known else -1)


def variances(histogram: Hist[Any]) -> NDArray[np.float64]:
    """Sums of squared weights, shape ``(bins,)``."""
    squared = histogram.variances()
    if squared is None:
        msg = "histogram has no sums of squared weights: fill it with storage.Weight()"
        raise TemplateError(msg)
    import numpy as np

    return np.asarray(squared, dtype=float)
