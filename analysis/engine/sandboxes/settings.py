"""What ``law.cfg`` and ``--sandbox`` say about what tasks run in."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import law

from analysis.engine.errors import ParameterError
from analysis.engine.sandboxes.base import Kind

if TYPE_CHECKING:
    from analysis.engine.sandboxes.base import Mount, Sandbox

SECTION = "sandboxes"
"""The section that names the sandboxes of task families."""

KINDS: tuple[str, ...] = get_args(Kind)
NAMED = {**{kind: kind for kind in KINDS}, "singularity": "apptainer"}
"""Kinds by what people call them."""
_MODES = ("ro", "rw")
_OF_SETS = ("none", "venv", "docker", "apptainer")
_PATTERN = re.compile(r"[*?\[]")


def check_name(name: str, where: str) -> tuple[str, str]:
    """Kind and name of a sandbox.

    Args:
        name: ``none``, a kind, or ``TYPE::NAME``.
        where: it is written.

    Returns:
        The kind, or ``none``; and what it is of, empty for that of the software set of the task.

    Raises:
        ParameterError: if it is none of these.
    """
    kind, separator, of = name.partition("::")
    if kind in NAMED and of.strip():
        return NAMED[kind], of.strip()
    if not separator and NAMED.get(kind, kind) in _OF_SETS:
        return NAMED.get(kind, kind), ""
    close = difflib.get_close_matches(kind, [*_OF_SETS, *NAMED], n=1)
    all_of_them = "use none, venv, docker, apptainer, or TYPE::NAME"
    hint = f"did you mean {close[0]}?" if close and close[0] != kind else all_of_them
    msg = f"{where} {name} does not exist: {hint}"
    raise ParameterError(msg)


def choice_for(family: str) -> str:
    """What ``law.cfg`` says for a task family: its name, else the longest pattern, else the default."""
    options = _options(SECTION)
    patterns = [name for name in options if _PATTERN.search(name) and fnmatch.fnmatchcase(family, name)]
    for name in (family, *sorted(patterns, key=len, reverse=True), "default"):
        if value := options.get(name):
            check_name(value, f"law.cfg, section {SECTION}: {name}:")
            return value
    return "none"


def _options(section: str) -> dict[str, str]:
    """Options and values as they are written; law would read ``none`` as nothing."""
    if not law.config.has_section(section):
        return {}
    names = law.config.options(section, expand_vars=False, expand_user=False)
    return {name: str(law.config.get(section, name) or "").strip() for name in names}


def option(section: str, name: str, default: str) -> str:
    """An option of a section of ``law.cfg``; variables in it are replaced."""
    return os.path.expandvars(_options(section).get(name) or default)


def sandbox_of(kind: str, name: str, software: str) -> Sandbox:
    """A sandbox.

    Args:
        kind: of it.
        name: what it is of; empty for that of the software set.
        software: name of the set.
    """
    from analysis.engine.sandboxes.apptainer import ApptainerSandbox
    from analysis.engine.sandboxes.docker import DockerSandbox
    from analysis.engine.sandboxes.environments import BashSandbox, VenvSandbox

    kinds: dict[str, Callable[..., Sandbox]] = {
        **{"venv": VenvSandbox, "bash": BashSandbox, "docker": DockerSandbox, "apptainer": ApptainerSandbox}
    }
    if name:
        return kinds[kind](os.path.expandvars(os.path.expanduser(name)))  # noqa: PTH111
    if kind == "venv":
        return VenvSandbox(software, software)
    default = "analysis/{set}" if kind == "docker" else "$ANALYSIS_BASE/sandboxes/{set}.sif"
    image = option(f"{kind}_sandbox", "image", default)
    return kinds[kind](image.replace("{set}", software), software)


def more_mounts(kind: str) -> list[Mount]:
    """Section ``docker_sandbox_volumes``, or that of apptainer: paths that are visible inside as well.

    The name is the path, and the value ``ro`` or ``rw``, ``ro`` without one. As law allows for no variables in names, a
    path with variables is part of the value, after which there may be the same: ``NAME: $PATH, rw``.

    Raises:
        ParameterError: for another value, or a path that is not there.
    """
    from analysis.engine.sandboxes.base import Mount

    section, found = f"{kind}_sandbox_volumes", []
    for name, value in _options(section).items():
        before, _, last = value.rpartition(",")
        text, mode = (before, last.strip()) if last.strip() in _MODES else (value, "ro")
        path = Path(os.path.expandvars(os.path.expanduser(text.strip() or name)))  # noqa: PTH111
        if not path.is_absolute():
            msg = f"law.cfg, section {section}: {name}: {value} has to be an absolute path, and ro or rw"
            raise ParameterError(msg)
        if not path.exists():
            msg = f"law.cfg, section {section}: {path} does not exist: correct it, or make it"
            raise ParameterError(msg)
        found.append(Mount(path, mode == "rw"))
    return found


def more_variables(kind: str) -> dict[str, str]:
    """Section ``docker_sandbox_env``, or that of another kind: variables; of one without a value, that of the shell."""
    found: dict[str, str] = {}
    for name, value in _options(f"{kind}_sandbox_env").items():
        if value:
            found[name] = value
        else:
            found |= {key: text for key, text in os.environ.items() if fnmatch.fnmatchcase(key, name)}
    return found
