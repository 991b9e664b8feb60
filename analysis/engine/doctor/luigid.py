"""The scheduler that shows runs in a browser."""

from __future__ import annotations

import calendar
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from email.utils import parsedate
from urllib.parse import urlsplit

from analysis.engine.doctor.batch import is_job
from analysis.engine.doctor.examine import Check
from analysis.engine.doctor.finding import Finding, green, grey, red, yellow
from analysis.engine.doctor.roundtrip import clock, milliseconds, skew_of

TIMEOUT = 8.0
_INSIDE = "or set local_scheduler in section luigi_core of law.cfg to True"


def checks() -> Sequence[Check]:
    """One scheduler."""
    return [Check("luigid", look)]


def look() -> Iterator[Finding]:
    """Whether it answers, if runs report to it; and its clock."""
    import law  # noqa: F401  (hands sections luigi_x to luigi)
    import luigi

    settings = luigi.interface.core()
    if is_job():
        yield grey("luigid", "not used in a batch job")
        return
    if settings.local_scheduler:
        yield grey("luigid", "not used: a run has its own scheduler (local_scheduler in section luigi_core of law.cfg)")
        return
    url = settings.scheduler_url or f"http://{settings.scheduler_host}:{settings.scheduler_port}"
    yield from at(url)


def at(url: str) -> Iterator[Finding]:
    """Whether luigi's scheduler answers there.

    Args:
        url: its address.
    """
    before = time.time()
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/api/is_paused", timeout=TIMEOUT) as answer:
            headers, paused = answer.headers, json.loads(answer.read())["response"]["paused"]
    except (urllib.error.HTTPError, ValueError, LookupError, TypeError):
        yield red("luigid", f"{url}: something else answers there", f"correct the address of luigid, {_INSIDE}")
        return
    except OSError as error:
        place = urlsplit(url)
        start = f"start it with 'law luigid --address {place.hostname} --port {place.port or 8082}'"
        yield red("luigid", f"{url}: {_reason(error)}", f"{start}, {_INSIDE}")
        return
    after = time.time()
    said = f"{url}, {milliseconds(after - before)}, {headers.get('Server', 'server not known')}"
    if paused:
        yield yellow("luigid", f"{said}, paused", "it hands out no tasks: continue on its page in the browser")
    else:
        yield green("luigid", said)
    if date := parsedate(headers.get("Date", "")):
        there = float(calendar.timegm(date))
        yield from clock("luigid", skew_of(there, before, after), "have the clocks of both machines set by NTP")


def _reason(error: OSError) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    return (getattr(inner, "strerror", None) or str(inner)).lower()
