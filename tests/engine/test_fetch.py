from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from analysis.engine.errors import ParameterError, StoreError
from analysis.engine.fetch import fetch_output, remove_output, tasks_within
from analysis.engine.fetch import parse_extent as extent
from analysis.engine.leftovers import lock_path
from tests.console.test_gc import Terminal
from tests.engine.storage.toy_server import ToyServer, toy_store
from tests.engine.test_questions import ToyLaw
from tests.engine.toy_chain import Count, Read, Split, Sum, World, chain_states, contents, forget, make, states

pytestmark = pytest.mark.usefixtures("world")
Output = pytest.CaptureFixture[str]


@pytest.fixture
def done(world: World) -> World:
    make(Sum())
    return world


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World) -> ToyServer:  # noqa: ARG001
    """All outputs are on this server."""
    (tmp_path / "server").mkdir()
    server = ToyServer(tmp_path / "server")
    store = toy_store(server)
    monkeypatch.setattr("analysis.engine.placed.store_for", lambda _family: store)
    forget()
    return server


@pytest.mark.parametrize(
    ("text", "families"),
    [
        ("0", ["Sum"]),
        ("1", ["Sum", "Count"]),
        ("-1", ["Sum", "Count", "Read"]),
        ("Count", ["Sum", "Count"]),
        ("S*|2", ["Sum"]),
        ("1|Nothing", ["Sum", "Count"]),
    ],
)
def test_extent(text: str, families: list[str]) -> None:
    assert [task.get_task_family() for task, _ in tasks_within(Sum(), extent(text))] == families


# fetch


@pytest.mark.usefixtures("done")
def test_fetch(tmp_path: Path, store: Path, capsys: Output) -> None:
    before = contents(store)
    assert fetch_output(Sum(), ["-1", "a", str(tmp_path / "all")]) == 0
    there = {path.name: path.read_text() for path in (tmp_path / "all").iterdir()}
    assert sorted(name.rpartition("__")[2] for name in there) == [
        *(f"count_{i}.txt" for i in range(3)),
        *(f"read_{i}.txt" for i in range(3)),
        "sum.txt",
    ]
    assert all(name.split("_", 1)[0] in {"Read", "Count", "Sum"} for name in there)
    assert there[f"{Sum().live_task_id}__sum.txt"] == "content 3"
    assert "7 files" in capsys.readouterr().out
    assert contents(store) == before


@pytest.mark.usefixtures("done")
def test_fetch_with_short_names(tmp_path: Path) -> None:
    assert fetch_output(Sum(), ["0", "all", str(tmp_path / "x"), "False", "True"]) == 0
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["sum.txt"]


