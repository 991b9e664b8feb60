from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.config.types import Campaign
from analysis.plotting.style import (
    bin_width,
    cms_style,
    label_corner,
    label_events,
    place_legend,
    ratio_panels,
    save_figure,
    set_ratio_limits,
    single_panel,
)


@cms_style()
def simple_figure() -> Figure:
    figure, axes = single_panel()
    axes.plot([0, 1], [0, 1], label=r"$t\bar{t}$ $\geq 4$")
    axes.set_xlabel("$p_T$ [GeV]")
    place_legend(axes, 1.0)
    return figure


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for axes in figure.axes for t in axes.findobj(mpl.text.Text)]


def test_style_leaves_nothing_behind() -> None:
    before = dict(mpl.rcParams)
    with cms_style():
        assert mpl.rcParams["font.sans-serif"][0] == "TeX Gyre Heros"
        single_panel()
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_style_ignores_settings_of_the_user() -> None:
    with mpl.rc_context({"lines.linewidth": 77.0}), cms_style():
        assert mpl.rcParams["lines.linewidth"] == mpl.rcParamsDefault["lines.linewidth"]


def test_saved_files_are_reproducible(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_figure(simple_figure(), tmp_path / f"{name}.pdf", tmp_path / f"{name}.png")
    for suffix, start in ((".pdf", b"%PDF"), (".png", b"\x89PNG")):
        content = (tmp_path / f"a{suffix}").read_bytes()
        assert content.startswith(start)
        assert content == (tmp_path / f"b{suffix}").read_bytes()
        for word in (b"CreationDate", b"Matplotlib", b"Software"):
            assert word not in content


def test_saving_empties_the_figure(tmp_path: Path) -> None:
    figure = simple_figure()
    save_figure(figure, tmp_path / "a.pdf", tmp_path / "a.png")
    assert figure.axes == []


def test_fonts_are_embedded_as_truetype(tmp_path: Path) -> None:
    save_figure(simple_figure(), tmp_path / "a.pdf", tmp_path / "a.png")
    content = (tmp_path / "a.pdf").read_bytes()
    assert b"/Type3" not in content
    assert b"TeXGyreHeros" in content


@pytest.mark.parametrize(
    ("generated", "label", "simulation", "expected"),
    [
        (False, "", True, ("CMS", "Simulation Open Data")),
        (False, "", False, ("CMS", "Open Data")),
        (False, "Private work", True, ("CMS", "Simulation Private work")),
        (True, "toy events", True, ("", "toy events")),
    ],
)
def test_corner(generated: bool, label: str, simulation: bool, expected: tuple[str, str]) -> None:
    campaign = Campaign("x", 3378.0, 13.0, generated=generated, label=label)
    with cms_style():
        figure, axes = single_panel()
        label_corner(axes, campaign, simulation=simulation)
    found = texts(figure)
    assert all(text in found for text in expected)
    assert ("CMS" in found) is not generated
    assert r"3.38 $\mathrm{fb^{-1}}$ (13 TeV)" in found


@pytest.mark.parametrize("label", ["Open Data", "2015 Open Data", "a very long name of something preliminary"])
def test_corner_does_not_overlap(label: str) -> None:
    with cms_style():
        figure, axes = single_panel()
        label_corner(axes, Campaign("x", 3378.0, 13.0, label=label))
        figure.draw_without_rendering()
        boxes = [t.get_window_extent() for t in axes.texts]
    experiment, status, luminosity = sorted(boxes, key=lambda box: box.x0)
    assert experiment.x1 < status.x0
    assert status.x1 < luminosity.x0
    assert luminosity.x1 <= figure.bbox.x1


def test_legend_covers_no_data() -> None:
    with cms_style():
        for scale in ("linear", "log"):
            figure, axes = single_panel()
            for i in range(6):
                axes.plot([0, 1], [1 + i, 500], label=f"line {i}")
            axes.set_yscale(scale)
            axes.set_ylim(bottom=0.5)
            place_legend(axes, 500.0)
            figure.draw_without_rendering()
            legend = axes.get_legend()
            assert legend is not None
            assert axes.transData.transform((0, 500))[1] < legend.get_window_extent().y0
            assert axes.get_ylim()[0] == 0.5


def test_legend_without_data_has_finite_limits() -> None:
    with cms_style():
        _, axes = single_panel()
        axes.plot([0, 1], [0, 0], label="nothing")
        axes.set_ylim(bottom=0)
        place_legend(axes, 0.0)
    assert axes.get_ylim()[1] > axes.get_ylim()[0]


@pytest.mark.parametrize(
    ("top", "width", "unit", "expected"),
    [
        (900, 20.0, "GeV", "Events / 20 GeV"),
        (900, 0.24, "", "Events / 0.24"),
        (900, None, "GeV", "Events"),
        (900, 1.0, "", "Events"),
        (900, 1.0, "GeV", "Events / 1 GeV"),
        (250_000, 20.0, "GeV", "Thousand events / 20 GeV"),
    ],
)
def test_events_label(top: float, width: float | None, unit: str, expected: str) -> None:
    with cms_style():
        figure, axes = single_panel()
        axes.set_ylim(0, top)
        label_events(axes, width, unit)
        figure.draw_without_rendering()
    assert axes.get_ylabel() == expected
    assert max(len(label.get_text()) for label in axes.get_yticklabels()) <= 4


def test_bin_width() -> None:
    assert bin_width([0, 2, 4, 6]) == 2
    assert bin_width([0, 2, 5]) is None


@pytest.mark.parametrize(
    ("deviations", "reach"),
    [
        ([0.01, 0.0, 0.0], 0.02),
        ([0.04, 0.01, 0.0], 0.05),
        ([0.04, 0.01, 5.0], 0.05),  # the last bin is nearly empty
        ([3.0, 0.0, 0.0], 0.85),
    ],
)
def test_ratio_limits(deviations: list[float], reach: float) -> None:
    with cms_style():
        panels = ratio_panels()
        set_ratio_limits(panels.ratio, np.array([100.0, 50.0, 0.5]), [deviations])
    assert panels.ratio.get_ylim() == pytest.approx((1 - 1.15 * reach, 1 + 1.15 * reach))
