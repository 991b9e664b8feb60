"""What ``law.cfg`` and the profile of the site say about batch jobs."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import law

from analysis.engine.backends.resources import Resources, parse_size, parse_time
from analysis.engine.errors import ParameterError

PROFILES = Path(__file__).resolve().parents[3] / "profiles"
DEFAULT_PROFILE = "local"

_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


@dataclass(frozen=True)
class BatchSettings:
    """Section ``batch`` of the configuration.

    Args:
        shared_filesystem: whether jobs see the files of this machine under the same paths.
        queue_limit: most jobs that one workflow has in the queue at once.
        parallel_workflows: most workflows that have jobs at once.
        job_length: short branches share a job that takes about this long [s].
        fewest_jobs: into how many jobs a workflow with enough branches is split at least.
        memory_growth: factor by which a job gets more memory after it ran out of it.
        runtime_growth: the same for time.
        max_memory: most that a job may ask for [bytes].
        max_runtime: most that a job may ask for [s].
        retry_delay: seconds before a branch is tried again; twice as many the next time.
        lost_after: seconds after which a job counts as lost of which neither scheduler nor store know anything.
        output_delay: seconds in which what a job wrote to the store becomes visible here.
        canary_patience: seconds of running after which a first job counts as good.
        keep_logs: logs that are kept per branch.
        job_files: files and directories of the repository that jobs need beside the package, separated by commas.
        forward_env: variables of this shell that jobs get as well; names, separated by commas.
    """

    shared_filesystem: bool = True
    queue_limit: int = 5000
    parallel_workflows: int = 20
    job_length: int = 300
    fewest_jobs: int = 20
    memory_growth: float = 2.0
    runtime_growth: float = 2.0
    max_memory: int = 16 * 10**9
    max_runtime: int = 48 * 3600
    retry_delay: int = 30
    lost_after: int = 900
    output_delay: int = 60
    canary_patience: int = 600
    keep_logs: int = 5
    job_files: str = ""
    forward_env: str = ""


_AT_LEAST_ONE = ("queue_limit", "parallel_workflows", "fewest_jobs", "keep_logs")
_SIZES = {"max_memory"}
_TIMES = {
    *("job_length", "max_runtime", "retry_delay", "lost_after", "output_delay", "canary_patience"),
}


def batch_settings() -> BatchSettings:
    """The settings.

    Raises:
        ParameterError: for a name that does not exist, or a value that makes no sense.
    """
    parsers = {**_parsers(_SIZES, parse_size), **_parsers(_TIMES, parse_time)}
    settings = BatchSettings(**section("batch", BatchSettings, parsers))
    for name in _AT_LEAST_ONE:
        if getattr(settings, name) < 1:  # with no job at all a run would wait for ever
            msg = f"law.cfg or the profile, section batch, {name}: {getattr(settings, name)} is less than 1"
            raise ParameterError(msg)
    return settings


def check_profile() -> None:
    """Look whether the profile that ``ANALYSIS_PROFILE`` names is there; law would silently go on without.

    Raises:
        ParameterError: if it is not.
    """
    name, folder = os.environ.get("ANALYSIS_PROFILE", DEFAULT_PROFILE), PROFILES
    known = sorted(path.stem for path in folder.glob("*.cfg"))
    if name not in (DEFAULT_PROFILE, *known):  # in which there is nothing but what law.cfg says
        msg = f"ANALYSIS_PROFILE is {name!r}, but {folder} has no {name}.cfg: use one of {', '.join(known)}, or add it"
        raise ParameterError(msg)


def section(name: str, kind: Any, parsers: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Values of a section of the configuration.

    Args:
        name: name of the section.
        kind: dataclass whose fields are its options; options with other names go to its field ``extra``, if it has one.
        parsers: how to read some of them; the others are read as what their defaults are.

    Raises:
        ParameterError: for a name that does not exist, or a value that makes no sense.
    """
    known = {field.name: field for field in fields(kind)}
    found: dict[str, Any] = {}
    for option, value in law.config.items(name) if law.config.has_section(name) else ():
        text = str(value if value is not None else "").strip()
        if option in known and option != "extra":
            parse = parsers.get(option) or functools.partial(_convert, type(known[option].default))
            try:
                found[option] = parse(text)
            except (ParameterError, ValueError) as error:
                msg = f"law.cfg or the profile, section {name}, {option}: {error}"
                raise ParameterError(msg) from error
        elif "extra" in known:
            found.setdefault("extra", {})[option] = text
        else:
            msg = f"law.cfg or the profile, section {name}: there is no {option}, only {', '.join(sorted(known))}"
            raise ParameterError(msg)
    return found


def profile_resources(family: str) -> tuple[Resources, Resources]:
    """What the section ``resources`` says: for all tasks, and for one family.

    Raises:
        ParameterError: if it makes no sense.
    """
    texts = (law.config.get_default("resources", name, "") or "" for name in ("default", family))
    default, own = (parse_resources(str(text)) for text in texts)
    return default, own


def parse_resources(text: str) -> Resources:
    """Resources such as ``memory=4GB, runtime=3h, cores=2``.

    Raises:
        ParameterError: if the text makes no sense.
    """
    parsers: dict[str, Callable[[str], Any]] = {"memory": parse_size, "disk": parse_size, "runtime": parse_time}
    parsers |= {"cores": int, "gpus": int, "queue": str, "accounting_group": str, "container": str}
    given: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (part.strip() for part in item.partition("="))
        if name not in parsers or not value:
            msg = f"{item!r} is no resource: write NAME=VALUE with a name of {', '.join(sorted(parsers))}"
            raise ParameterError(msg)
        try:
            given[name] = parsers[name](value)
        except ValueError as error:
            msg = f"{item!r}: {value!r} is not a number"
            raise ParameterError(msg) from error
    return Resources(cores=given.pop("cores", 0), **given)


def jobs_folder() -> Path:
    """Where submissions and the ledger are: ``job_file_dir`` of section ``job``, by default in ``LAW_HOME``.

    Raises:
        ParameterError: if it has a variable that is not set.
    """
    found = law.config.get_expanded("job", "job_file_dir")
    if "$" in str(found):
        msg = f"job_file_dir in section job of law.cfg is {found!r}, with a variable that is not set: source setup.sh"
        raise ParameterError(msg)
    home = os.environ.get("LAW_HOME", "")
    return Path(found or Path(home) / "jobs").absolute()


def _parsers(names: set[str], parse: Callable[[str], int]) -> dict[str, Callable[[str], Any]]:
    return dict.fromkeys(names, parse)


def _convert(kind: type, text: str) -> Any:
    if kind is bool:
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        msg = f"{text!r} is neither True nor False"
        raise ParameterError(msg)
    try:
        return kind(text)
    except ValueError as error:
        msg = f"{text!r} is not a number"
        raise ParameterError(msg) from error
