"""Re-binning to the edges of the fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hist import Hist


class BinningError(Exception):
    """The bin edges of the fit are not bin edges of the histogram."""


def rebin(histogram: Hist, edges: Sequence[float]) -> Hist:
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
    groups = [stop - start for start, stop in zip(index, index[1:], strict=False)]
    if wrong or not groups or min(groups) < 1:
        what = f"{wrong[0]:g} is not an edge of its binning" if wrong else "they do not increase"
        msg = (
            f"cannot re-bin {histogram.axes[0].name or 'the histogram'} to the edges {', '.join(f'{e:g}' for e in edges)}: "
            f"{what}; correct the edges of the fit region (the binning is {', '.join(f'{e:g}' for e in old)})"
        )
        raise BinningError(msg)
    merged = histogram[index[0] : index[-1] : hist.rebin(groups=groups)]
    view: Any = merged.view(flow=True)
    view[0] = view[-1] = np.zeros((), dtype=view.dtype)
    return merged
