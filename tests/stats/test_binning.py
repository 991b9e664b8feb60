from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.stats.binning import BinningError, rebin
from analysis.templates import template_from_counts

if TYPE_CHECKING:
    from hist import Hist


def variances(histogram: Hist[Any]) -> list[float]:
    values: Any = histogram.variances(flow=True)
    return list(values.tolist())


def test_bins_are_merged_and_the_outside_is_dropped() -> None:
    histogram = template_from_counts("ht", np.arange(27.0), 2 * np.arange(27.0))
    merged = rebin(histogram, (110, 150, 190, 550))
    # bins of 20 GeV from 50: 110 is the lower edge of the fourth, whose content is 4
    assert merged.axes[0].edges.tolist() == [110, 150, 190, 550]
    assert merged.values(flow=True).tolist() == [0, 4 + 5, 6 + 7, sum(range(8, 26)), 0]
    assert variances(merged) == [0, 18, 26, 2 * sum(range(8, 26)), 0]


def test_own_edges_change_nothing_but_the_flow() -> None:
    histogram = template_from_counts("ht", np.arange(27.0), np.ones(27))
    merged = rebin(histogram, histogram.axes[0].edges.tolist())
    assert merged.values(flow=True).tolist() == [0, *range(1, 26), 0]
    assert histogram.values(flow=True).tolist() == list(range(27)), "the argument must stay as it is"


@given(st.sets(st.integers(0, 25), min_size=2))
def test_no_event_inside_the_edges_is_lost(chosen: set[int]) -> None:
    contents = np.random.default_rng(1).uniform(0, 10, 27)
    histogram = template_from_counts("ht", contents, contents)
    index = sorted(chosen)
    merged = rebin(histogram, [50 + 20 * i for i in index])
    expected = [contents[1 + low : 1 + high].sum() for low, high in pairwise(index)]
    assert merged.values().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("edges", "what"),
    [
        ((110, 155, 190), "155 is not an edge of its binning"),
        ((30, 110), "30 is not an edge of its binning"),
        ((190, 110), "they do not increase"),
        ((110, 110), "they do not increase"),
        ((110,), "they do not increase"),
    ],
)
def test_wrong_edges_are_named(edges: tuple[float, ...], what: str) -> None:
    with pytest.raises(BinningError, match=what):
        rebin(template_from_counts("ht", np.ones(27), np.ones(27)), edges)
