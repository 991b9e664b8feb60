"""Re-binning to the edges of the fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from hist import Hist


class BinningError(AnalysisError):
    """The bin edges of the fit are not bin edges of the histogram."""


def rebin(histogram: Hist[Any], edges: Sequence[float]) -> Hist[Any]:
    """Merge bins; what lies outside of the new edges is dropped, so that under- and overflow are empty.

    Args:
        histogram: one-dimensional histogram, with or without sums of squared weights.
        edges: increasing edges of the new bins, each an edge of the histogram.

    Returns:
        Histogram with ``len(edges) - 1`` bins and the same storage.

    Raises:
        BinningError: if an edge is not one of the histogram's, or the edges do not increase.
    """
    import hist
    import numpy as np

    old = np.asarray(histogram.axes[0].edges)
    index = [int(np.argmin(np.abs(old - edge))) for edge in edges]
    wrong = [edge for edge, i in zip(edges, index, strict=True) if not np.isclose(old[i], edge, rtol=1e-9, atol=1e-9)]
    groups = [stop - start for start, stop in pairwise(index)]
    if wrong or not groups or min(groups) < 1:
        what = f"{wrong[0]:g} is not an edge of its binning" if wrong else "they do not increase"
        name = histogram.axes[0].name or "the histogram"
        msg = (
            f"cannot re-bin {name} to the edges {_list(edges)}: {what}; "
            f"correct the edges of the fit region (the binning is {_list(old)})"
        )
        raise BinningError(msg)
    merged: Any = histogram[index[0] : index[-1] : hist.rebin(groups=groups)]
    view = merged.view(flow=True)
    view[0] = view[-1] = np.zeros((), dtype=view.dtype)
    return cast("Hist[Any]", merged)


def _list(edges: Iterable[float]) -> str:
    return ", ".join(f"{edge:g}" for edge in edges)
