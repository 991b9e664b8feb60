"""Small templates and a small model with numbers that can be followed by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from analysis.config.types import FitRegion, StatisticalModel, Systematic
from analysis.templates import TemplateKey, Templates, template_from_counts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakeTemplates = Callable[[dict[tuple[str, str], list[float]]], Templates]

EDGES = (50.0, 250.0, 550.0)
"""Ten bins of 20 GeV in the first, fifteen in the second."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let pyhf use what jsonschema deprecates."""
    for item in items:
        if "tests/stats/" in item.nodeid:
            item.add_marker(pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning"))


@pytest.fixture
def make_templates() -> MakeTemplates:
    """Make templates of ``ht`` with the given yields in the two bins of ``EDGES`` and Poisson variances."""

    def make(yields: dict[tuple[str, str], list[float]]) -> Templates:
        return Templates(
            {
                TemplateKey("ht", process, shift): template_from_counts("ht", _spread(low, high), _spread(low, high))
                for (process, shift), (low, high) in yields.items()
            }
        )

    return make


def _spread(low: float, high: float) -> list[float]:
    # 1000 below and above the range must never show up in a fit
    return [1000.0, *[low / 10] * 10, *[high / 15] * 15, 1000.0]


@pytest.fixture
def model() -> StatisticalModel:
    """A signal, a background, two systematics with templates and one without."""
    return StatisticalModel(
        measurement="test",
        parameter_of_interest="mu",
        signal="ttbar",
        regions=(FitRegion("one", "ht", EDGES),),
        systematics=(
            Systematic("mirrored", "ME_var", processes=("ttbar",)),
            Systematic("two-sided", "scale_var_up", "scale_var_down", ("wjets",)),
            Systematic("lumi", normalization=0.03),
        ),
        bounds=(0.0, 5.0),
        pseudodata=("ttbar_ME_var", "ttbar_PS_var"),
        pseudodata_backgrounds=("wjets",),
    )


@pytest.fixture
def templates(make_templates: MakeTemplates) -> Templates:
    return make_templates(
        {
            ("ttbar", "nominal"): [100, 300],
            ("ttbar", "ME_var"): [120, 320],
            ("ttbar", "PS_var"): [90, 300],
            ("wjets", "nominal"): [50, 40],
            ("wjets", "scale_var_up"): [60, 40],
            ("wjets", "scale_var_down"): [45, 30],
        }
    )


@pytest.fixture
def reference(test_data: Path) -> Path:
    """Directory of the histograms that the AGC published."""
    return test_data / "agc" / "reference"


@pytest.fixture
def counting() -> dict[str, Any]:
    """One bin: 100 signal events times ``mu``, 20 background events, 130 observed."""
    return {
        "channels": [
            {
                "name": "one",
                "samples": [
                    {
                        "name": "signal",
                        "data": [100.0],
                        "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
                    },
                    {"name": "background", "data": [20.0], "modifiers": []},
                ],
            }
        ],
        "observations": [{"name": "one", "data": [130.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [{"name": "mu", "bounds": [[-5, 10]]}]}}],
        "version": "1.0.0",
    }
