"""Defects of plain law's storage without any fault of a server, and what ours does.

Each test names its row in the table of law's storage defects; rows 3 and 10 (checksums) are in
``test_storage_plain_law``, 12 is counted in ``test_storage_calls``.
"""

from __future__ import annotations

import pytest

from tests.integration.storage_fixtures import Place, new_place, place, scheme, side, storage
from tests.integration.storage_sides import Side, answers, cache

__all__ = ["new_place", "place", "scheme", "side", "storage"]

pytestmark = pytest.mark.integration

CONTENT = "0123456789abcdef" * 65536
LONG = 16 * CONTENT
SOME = 10_000_000
"""Bytes of it; something happens after so many."""


@answers(plain=False, ours=True)
def test_another_endpoint(side: Side, answer: bool, place: Place) -> None:
    """Defect 1: the second of two endpoints is not asked if the first one is down."""
    place.write("a.txt", "content")
    with place.through(refuse=True) as way, side.client(way.base, place.base) as client:
        assert client.ask("exists", "a.txt").outcome is answer


@answers(plain=[], ours="NotAFolderError")
def test_list_of_a_file(side: Side, answer: object, place: Place) -> None:
    """Defect 2: each error of a listing is an empty folder."""
    place.write("folder", "a file")
    assert side.ask(place.base, "list", "folder").outcome == answer


@answers(plain=("GError", True), ours=(None, False))
def test_remove_a_folder(side: Side, answer: tuple[str | None, bool], place: Place) -> None:
    """Defect 4: only an empty folder can be removed."""
    place.write("folder/a.txt", "content")
    removed = side.ask(place.base, "remove_folder", "folder")
    assert (removed.outcome, (place.disk / "folder").exists()) == answer, removed


@answers(plain=("GError", ["old"]), ours=(None, ["new"]))
def test_write_a_folder_again(side: Side, answer: tuple[str | None, list[str]], place: Place) -> None:
    """Defect 4: what is in a folder can never be replaced."""
    place.write("folder/old", "content")
    filled = side.ask(place.base, "fill_folder", "folder", ["new"])
    assert (filled.outcome, sorted(path.name for path in (place.disk / "folder").iterdir())) == answer, filled


@answers(plain=("GError", ["old"]), ours=(None, ["a.txt", "old"]))
def test_copy_into_a_folder(side: Side, answer: tuple[str | None, list[str]], place: Place) -> None:
    """Defect 5: the destination is looked for at an address that holds the URL twice, so that no folder is seen."""
    place.write("a.txt", "content")
    place.write("folder/old", "content")
    copied = side.ask(place.base, "copy", "a.txt", "folder")
    assert (copied.error, sorted(path.name for path in (place.disk / "folder").iterdir())) == answer, copied


@answers(plain=("Exception", {"a.txt": 7, "b.txt": 7}), ours=(None, {"b.txt": 7}))
def test_move_on_the_server(side: Side, answer: tuple[str | None, dict[str, int]], place: Place) -> None:
    """Defect 5: to move a file copies it, and fails for it does not find the copy."""
    place.write("a.txt", "content")
    moved = side.ask(place.base, "move", "a.txt", "b.txt")
    assert (moved.error, place.files()) == answer, moved


@answers(plain="GError", ours=None)
def test_overwrite_what_cannot_be_read(side: Side, answer: str | None, place: Place) -> None:
    """Defect 6: ``dump`` downloads the old content before it replaces it."""
    place.write("a.txt", "old", mode=0o200)
    dumped = side.ask(place.base, "dump", "a.txt", "new")
    assert dumped.outcome == answer, dumped


@answers(plain="TypeError", ours=["folder"])
def test_list_folders(side: Side, answer: object, place: Place) -> None:
    """Defect 7: with an option for the request, folders cannot be listed."""
    place.write("a.txt", "content")
    place.write("folder/b.txt", "content")
    assert side.ask(place.base, "list_folders", ".").outcome == answer


@answers(plain=100, ours=1)
def test_file_systems(side: Side, answer: int, place: Place) -> None:
    """Defect 8: each target that names its file system makes one, with a context of gfal2 of its own."""
    assert side.ask(place.base, "file_systems", 100).outcome == answer


@answers(plain=4, ours=1)
def test_questions_for_what_is_absent(side: Side, answer: int, place: Place) -> None:
    """Defect 9: ``stat`` asks again for what the server says is not there."""
    with place.counted() as requests:
        assert side.ask(place.base, "size", "absent.txt", settings={"plain": {"retries": "3"}}).error
    assert requests["stat"] == answer, requests


