"""What people see of a report."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

from analysis.engine.doctor.finding import Level, Report

_WORDS = {Level.GREY: "-"}
_COLOURS = {Level.GREEN: "green", Level.YELLOW: "yellow", Level.RED: "bold red", Level.GREY: "bright_black"}
_ARROW = "-> "


def show(report: Report) -> None:
    """Print a report on standard output: a table in colours on a terminal, else lines.

    Args:
        report: of this or another machine.
    """
    if not sys.stdout.isatty():
        print("\n".join(lines(report)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for finding in report.findings:
        text = Text(finding.found)
        if finding.advice:
            text.append(f"\n{_ARROW}{finding.advice}", style="" if finding.level == Level.RED else "dim")
        word = Text(_WORDS.get(finding.level, finding.level.value), style=_COLOURS[finding.level])
        table.add_row(word, Text(finding.name), text)
    console = Console(highlight=False)
    console.print(table)
    console.print(Text(summary(report)))


def lines(report: Report) -> Iterator[str]:
    """The same without colours: a line for each finding, and below it what to do.

    Args:
        report: of this or another machine.
    """
    width = max((len(finding.name) for finding in report.findings), default=0)
    for finding in report.findings:
        yield f"{_WORDS.get(finding.level, finding.level.value):<6}  {finding.name:<{width}}  {finding.found}"
        if finding.advice:
            yield f"{'':<6}  {'':<{width}}  {_ARROW}{finding.advice}"
    yield summary(report)


def summary(report: Report) -> str:
    """Where, when, and how many of which level."""
    counts = Counter(finding.level for finding in report.findings)
    said = [f"{counts[level]} {level.value}" for level in (Level.RED, Level.YELLOW, Level.GREEN) if counts[level]]
    said += [f"{counts[Level.GREY]} not used"] if counts[Level.GREY] else []
    when = report.time[:19].replace("T", " ")
    return f"{report.user}@{report.host}, {when} UTC, in {report.seconds:.1f} s: {', '.join(said) or 'nothing found'}"
