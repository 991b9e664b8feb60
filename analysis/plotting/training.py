"""Training of the classifier that assigns jets, and how well it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.plotting.style import PlotError, cms_style, label_corner, place_legend, single_panel

if TYPE_CHECKING:
    from hist import Hist
    from matplotlib.figure import Figure

    from analysis.config.types import Campaign
    from analysis.ml.training import TrainingCurve

_COLORS = ("#5790fc", "#f89c20", "#e42536", "#964a8b", "#9c9ca1", "#7a21dd")
_RIGHT, _WRONG = "#bd1f01", "#3f90da"

PUBLISHED_EFFICIENCY = {"BDT": 0.6010, "trijet": 0.2831}
"""Fraction of events with six jets whose top triplet is right. Source: AGC documentation, task "Machine learning"."""

PUBLISHED_JETS = 6

_OFFSET = 0.2


class ScoreHistograms(NamedTuple):
    """Classifier score of the events trained on and of others, with equal binning and sums of squared weights."""

    train: Hist[Any]
    test: Hist[Any]


@dataclass(frozen=True)
class PermutationEfficiency:
    """How often the right top triplet is found.

    Args:
        jets: number of jets of the events.
        events: number of labelled events.
        bdt: events in which the classifier finds it.
        trijet: events in which the trijet with the largest transverse momentum is it.
    """

    jets: int
    events: int
    bdt: int
    trijet: int


@cms_style()
def plot_training(curves: Sequence[TrainingCurve], campaign: Campaign) -> Figure:
    """Loss against boosting rounds, for the events trained on and those left out, per fold.

    Args:
        curves: one per fold.
        campaign: for the label in the corner.

    Returns:
        The figure.

    Raises:
        PlotError: if there is no curve.
    """
    import numpy as np
    from matplotlib.lines import Line2D

    if not any(c.train and c.validation for c in curves):
        msg = "there is no training curve to draw: run TrainModel for at least one fold"
        raise PlotError(msg)
    figure, axes = single_panel()
    for curve, color in zip(curves, _cycle(len(curves)), strict=True):
        for losses, style in ((curve.train, "--"), (curve.validation, "-")):
            axes.plot(np.arange(1, len(losses) + 1), losses, color=color, linestyle=style, linewidth=2.5)
    folds = [Line2D([], [], color=c, linewidth=4) for c in _cycle(len(curves))]
    kinds = [Line2D([], [], color="black", linestyle=s, linewidth=2.5) for s in ("-", "--")]
    drawn = [np.asarray(losses) for c in curves for losses in (c.train, c.validation)]
    low, high = min(d.min() for d in drawn), max(d.max() for d in drawn)
    axes.set_ylim(bottom=low - 0.05 * (high - low))
    axes.set_xlim(1, max(2, *(len(d) for d in drawn)))
    axes.set_xlabel("Boosting rounds")
    axes.set_ylabel("Logarithmic loss")
    labels = ["validation", "training", *(f"fold {c.fold}" for c in curves)]
    place_legend(axes, high, handles=[*kinds, *folds], labels=labels, ncols=2)
    label_corner(axes, campaign)
    return figure


@cms_style()
def plot_score(correct: ScoreHistograms, wrong: ScoreHistograms, campaign: Campaign) -> Figure:
    """Score of right and wrong jet assignments, normalised to unit area, on training and on other events.

    Args:
        correct: scores of the right assignments.
        wrong: scores of all others.
        campaign: for the label in the corner.

    Returns:
        The figure.

    Raises:
        PlotError: if one of the four histograms is empty.
    """
    import mplhep
    import numpy as np

    if any(h.values().sum() <= 0 for h in (*correct, *wrong)):
        msg = "a histogram of the score is empty: train with more events, so that each fold has right assignments"
        raise PlotError(msg)
    figure, axes = single_panel()
    peak = 0.0
    floor = np.inf
    for (train, test), name, color in ((correct, "right", _RIGHT), (wrong, "wrong", _WRONG)):
        options = {"density": True, "color": color, "flow": "none", "ax": axes}
        mplhep.histplot(train, histtype="fill", alpha=0.35, label=f"{name}, training", **options)
        mplhep.histplot(train, yerr=False, linewidth=2.0, **options)
        empty = [int(i) for i in np.flatnonzero(test.values() == 0)] or None
        points = {"histtype": "errorbar", "markersize": 12, "elinewidth": 2.0, "blind": empty}
        mplhep.histplot(test, label=f"{name}, test", **points, **options)
        for h in (train, test):
            density = np.asarray(h.density())
            peak = max(peak, float(density.max()))
            floor = min(floor, float(density[density > 0].min()))
    edges = correct.train.axes[0].edges
    axes.set_yscale("log")
    axes.set_ylim(bottom=floor / 2)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("BDT score")
    axes.set_ylabel("Probability density")
    place_legend(axes, peak, ncols=2, title="Jet assignments", alignment="left")
    label_corner(axes, campaign)
    return figure


@cms_style()
def plot_permutation_efficiency(efficiencies: Sequence[PermutationEfficiency], campaign: Campaign) -> Figure:
    """Fraction of labelled events whose top triplet is found, against the number of jets.

    Intervals are Clopper-Pearson at 68.3 %; counts stand beside the points, published values are dashed.

    Args:
        efficiencies: one entry per number of jets.
        campaign: for the label in the corner.

    Returns:
        The figure.

    Raises:
        PlotError: if there are no labelled events.
    """
    import numpy as np
    from hist.intervals import clopper_pearson_interval

    drawn = [e for e in efficiencies if e.events]
    if not drawn:
        msg = "there are no labelled events to measure the efficiency with: use more simulated ttbar events"
        raise PlotError(msg)
    figure, axes = single_panel()
    jets = np.array([e.jets for e in drawn], dtype=float)
    events = np.array([e.events for e in drawn], dtype=float)
    methods = (
        ("BDT", "BDT", [e.bdt for e in drawn], _RIGHT, "o", -_OFFSET),
        ("trijet", "trijet with largest $p_T$", [e.trijet for e in drawn], _WRONG, "s", _OFFSET),
    )
    for key, label, found, color, marker, offset in methods:
        counts = np.array(found, dtype=float)
        fraction = counts / events
        interval = clopper_pearson_interval(counts, events)
        errors = np.abs(interval - fraction)
        axes.errorbar(
            jets + offset, fraction, errors, label=label, color=color, marker=marker, linestyle="none", linewidth=2.5,
            markersize=10, capsize=0, clip_on=False,
        )  # fmt: skip
        published = PUBLISHED_EFFICIENCY[key]
        middle = PUBLISHED_JETS + offset
        axes.plot(
            [middle - _OFFSET, middle + _OFFSET], [published, published], color=color, linestyle="--", linewidth=2.5,
            zorder=1, label=f"published, {PUBLISHED_JETS} jets: {100 * published:.1f} %",
        )  # fmt: skip
        for x, top, k, n in zip(jets + offset, interval[1], counts, events, strict=True):
            text = axes.annotate(f"{k:.0f}/{n:.0f}", (x, top), (0, 9), textcoords="offset points", color=color)
            text.set(ha="center", fontsize=17, bbox={"facecolor": "white", "linewidth": 0, "pad": 1})
    ticks = sorted({*(e.jets for e in efficiencies), PUBLISHED_JETS})
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    axes.set_xlim(ticks[0] - 0.5, ticks[-1] + 0.5)
    for tick in ticks[1:]:
        axes.axvline(tick - 0.5, color="#cccccc", linestyle=":", linewidth=1.0, zorder=0)
    axes.set_ylim(bottom=0)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_xlabel("Number of jets")
    axes.set_ylabel("Fraction with the right top triplet")
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i].startswith("published"))
    place_legend(axes, 1.08, handles=[handles[i] for i in order], labels=[labels[i] for i in order], ncols=2)
    label_corner(axes, campaign)
    return figure


def _cycle(number: int) -> list[str]:
    return [_COLORS[i % len(_COLORS)] for i in range(number)]
