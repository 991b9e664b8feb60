"""Tables: one model, rounded numbers, and three ways to write it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from analysis.config.processes import PROCESSES, process
from analysis.config.selection import REGIONS
from analysis.config.variables import OBSERVABLES
from analysis.plotting.comparison import REAL_DATA
from analysis.plotting.cutflow import split_cutflow, step_efficiency, step_label
from analysis.plotting.stack import stack_order, uncertainty_band
from analysis.templates import TemplateError, TemplateKey, Templates

if TYPE_CHECKING:
    from hist import Hist

    from analysis.columnar.cutflow import Cutflow
    from analysis.stats.prediction import Prediction

TableFormat = Literal["txt", "tex", "html"]
"""Plain text, a LaTeX ``tabular``, or an HTML ``table`` element."""

_TABULATE = {"txt": "simple", "tex": "latex_raw", "html": "html"}
_SCINUM = {"txt": "plain", "tex": "latex", "html": "fancy"}
_SPACED = {
    "txt": (("+-", "+- "),),
    "html": (("±", "± "), ("-", " \N{MINUS SIGN}")),
}
_TEX_SPECIAL = {c: rf"\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\^{}", "\\": r"\textbackslash{}"}


class Label(NamedTuple):
    """Text in plain letters and in LaTeX."""

    text: str
    tex: str


class Measured(NamedTuple):
    """Number with its uncertainty up and down, rounded as the Particle Data Group does."""

    value: float
    up: float
    down: float


Cell = str | Label | Measured


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        caption: one sentence.
        header: names of the columns.
        rows: the cells, as many per row as there are columns; the first is left-aligned, the others right-aligned.
    """

    caption: str
    header: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]


def write_table(table: Table, table_format: TableFormat) -> str:
    """A table as text.

    Args:
        table: the table.
        table_format: see :data:`TableFormat`.

    Returns:
        The text, ending with a line break; plain text carries the caption, the other two leave it to the document.
    """
    from tabulate import tabulate

    rows = [[_text(cell, table_format) for cell in row] for row in table.rows]
    header = [_text(cell, table_format) for cell in table.header]
    alignment = ("left", *["right"] * (len(header) - 1))
    body = tabulate(rows, header, _TABULATE[table_format], disable_numparse=True, colalign=alignment)
    caption = f"{table.caption}\n\n" if table_format == "txt" and table.caption else ""
    return f"{caption}{body}\n"


def tabulate_yields(
    templates: Templates, observation: Mapping[str, Hist[Any]] | None = None, observation_label: str = REAL_DATA
) -> Table:
    """Expected and observed events per region, under- and overflow included.

    Uncertainties are those of :func:`~analysis.plotting.stack.uncertainty_band`, with each shift taken as common to all
    bins and, in the total, to all processes.

    Args:
        templates: templates of the fitted variables.
        observation: observed histograms by variable.
        observation_label: name of the row.

    Returns:
        The table: signal first, one column per region.

    Raises:
        TemplateError: if there is no template of a fitted variable.
    """
    variables = [v for v in OBSERVABLES if v.name in templates.variables()]
    if not variables:
        names = ", ".join(v.name for v in OBSERVABLES)
        msg = f"there are no templates to tabulate: run FillHistograms for at least one of the variables {names}"
        raise TemplateError(msg)
    totals = Templates({k: _integral(h) for k, h in templates.items() if k.variable in {v.name for v in variables}})
    order = dict.fromkeys(p for v in variables for p in reversed(stack_order(templates.processes(v.name))))
    rows: list[tuple[Cell, ...]] = []
    for name in order:
        one = Templates({k: h for k, h in totals.items() if k.process == name})
        cells = (_expected(one, v.name) if one.processes(v.name) else "0" for v in variables)
        rows.append((_process_label(name), *cells))
    rows.append(("total expected", *(_expected(totals, v.name) for v in variables)))
    if observation is not None:
        counts = (f"{_integral(observation[v.name]).values()[0]:.0f}" for v in variables)
        rows.append((observation_label, *counts))
    header = ("process", *(_region_label(v.region) for v in variables))
    shifted = any(k.shift != "nominal" for k in totals)
    caption = f"Events per region with {'statistical and systematic' if shifted else 'statistical'} uncertainties."
    return Table(caption, header, tuple(rows))