@answers(plain={}, ours={"timeout": 7})
def test_options_of_the_client_library(side: Side, answer: dict[str, int], place: Place) -> None:
    """Defect 10: options of gfal2, such as when it gives up, cannot be set in ``law.cfg``."""
    settings = {"plain": {"gfal_options": "integer: CORE:NAMESPACE_TIMEOUT=7"}, "ours": {"timeout": "7s"}}
    assert side.ask(place.base, "options", settings=settings).outcome == answer


@answers(plain="ValueError", ours=None)
def test_kind_of_checksum(side: Side, answer: str | None, place: Place) -> None:
    """Defect 10: it can be said that checksums are verified, but not which, nor that it is to be done if possible."""
    settings = {"plain": {"gfal_transfer_checksum_check": "adler32"}, "ours": {"checksum": "auto"}}
    put = side.ask(place.base, "put", side.file("a", CONTENT), "a.txt", settings=settings)
    assert put.outcome == answer, put


# ---- the cache


@answers(plain=False, ours=True)
def test_cached_by_another_process(side: Side, answer: bool, place: Place) -> None:
    """Defect 11: what another process is downloading is taken for the file."""
    place.write("a.txt", LONG)
    settings = cache(side.folder, "100MB")
    with (
        place.through(hang_down=SOME) as way,
        side.client(way.base, settings=settings) as first,
        side.client(way.base, settings=settings) as second,
    ):
        first.start("hold", "a.txt")
        way.wait()
        second.start("hold", "a.txt", **({} if side.is_ours else {"prefer_cache": True}))
        if side.is_ours:  # it waits for the first, and not for ever
            way.proxy.set()
        read = second.answer()
    assert read.value, read
    assert LONG.startswith(read.value)
    assert (read.value == LONG) is answer


@answers(plain=["Exception", "Exception"], ours=[LONG[:16], LONG[:16]])
def test_lock_of_a_killed_process(side: Side, answer: list[str], place: Place) -> None:
    """Defect 11: what a killed process locked in the cache is locked for ever."""
    place.write("a.txt", LONG)
    settings = cache(side.folder, "100MB")
    with place.through(hang_down=SOME) as way:
        with side.client(way.base, settings=settings) as killed:
            killed.start("hold", "a.txt")
            way.wait()
            killed.kill()
        way.proxy.set()
        read = [side.ask(way.base, "hold", "a.txt", settings=settings) for _ in range(2)]
    assert [held.error or held.value[:16] for held in read] == answer, [held.said for held in read]


@answers(plain=2, ours=1)
def test_two_come_together(side: Side, answer: int, place: Place) -> None:
    """Defect 11: of two that look at the same moment whether a cached file is locked, both lock it, and write it."""
    assert side.ask(place.base, "race", "a.txt", settings=cache(side.folder, "100MB")).outcome == answer


@answers(plain=None, ours=CONTENT)
def test_evicted_while_it_is_read(side: Side, answer: str | None, place: Place) -> None:
    """Defect 11: a file that somebody reads is removed if another process needs room."""
    for name in ("a.txt", "b.txt"):
        place.write(name, CONTENT)
    settings = cache(side.folder, "1.5MB")
    with side.client(place.base, settings=settings) as reader, side.client(place.base, settings=settings) as other:
        assert reader.ask("hold", "a.txt").value == CONTENT
        assert other.ask("hold", "b.txt").value == CONTENT
        assert reader.ask("held").outcome == answer


@answers(plain=True, ours=False)
def test_more_than_the_cache_may_hold(side: Side, answer: bool, place: Place) -> None:
    """Defect 11: a file that does not fit is put into the cache all the same, and stays."""
    place.write("a.txt", CONTENT)
    with side.client(place.base, settings=cache(side.folder, "0.5MB")) as client:
        assert client.ask("hold", "a.txt").value == CONTENT
        client.ask("let_go")
        size = sum(path.stat().st_size for path in (side.folder / "cache").rglob("*") if path.is_file())
    assert (size > 500_000) is answer


# ---- paths


@answers(plain=None, ours="AddressError")
def test_path_above_the_root(side: Side, answer: str | None, place: Place) -> None:
    """Defect 13: a path may lead out of the store."""
    made = side.ask(place.base, "uri", "/../x")
    assert made.error == answer, made
