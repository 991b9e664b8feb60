from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import analysis

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = {
    "awkward",
    "cabinetry",
    "coffea",
    "matplotlib",
    "mplhep",
    "pandas",
    "pyarrow",
    "pyhf",
    "scipy",
    "sklearn",
    "uproot",
    "xgboost",
}


def pins(name: str) -> list[str]:
    """Lines of a pinned list without its annotations."""
    lines = (REPOSITORY / "sandboxes" / name).read_text().splitlines()
    return [line for line in lines if not re.fullmatch(r"    # +(via *)?((-r |-c |--override )?[\w./-]+)?", line)]


def pinned(name: str) -> dict[str, str]:
    return dict(line.split(";")[0].strip().split("==") for line in pins(name))


def normal(requirement: str) -> str:
    """The canonical name of the package of a requirement."""
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def test_dev_list_extends_the_other_with_the_same_versions() -> None:
    runtime, dev = pinned("analysis.txt"), pinned("dev.txt")
    assert runtime.items() <= dev.items()
    assert {"pytest", "mypy", "ruff"} <= dev.keys() - runtime.keys()


def test_lists_name_versions_and_nothing_else() -> None:
    for name in ("analysis.txt", "dev.txt"):
        lines = pins(name)
        assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", line)] == []
        assert list(pinned(name)) == sorted(pinned(name))
        assert not re.search(r"nvidia|dask|^xgboost==", "\n".join(lines), re.MULTILINE)


def test_project_metadata_agree_with_the_lists() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["version"] == analysis.__version__
    asked = {
        name: {
            normal(line) for line in (REPOSITORY / "sandboxes" / name).read_text().splitlines() if line[:1].isalpha()
        }
        for name in ("analysis.in", "dev.in")
    }
    assert {normal(line) for line in project["dependencies"]} - {"python-daemon"} == asked["analysis.in"]
    assert {normal(line) for line in project["optional-dependencies"]["dev"]} == asked["dev.in"]


def test_command_line_loads_no_heavy_package() -> None:
    code = "import sys, analysis.tasks; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert {name.split(".")[0] for name in done.stdout.split()} & HEAVY == set()
