"""Client libraries for storage: XRootD's and gfal2."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import metadata

from analysis.engine.doctor.command import run
from analysis.engine.doctor.examine import Check
from analysis.engine.doctor.finding import Finding, green, grey, red

TIMEOUT = 15.0
_PLUGINS = """
import sys
from analysis.engine.storage.interfaces.gfal import module
try:
    print(*module().creat_context().get_plugin_names())
except Exception as error:
    sys.exit(str(error))
"""
"""In a process of its own: a library of the system that does not fit to this environment may end it."""


def checks() -> Sequence[Check]:
    """Each of them; fsspec is Python, and in the pinned lists."""
    return [Check("xrootd", xrootd), Check("gfal2", gfal2)]


def xrootd() -> Iterator[Finding]:
    """XRootD's Python client."""
    from analysis.engine.storage.interfaces import XrootdInterface

    problem = XrootdInterface.problem()
    if problem is None:
        from analysis.engine.storage.closing import xrootd_client
        from analysis.engine.storage.interfaces.common import set_defaults

        set_defaults()  # the client reads them once: with its own, others would wait minutes for a server that is down
        try:
            xrootd_client()
        except ImportError as error:
            problem = f"XRootD's Python client cannot be loaded ({error}): install xrootd again"
    yield _finding("xrootd", problem, "XRootD " + _version("xrootd"))


def gfal2() -> Iterator[Finding]:
    """The module ``gfal2``, of this environment or of the system; with the plugins it needs for what it speaks."""
    from analysis.engine.storage.interfaces import GfalInterface

    problem, plugins = GfalInterface.problem(), ""
    if problem is None:
        said = run([sys.executable, "-c", _PLUGINS], TIMEOUT, {"PYTHONPATH": os.pathsep.join(sys.path)})
        plugins = ", ".join(sorted(said.output.split()))
        problem = f"gfal2 cannot be loaded ({said.problem}): install python3-gfal2 again" if said.problem else None
    yield _finding("gfal2", problem, f"gfal2 with {plugins}")


def _finding(name: str, problem: str | None, version: str) -> Finding:
    if problem is None:
        return green(name, version)
    found, _, advice = problem.rpartition(": ")
    users = _stores_that_name(name)
    if users:
        return red(name, f"{found}, and section {', '.join(users)} of law.cfg asks for it", advice)
    return grey(name, found, f"only if a store needs it, {advice} (docs/storage.md)")


def _stores_that_name(name: str) -> list[str]:
    """Stores with that ``interface``."""
    from analysis.engine.errors import ParameterError
    from analysis.engine.storage import places
    from analysis.engine.storage.settings import remote_settings

    found = []
    with suppress(ParameterError):  # the checks of storage say so
        for store in places.configured():
            if store.kind != "local" and remote_settings(store.name).interface == name:
                found.append(store.name)
    return found


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "of the system"
