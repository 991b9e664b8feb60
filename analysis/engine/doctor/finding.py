"""What a check found, and all of that together: the answer of ``analysis doctor``."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from analysis.errors import AnalysisError

SCHEMA = 1


class ReportError(AnalysisError):
    """A file is no report of the doctor."""


class Level(enum.StrEnum):
    """How good it is."""

    GREEN = "green"
    YELLOW = "yellow"
    """It works, or is not needed now, but may become a problem."""
    RED = "red"
    """What is configured does not work."""
    GREY = "grey"
    """Not used here."""


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Args:
        name: what was looked at.
        level: how good it is.
        found: what there is, in a few words.
        advice: what to do, if it is not green; one sentence.
    """

    name: str
    level: Level
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Report:
    """All findings on one machine.

    Args:
        host: name of the machine.
        user: who asked.
        time: when, UTC, ISO 8601.
        seconds: how long it took.
        findings: in the order of the table.
    """

    host: str
    user: str
    time: str
    seconds: float
    findings: tuple[Finding, ...]

    def is_healthy(self) -> bool:
        """Whether nothing is red."""
        return all(finding.level != Level.RED for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"schema": SCHEMA, "healthy": self.is_healthy(), **asdict(self)}

    @classmethod
    def from_json(cls, text: str, source: str) -> Report:
        """From the text of :meth:`to_json`.

        Args:
            text: JSON.
            source: where it is from.

        Raises:
            ReportError: if it is none.
        """
        try:
            content = json.loads(text)
            if content["schema"] == SCHEMA:
                findings = tuple(_finding(item) for item in content["findings"])
                host, user, when = (str(content[name]) for name in ("host", "user", "time"))
                return cls(host, user, when, float(content["seconds"]), findings)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"{source} is no report of 'analysis doctor --json' or of the task Doctor: name one that is"
            raise ReportError(msg) from error
        msg = f"{source} is a report of version {content['schema']}, this project reads {SCHEMA}: run the doctor again"
        raise ReportError(msg)


def green(name: str, found: str) -> Finding:
    """All is well."""
    return Finding(name, Level.GREEN, found)


def yellow(name: str, found: str, advice: str) -> Finding:
    """It may become a problem."""
    return Finding(name, Level.YELLOW, found, advice)


def red(name: str, found: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(name, Level.RED, found, advice)


def grey(name: str, found: str, advice: str = "") -> Finding:
    """It is not used."""
    return Finding(name, Level.GREY, found, advice)


def _finding(item: Mapping[str, Any]) -> Finding:
    return Finding(str(item["name"]), Level(item["level"]), str(item["found"]), str(item["advice"]))
