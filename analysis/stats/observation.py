"""What the model is fitted to."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from analysis.templates import DATA, PSEUDODATA, TemplateError, TemplateKey, Templates

if TYPE_CHECKING:
    from hist import Hist

    from analysis.config.types import StatisticalModel

log = logging.getLogger(__name__)

ObservationKind = Literal["data", "pseudodata", "asimov"]
"""Collision data; the mean of varied signal samples plus backgrounds; or the nominal prediction itself."""


class Observation(NamedTuple):
    """Observed histograms and what they are.

    Args:
        kind: see :data:`ObservationKind`; every plot and table of it has to say so.
        histograms: by variable, in the variable's own binning.
    """

    kind: ObservationKind
    histograms: Mapping[str, Hist[Any]]


def observe(model: StatisticalModel, templates: Templates, variables: Sequence[str] = ()) -> Observation:
    """Choose or build the observation.

    In this order, each only if there is all it needs in all variables: collision data; templates of pseudo-data;
    pseudo-data built as the mean of ``model.pseudodata`` plus the sum of ``model.pseudodata_backgrounds``; the sum of
    all nominal predictions (Asimov data, which the model describes perfectly).

    Args:
        model: the statistical model.
        templates: the templates.
        variables: names of the variables; by default those of the model's regions.

    Returns:
        The observation.

    Raises:
        TemplateError: if there is no nominal template at all for a variable.

    Source:
        AGC ttbar specification v2: ``pseudodata = (ME_var + PS_var) / 2 + wjets``.
    """
    names = list(dict.fromkeys(variables or (region.variable for region in model.regions)))
    kinds: tuple[tuple[str, ObservationKind], ...] = ((DATA, "data"), (PSEUDODATA, "pseudodata"))
    for process, kind in kinds:
        present = [name for name in names if TemplateKey(name, process) in templates]
        if present == names:
            return Observation(kind, {name: templates[TemplateKey(name, process)] for name in names})
        if present:
            log.warning(
                "%s is not used: there is a template for %s, but none for %s",
                kind,
                ", ".join(present),
                ", ".join(name for name in names if name not in present),
            )
    built = {name: histogram for name in names if (histogram := _pseudodata(model, templates, name)) is not None}
    if list(built) == names:
        return Observation("pseudodata", built)
    return Observation("asimov", {name: _prediction(templates, name) for name in names})


def _pseudodata(model: StatisticalModel, templates: Templates, variable: str) -> Hist[Any] | None:
    """Pseudo-data from their parts; ``None`` if a part is missing."""
    parts = [(dataset, 1 / len(model.pseudodata)) for dataset in model.pseudodata]
    parts += [(process, 1.0) for process in model.pseudodata_backgrounds]
    keys = {
        key.process if key.shift == "nominal" else f"{key.process}_{key.shift}": key
        for key in templates
        if key.variable == variable
    }
    if not model.pseudodata or any(name not in keys for name, _ in parts):
        return None
    return _sum([templates[keys[name]] * scale for name, scale in parts])


def _prediction(templates: Templates, variable: str) -> Hist[Any]:
    processes = templates.processes(variable)
    if not processes:
        msg = f"no nominal template for variable {variable!r}: fill its histograms before building a model from it"
        raise TemplateError(msg)
    return _sum([templates[TemplateKey(variable, process)] for process in processes])


def _sum(histograms: Sequence[Hist[Any]]) -> Hist[Any]:
    total = histograms[0].copy()
    for histogram in histograms[1:]:
        total += histogram
    return total