def tabulate_predictions(predictions: Sequence[Prediction], observation_label: str = REAL_DATA) -> Table:
    """Events in the fitted bins per region, before and after the fit.

    Args:
        predictions: such as the one before and the one after the fit; their labels become parts of the header.
        observation_label: name of the row of observed events.

    Returns:
        The table: one column per region and prediction, signal first.
    """
    columns = [(p, channel) for p in predictions for channel in p.channels]
    by_sample = {p.sample: p.name for p in PROCESSES.values()}
    samples = dict.fromkeys(s for p, _ in columns for s in p.samples)
    order = reversed(stack_order(by_sample.get(s, s) for s in samples))
    rows: list[tuple[Cell, ...]] = []
    for name in order:
        found = [p.yields[channel].get(process(name).sample) for p, channel in columns]
        rows.append((_process_label(name), *("0" if y is None else f"{sum(y):.1f}" for y in found)))
    totals = (
        Measured(sum(sum(y) for y in p.yields[c].values()), p.channel_std[c], p.channel_std[c]) for p, c in columns
    )
    rows.append(("total expected", *totals))
    rows.append((observation_label, *(f"{sum(p.data[channel]):.0f}" for p, channel in columns)))
    header = ("process", *(f"{channel}, {p.label}" for p, channel in columns))
    return Table("Events in the fitted bins.", header, tuple(rows))


def tabulate_cutflow(cutflow: Cutflow) -> Table:
    """Events, sum of weights and fraction of the sum of weights that is left, per step and per region."""
    parts = split_cutflow(cutflow)
    reference = cutflow.steps[0]
    rows = tuple(
        (
            label,
            f"{step.events}",
            f"{step.sum_of_weights:.8g}",
            f"{100 * step_efficiency(step, reference):.3g} %",
        )
        for label, step in (
            *((step_label(s), s) for s in parts.steps),
            *((f"region {s.name}", s) for s in parts.regions),
        )
    )
    return Table(f"Cutflow of {cutflow.dataset}.", ("step", "events", "sum of weights", "efficiency"), rows)


def cutflow_table(cutflows: Iterable[Cutflow]) -> str:
    """Cutflows of several data sets as plain text, one below the other."""
    return "\n".join(write_table(tabulate_cutflow(cutflow), "txt") for cutflow in cutflows)


def _text(cell: Cell, table_format: TableFormat) -> str:
    if isinstance(cell, Measured):
        return _number(cell, table_format)
    if isinstance(cell, Label):
        return cell.tex if table_format == "tex" else cell.text
    return "".join(_TEX_SPECIAL.get(c, c) for c in cell) if table_format == "tex" else cell


def _number(cell: Measured, table_format: TableFormat) -> str:
    import scinum

    if cell.up <= 0 and cell.down <= 0:  # no uncertainty tells no precision
        return f"{cell.value:.6g}"
    # rounding goes by the smaller uncertainty, which must not be zero
    errors = (cell.up, cell.down) if min(cell.up, cell.down) > 0 else max(cell.up, cell.down)
    text = scinum.Number(cell.value, errors).str("pdg", style=_SCINUM[table_format])
    if table_format == "tex":
        return f"${text}$"
    for tight, spaced in _SPACED[table_format]:
        text = text.replace(tight, spaced)
    return str(text)


def _integral(histogram: Hist[Any]) -> Hist[Any]:
    """Histogram with one bin that holds everything, under- and overflow included."""
    import numpy as np
    from hist import Hist, axis, storage

    one = Hist(axis.Integer(0, 1, flow=False), storage=storage.Weight())
    variances = histogram.variances(flow=True)
    values = histogram.values(flow=True)
    one[...] = np.array([[values.sum(), values.sum() if variances is None else variances.sum()]])
    return one


def _expected(totals: Templates, variable: str) -> Measured:
    value = sum(float(totals[TemplateKey(variable, p)].values()[0]) for p in totals.processes(variable))
    band = uncertainty_band(totals, variable)
    return Measured(value, float(band.up[0]), float(band.down[0]))


def _process_label(name: str) -> Label:
    return Label(process(name).sample, process(name).label)


def _region_label(name: str) -> Cell:
    return Label(name, REGIONS[name].label) if name in REGIONS else name
