"""No event is lost or doubled where outputs are put together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from analysis.errors import AnalysisError

_MOST_NAMED = 5


class AccountingError(AnalysisError):
    """Events or weights were lost or doubled."""


class Span(NamedTuple):
    """Events ``start`` to ``stop`` (not included) of one input file; in JSON ``[source, start, stop]``.

    Args:
        source: name of the file.
        start: first event.
        stop: one past the last event.
    """

    source: str
    start: int
    stop: int

    @classmethod
    def from_json(cls, content: Sequence[Any]) -> Span:
        """Read a span that ``json.dumps`` has written.

        Raises:
            TypeError: if it is none.

        Examples:
            >>> Span.from_json(["ttbar_3.root", 0, 5000])
            Span(source='ttbar_3.root', start=0, stop=5000)
        """
        match content:
            case [str(source), int(start), int(stop)]:
                return cls(source, start, stop)
        msg = f"{content!r} is no span of events: [source, start, stop] was expected"
        raise TypeError(msg)


class _Stretch(NamedTuple):
    """Events that are all there ``times`` times."""

    start: int
    stop: int
    times: int


def merge_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Sort spans and join neighbours.

    Args:
        spans: in any order; empty ones are dropped.

    Returns:
        The same events in as few spans as possible, sorted.

    Raises:
        AccountingError: if events are there more than once.

    Examples:
        >>> merge_spans([Span("a.root", 5, 9), Span("a.root", 0, 5)])
        (Span(source='a.root', start=0, stop=9),)
    """
    merged = []
    for source, stretches in _coverage(spans).items():
        for start, stop, times in stretches:
            if times > 1:
                msg = f"{_doubled(source, start, stop, times)}: remove the outputs that hold them, then run again"
                raise AccountingError(msg)
            if times == 1:
                merged.append(Span(source, start, stop))
    return tuple(merged)


def reconcile_spans(where: str, spans: Iterable[Span], entries: Mapping[str, int]) -> None:
    """Check that all events of all files are there, each once.

    Args:
        where: whose outputs are put together, for the message.
        spans: what was put together, in any order.
        entries: number of events of each file, from the index.

    Raises:
        AccountingError: if events are lost, doubled, beyond the end of their file, or of a file that is not indexed.
    """
    problems = list(_problems(_coverage(spans), entries))
    if problems:
        named = "; ".join(problems[:_MOST_NAMED])
        more = f"; and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
        msg = f"{where} does not hold every event once ({named}{more}): {_advice(where)}"
        raise AccountingError(msg)


def reconcile_counts(where: str, parts: Mapping[str, int], total: int, what: str) -> None:
    """Check that the parts have as many of something as the whole.

    Args:
        where: whose outputs are put together, for the message.
        parts: number in each part, by its name.
        total: number that there has to be.
        what: what is counted, in the plural.

    Raises:
        AccountingError: if the sum is another one.
    """
    found = sum(parts.values())
    if found != total:
        difference = f"{abs(found - total)} too {'many' if found > total else 'few'}"
        msg = f"{where} has {found} {what} in {len(parts)} parts, {total} were expected, {difference}: {_advice(where)}"
        raise AccountingError(msg)


def reconcile_sums(where: str, parts: Mapping[str, float], total: float, what: str, rtol: float = 1e-9) -> None:
    """Check that the parts add up to the whole, e.g. sums of weights, up to rounding.

    Args:
        where: whose outputs are put together, for the message.
        parts: sum of each part, by its name.
        total: sum that there has to be.
        what: what is added up, in the singular.
        rtol: tolerance relative to the sum of the parts' absolute values, as weights of both signs may cancel.

    Raises:
        AccountingError: if the sum is another one, or a part or the total is not finite.
    """
    for name, value in parts.items():
        if not math.isfinite(value):
            msg = f"{what} of {name} in {where} is {value}: remove the output of {name}, then run again"
            raise AccountingError(msg)
    found, scale = math.fsum(parts.values()), math.fsum(abs(value) for value in parts.values())
    if not abs(found - total) <= rtol * scale:  # a total of NaN is not within any tolerance
        difference = f"a difference of {found - total:g}"
        msg = f"{what} of {where} is {found!r}, {total!r} was expected, {difference}: {_advice(where)}"
        raise AccountingError(msg)


def _coverage(spans: Iterable[Span]) -> dict[str, tuple[_Stretch, ...]]:
    """How often the events of each source are there: stretches without gaps, from 0 on; sources are sorted."""
    return {
        source: tuple(_stretches(source, group))
        for source, group in groupby(sorted(spans), key=lambda span: span.source)
    }


def _stretches(source: str, spans: Iterable[Span]) -> Iterator[_Stretch]:
    steps: dict[int, int] = {0: 0}
    for _, start, stop in spans:
        if not 0 <= start <= stop:
            msg = f"events {start} to {stop} of {source} are no range: remove the output that says so, then run again"
            raise AccountingError(msg)
        steps[start] = steps.get(start, 0) + 1
        steps[stop] = steps.get(stop, 0) - 1
    begin = times = 0
    for position in sorted(steps):
        if steps[position]:
            if position > begin:
                yield _Stretch(begin, position, times)
            begin, times = position, times + steps[position]


def _problems(coverage: Mapping[str, Iterable[_Stretch]], entries: Mapping[str, int]) -> Iterator[str]:
    for source in sorted(coverage.keys() | entries.keys()):
        if source not in entries:
            yield f"{source} is not in the index"
            continue
        n = entries[source]
        stretches = tuple(coverage.get(source, ()))
        end = stretches[-1].stop if stretches else 0
        for start, stop, times in (*stretches, _Stretch(end, max(end, n), 0)):
            inside = min(stop, n)
            if start < inside and times == 0:
                yield f"events {start} to {inside} of {source} are lost"
            if start < inside and times > 1:
                yield _doubled(source, start, inside, times)
            if stop > n and times:
                yield f"events {max(start, n)} to {stop} of {source} are beyond its end"


def _doubled(source: str, start: int, stop: int, times: int) -> str:
    return f"events {start} to {stop} of {source} are there {'twice' if times == 2 else f'{times} times'}"


def _advice(where: str) -> str:
    return f"remove the outputs of {where}, then run again"
