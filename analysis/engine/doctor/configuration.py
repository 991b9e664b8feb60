"""``law.cfg``, the profile of the site, and the index of tasks."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from analysis.engine.doctor.batch import is_job
from analysis.engine.doctor.examine import Check
from analysis.engine.doctor.finding import Finding, green, grey, red, yellow
from analysis.errors import AnalysisError

OURS = (
    *("batch", "core", "credentials", "htcondor", "inputs", "job", "logging", "modules", "outputs", "resources"),
    *("apptainer_sandbox", "sandboxes", "slurm", "stale", "xcache"),
)
"""Sections that mean something; others are those of law, of luigi (``luigi_x``), and of stores."""

_REPOSITORY = Path(__file__).resolve().parents[3]
_INDEXED = ("law.cfg", "analysis/tasks", "analysis/config", "analysis/engine")
"""What the index of tasks is made of; ``setup.sh`` looks at the same."""


def checks() -> Sequence[Check]:
    """Settings, sections, index."""
    return [Check("law.cfg", settings), Check("sections", sections), Check("task index", task_index)]


def settings() -> Iterator[Finding]:
    """Whether all that the engine reads can be read, and makes sense."""
    named = os.environ.get("LAW_CONFIG_FILE")
    if not named:
        yield red("law.cfg", "LAW_CONFIG_FILE is not set, so law takes its own defaults", "source setup.sh")
        return
    if not Path(named).is_file():
        yield red("law.cfg", f"LAW_CONFIG_FILE is {named}, which is not there", "source setup.sh again")
        return
    problems = []
    for read in _readers():
        try:
            read()
        except AnalysisError as error:
            problems.append(str(error))
    for problem in dict.fromkeys(problems):
        yield red("law.cfg", problem, f"correct it in {named}, in the profile, or in a variable LAW__section__option")
    for variable in ("ANALYSIS_STORE", "LAW_HOME"):
        if not os.environ.get(variable):
            yield yellow(variable, "not set", "source setup.sh")
    if not problems:
        yield green("law.cfg", f"{named}, profile {os.environ.get('ANALYSIS_PROFILE', 'local')}")


def sections() -> Iterator[Finding]:
    """Sections that nobody reads, such as misspelt ones."""
    import law

    from analysis.engine.storage.settings import is_store

    laws = law.config.Config._default_config
    kinds = [name for name in (*OURS, *laws) if name.endswith("_sandbox")]
    families = ("luigi_", "_", *(f"{name}_" for name in kinds))  # variables, volumes, or what is for one image
    unknown = [
        name
        for name in law.config.sections()
        if name not in OURS and name not in laws and not name.startswith(families) and not is_store(name)
    ]
    for name in unknown:
        close = difflib.get_close_matches(name, OURS, n=1)
        hint = f"did you mean {close[0]}? Else " if close else ""
        yield yellow("law.cfg", f"nobody reads section {name}", f"{hint}remove it, or give it a base if it is a store")


def task_index() -> Iterator[Finding]:
    """Whether ``law run`` and the TAB key know the tasks as they are now."""
    home = os.environ.get("LAW_HOME")
    if is_job():
        yield grey("task index", "not used in a batch job")
        return
    if not home:
        yield red("task index", "LAW_HOME is not set", "source setup.sh")
        return
    index, values = Path(home, "index"), Path(home, "values")
    if not (index.is_file() and index.stat().st_size and values.is_file()):
        yield yellow("task index", f"{home} has none", "source setup.sh, or run 'python -P -m analysis.completion'")
        return
    newer = newest(_REPOSITORY, values.stat().st_mtime)
    if newer is not None:
        found = f"{newer.relative_to(_REPOSITORY)} is newer than {values}"
        yield yellow("task index", found, "source setup.sh again, or run 'python -P -m analysis.completion'")
    else:
        yield green("task index", f"{len(index.read_text().splitlines())} tasks in {index}")


def newest(repository: Path, since: float) -> Path | None:
    """A file that the index is made of, and that changed after it was made; ``None`` if there is none.

    Args:
        repository: its directory.
        since: when the index was made [s since 1970].
    """
    for place in (repository / name for name in _INDEXED):
        files = [place] if place.is_file() else (path for path in place.rglob("*") if "__pycache__" not in path.parts)
        for path in files:
            if path.is_file() and path.stat().st_mtime > since:
                return path
    return None


def _readers() -> Sequence[Callable[[], object]]:
    """All that reads a section, and complains about what makes no sense."""
    from analysis.engine import policy
    from analysis.engine.backends import registry
    from analysis.engine.backends import settings as batch
    from analysis.engine.storage import places, reading, refresh, xcache
    from analysis.engine.storage import settings as storage

    return [
        batch.batch_settings,
        batch.jobs_folder,
        functools.partial(batch.profile_resources, "default"),
        functools.partial(registry.backend, "htcondor"),
        functools.partial(registry.backend, "slurm"),
        storage.check,
        places.configured,
        reading.input_settings,
        refresh.credential_settings,
        xcache.xcache_settings,
        policy.check,
    ]