@pytest.mark.usefixtures("done")
def test_dry_fetch(tmp_path: Path, capsys: Output) -> None:
    assert fetch_output(Sum(), ["0", "d", str(tmp_path / "x")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("v1/Sum/sum.txt -> ")
    assert not (tmp_path / "x").exists()


@pytest.mark.usefixtures("done")
def test_fetch_says_what_is_missing(tmp_path: Path, store: Path, capsys: Output) -> None:
    (store / "v1/Read/read_1.txt").unlink()
    assert fetch_output(Read(), ["0", "a", str(tmp_path / "x")]) == 1
    assert len(list((tmp_path / "x").iterdir())) == 2
    assert capsys.readouterr().err == "1 tasks or branches have no outputs: run them first\n"


@pytest.mark.usefixtures("done")
def test_fetch_of_what_is_damaged(tmp_path: Path, store: Path) -> None:
    path = store / "v1/Sum/sum.txt"
    path.write_text("X" + path.read_text()[1:])
    with pytest.raises(StoreError, match="is not what its manifest says"):
        fetch_output(Sum(), ["0", "a", str(tmp_path / "x")])
    assert list((tmp_path / "x").iterdir()) == []


@pytest.mark.parametrize(("answers", "number"), [("y\nn\nn\n", 1), ("n\ny\ny\n", 6)])
@pytest.mark.usefixtures("done")
def test_fetch_asks(tmp_path: Path, answers: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answers))
    assert fetch_output(Sum(), ["-1", "i", str(tmp_path / "x")]) == 0
    assert len(list((tmp_path / "x").iterdir())) == number


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["0", "x"], "the mode 'x' is none of i"),
        (["0", "alles"], "the mode 'alles' is none of i"),
        (["0"], "there is no terminal to ask on"),
        (["0", "a", ".", "perhaps"], "'perhaps' is neither True nor False"),
        (["0", "a", ".", "True", "False", "x"], "has 6 values: there are 5 at most"),
    ],
)
def test_wrong_values(values: list[str], sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        fetch_output(Sum(), values)


def test_from_a_server(server: ToyServer, tmp_path: Path) -> None:
    make(Read())
    assert fetch_output(Read(), ["-1", "a", str(tmp_path / "x")]) == 0
    assert len(list((tmp_path / "x").iterdir())) == 3
    server.is_down = True
    with pytest.raises(StoreError, match="nothing is known of what is there"):
        fetch_output(Read(), ["0", "a", str(tmp_path / "y")])
    with pytest.raises(StoreError, match="nothing is known of what is there"):
        remove_output(Read(), ["0", "a"])
    server.is_down = False
    assert states(Read()) == "ccc"
    assert remove_output(Read(branch=1), ["0", "a"]) == 0
    assert states(Read()) == "cmc"


# remove


@pytest.mark.usefixtures("done")
def test_remove(store: Path, capsys: Output) -> None:
    assert remove_output(Count(), ["0", "a"]) == 0
    assert chain_states() == "ccc mmm c"
    assert not list((store / "v1/Count").glob("*.txt"))
    assert not list((store / "v1/Count/manifests").glob("*.json"))
    assert len(list((store / "v1/Count/history").iterdir())) == 3
    assert capsys.readouterr().out.endswith("6 files removed\n")
    assert make(Count()) == ["Count branch 0", "Count branch 1", "Count branch 2"]


@pytest.mark.usefixtures("done")
def test_remove_one_branch(store: Path) -> None:
    assert remove_output(Read(branch=1), ["0", "a"]) == 0
    assert chain_states() == "cmc ccc c"
    assert (store / "v1/Read/read_0.txt").exists()


@pytest.mark.usefixtures("done")
def test_dry_removal(store: Path, capsys: Output) -> None:
    before = contents(store)
    assert remove_output(Sum(), ["-1", "d"]) == 0
    assert capsys.readouterr().out.count(f"    {store}/v1/") == 14
    assert contents(store) == before


@pytest.mark.usefixtures("done")
def test_remove_asks(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("n\ny\nn\n"))
    assert remove_output(Sum(), ["-1"]) == 0
    assert chain_states() == "ccc mmm c"
    assert store.exists()


@pytest.mark.usefixtures("done")
def test_remove_leaves_what_somebody_works_on(capsys: Output) -> None:
    branch = Read(branch=1)
    lock = branch.store.lock(lock_path(branch.folder, 1))
    assert lock.acquire()
    try:
        assert remove_output(Read(), ["0", "a"]) == 1
    finally:
        lock.release()
    assert chain_states() == "mcm ccc c"
    assert capsys.readouterr().err == "Read branch 1 was left alone: somebody is at work on it\n"


@pytest.mark.parametrize("way", ["dots", "link"])
def test_remove_never_leaves_the_folder_of_the_task(store: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    make(Split())
    (store / "v1/mine.txt").write_text("mine")
    (store / "v1/Split/link").symlink_to("..")
    target: Any = Split().target({"dots": "../mine.txt", "link": "link/mine.txt"}[way])
    monkeypatch.setattr(Split, "output", lambda _self: target)
    with pytest.raises(StoreError, match="nothing was removed"):
        remove_output(Split(), ["0", "a"])
    assert (store / "v1/mine.txt").exists()
    assert (store / "v1/Split/a.txt").exists()


def test_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    law = ToyLaw(tmp_path / "new store", tmp_path / "home")
    law.succeed("Sum")
    done = law.succeed("Sum", "--fetch-output", f"0,a,{tmp_path / 'x'}")
    assert "1 files" in done.stdout
    assert len(list((tmp_path / "x").iterdir())) == 1
    manifest = next((law.store / "v1/Sum/manifests").glob("*.json"))
    assert "2 files removed" in law.succeed("Sum", "--remove-output", "0,a").stdout
    assert not manifest.exists()
    law.succeed("Sum")
    written = (law.store / "v1/Sum/sum.txt").stat().st_mtime_ns
    law.succeed("Sum", "--remove-output", "0,a,True")
    assert (law.store / "v1/Sum/sum.txt").stat().st_mtime_ns > written
    assert law("Sum", "--remove-output", "0").returncode == 1
    assert law("Sum", "--fetch-output", "0,x").returncode == 1
