"""What a server does not take, and what somebody does to its files, through ``law run``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.integration.storage_fixtures import Places, new_place, place, scheme, storage
from tests.integration.storage_runs import Runs, make_runs, runs, started
from tests.testbed.storage import Protocol

__all__ = ["new_place", "place", "runs", "scheme", "storage"]

pytestmark = pytest.mark.integration

FOLDER = "v1/WriteToy/toys"


def test_disk_full(new_place: Places, scheme: Protocol, tmp_path: Path) -> None:
    """The first branch has room, the others have not: nothing of them is there."""
    runs = make_runs(new_place("xrd-full", scheme), tmp_path)
    large = ("--size", 4_000_000)
    runs.succeed("WriteToy", *large, "--branches", "0")
    free = shutil.disk_usage(runs.place.disk).free
    filler = runs.place.write("filler", bytes(free - 3_000_000))
    said = runs("WriteToy", *large)
    assert said.code == 30
    # the server says so, or a checksum does
    full = {"root": "no space left on device", "davs": "http 507: no space left on device"}[scheme]
    ways = (f"{full}: free some space", "bytes are there, as on a full disk")
    assert any(way in said.text for way in ways), said.text
    assert f"upload {runs.base}/{FOLDER}/size_4000000/out_1.bin: " in said.text
    assert "Traceback" not in said.text
    assert runs.current() == {0}
    filler.unlink()
    runs.succeed("WriteToy", *large)
    assert runs.current() == {0, 1, 2}


def test_not_writable(runs: Runs) -> None:
    runs.succeed("WriteToy", "--branches", "0")
    folders = [path for path in (runs.place.disk / "v1").rglob("*") if path.is_dir()]
    for folder in folders:
        shutil.chown(folder, "root", "root")
    said = runs("WriteToy")
    assert said.code == 30
    said.sentence("DeniedError", f"write {runs.base}/{FOLDER}/manifests/.1.lock.", "the permissions of that path")
    assert runs.current() == {0}
    for folder in folders:
        shutil.chown(folder, "xrootd", "xrootd")
    runs.succeed("WriteToy")
    assert runs.told() == ["0", "1", "2"]


def test_not_readable(runs: Runs) -> None:
    runs.succeed("WriteToy")
    folder = runs.place.disk / FOLDER
    folder.chmod(0)
    for task in ("WriteToy", "ReadToy"):
        said = runs(task, "--print-status", "0")
        assert said.code == 1
        said.sentence("DeniedError", f"{runs.base}/{FOLDER}: ", "the permissions of that path")
        assert "missing" not in said.text
    folder.chmod(0o755)
    assert "3 current" in runs.status()


def test_read_only(new_place: Places, scheme: Protocol, tmp_path: Path) -> None:
    runs = make_runs(new_place("xrd-readonly", scheme), tmp_path)
    said = runs("WriteToy")
    assert said.code == 30
    said.sentence("RemoteError", f"write {runs.base}/{FOLDER}", "it can only be read: name another store")
    assert runs.files("*") == {}


@pytest.mark.parametrize("name", ["a b#ü", "100%", "a?b"])
def test_odd_names(runs: Runs, name: str) -> None:
    """They are what they are on the server, or refused, before anything is written."""
    said = runs("WriteToy", "--file", name, "--n", 1)
    if runs.place.scheme == "root" and "?" not in name:
        assert said.code == 0, said.text
        assert list(runs.files("*.bin")) == [f"{name}_0.bin"]
        assert runs.current() == {0}
    else:
        assert said.code == 30
        error = "RemoteError" if runs.place.scheme == "davs" else "AddressError"
        said.sentence(error, runs.base, f"{FOLDER}/n_1/")
        assert runs.files("*.bin") == {}
        assert runs.current() == set()
    assert runs.parts() == []


def test_folder_in_the_way(runs: Runs) -> None:
    """It is not replaced, and what is in it stays."""
    runs.succeed("WriteToy")
    output = runs.files("out_1.bin")["out_1.bin"]
    output.unlink()
    runs.place.write(f"{FOLDER}/out_1.bin/mine.txt", "content")
    said = runs("WriteToy")
    assert said.code == 30
    said.sentence("ExistsError", f"rename {runs.base}/{FOLDER}/out_1.bin: there is a folder of that name: look at")
    assert (output / "mine.txt").read_text() == "content"
    shutil.rmtree(output)
    runs.succeed("WriteToy")
    assert runs.current() == {0, 1, 2}


def test_file_in_the_way(runs: Runs) -> None:
    runs.place.write(FOLDER, "content")
    said = runs("WriteToy")
    assert said.code == 40
    said.sentence("NotAFolderError", f"list {runs.base}/{FOLDER}: ", "look at what is there")
    assert (runs.place.disk / FOLDER).read_text() == "content"


def test_empty_deleted_or_truncated(runs: Runs) -> None:
    """A size that is not that of the manifest is seen at once."""
    runs.succeed("WriteToy", "--n", 4)
    outputs = runs.files("out_*.bin")
    outputs["out_0.bin"].write_bytes(b"")
    outputs["out_1.bin"].unlink()
    os.truncate(outputs["out_2.bin"], 999)
    assert "1 current, 0 stale, 3 missing" in runs.status("WriteToy", "--n", 4)
    runs.succeed("WriteToy", "--n", 4)
    assert runs.current() == {0, 1, 2, 3}
    assert runs.told() == ["0", "1", "2", "3", "0", "1", "2"]


def test_replaced(runs: Runs) -> None:
    """By something of the same size: who reads it, or asks for it, finds out."""
    runs.succeed("WriteToy")
    output = runs.files("out_1.bin")["out_1.bin"]
    output.write_bytes(bytes(1000))
    os.utime(output, (10**9, 10**9))  # within a second, the server has the checksum of before
    said = runs("ReadToy")
    assert said.code == 30
    said.sentence("DamagedCopyError", f"download {runs.base}/{FOLDER}/out_1.bin: what arrived has the checksum")
    assert set(runs.files("read_*.txt")) == {"read_0.txt", "read_2.txt"}
    said = runs("WriteToy", "--verify", "0")
    assert said.code == 1
    assert f"{FOLDER}/out_1.bin is not what was written: it counts as missing now" in said.text
    runs.succeed("ReadToy")
    assert runs.current("ReadToy") == runs.current() == {0, 1, 2}


def test_empty_output(runs: Runs) -> None:
    said = runs("WriteToy", "--size", 0, "--n", 1)
    assert said.code == 30
    assert said.sentences("OutputError")[0].endswith("out_0.bin has zero bytes: nothing was kept")
    assert runs.files("*.bin") == {}


def test_manifest_emptied(runs: Runs) -> None:
    runs.succeed("WriteToy")
    for path in runs.files("*.json").values():
        path.write_bytes(b"")
    assert "0 current, 0 stale, 3 missing" in runs.status()


@pytest.mark.parametrize("seconds", [10**9, 4 * 10**9], ids=["2001", "2096"])
def test_clock_of_the_server(runs: Runs, seconds: int) -> None:
    """What the server's clock says decides on nothing; only what may still be written by others is left alone by it."""
    runs.succeed("WriteToy")
    stranger = runs.place.write(f"{FOLDER}/.out_9.bin.elsewhere-1-xabcdef01.part", "half")
    for path in runs.place.disk.rglob("*"):
        os.utime(path, (seconds, seconds))
    assert "3 current, 0 stale, 0 missing" in runs.status()
    runs.files("out_1.bin")["out_1.bin"].unlink()
    said = runs("WriteToy")
    assert said.code == 0, said.text
    assert runs.current() == {0, 1, 2}
    assert stranger.exists() == (seconds > 10**9)  # old enough to be a leftover, or not


def test_two_runs_at_once(runs: Runs) -> None:
    """Each branch is run by one of them."""
    with (
        started(runs.start("WriteToy", "--n", 12, "--gate", 0)) as one,
        started(runs.start("WriteToy", "--n", 12, "--gate", 0)) as two,
    ):
        runs.waits()
        runs.go()
        ends = [one.end(), two.end()]
    assert [end.code for end in ends] == [0, 0], ends
    assert sorted(told for told in runs.told() if told != "waits") == sorted(map(str, range(12)))
    assert runs.current() == set(range(12))
    assert runs.parts() == []


def test_workers(runs: Runs) -> None:
    """Processes that are forked after the server was asked."""
    runs.succeed("ReadToy", "--n", 8, "--workers", 4)
    assert runs.current() == runs.current("ReadToy") == set(range(8))
    assert len(runs.told()) == 16
    assert {path.read_text() for path in runs.files("read_*.txt").values()} == {"1000 True"}
