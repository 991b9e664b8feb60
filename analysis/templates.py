"""Histograms on their way between stages: filled per data set, then looked up by variable, process and shift.

A *filled* histogram belongs to one data set and one variable and has two axes, the categorical ``shift`` and the
variable, with sums of squared weights. A *template* is one slice of it. Files are JSON in the Unified Histogram
Interface's schema (https://uhi.readthedocs.io), so that anybody can read them without this project.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.config.variables import OBSERVABLES, VARIABLES
from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from hist import Hist

    from analysis.config.types import Campaign

SHIFT_AXIS = "shift"
PSEUDODATA = "pseudodata"
DATA = "data"


class TemplateError(AnalysisError):
    """A histogram is missing or a histogram file cannot be read."""


class TemplateKey(NamedTuple):
    """What a template shows: a variable, a process (or ``"data"``, ``"pseudodata"``) and a shift."""

    variable: str
    process: str
    shift: str = "nominal"

    @property
    def name(self) -> str:
        """Name in the AGC's convention, ``{region}_{process}[_{shift}]``; other variables under their own name."""
        observable = {v.name: v.region for v in OBSERVABLES}
        stem = f"{observable.get(self.variable, self.variable)}_{self.process}"
        return stem if self.shift == "nominal" else f"{stem}_{self.shift}"


class Templates(Mapping[TemplateKey, "Hist[Any]"]):
    """One-dimensional histograms by :class:`TemplateKey`.

    Raises:
        TemplateError: on looking up a template that does not exist; the message lists what there is.
    """

    def __init__(self, histograms: Mapping[TemplateKey, Hist[Any]]) -> None:
        self._histograms = dict(histograms)

    def __getitem__(self, key: TemplateKey) -> Hist[Any]:
        try:
            return self._histograms[key]
        except KeyError:
            msg = (
                f"no template for variable {key.variable!r}, process {key.process!r} and shift {key.shift!r}: "
                f"there are the processes {', '.join(self.processes(key.variable)) or '(none)'} "
                f"with the shifts {', '.join(self.shifts(key.variable, key.process)) or '(none)'}"
            )
            raise TemplateError(msg) from None

    def __contains__(self, key: object) -> bool:
        return key in self._histograms

    def __iter__(self) -> Iterator[TemplateKey]:
        return iter(self._histograms)

    def __len__(self) -> int:
        return len(self._histograms)

    def processes(self, variable: str) -> list[str]:
        """Simulated processes with a nominal template, in the order they were added."""
        return [
            k.process
            for k in self._histograms
            if k.variable == variable and k.shift == "nominal" and k.process not in {DATA, PSEUDODATA}
        ]

    def shifts(self, variable: str, process: str) -> list[str]:
        """Shifts of one process, without the nominal."""
        return [
            k.shift
            for k in self._histograms
            if k.variable == variable and k.process == process and k.shift != "nominal"
        ]

    def variables(self) -> list[str]:
        """Names of the variables."""
        return list(dict.fromkeys(k.variable for k in self._histograms))


def templates_from_datasets(campaign: Campaign, filled: Iterable[tuple[str, str, Hist[Any]]]) -> Templates:
    """Sort filled histograms by process and shift.

    Data sets of collision data are added up as process ``"data"``; several nominal data sets of one process are added.

    Args:
        campaign: the campaign the data sets belong to.
        filled: data set name, variable name and filled histogram.

    Returns:
        The templates.
    """
    histograms: dict[TemplateKey, Hist[Any]] = {}
    template: Hist[Any]
    for dataset_name, variable, filled_histogram in filled:
        dataset = campaign.datasets[dataset_name]
        for shift in filled_histogram.axes[SHIFT_AXIS]:
            process = DATA if dataset.is_data else dataset.process
            key = TemplateKey(variable, process, dataset.shift if shift == "nominal" else shift)
            template = filled_histogram[{SHIFT_AXIS: shift}]  # type: ignore[assignment]
            histograms[key] = histograms[key] + template if key in histograms else template
    return Templates(histograms)


def template_from_counts(variable: str, values: Any, variances: Any) -> Hist[Any]:
    """Template with the variable's own binning from numbers, shape ``(bins + 2,)`` with under- and overflow."""
    import numpy as np
    from hist import Hist, axis, storage

    v = VARIABLES[variable]
    histogram = Hist(axis.Regular(v.bins, v.start, v.stop, name=v.name), storage=storage.Weight())
    histogram[...] = np.stack([np.asarray(values), np.asarray(variances)], axis=-1)
    return histogram


def dump_histogram(histogram: Hist[Any], path: Path) -> None:
    """Write one histogram as UHI JSON."""
    import uhi.io.json

    path.write_text(json.dumps(histogram, default=uhi.io.json.default))


def load_histogram(path: Path) -> Hist[Any]:
    """Read one histogram from UHI JSON.

    Raises:
        TemplateError: if the file is not such a histogram.
    """
    import uhi.io.json
    from hist import Hist

    try:
        return Hist(json.loads(path.read_text(), object_hook=uhi.io.json.object_hook))
    except (ValueError, TypeError, KeyError) as error:
        msg = f"{path} is not a histogram in UHI JSON ({error}): remove it and run the task that writes it again"
        raise TemplateError(msg) from error
