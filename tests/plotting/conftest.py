"""Small inputs for figures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hist import Hist, axis, storage

from analysis.config.types import Campaign, Dataset, Variable
from analysis.templates import PSEUDODATA, TemplateKey, Templates


def histogram(values: Sequence[float], variances: Sequence[float]) -> Hist[Any]:
    """Two bins from 0 to 20, flow bins empty."""
    result = Hist(axis.Regular(len(values), 0, 10 * len(values), name="ht"), storage=storage.Weight())
    result.values()[:] = values
    result.variances()[:] = variances
    return result


@pytest.fixture
def variable() -> Variable:
    return Variable("ht", "ht", "4j1b", 2, 0, 20, "$H_T$", "GeV")


@pytest.fixture
def templates() -> Templates:
    """Numbers that are easy to check by hand."""
    zero = [0.0, 0.0]
    return Templates(
        {
            TemplateKey("ht", "ttbar"): histogram([100, 200], [4, 9]),
            TemplateKey("ht", "wjets"): histogram([10, 20], [1, 1]),
            TemplateKey("ht", "ttbar", "pt_scale_up"): histogram([110, 190], zero),
            TemplateKey("ht", "wjets", "pt_scale_up"): histogram([11, 20], zero),
            TemplateKey("ht", "ttbar", "btag_var_0_up"): histogram([103, 204], zero),
            TemplateKey("ht", "ttbar", "btag_var_0_down"): histogram([98, 202], zero),
            TemplateKey("ht", PSEUDODATA): histogram([121, 198], [1, 1]),
        }
    )


@pytest.fixture
def campaign() -> Campaign:
    datasets = [
        Dataset("ttbar", "ttbar", "nominal", ()),
        Dataset("ttbar_scaleup", "ttbar", "scaleup", ()),
        Dataset("wjets", "wjets", "nominal", ()),
        Dataset("electrons", "data", "nominal", (), is_data=True),
    ]
    return Campaign("agc_2015", 3378.0, 13.0, {d.name: d for d in datasets})
