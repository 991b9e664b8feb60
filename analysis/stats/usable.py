"""Which part of a statistical model the templates support."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from analysis.config.processes import PROCESSES
from analysis.errors import AnalysisError
from analysis.stats.binning import rebin
from analysis.templates import TemplateError, TemplateKey, Templates

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from analysis.config.types import FitRegion, StatisticalModel, Systematic


class TemplateYieldError(AnalysisError):
    """A predicted yield with which no likelihood can be computed."""


class DroppedSystematic(NamedTuple):
    """A systematic that is not applied to some processes, and why.

    Args:
        systematic: name of the nuisance parameter.
        process: the process that it should act on; empty if it acts on none at all.
        reason: half a sentence.
    """

    systematic: str
    process: str
    reason: str

    def __str__(self) -> str:
        where = f" on {self.process}" if self.process else ""
        return f"systematic {self.systematic!r}{where} is left out of the model: {self.reason}"


class UsableModel(NamedTuple):
    """The part of a statistical model that the templates support.

    Args:
        processes: names of the regions in which a process has events, by process: signal first, then from the top of
            the plots' stack to its bottom.
        systematics: systematics with the processes they act on.
        dropped: what is missing.
    """

    processes: Mapping[str, tuple[str, ...]]
    systematics: tuple[tuple[Systematic, tuple[str, ...]], ...]
    dropped: tuple[DroppedSystematic, ...]


def usable_model(model: StatisticalModel, templates: Templates) -> UsableModel:
    """Find what can be modelled, and refuse predictions with which no likelihood can be computed.

    A process without events in a region is left out there. A systematic is left out for a process if a template that it
    needs is missing in a region of the process, or if its yield interpolation would not be defined (HistFactory
    interpolates the logarithm of the yield ratio, which has to be positive on both sides).

    Args:
        model: the statistical model.
        templates: the templates, in the binnings of their variables.

    Returns:
        The part of the model that can be built.

    Raises:
        TemplateError: if a region has no template, or the signal has no events.
        TemplateYieldError: if a nominal yield is negative, the prediction of a bin is zero in total, or any number of a
            template is not finite.
    """
    regions = {region.name: region for region in model.regions}
    processes: dict[str, list[str]] = {}
    for region in model.regions:
        _check_total(region, templates)
        for name in templates.processes(region.variable):
            if _yields(region, templates, TemplateKey(region.variable, name)).sum() > 0:
                processes.setdefault(name, []).append(region.name)
    if model.signal not in processes:
        msg = (
            f"the signal {model.signal!r} has no events in the fit regions {', '.join(regions)}: "
            "fill its histograms, or correct the signal of the statistical model"
        )
        raise TemplateError(msg)
    ordered = {name: tuple(processes[name]) for name in sorted(processes, key=lambda name: _order(name, model.signal))}
    kept, dropped = [], []
    for systematic in model.systematics:
        wanted = [name for name in ordered if not systematic.processes or name in systematic.processes]
        reasons = {name: _unusable(systematic, name, [regions[r] for r in ordered[name]], templates) for name in wanted}
        if acts_on := tuple(name for name in wanted if not reasons[name]):
            kept.append((systematic, acts_on))
        if not wanted:
            reason = f"there is no process {' or '.join(systematic.processes)}"
            dropped.append(DroppedSystematic(systematic.name, "", reason))
        dropped += [DroppedSystematic(systematic.name, name, why) for name, why in reasons.items() if why]
    return UsableModel(ordered, tuple(kept), tuple(dropped))


def _order(name: str, signal: str) -> tuple[bool, int, str]:
    """Signal first, then as stacked, then by name: the order must not depend on the order of filling."""
    stack = list(PROCESSES)
    return name != signal, -stack.index(name) if name in stack else 1, name


def _unusable(systematic: Systematic, name: str, regions: list[FitRegion], templates: Templates) -> str:
    """Why a systematic cannot act on a process; empty if it can."""
    shifts = [shift for shift in (systematic.up, systematic.down) if shift]
    for region in regions:
        nominal = _yields(region, templates, TemplateKey(region.variable, name)).sum()
        for shift in shifts:
            key = TemplateKey(region.variable, name, shift)
            if key not in templates:
                return f"there is no template {key.name!r}"
            ratio = _yields(region, templates, key).sum() / nominal
            mirrored = not systematic.down
            if ratio <= 0 or (mirrored and ratio >= 2):
                mirror = ", and its mirror image by the opposite" if mirrored else ""
                return (
                    f"it scales the yield in {region.name} by {ratio:.3g}{mirror}, "
                    "which HistFactory cannot interpolate (use more simulated events)"
                )
    return ""


def _check_total(region: FitRegion, templates: Templates) -> None:
    """Refuse negative predictions, and bins in which nothing is predicted."""
    import numpy as np

    processes = templates.processes(region.variable)
    if not processes:
        msg = f"no nominal template for region {region.name} (variable {region.variable!r}): fill its histograms first"
        raise TemplateError(msg)
    predicted = {name: _yields(region, templates, TemplateKey(region.variable, name)) for name in processes}
    for name, yields in predicted.items():
        if (yields < 0).any():
            i = int(yields.argmin())
            msg = (
                f"the prediction of {name} in region {region.name}, {_bin(region, i)}, is negative ({yields[i]:g}): "
                "merge bins in the edges of the fit region or use more simulated events"
            )
            raise TemplateYieldError(msg)
    total = np.sum(list(predicted.values()), axis=0)
    if not total.all():
        i = int(total.argmin())
        msg = (
            f"no process predicts events in region {region.name}, {_bin(region, i)}, so that an observed event would "
            "have probability zero: merge bins in the edges of the fit region or use more simulated events"
        )
        raise TemplateYieldError(msg)


def _yields(region: FitRegion, templates: Templates, key: TemplateKey) -> NDArray[np.float64]:
    """Yields in the binning of the fit, with numbers and variances checked; shape ``(bins,)``."""
    import numpy as np

    histogram = rebin(templates[key], region.edges)
    values, variances = np.asarray(histogram.values()), np.asarray(histogram.variances())
    bad = ~np.isfinite(values) | ~np.isfinite(variances) | (variances < 0)
    if bad.any():
        i = int(bad.argmax())
        msg = (
            f"template {key.name!r} in region {region.name}, {_bin(region, i)}, has the yield {values[i]:g} with the "
            f"variance {variances[i]:g}: look for missing or infinite event weights in its data set and fill it again"
        )
        raise TemplateYieldError(msg)
    return values.astype(float)


def _bin(region: FitRegion, i: int) -> str:
    return f"bin {region.edges[i]:g} to {region.edges[i + 1]:g}"
