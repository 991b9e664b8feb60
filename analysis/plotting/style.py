"""What all figures share: the CMS style, the label in the corner, panels, and how they are saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from analysis.config.types import Campaign

BAND = {"facecolor": "none", "edgecolor": "#555555", "hatch": "//////", "linewidth": 0.0, "alpha": 1.0, "zorder": 3}
"""Look of uncertainty bands: hatched, so that what is below stays visible."""

_DPI = 100
_LARGE = 99_999
_NEARLY_EMPTY = 0.01
_FILLED = 0.97
_RATIO_RANGES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.85)


class PlotError(AnalysisError):
    """There is nothing to draw."""


class Panels(NamedTuple):
    """A figure and its two panels, which share the horizontal axis."""

    figure: Figure
    main: Axes
    ratio: Axes


@contextmanager
def cms_style() -> Iterator[None]:
    """Context, or decorator, in which matplotlib draws in the CMS style, whatever the user's own settings are.

    Figures live outside ``pyplot``, and nothing of the style stays behind.
    """
    import matplotlib.style
    import mplhep

    ours = {"pdf.fonttype": 42, "savefig.dpi": _DPI, "hatch.linewidth": 0.7, "axes.axisbelow": False}
    with matplotlib.style.context([mplhep.style.CMS, ours], after_reset=True):
        yield


def single_panel(
    width: float = 10.0, height: float = 10.0, left: float = 0.17, bottom: float = 0.12
) -> tuple[Figure, Axes]:
    """Figure with one pair of axes; sizes in inches, margins as fractions of the figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    figure.subplots_adjust(left=left, right=0.965, bottom=bottom, top=0.93)
    return figure, axes


def ratio_panels() -> Panels:
    """Figure with a main panel and a ratio panel below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 10.0))
    main, ratio = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1), "hspace": 0.06})
    figure.subplots_adjust(left=0.16, right=0.965, bottom=0.11, top=0.93)
    return Panels(figure, main, ratio)


def label_corner(axes: Axes, campaign: Campaign, *, simulation: bool = True) -> None:
    """Write experiment, status, luminosity and energy above the axes.

    Events that were generated here are no product of the experiment and do not carry its name.

    Args:
        axes: the topmost axes of the figure.
        campaign: whose luminosity [1/pb], energy [TeV] and label are written.
        simulation: whether nothing in the figure is collision data.
    """
    words = campaign.label or "Open Data"
    status = f"Simulation {words}" if simulation and not campaign.generated else words
    texts = _write_corner(axes, campaign, status)
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts]
    needed = max(box.x1 for box in boxes[:-1]) - axes.bbox.x0 + boxes[-1].width
    room = _FILLED * axes.bbox.width
    if needed > room:
        for text in texts:
            text.remove()
        _write_corner(axes, campaign, status, room / needed)


def _write_corner(axes: Axes, campaign: Campaign, status: str, scale: float = 1.0) -> list[Text]:
    """Texts above the axes, the one on the right last."""
    import matplotlib as mpl
    import mplhep

    size = scale * mpl.rcParams["font.size"]
    texts = mplhep.cms.label(
        llabel=status,
        exp="" if campaign.generated else "CMS",
        lumi=campaign.luminosity / 1000,
        lumi_format="{0:.3g}",
        com=f"{campaign.energy:g}",
        fontsize=(1.3 * size, size, size / 1.1, size / 1.3),
        scilocator_adjust=False,  # would look at pyplot's current figure
        ax=axes,
    )
    return [text for text in texts if text is not None]


def label_events(axes: Axes, width: float | None = None, unit: str = "") -> None:
    """Label the vertical axis with ``Events`` per bin; large numbers are written in thousands to fit the margin.

    Args:
        axes: axes whose upper limit is already set.
        width: width of the bins; ``None`` if they differ. It is not written if bins are whole numbers.
        unit: unit of the width.
    """
    plain = width is None or (width == 1 and not unit)
    per = "" if plain else f" / {width:g} {unit}".rstrip()
    if axes.get_ylim()[1] > _LARGE:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}")
        axes.set_ylabel(f"Thousand events{per}")
    else:
        axes.set_ylabel(f"Events{per}")


def place_legend(axes: Axes, peak: float, **options: Any) -> None:
    """Draw the legend at the top and set the upper limit of the vertical axis so that it covers nothing.

    Args:
        axes: axes whose scale and lower limit are already set.
        peak: largest value that is drawn, with its uncertainty.
        options: for :meth:`matplotlib.axes.Axes.legend`.
    """
    compact = {"borderaxespad": 0.4, "labelspacing": 0.25, "columnspacing": 1.2}
    legend = axes.legend(**{"loc": "upper right", "title_fontsize": "small", **compact, **options})
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    room = axes.transAxes.inverted().transform(legend.get_window_extent())[0, 1] - 0.02
    low = axes.get_ylim()[0]
    if axes.get_yscale() == "log":
        axes.set_ylim(low, low * (peak / low) ** (1 / room) if peak > low else 10 * low)
    else:
        axes.set_ylim(low, low + (peak - low) / room if peak > low else low + 1)


def bin_width(edges: Any) -> float | None:
    """Common width of all bins, or ``None`` if they differ."""
    import numpy as np

    widths = np.diff(edges)
    return float(widths[0]) if np.allclose(widths, widths[0]) else None


def set_ratio_limits(axes: Axes, values: Any, deviations: Any) -> None:
    """Limits of a ratio panel around 1 that show the deviations in all bins that are not nearly empty.

    Args:
        axes: the ratio panel.
        values: reference of the ratio, shape ``(bins,)``.
        deviations: sizes of the deviations from 1, shape ``(..., bins)``.
    """
    import numpy as np

    filled = values > _NEARLY_EMPTY * np.max(values)
    largest = np.max(np.asarray(deviations)[..., filled], initial=0.0)
    reach = next((r for r in _RATIO_RANGES if largest < r), _RATIO_RANGES[-1])
    axes.set_ylim(1 - 1.15 * reach, 1 + 1.15 * reach)


def save_figure(figure: Figure, pdf_path: Path, png_path: Path) -> None:
    """Write a figure as PDF and PNG, and free its memory.

    Equal figures make equal bytes: the files carry neither dates nor program versions.

    Args:
        figure: the figure; it is empty afterwards.
        pdf_path: path of the PDF file.
        png_path: path of the PNG file.
    """
    with cms_style():
        figure.savefig(pdf_path, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
        figure.savefig(png_path, format="png", metadata={"Software": None})
    figure.clear()
