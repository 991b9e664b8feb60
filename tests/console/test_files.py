from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from analysis.console import ls, main
from analysis.engine.storage import stores
from analysis.engine.storage.cache import Cache
from analysis.engine.storage.local import LocalStore
from analysis.engine.storage.remote import RemoteStore
from tests.console.test_gc import Terminal
from tests.engine.lock_holders import HOLD, Process, line, start
from tests.engine.storage.toy_server import ToyServer, toy_store

Output = pytest.CaptureFixture[str]


@pytest.fixture
def server(tmp_path: Path) -> ToyServer:
    """A server with some files."""
    server = ToyServer(tmp_path / "server")
    for path, size in {"v1/Toy/a.json": 3, "v1/Toy/b #1.json": 2000, "v1/Toy/manifests/0.json": 5}.items():
        (server.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (server.folder / path).write_bytes(b"x" * size)
    (server.folder / "v1/Toy/.c.json.host-1-x1.part").write_bytes(b"part")
    return server


@pytest.fixture
def remote(server: ToyServer, store: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteStore:
    """The store ``toy`` of that server, beside the local one."""
    found = toy_store(server)
    monkeypatch.setattr(stores, "store_named", {"toy": found, "local": LocalStore(store)}.__getitem__)
    return found


def paths(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


def fails(words: list[str], sentence: str, capsys: Output) -> str:
    """A command ends with code 1, and one sentence; before it, a store may warn of its servers."""
    assert main(words) == 1
    *others, last = capsys.readouterr().err.splitlines()
    assert sentence in last
    assert [line for line in others if not line.startswith("WARNING: analysis.engine.storage")] == []
    return last


pytestmark = pytest.mark.usefixtures("remote")


# ls


def test_ls(capsys: Output) -> None:
    assert main(["ls", "toy:/v1/Toy"]) == 0
    assert capsys.readouterr().out.splitlines() == ["a.json", "b #1.json", "manifests/"]
    assert main(["ls", "-a", "toy:/v1/Toy"]) == 0
    assert ".c.json.host-1-x1.part" in capsys.readouterr().out.splitlines()
    assert main(["ls", "-R", "toy:/"]) == 0
    listed = ["v1/", "v1/Toy/", "v1/Toy/a.json", "v1/Toy/b #1.json", "v1/Toy/manifests/", "v1/Toy/manifests/0.json"]
    assert capsys.readouterr().out.splitlines() == listed
    assert main(["ls", "toy:/v1/Toy/a.json"]) == 0
    assert capsys.readouterr().out == "a.json\n"


def test_ls_long(server: ToyServer, capsys: Output) -> None:
    assert main(["ls", "-l", "toy:/v1/Toy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r" +3 B  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  a.json", lines[0])
    assert re.fullmatch(r" *2 kB  .*  b #1.json", lines[1])
    assert re.fullmatch(r" +\d{4}.*  manifests/", lines[2])
    assert server.asked["list"] == 1


def test_ls_of_a_task(store: Path, capsys: Output) -> None:
    assert main(["ls", "tests.engine.toys.Toy"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["a_0.txt", "a_1.txt"]
    assert main(["ls", "tests.engine.toys.Toy", "--branch", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == ["a_1.txt", "b_1.txt"]
    (store / "v1/Toy/b_1.txt").unlink()
    assert main(["ls", "tests.engine.toys.Toy", "--branch", "1"]) == 1
    assert capsys.readouterr().err == "1 of 2 outputs are not there\n"


def test_ls_of_the_disk(tmp_path: Path, capsys: Output) -> None:
    assert main(["ls", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == ["server/", "store/"]


def test_ls_never_writes_control_characters(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "a\x1b[2Jb").write_text("")
    assert main(["ls", str(tmp_path)]) == 0
    assert "a?[2Jb" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("toy:/v1/nothing", "FilesError: toy:/v1/nothing: there is no such file or folder"),
        ("toy:/v1/../../x", "leads to another folder"),
        ("toy:/%2e%2e/x", "leads to another folder once it is decoded"),
        ("root://host//x", "is a URL: write NAME:/PATH"),
        ("/nothing/at/all", "/nothing/at/all: there is no such file or folder"),
    ],
)
def test_ls_of_what_is_not_there(address: str, sentence: str, capsys: Output) -> None:
    fails(["ls", address], sentence, capsys)


def test_ls_of_no_task(capsys: Output) -> None:
    assert main(["ls", "NoSuchTask"]) == 2
    assert "there is no task NoSuchTask" in capsys.readouterr().err


def test_ls_of_stores(
    remote: RemoteStore, server: ToyServer, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(ls, "known_stores", lambda: [LocalStore(store), remote])
    assert main(["ls"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:3] for row in rows] == [["local", "local", str(store)], ["toy", "wlcg", "toy://host"]]
    assert [row[-1] for row in rows] == ["ms", "ms"]
    server.is_down = True
    assert main(["ls"]) == 1
    assert "no answer: connection refused" in capsys.readouterr().out


# cp


def test_cp_in_all_directions(server: ToyServer, tmp_path: Path, store: Path, capsys: Output) -> None:
    assert main(["cp", "toy:/v1/Toy/b #1.json", str(tmp_path / "down.json")]) == 0
    assert capsys.readouterr().out == f"1 file, 2 kB copied to {tmp_path / 'down.json'}\n"
    assert (tmp_path / "down.json").read_bytes() == b"x" * 2000
    assert main(["cp", str(tmp_path / "down.json"), "toy:/v2/up.json"]) == 0
    assert main(["cp", "toy:/v2/up.json", "toy:/v2/other/"]) == 0
    assert main(["cp", "toy:/v2/up.json", str(store)]) == 0
    assert main(["cp", str(store / "up.json"), "toy:/"]) == 0
    assert {"up.json", "v2/up.json", "v2/other/up.json"} <= paths(server.folder)
    assert (server.folder / "up.json").read_bytes() == b"x" * 2000


def test_cp_of_a_folder(server: ToyServer, tmp_path: Path, capsys: Output) -> None:
    assert main(["cp", "-r", "toy:/v1", str(tmp_path / "all")]) == 0
    assert paths(tmp_path / "all") == {"Toy/a.json", "Toy/b #1.json", "Toy/manifests/0.json"}
    assert main(["cp", "-r", str(tmp_path / "all"), "toy:/v1"]) == 0
    assert "v1/all/Toy/manifests/0.json" in paths(server.folder)
    assert capsys.readouterr().out.endswith("3 files, 2.01 kB copied to toy:/v1\n")


def test_cp_copies_manifests_last(server: ToyServer, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "all/Toy/manifests").mkdir(parents=True)
    for name in ("z.json", "manifests/0.json"):
        (tmp_path / "all/Toy" / name).write_text("1")
    (tmp_path / "all/Toy/y.json").symlink_to("nowhere")
    assert main(["cp", "-r", str(tmp_path / "all"), "toy:/new"]) == 1
    said = capsys.readouterr()
    assert paths(server.folder / "new") == {"Toy/z.json"}
    assert "y.json was not copied: no such file or directory" in said.err
    assert "1 manifests were not copied" in said.err


def test_cp_never_replaces_without_force(server: ToyServer, tmp_path: Path, capsys: Output) -> None:
    source = tmp_path / "a.json"
    source.write_text("new")
    for destination in ("toy:/v1/Toy/a.json", "toy:/v1/Toy"):
        fails(["cp", str(source), destination], "toy:/v1/Toy/a.json is there already: add --force", capsys)
    (tmp_path / "Toy").mkdir()
    source.rename(tmp_path / "Toy/a.json")
    fails(["cp", "-r", str(tmp_path / "Toy"), "toy:/v1"], "is there already", capsys)
    assert (server.folder / "v1/Toy/a.json").read_text() == "xxx"
    assert main(["cp", "-r", "--force", str(tmp_path / "Toy"), "toy:/v1"]) == 0
    assert (server.folder / "v1/Toy/a.json").read_text() == "new"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["toy:/v1", "toy:/v2"], "is a folder: add -r"),
        (["toy:/nothing", "toy:/v2"], "no such file or folder"),
        (["-r", "toy:/v1", "toy:/v1"], "are the same, or one is in the other"),
        (["-r", "toy:/v1", "toy:/v1/Toy/"], "are the same, or one is in the other"),
        (["toy:/v1/Toy/a.json", "toy:/v1/Toy/a.json"], "are the same"),
        (["-r", "toy:/v1", "toy:/v1/Toy/a.json"], "are the same, or one is in the other"),
        (["toy:/v1/Toy/a.json", "toy:/../x"], "leads to another folder"),
    ],
)
def test_cp_refuses(words: list[str], sentence: str, server: ToyServer, capsys: Output) -> None:
    before = paths(server.folder)
    fails(["cp", *words], sentence, capsys)
    assert paths(server.folder) == before


def test_cp_never_leaves_half_a_file(server: ToyServer, tmp_path: Path, capsys: Output) -> None:
    before = paths(server.folder)
    (tmp_path / "new.json").write_text("1234")
    server.cuts = True
    assert main(["cp", str(tmp_path / "new.json"), "toy:/v1"]) == 1
    assert "was not copied: upload toy://host/v1/new.json: only 2 of 4 bytes are there" in capsys.readouterr().err
    assert paths(server.folder) == before


def test_progress_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(["cp", "-r", "toy:/v1", str(tmp_path / "all")]) == 0
    assert "3 files" in screen.getvalue()


# rm


def test_rm_of_a_file(server: ToyServer, capsys: Output) -> None:
    assert main(["rm", "toy:/v1/Toy/a.json", "toy:/v1/Toy/b #1.json"]) == 0
    assert capsys.readouterr().out == "2 files, 2 kB removed\n"
    assert paths(server.folder) == {"v1/Toy/manifests/0.json", "v1/Toy/.c.json.host-1-x1.part"}


def test_rm_of_a_folder(server: ToyServer, capsys: Output) -> None:
    fails(["rm", "toy:/v1"], "is a folder: add -r", capsys)
    fails(["rm", "-r", "toy:/v1"], "there is no terminal to ask on: add --yes", capsys)
    assert main(["rm", "-r", "-n", "toy:/v1"]) == 0
    assert capsys.readouterr().err == "4 files, 2.01 kB would be removed\n"
    assert len(paths(server.folder)) == 4
    assert main(["rm", "-r", "--yes", "toy:/v1"]) == 0
    assert list(server.folder.iterdir()) == []


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("", 1), ("n", 1)])
def test_rm_asks_on_a_terminal(server: ToyServer, answer: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(["rm", "-r", "toy:/v1"]) == code
    assert screen.getvalue().startswith("Remove 4 files, 2.01 kB? [y/N] ")
    assert len(paths(server.folder)) == (0 if code == 0 else 4)


@pytest.mark.parametrize(
    "address", ["toy:/", "toy:", "{store}", "{store}/", "{store}/v1/..", "/", "{tmp}", "/etc/hosts"]
)
def test_rm_never_removes_the_root_or_what_is_outside(
    address: str, server: ToyServer, store: Path, tmp_path: Path, capsys: Output
) -> None:
    before = paths(tmp_path)
    assert main(["rm", "-r", "--yes", address.format(store=store, tmp=tmp_path)]) == 1
    assert re.search(r"never removed|is in no store", capsys.readouterr().err)
    assert paths(tmp_path) == before
    assert len(paths(server.folder)) == 4


def test_rm_of_several_is_all_or_nothing(server: ToyServer, capsys: Output) -> None:
    fails(["rm", "toy:/v1/Toy/a.json", "toy:/nothing"], "no such file or folder; nothing was removed", capsys)
    assert len(paths(server.folder)) == 4


def test_rm_never_follows_links(store: Path, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/mine.txt").write_text("mine")
    (store / "v1/out").symlink_to(tmp_path / "outside")
    fails(["rm", str(store / "v1/out/mine.txt")], "is in no store", capsys)
    assert main(["rm", "-r", "--yes", str(store / "v1")]) == 0
    assert (tmp_path / "outside/mine.txt").read_text() == "mine"
    assert not (store / "v1").exists()


def test_rm_respects_locks(store: Path, capsys: Output) -> None:
    started: list[Process] = []
    try:
        holder = start(started, HOLD, store / "v1/Toy/manifests/.1.lock")
        assert line(holder) == "held"
        before = paths(store)
        for words in (["-r", "--yes", str(store / "v1")], [str(store / "v1/Toy/a_1.txt")]):
            assert main(["rm", *words]) == 1
            assert "is still there: somebody is at work there" in capsys.readouterr().err
            assert paths(store) == before
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert main(["rm", "-r", "--yes", str(store / "v1")]) == 0  # its holder is gone
    assert not (store / "v1").exists()


def test_rm_respects_locks_on_servers(remote: RemoteStore, server: ToyServer, capsys: Output) -> None:
    before = paths(server.folder)
    with remote.lock(remote.root / "v1/Toy/manifests/.0.lock"):  # type: ignore[attr-defined]
        assert main(["rm", "-r", "--yes", "toy:/v1"]) == 1
        assert "somebody is at work there" in capsys.readouterr().err
        assert main(["rm", "toy:/v1/Toy/a.json"]) == 1
        assert before <= paths(server.folder)
    assert main(["rm", "-r", "--yes", "toy:/v1"]) == 0
    assert list(server.folder.iterdir()) == []


# outages


@pytest.mark.parametrize(
    "words",
    [
        ["ls", "toy:/v1"],
        ["ls", "-R", "toy:/v1"],
        ["cp", "toy:/v1/Toy/a.json", "{tmp}/new"],
        ["cp", "{tmp}/new.txt", "toy:/new.txt"],
        ["cp", "-r", "--force", "{tmp}/store", "toy:/new"],
        ["rm", "toy:/v1/Toy/a.json"],
        ["rm", "-r", "--yes", "toy:/v1"],
        ["rm", "-r", "-n", "toy:/v1"],
    ],
)
def test_an_outage_is_said(words: list[str], server: ToyServer, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "new.txt").write_text("1")
    before = paths(tmp_path)
    server.is_down = True
    said = fails([word.format(tmp=tmp_path) for word in words], "nothing is known of what is there", capsys)
    assert said.startswith("StorageOutageError: ")
    assert paths(tmp_path) == before


@pytest.mark.parametrize("operation", ["remove", "remove folder", "list"])
def test_outage_in_the_middle_of_rm(server: ToyServer, operation: str, capsys: Output) -> None:
    server.down_for = {operation}
    fails(["rm", "-r", "--yes", "toy:/v1"], "connection refused", capsys)


# cache


def test_cache(server: ToyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr(ls, "known_stores", list)
    assert main(["cache"]) == 0
    assert capsys.readouterr().out.startswith("There is no cache")
    cached = toy_store(server, "cached", Cache(tmp_path / "cache", 10**6))
    monkeypatch.setattr(ls, "known_stores", lambda: [cached])
    monkeypatch.setattr(stores, "store_named", {"cached": cached}.__getitem__)
    assert main(["cp", "cached:/v1/Toy/a.json", str(tmp_path / "a")]) == 0
    capsys.readouterr()
    assert main(["cache"]) == 0
    assert "1 files" in capsys.readouterr().out
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'cache'}: 1 file, 3 B removed, 0 of them in use\n"


def test_reader_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

        def fileno(self) -> int:
            return sys.__stderr__.fileno() if sys.__stderr__ else 2

    monkeypatch.setattr("os.dup2", lambda *_: None)
    monkeypatch.setattr(sys, "stdout", Gone())
    assert main(["ls", "toy:/v1/Toy"]) == 141
