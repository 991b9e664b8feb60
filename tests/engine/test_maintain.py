from __future__ import annotations

import getpass
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.engine.errors import ParameterError
from analysis.engine.maintain import accept, verify_checksums
from analysis.engine.manifest import Manifest
from analysis.engine.recipes import Recipes
from analysis.engine.storage.cache import Cache
from tests.engine.storage.toy_server import ToyServer, toy_store
from tests.engine.toy_chain import (
    Count,
    Read,
    Split,
    Sum,
    Use,
    World,
    chain_states,
    contents,
    forget,
    make,
    manifest_path,
    states,
)

pytestmark = pytest.mark.usefixtures("world")


def outputs(store: Path) -> dict[str, bytes]:
    return {path: content for path, content in contents(store).items() if path.endswith(".txt")}


# accept


def test_accepted_outputs_are_current_and_say_by_whom(
    world: World, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(Sum())
    before, old, first = outputs(store), str(Recipes().digest(Count(branch=1))), Count(branch=1).manifest()
    world.settings["Read"] = {"x": 1}
    capsys.readouterr()
    assert accept(Sum(), "all") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines[:3]) == ["Count: 3 accepted", "Read: 3 accepted", "Sum: 1 accepted"]
    assert lines[3:] == ["7 accepted as current"]
    assert chain_states() == "ccc ccc c"
    assert make(Sum()) == []
    assert outputs(store) == before
    manifest = Count(branch=1).manifest()
    (adoption,) = manifest.adopted
    assert (adoption.why, adoption.recipe) == ("accepted", old)
    assert adoption.who == f"{getpass.getuser()}@{socket.gethostname()}"
    assert manifest.recipe == Recipes().recipe(Count(branch=1))
    assert (manifest.outputs, manifest.provenance) == (first.outputs, first.provenance)
    assert [Manifest.read(path) for path in (Path(Count().folder) / "history").glob("1.*")] == [first]


def test_accepting_again_adds_to_the_record(world: World) -> None:
    make(Sum())
    for number in range(3):
        world.settings["Read"] = {"x": number}
        accept(Sum(), "all")
    assert [a.why for a in Sum().manifest().adopted] == ["accepted"] * 3
    assert len({a.recipe for a in Sum().manifest().adopted}) == 3


@pytest.mark.parametrize(
    ("families", "expected"),
    [("Read", "ccc sss s"), ("Count", "sss ccc s"), ("Sum", "sss sss c"), ("Read,Sum", "ccc sss c")],
)
def test_only_named_families_are_accepted(world: World, families: str, expected: str) -> None:
    make(Sum())
    world.settings["Read"] = {"x": 1}
    assert accept(Sum(), families) == 0
    assert chain_states() == expected


def test_family_that_is_not_required_is_refused(world: World, store: Path) -> None:
    make(Sum())
    world.settings["Read"] = {"x": 1}
    before = contents(store)
    with pytest.raises(ParameterError, match=r"^--accept Split, Write: Sum requires Count, Read, Sum only$"):
        accept(Sum(), "Read,Write,Split")
    assert contents(store) == before


