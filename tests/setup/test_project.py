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


SETS = ["columnar", "ml", "stats"]
LISTS = ["analysis.txt", "dev.txt", *(f"{name}.txt" for name in SETS)]


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
    for name in LISTS:
        lines = pins(name)
        assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", line)] == []
        assert list(pinned(name)) == sorted(pinned(name))
        assert not re.search(r"nvidia|dask|^xgboost==", "\n".join(lines), re.MULTILINE)


def test_sets_are_parts_of_the_whole() -> None:
    """They name packages only, so that nothing but analysis.in decides on a version."""
    whole = pinned("analysis.txt")
    for name in ("core", *SETS):
        lines = (REPOSITORY / "sandboxes" / f"{name}.in").read_text().splitlines()
        asked = {line for line in lines if line and not line.startswith(("#", "-r core.in"))}
        assert {package for package in asked if package.lower() not in whole} == set()
        assert ("-r core.in" in lines) == (name != "core")
    for name in SETS:
        assert pinned(f"{name}.txt").items() < whole.items()


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
