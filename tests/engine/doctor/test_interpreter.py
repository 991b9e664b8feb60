from __future__ import annotations

import sys
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest

from analysis.engine.doctor import interpreter
from analysis.engine.doctor.finding import Level
from analysis.engine.sandboxes.pinned import list_hash
from tests.chain import REPOSITORY


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one pinned list, of one package that is here."""
    (tmp_path / "sandboxes").mkdir()
    write_list(tmp_path, f"luigi=={metadata.version('luigi')}")
    monkeypatch.setattr(interpreter, "_REPOSITORY", tmp_path)
    monkeypatch.setenv("ANALYSIS_ENV_DIR", str(tmp_path / "environments"))
    monkeypatch.delenv("ANALYSIS_JOB_BACKEND", raising=False)
    return tmp_path


def write_list(project: Path, *lines: str) -> Path:
    path = project / "sandboxes" / "analysis.txt"
    path.write_text("# a comment\n" + "".join(f"{line}\n    # via somebody\n" for line in lines))
    return path


def environment_in(project: Path, name: str, location: str = "") -> Path:
    folder = project / "environments" / name
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    (folder / ".complete").write_text(f"{location or folder}\npython3\n")
    return folder


def test_this_python_is_fine() -> None:
    (found,) = interpreter.version()
    assert found.level == Level.GREEN
    assert sys.executable in found.found


def test_the_versions_are_those_of_the_project() -> None:
    wanted = ">={}.{},<{}.{}".format(*interpreter.OLDEST, interpreter.NEWEST[0], interpreter.NEWEST[1] + 1)
    assert f'requires-python = "{wanted}"' in (REPOSITORY / "pyproject.toml").read_text()


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    version = namedtuple("version", "major minor micro releaselevel serial")
    monkeypatch.setattr(sys, "version_info", version(3, 9, 2, "final", 0))
    (found,) = interpreter.version()
    assert (found.level, found.advice) == (
        Level.RED,
        "set ANALYSIS_PYTHON to a CPython 3.11 to 3.13 and source setup.sh",
    )


@pytest.mark.usefixtures("project")
def test_an_environment_as_it_should_be() -> None:
    (found,) = interpreter.environment()
    assert (found.level, found.found) == (Level.GREEN, f"all 1 packages of sandboxes/analysis.txt, in {sys.prefix}")


def test_a_missing_package(project: Path) -> None:
    names = [f"no-such-package-{letter}==1" for letter in "abcd"]
    write_list(project, f"luigi=={metadata.version('luigi')}", *names)
    (found,) = interpreter.environment()
    assert found.level == Level.RED
    assert found.found.startswith("4 of 5 packages of sandboxes/analysis.txt are missing in ")
    assert "(no-such-package-a, no-such-package-b, no-such-package-c, ...)" in found.found


def test_a_package_of_another_version(project: Path) -> None:
    write_list(project, "luigi==0.1", 'no-such-package==1 ; python_version < "3"')
    (found,) = interpreter.environment()
    assert found.level == Level.YELLOW
    assert f"(luigi {metadata.version('luigi')} instead of 0.1)" in found.found
    assert found.advice.startswith("results would claim the pinned versions: ")
    assert interpreter.differences(project / "sandboxes" / "analysis.txt").pinned == 1


def test_the_list_is_the_one_the_environment_was_made_of(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "sandboxes" / "ml.txt").write_text("no-such-package==1\n")
    key = list_hash(project / "sandboxes" / "ml.txt")
    monkeypatch.setattr(sys, "prefix", f"/envs/{key}-py3.11")
    (found,) = interpreter.environment()
    assert found.found == f"1 of 1 packages of sandboxes/ml.txt are missing in /envs/{key}-py3.11 (no-such-package)"


def test_the_environment_of_an_image_is_a_link(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "sandboxes" / "ml.txt").write_text("no-such-package==1\n")
    place = environment_in(project, f"{list_hash(project / 'sandboxes' / 'ml.txt')}-py3.12")
    (project / "environment").symlink_to(place)
    monkeypatch.setattr(sys, "prefix", str(project / "environment"))
    (found,) = interpreter.environment()
    assert "1 of 1 packages of sandboxes/ml.txt are missing" in found.found


def test_environments_that_are_built(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = interpreter.environments()
    assert (found.name, found.level, found.found) == ("environment analysis", Level.GREY, "not built yet")
    key = list_hash(project / "sandboxes" / "analysis.txt")
    moved = environment_in(project, f"{key}-py3.11", "/elsewhere")
    (found,) = interpreter.environments()
    assert (found.level, found.found) == (Level.YELLOW, f"{moved} is not complete, or was moved there")
    built = environment_in(project, f"{key}-py3.12")
    (found,) = interpreter.environments()
    assert (found.level, found.found) == (Level.GREEN, str(built))
    monkeypatch.setenv("ANALYSIS_JOB_BACKEND", "slurm")
    (found,) = interpreter.environments()
    assert found.level == Level.GREY