def test_what_is_current_or_missing_is_left_alone(
    world: World, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accept(Sum(), "all") == 0
    assert capsys.readouterr().out == "0 accepted as current\n"
    assert not store.exists()
    make(Sum())
    (Path(Read().folder) / "read_1.txt").unlink()
    before = contents(store)
    assert accept(Sum(), "all") == 0
    assert contents(store) == before
    world.identities[0] = "another uuid"
    accept(Sum(), "all")
    assert chain_states() == "cmc ccc c"
    assert Read(branch=2).manifest().adopted == ()


def test_one_branch_can_be_accepted(world: World) -> None:
    make(Read())
    world.settings["Read"] = {"x": 1}
    accept(Read(branch=1), "all")
    assert chain_states().split()[0] == "scs"


def test_manifest_that_cannot_be_read_is_not_accepted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    make(Read())
    path = manifest_path(Read(branch=1))
    path.write_text("x" * path.stat().st_size)
    world.settings["Read"] = {"x": 1}
    capsys.readouterr()
    assert accept(Read(), "all") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 accepted as current, 1 have no readable manifest"
    assert chain_states().split()[0] == "csc"
    assert path.is_file()


def test_all_is_accepted_at_once_also_where_stale_outputs_are_used(world: World, stale: Callable[..., None]) -> None:
    make(Sum())
    stale(default="warn")
    world.settings["Read"] = {"x": 1}
    assert chain_states() == "sss sss s"
    accept(Sum(), "all")
    assert chain_states() == "ccc ccc c"
    stale()
    assert chain_states() == "ccc ccc c"


def test_accepted_outputs_are_adopted_later(world: World) -> None:
    make(Use())
    world.settings["Split"] = {"a": 1}
    accept(Use(), "all")
    world.settings["Split"] = {"a": 2}
    accept(Split(), "all")
    assert make(Use()) == []
    assert [a.why for a in Use().manifest().adopted] == ["accepted", "same inputs"]


# verify


def test_whole_outputs(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_checksums(Sum()) == 0
    assert not store.exists()
    make(Sum())
    before = contents(store)
    capsys.readouterr()
    assert verify_checksums(Sum()) == 0
    assert capsys.readouterr().out == "7 whole, 0 damaged\n"
    assert contents(store) == before


def test_damage_that_the_size_does_not_show_is_found_and_mended(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(Sum())
    before = outputs(store)
    for path in (Path(Read().folder) / "read_2.txt", Path(Sum().folder) / "sum.txt"):
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert chain_states() == "ccc ccc c"
    capsys.readouterr()
    assert verify_checksums(Sum()) == 1
    assert capsys.readouterr().out.splitlines() == [
        "Sum: v1/Sum/sum.txt is not what was written: it counts as missing now",
        "Read branch 2: v1/Read/read_2.txt is not what was written: it counts as missing now",
        "5 whole, 2 damaged",
    ]
    assert chain_states() == "ccm ccc m"
    assert len(list((Path(Sum().folder) / "history").iterdir())) == 1
    make(Read())
    assert make(Sum()) == ["Sum"]
    assert outputs(store) == before
    assert verify_checksums(Sum()) == 0


def test_stale_outputs_are_verified_too(world: World) -> None:
    make(Split())
    world.settings["Split"] = {"a": 1}
    path = Path(Split().folder) / "b.txt"
    path.write_bytes(b"!" + path.read_bytes()[1:])
    assert verify_checksums(Use()) == 1
    assert verify_checksums(Use()) == 0


def test_damaged_manifest_is_found() -> None:
    make(Sum())
    path = manifest_path(Count(branch=1))
    path.write_text("x" * path.stat().st_size)
    assert verify_checksums(Sum()) == 1
    assert chain_states() == "ccc cmc c"


# verify, on servers


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World) -> ToyServer:  # noqa: ARG001
    """All outputs are on this server, and made."""
    (tmp_path / "server").mkdir()
    server = ToyServer(tmp_path / "server")
    store = toy_store(server, cache=Cache(tmp_path / "cache", 10**6))
    monkeypatch.setattr("analysis.engine.placed.store_for", lambda _family: store)
    forget()
    make(Read())
    server.asked.clear()
    return server


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"!")


@pytest.mark.parametrize("has_checksums", [True, False])
def test_the_server_is_asked_for_checksums_or_the_file_comes(
    server: ToyServer, has_checksums: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    server.has_checksums = has_checksums
    assert verify_checksums(Read()) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 whole, 0 damaged"
    assert server.asked["checksum"] == 3
    assert server.asked["download"] == (0 if has_checksums else 3)
    spoil(server.folder / "v1/Read/read_2.txt")
    assert verify_checksums(Read()) == 1  # though a whole copy of it is in the cache
    assert capsys.readouterr().out.splitlines() == [
        "Read branch 2: v1/Read/read_2.txt is not what was written: it counts as missing now",
        "2 whole, 1 damaged",
    ]
    assert states(Read()) == "ccm"


@pytest.mark.parametrize("request_", ["checksum", "download"])
def test_an_outage_is_no_damage(server: ToyServer, request_: str, capsys: pytest.CaptureFixture[str]) -> None:
    server.has_checksums = request_ == "checksum"
    spoil(server.folder / "v1/Read/read_2.txt")
    server.down_for = {request_}
    assert verify_checksums(Read()) == 1
    found = capsys.readouterr()
    assert found.out.splitlines()[-1] == "0 whole, 0 damaged, 3 not known"
    assert "connection refused" in found.err
    assert states(Read()) == "ccc"


def test_what_goes_away_meanwhile_is_missing(
    server: ToyServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ToyServer.checksum

    def removed_first(self: ToyServer, url: str) -> str | None:
        if url.endswith("read_1.txt"):
            (self.folder / "v1/Read/read_1.txt").unlink()
        return asked(self, url)

    monkeypatch.setattr(ToyServer, "checksum", removed_first)
    assert verify_checksums(Read()) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Read branch 1: v1/Read/read_1.txt is not there any more",
        "2 whole, 0 damaged, 1 missing",
    ]
    assert len(list((server.folder / "v1/Read/manifests").glob("1.*"))) == 1
    assert server.asked["rename"] == 0
