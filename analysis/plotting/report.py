"""The report: one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from analysis.plotting.graph import Drawing, TaskGraph, draw_graph
from analysis.plotting.tables import Table, write_table

_TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Headline:
    """The result.

    Args:
        parameter: name of what was measured.
        value: its value.
        errors: its uncertainty, or the upper and the lower one, both positive.
        sentence: what it is, and on what data it was measured.
    """

    parameter: str
    value: float
    errors: tuple[float, ...]
    sentence: str


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report.

    Args:
        png: content of the PNG file.
        caption: text below it.
        alternative: what is to be seen, for those who do not see it.
    """

    png: bytes
    caption: str
    alternative: str

    @property
    def source(self) -> str:
        """Address that contains the image itself."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Resources:
    """What a task used.

    Args:
        task: its name.
        branches: number of branches.
        wall_seconds: summed over branches [s].
        events: number of events it read; 0 if it reads none.
    """

    task: str
    branches: int
    wall_seconds: float
    events: int = 0


@dataclass(frozen=True)
class ReportContent:
    """All that is reported; what is empty is said to be missing in one sentence.

    Args:
        title: title of the page.
        date: when it was made, as the caller writes dates.
        headline: the result; ``None`` if there was no fit.
        notices: what a reader must know before using any number, such as outputs that were accepted though stale.
        fit_facts: quantities that judge the fit, by name.
        fit_figures: pulls, correlations, distributions before and after the fit.
        distributions: stacked distributions.
        shifts: shifted against nominal distributions.
        yields: tables of events.
        cutflow_figures: cutflow as figures.
        cutflows: cutflow as tables.
        training_figures: curves, scores and efficiencies of the classifier.
        graph: the tasks; ``None`` leaves the section empty.
        provenance: versions, commit, campaign, parameters, by name.
        resources: one entry per task.
    """

    title: str
    date: str
    headline: Headline | None = None
    notices: tuple[str, ...] = ()
    fit_facts: Mapping[str, str] = field(default_factory=dict)
    fit_figures: tuple[ReportFigure, ...] = ()
    distributions: tuple[ReportFigure, ...] = ()
    shifts: tuple[ReportFigure, ...] = ()
    yields: tuple[Table, ...] = ()
    cutflow_figures: tuple[ReportFigure, ...] = ()
    cutflows: tuple[Table, ...] = ()
    training_figures: tuple[ReportFigure, ...] = ()
    graph: TaskGraph | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    resources: tuple[Resources, ...] = ()


@dataclass(frozen=True)
class Section:
    """A section of the page as the template sees it; ``empty`` is its text if it has no content."""

    anchor: str
    title: str
    empty: str
    facts: Mapping[str, str] = field(default_factory=dict)
    figures: tuple[ReportFigure, ...] = ()
    tables: tuple[Table, ...] = ()
    drawing: Drawing | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.facts or self.figures or self.tables or self.drawing)


def report_sections(content: ReportContent) -> tuple[Section, ...]:
    """Sections of the page in their order."""
    drawing = draw_graph(content.graph) if content.graph and content.graph.nodes else None
    resources = (resources_table(content.resources),) if content.resources else ()
    return (
        Section("fit", "Fit", "No fit was made.", content.fit_facts, content.fit_figures),
        Section("distributions", "Distributions", "No variables were drawn.", figures=content.distributions),
        Section("shifts", "Systematic shifts", "No shifts were drawn.", figures=content.shifts),
        Section("yields", "Yields", "No yields were tabulated.", tables=content.yields),
        Section(
            "selection",
            "Selection",
            "No cutflow was recorded.",
            figures=content.cutflow_figures,
            tables=content.cutflows,
        ),
        Section(
            "training",
            "Jet assignment by machine learning",
            "No classifier was trained.",
            figures=content.training_figures,
        ),
        Section("tasks", "Tasks", "No task graph was given.", drawing=drawing),
        Section("provenance", "Provenance", "No provenance was recorded.", content.provenance),
        Section("resources", "Resources", "No resources were recorded.", tables=resources),
    )


def resources_table(resources: tuple[Resources, ...]) -> Table:
    """Wall time, events and throughput per task, and the total time."""
    rows = [
        (
            r.task,
            f"{r.branches}",
            f"{r.wall_seconds:.1f}",
            f"{r.events:,}".replace(",", " ") if r.events else "\N{EN DASH}",
            f"{r.events / r.wall_seconds:.0f}" if r.events and r.wall_seconds > 0 else "\N{EN DASH}",
        )
        for r in resources
    ]
    total = ("total", f"{sum(r.branches for r in resources)}", f"{sum(r.wall_seconds for r in resources):.1f}", "", "")
    return Table("", ("task", "branches", "wall time [s]", "events", "events/s"), (*rows, total))


def render_report(content: ReportContent) -> str:
    """The report as one HTML page, without scripts and without any address outside itself.

    Args:
        content: what is reported; all texts are escaped.

    Returns:
        The page.
    """
    import jinja2
    import markupsafe

    from analysis.plotting.fit import format_measurement

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.plotting", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    headline = content.headline
    measured = format_measurement(headline.value, *headline.errors, style="fancy") if headline else ""
    return environment.get_template(_TEMPLATE).render(
        content=content,
        measured=measured,
        sections=report_sections(content),
        # cells are escaped by the writer of tables
        html_table=lambda table: markupsafe.Markup(write_table(table, "html")),
    )
