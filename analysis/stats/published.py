"""Histograms published by the Analysis Grand Challenge, as templates.

Source: https://github.com/iris-hep/analysis-grand-challenge, ``analyses/cms-open-data-ttbar/reference``, version 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.config.processes import PROCESSES
from analysis.config.shifts import SHIFTS
from analysis.config.variables import OBSERVABLES, VARIABLES
from analysis.errors import AnalysisError
from analysis.templates import DATA, PSEUDODATA, TemplateKey, Templates, template_from_counts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_ENTRIES = 10_000
"""Largest number of simulated events that is tried for the smallest bin of a process."""

_TOLERANCE = 1e-11
"""Relative rounding error of a sum of equal floats; the published ones, of up to 1e6 terms, are exact to 1e-14."""


class PublishedHistogramError(AnalysisError):
    """A file of published histograms does not have the expected form."""


def load_published_histograms(path: Path) -> Templates:
    """Read histograms in the AGC's reference format.

    The format is ``{name: {"contents": [...], "edges": [...]}}`` with names ``{region}_{process}[_{shift}]``; contents
    include under- and overflow. It knows no sums of squared weights. As all events of a simulated process have the same
    weight, they follow from the contents: ``variance = content * weight``. This is exact for nominal histograms and an
    approximation for shifted ones, whose variances do not enter the fit. An optional key ``"variances"`` is preferred.
    Data and pseudo-data get the variance of counted events, ``variance = content``.

    Args:
        path: the JSON file.

    Returns:
        Templates in the binning of their variables.

    Raises:
        PublishedHistogramError: if the file is not JSON, a name is unknown, a key is missing, the number of bins is
            wrong, or nominal contents are not integer multiples of one weight.
    """
    import numpy as np

    published = _read(path)
    contents: dict[TemplateKey, NDArray[np.float64]] = {}
    variances: dict[TemplateKey, NDArray[np.float64]] = {}
    for name, entry in published.items():
        key = _key(name, path)
        contents[key] = _numbers(entry, "contents", key, path)
        if "variances" in entry:
            variances[key] = _numbers(entry, "variances", key, path)
    weights = {DATA: 1.0, PSEUDODATA: 1.0}
    for process in {key.process for key in contents if key not in variances} - set(weights):
        nominal = [values for key, values in contents.items() if key.process == process and key.shift == "nominal"]
        weights[process] = event_weight(np.concatenate(nominal) if nominal else np.zeros(1), f"{process} in {path}")
    return Templates(
        {
            key: template_from_counts(key.variable, values, variances.get(key, values * weights.get(key.process, 1.0)))
            for key, values in contents.items()
        }
    )


def event_weight(contents: NDArray[np.float64], what: str = "the histogram") -> float:
    """Weight per event of a histogram whose events all have the same weight: the contents' greatest common divisor.

    Args:
        contents: bin contents, of all regions together, shape ``(bins,)``; empty bins do not matter.
        what: named in the error.

    Returns:
        The largest weight of which all contents are integer multiples; 0 if all contents are 0.

    Raises:
        PublishedHistogramError: if there is none.
    """
    import numpy as np

    filled = np.asarray(contents)[np.asarray(contents) != 0]
    if not filled.size:
        return 0.0
    smallest = float(np.min(filled))
    # the divisor is the smallest content over its number of events; dividing avoids the error growth of Euclid's steps
    for entries in range(1, _MAX_ENTRIES + 1) if smallest > 0 else ():
        weight = smallest / entries
        multiples = filled / weight
        if np.all(np.abs(multiples - np.rint(multiples)) < _TOLERANCE * multiples):
            # the largest content carries the least relative error of its own rounding to an integer
            return float(np.sum(filled) / np.sum(np.rint(multiples)))
    msg = (
        f"the nominal contents of {what} are not integer multiples of one event weight, so that their statistical "
        f'uncertainties cannot be derived: add the sums of squared weights to the file, under the key "variances"'
    )
    raise PublishedHistogramError(msg)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        published = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as JSON ({error}): give a file of published histograms"
        raise PublishedHistogramError(msg) from error
    if not isinstance(published, dict) or not all(isinstance(entry, dict) for entry in published.values()):
        msg = f'{path} is JSON, but not a mapping of histogram names to {{"contents": [...], "edges": [...]}}'
        raise PublishedHistogramError(msg)
    return published


def _key(name: str, path: Path) -> TemplateKey:
    for variable in OBSERVABLES:
        for process in (*PROCESSES, DATA, PSEUDODATA):
            stem = TemplateKey(variable.name, process).name
            if name == stem:
                return TemplateKey(variable.name, process)
            shift = name.removeprefix(f"{stem}_")
            if shift != name and shift in SHIFTS:
                return TemplateKey(variable.name, process, shift)
    msg = (
        f"unknown histogram {name!r} in {path}: names are {{region}}_{{process}}[_{{shift}}] with the regions "
        f"{', '.join(v.region for v in OBSERVABLES)}, the processes {', '.join(PROCESSES)} and the shifts of "
        "analysis/config/shifts.py; add what is missing there or remove the histogram from the file"
    )
    raise PublishedHistogramError(msg)


def _numbers(entry: Mapping[str, Any], what: str, key: TemplateKey, path: Path) -> NDArray[np.float64]:
    """Contents or variances of a histogram, with its binning checked; shape ``(bins + 2,)``."""
    import numpy as np

    v = VARIABLES[key.variable]
    expected = np.linspace(v.start, v.stop, v.bins + 1)
    try:
        edges, values = np.asarray(entry["edges"], dtype=float), np.asarray(entry[what], dtype=float)
    except KeyError as error:
        msg = f"histogram {key.name!r} in {path} has no key {error}: it needs contents and edges"
        raise PublishedHistogramError(msg) from None
    except (TypeError, ValueError) as error:
        msg = f"histogram {key.name!r} in {path} has {what} or edges that are not lists of numbers ({error})"
        raise PublishedHistogramError(msg) from error
    if edges.shape != expected.shape or not np.allclose(edges, expected) or values.shape != (v.bins + 2,):
        msg = (
            f"histogram {key.name!r} in {path} has {values.size} {what} and {edges.size} edges, expected are "
            f"{v.bins + 2} (with under- and overflow) and {v.bins + 1} from {v.start:g} to {v.stop:g}: "
            "use a file with the binning of analysis/config/variables.py"
        )
        raise PublishedHistogramError(msg)
    return values
