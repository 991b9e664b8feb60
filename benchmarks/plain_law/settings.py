"""The ``law.cfg`` that plain law needs to run a task in a sandbox; no file, as law allows for no variables in names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Sections = Mapping[str, Mapping[str, str | None]]

NEEDED = "six,luigi,law,tenacity,dateutil,typing_extensions"
"""``LAW_SOFTWARE_DEPS``: what law has to bring into a container. Without the last one, its default, luigi fails."""

_REPOSITORY = Path(__file__).resolve().parents[2]


def settings_of(place: Path, programs: Path) -> Sections:
    """Sections of ``law.cfg``.

    Args:
        place: directory of outputs.
        programs: directory of the program ``singularity``.
    """
    volumes = {str(_REPOSITORY / "benchmarks"): "{{LAW_FORWARD_PY}}/benchmarks", str(place): str(place)}
    python = {"law_executable": "python -m law"}  # "law" would be the one outside
    return {
        "logging": {"law": "INFO"},
        "luigi_core": {"local_scheduler": "True", "no_lock": "True"},
        "luigi_worker": {"keep_alive": "False"},
        "luigi_retcode": {"task_failed": "30", "unhandled_exception": "40"},
        "bash_sandbox": python,
        "venv_sandbox": python,
        "docker_sandbox": python,
        "docker_sandbox_env": {"DOCKER_HOST": None},  # as variables of the container are those of the client
        "docker_sandbox_volumes": volumes,
        "singularity_sandbox": python,
        "singularity_sandbox_env": {"PATH": f"{programs}:/usr/bin:/bin"},  # the same
        "singularity_sandbox_volumes": volumes,
    }


def written(sections: Sections) -> str:
    """Content of a ``law.cfg``."""
    lines: list[str] = []
    for section, options in sections.items():
        lines += [f"[{section}]", *(n if value is None else f"{n}: {value}" for n, value in options.items())]
    return "\n".join(lines) + "\n"
