from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.console import main
from analysis.engine import garbage
from analysis.engine.storage import places, settings, stores
from tests.engine.storage.toy_server import ToyServer, toy_store
from tests.engine.toys import Toy, copy_folder, dead_process, files, make_old

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(store: Path) -> Path:
    """A store with a folder of a task that is gone, and a file of the user's."""
    copy_folder(store, "v1/Toy", "v1/Gone", recipe={"task": "Gone"})
    (store / "notes.txt").write_text("mine")
    return store


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files, and that of jobs: never those of this machine, whose files are others'."""
    path = tmp_path / "temporary"
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(path))
    monkeypatch.setattr("analysis.engine.backends.settings.jobs_folder", lambda: tmp_path / "jobs")
    return path


class Terminal(io.StringIO):
    """A terminal on which an answer is typed."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("options", [[], ["--stale", "--history"], ["--version", "v1"], ["--yes"]])
def test_dry_run_shows_and_changes_nothing(store: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = files(store)
    size = sum(path.stat().st_size for path in (store / "v1/Gone").rglob("*") if path.is_file())
    assert main(["gc", *options]) == 0
    found = capsys.readouterr()
    lines = found.out.splitlines()
    assert lines[2].split("  ")[0] == "v1/Gone"
    assert "there is no task Gone" in lines[2]
    assert lines[2].split()[-3] == "9"
    assert f"9 files, {size / 1000:.3g} kB in {store}" in lines
    assert ("  notes.txt" in lines) == ("--version" not in options)
    assert "Nothing was removed. Use --delete" in lines[-1]
    assert files(store) == before


def test_delete_and_again(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(store)
    assert main(["gc", "--delete", "--yes"]) == 0
    assert "9 files removed" in capsys.readouterr().out
    assert before - files(store) == {path for path in before if path.startswith("v1/Gone/")}
    assert main(["gc", "--delete", "--yes"]) == 0
    assert capsys.readouterr().out.startswith(f"No garbage in {store}.\n")
    assert Toy().complete()


def test_without_a_terminal_it_wants_yes(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(store)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert main(["gc", "--delete"]) == 1
    assert "there is no terminal to ask on: use --delete --yes" in capsys.readouterr().err
    assert files(store) == before


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("yes", 0), ("", 1), ("n", 1), ("x", 1)])
def test_on_a_terminal_it_asks(store: Path, answer: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before, screen = files(store), Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(["gc", "--delete"]) == code
    assert screen.getvalue().startswith("Remove 9 files? [y/N] ")
    assert (files(store) == before) == (code == 1)


def test_what_is_left_is_said(store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if ".lock" not in path.name:
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok)

    before = files(store)
    monkeypatch.setattr(Path, "unlink", refuse)
    assert main(["gc", "--delete", "--yes"]) == 1
    found = capsys.readouterr()
    assert "v1/Gone/a_0.txt is still there: permission denied\n" in found.err
    assert found.err.endswith("and 4 more\n")
    assert files(store) == before


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        (None, "ANALYSIS_STORE is not set"),
        ("", "ANALYSIS_STORE is not set"),
        ("{tmp}/nothing", "does not exist"),
        ("{tmp}/store/notes.txt", "does not exist"),
        ("/", "is no place to remove files from"),
        ("{tmp}/home", "is no place to remove files from"),
        ("{tmp}/store/../home/", "is no place to remove files from"),
        ("{tmp}", "is no place to remove files from"),
        ("{tmp}/link", "is no place to remove files from"),
    ],
)
@pytest.mark.usefixtures("store")
def test_refuses_a_place_that_is_no_store(
    tmp_path: Path,
    variable: str | None,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = files(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if variable is None:
        monkeypatch.delenv("ANALYSIS_STORE")
    else:
        monkeypatch.setenv("ANALYSIS_STORE", variable.format(tmp=tmp_path))
    assert main(["gc", "--delete", "--yes"]) == 1
    found = capsys.readouterr()
    assert found.err.startswith("GarbageError: ")
    assert sentence in found.err
    assert found.err.count("\n") == 1
    assert files(tmp_path) - {"link"} == before


@pytest.mark.parametrize("version", ["..", ".", "", "v2", "v1/Gone", "/", "notes.txt"])
def test_refuses_a_version_that_is_not_there(store: Path, version: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(store)
    assert main(["gc", "--delete", "--yes", "--version", version]) == 1
    assert capsys.readouterr().err == f"GarbageError: --version {version!r} is not in the store: there are v1\n"
    assert files(store) == before


def test_refuses_without_all_tasks(store: Path, tmp_path: Path) -> None:
    before = files(store)
    config = tmp_path / "law.cfg"
    config.write_text("[modules]\nanalysis.tasks\nnothing_of_that_name\n")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "analysis", "gc", "--delete", "--yes"],
        env={**os.environ, "LAW_CONFIG_FILE": str(config), "PYTHONPATH": str(REPOSITORY), "LAW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "TaskIndexError: module nothing_of_that_name cannot be imported" in done.stderr
    assert done.stdout == ""
    assert files(store) == before


# several stores


@pytest.fixture
def server(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToyServer:  # noqa: ARG001
    """A second store, on a server, with a folder of a task that is gone; ``[outputs]`` names both."""
    copy_folder(tmp_path / "store", "v1/Toy", "v2/Gone", recipe={"task": "Gone"})
    (tmp_path / "server").mkdir()
    (tmp_path / "store/v2").rename(tmp_path / "server/v2")
    server = ToyServer(tmp_path / "server")
    remote, known = toy_store(server), stores.store_named
    monkeypatch.setattr(stores, "store_named", lambda name: remote if name == "toy" else known(name))
    choices = [settings.Choice("local", ""), settings.Choice("wlcg", "toy")]
    monkeypatch.setattr(settings, "choices", lambda: choices)
    monkeypatch.setattr(places, "configured", lambda: [])
    monkeypatch.setattr(garbage, "configured", lambda: [])
    return server


def test_all_stores_are_looked_at(store: Path, server: ToyServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc"]) == 0
    found = capsys.readouterr().out
    assert f"in {store}\n" in found
    assert "9 files" in found
    assert "in toy:\n" in found
    assert found.count("there is no task Gone") == 2
    assert main(["gc", "--delete", "--yes"]) == 0
    assert "18 files removed" in capsys.readouterr().out
    assert files(server.folder) == set()
    assert Toy().complete()


@pytest.mark.parametrize(("name", "left"), [("toy", "v1"), ("local", "v2")])
def test_one_store(store: Path, server: ToyServer, name: str, left: str) -> None:
    assert main(["gc", "--store", name, "--delete", "--yes"]) == 0
    there = [path for path in {*files(store), *files(server.folder)} if "/Gone/" in path]
    assert {path.split("/")[0] for path in there} == {left}
    assert len(there) == 9


def test_a_store_out_of_reach_is_said(store: Path, server: ToyServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.is_down = True
    assert main(["gc", "--delete", "--yes"]) == 1
    found = capsys.readouterr()
    assert "store toy was not looked at: list toy://host: connection refused" in found.err
    assert "9 files removed" in found.out
    assert not any("Gone" in path for path in files(store))
    assert len(files(server.folder)) == 9
    assert main(["gc", "--store", "toy"]) == 1
    found = capsys.readouterr()
    assert found.err.startswith("GarbageError: store toy was not looked at")
    assert found.out == ""


def test_a_version_of_one_of_the_stores(store: Path, server: ToyServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc", "--version", "v2", "--delete", "--yes"]) == 0
    assert "9 files removed" in capsys.readouterr().out
    assert files(server.folder) == set()
    assert any("v1/Gone" in path for path in files(store))
    assert main(["gc", "--version", "v3"]) == 1
    assert capsys.readouterr().err.endswith("--version 'v3' is not in any store: there are v1\n")


def test_a_store_that_does_not_exist(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(store)
    assert main(["gc", "--store", "nowhere", "--delete", "--yes"]) == 1
    assert "there is no store 'nowhere'" in capsys.readouterr().err
    assert files(store) == before


def test_temporary_files_of_this_machine(store: Path, temporary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = temporary / f"analysis-{dead_process()}-ab"
    folder.mkdir(parents=True)
    (folder / "output.root").write_text("12345")
    for path in (folder / "output.root", folder):
        make_old(path)
    assert main(["gc", "--store", "local"]) == 0
    assert str(folder) not in capsys.readouterr().out
    assert main(["gc", "--delete", "--yes"]) == 0
    found = capsys.readouterr().out
    assert str(folder) in found
    assert "10 files removed" in found
    assert not folder.exists()
    assert store.is_dir()
