"""Faults of servers and networks under which plain law takes a part for the whole, or an outage for absence.

Each test is a row of the table "What law does under fault" of the storage facts: the same provocation for both sides,
and the answers of both.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.storage_fixtures import Place, Places, new_place, place, scheme, side, storage
from tests.integration.storage_sides import Side, answers
from tests.testbed.storage import Protocol, Storage

__all__ = ["new_place", "place", "scheme", "side", "storage"]

pytestmark = pytest.mark.integration

CONTENT = bytes(range(256)) * 65536
SOME = 10_000_000
"""Bytes of it; something happens after so many."""


# ---- uploads that do not end


@answers(plain=True, ours=False)
def test_a_look_during_an_upload(side: Side, answer: bool, place: Place) -> None:
    """Row 1, defect 3: all others see the growing file, under its final name."""
    source = side.file("whole", CONTENT)
    with place.through(hang_up=SOME) as way, side.client(way.base) as client:
        client.start("put", source, "a.bin")
        way.wait()
        assert side.ask(place.base, "exists", "a.bin").outcome is answer


@answers(plain=True, ours=False)
def test_killed_in_an_upload(side: Side, answer: bool, place: Place) -> None:
    """Row 2: what a killed process leaves counts as complete."""
    source = side.file("whole", CONTENT)
    with place.through(hang_up=SOME) as way, side.client(way.base) as client:
        client.start("put", source, "a.bin")
        way.wait()
        client.kill()
    assert not place.has(CONTENT)
    assert side.ask(place.base, "exists", "a.bin").outcome is answer


@answers(plain=True, ours=False)
def test_server_killed_in_an_upload(side: Side, answer: bool, place: Place) -> None:
    """Row 3: the truncated file is there when the server is back."""
    source = side.file("whole", CONTENT)
    with place.through(hang_up=SOME) as way, side.client(way.base) as client:
        client.start("put", source, "a.bin")
        way.wait()
        place.storage.kill(place.server)
        client.kill()
    place.storage.start(place.server)
    assert not place.has(CONTENT)
    assert side.ask(place.base, "exists", "a.bin").outcome is answer


@answers(plain={}, ours={"a.bin": 8})
def test_full_disk(side: Side, answer: dict[str, int], new_place: Places, scheme: Protocol) -> None:
    """Row 4: an upload that does not fit fails, and the previous file is lost."""
    place = new_place("xrd-full", scheme)
    place.write("filler", bytes(40_000_000)).rename(place.disk.parent / f"{place.name}.filler")
    place.write("a.bin", b"previous")
    try:
        put = side.ask(place.base, "put", side.file("large", CONTENT), "a.bin")
        assert put.error
        assert place.files() == answer
    finally:
        (place.disk.parent / f"{place.name}.filler").unlink()


# ---- what arrives is not what was sent


@answers(plain=(None, False), ours=(None, True))
def test_one_bit_flipped_in_an_upload(side: Side, answer: tuple[str | None, bool], new_place: Places) -> None:
    """Row 5, defect 3: nobody notices; to validate copies means to see that something is there.

    As with servers that know no checksums of pages; by ``davs://``, the encryption notices it.
    """
    place, source = new_place("xrd-open", "root"), side.file("whole", CONTENT)
    with place.through(flip_up=SOME) as way:
        no_pages, validate = {"XRD_CPUSEPGWRTRD": "0"}, {"plain": {"validate_copy": "True"}}
        put = side.ask(way.base, "put", source, "a.bin", settings=validate, environment=no_pages)
        assert way.proxy.counts().faults == 1
    assert (put.outcome, (place.disk / "a.bin").read_bytes() == CONTENT) == answer, put


@answers(plain={"root": None, "davs": "GError"}, ours={"root": None, "davs": None})
def test_checksums_are_verified(side: Side, answer: dict[str, str | None], place: Place) -> None:
    """Row 5: the switch that makes gfal2 verify them makes each upload by ``davs://`` fail."""
    settings = {"plain": {"gfal_transfer_checksum_check": "True"}, "ours": {"checksum": "require"}}
    put = side.ask(place.base, "put", side.file("whole", CONTENT), "a.bin", settings=settings)
    assert put.outcome == answer[place.scheme], put


@answers(plain={"root": {None, "GError"}, "davs": {None}}, ours={"root": {None}, "davs": {None}})
def test_connection_reset_once(side: Side, answer: dict[str, set[str | None]], place: Place) -> None:
    """Row 8: by ``root://`` it is a matter of luck whether the server has noticed when the client comes again."""
    with place.through(reset_up=SOME) as way:
        put = side.ask(way.base, "put", side.file("whole", CONTENT), "a.bin")
        assert way.proxy.counts().faults == 1
    assert put.outcome in answer[place.scheme], put
    assert put.error or place.files() == {"a.bin": len(CONTENT)}


@answers(plain="GError", ours=None)
def test_connection_lost_unnoticed(side: Side, answer: str | None, place: Place) -> None:
    """Row 8: while the server waits for the rest of the first attempt, nobody can write that file."""
    source = side.file("whole", CONTENT)
    with place.through(hang_up=SOME) as way, side.client(way.base) as client:
        client.start("put", source, "a.bin")
        way.wait()
        client.kill()
        put = side.ask(place.base, "put", source, "a.bin")
    assert put.outcome == answer, put
    if put.error:
        assert re.search("already opened by 1 writer|HTTP 500", put.said)
    else:
        assert place.files()["a.bin"] == len(CONTENT)


# ---- nothing can be known

PRESENT = [True, ["a.txt"], True, 20]
ABSENT = [False, [], False, 0]
"""Law's answers: the file is not there, the folder is empty, no branch is complete, so all would be run again."""
OUTAGE = ["OutageError"] * 4
DENIED = ["DeniedError"] * 4


def questions(side: Side, base: str, **environment: str) -> list[object]:
    """Outcomes of the four."""
    asked: list[tuple[str, object]] = [("exists", "some/a.txt"), ("list", "some"), ("complete", 20), ("state", 20)]
    with side.client(base, environment=environment) as client:
        return [client.ask(*question).outcome for question in asked]


def fill(side: Side, base: str, **environment: str) -> None:
    """All of it is there."""
    with side.client(base, environment=environment) as client:
        for done in (client.ask("dump", "some/a.txt", "content"), client.ask("run", 20, 0, 20)):
            assert done.error is None, done


def held(storage: Storage, credential: str) -> dict[str, str]:
    """Variables of a credential."""
    path = storage.credential(credential)
    if path.suffix == ".proxy":
        return {"X509_USER_PROXY": str(path)}
    return {"BEARER_TOKEN_FILE": str(path), "BEARER_TOKEN": path.read_text().strip()}  # gfal2 reads no file for davs://


@answers(plain=PRESENT, ours=PRESENT)
def test_without_a_fault(side: Side, answer: list[object], place: Place) -> None:
    """Both have the same answers."""
    fill(side, place.base)
    assert questions(side, place.base) == answer


@answers(plain=ABSENT, ours=OUTAGE)
def test_no_server(side: Side, answer: list[object], place: Place) -> None:
    """Row 6: nobody listens."""
    fill(side, place.base)
    with place.through(refuse=True) as way:
        assert questions(side, way.base) == answer


@answers(plain=ABSENT, ours=OUTAGE)
def test_no_host(side: Side, answer: list[object], scheme: Protocol, storage: Storage) -> None:
    """Row 6: a name that nobody knows."""
    base = re.sub("//[^/]+", "//storage.invalid:1094", storage.url("xrd-open", scheme), count=1)
    assert questions(side, base) == answer


@answers(plain=ABSENT, ours=DENIED)
def test_no_permission(side: Side, answer: list[object], place: Place) -> None:
    """Row 6: a folder into which the server cannot look."""
    fill(side, f"{place.base}/locked")
    (place.disk / "locked").chmod(0)
    assert questions(side, f"{place.base}/locked") == answer


@pytest.mark.parametrize("credential", ["alice.proxy", "write.token"])
@answers(plain=PRESENT, ours=PRESENT)
def test_with_a_right(side: Side, answer: list[object], new_place: Places, scheme: Protocol, credential: str) -> None:
    """Whoever may look gets the same answers from both."""
    place = new_place("xrd-auth", scheme)
    fill(side, place.base, **held(place.storage, credential))
    assert questions(side, place.base, **held(place.storage, credential)) == answer


@answers(plain=ABSENT, ours=DENIED)
def test_no_right(side: Side, answer: list[object], new_place: Places, scheme: Protocol) -> None:
    """Row 6: a user who may not look."""
    place = new_place("xrd-auth", scheme)
    fill(side, place.base, **held(place.storage, "alice.proxy"))
    assert questions(side, place.base, **held(place.storage, "mallory.proxy")) == answer


@answers(plain=ABSENT, ours=DENIED)
def test_expired_token(side: Side, answer: list[object], new_place: Places, scheme: Protocol) -> None:
    """Row 6: a token that was good yesterday."""
    place = new_place("xrd-auth", scheme)
    fill(side, place.base, **held(place.storage, "alice.proxy"))
    assert questions(side, place.base, **held(place.storage, "expired.token")) == answer


@answers(plain=ABSENT, ours=["TrustError"] * 4)
def test_no_certificate_authority(side: Side, answer: list[object], new_place: Places, tmp_path: Path) -> None:
    """Row 6: nobody can tell whether it is the right server."""
    place = new_place("xrd-open", "davs")
    fill(side, place.base)
    nothing = str(tmp_path)
    assert questions(side, place.base, X509_CERT_DIR=nothing, SSL_CERT_DIR=nothing, SSL_CERT_FILE="") == answer


@answers(plain=[False, []], ours=["OutageError"] * 2)
def test_stalled_server(side: Side, answer: list[object], place: Place) -> None:
    """Row 7: a server that accepts connections and says nothing has nothing, half a minute later by ``davs://``."""
    fill(side, place.base)
    asked = (("exists", "some/a.txt"), ("list", "some"))[: 2 if place.scheme == "root" else 1]
    quick = {"XRD_REQUESTTIMEOUT": "3", "XRD_STREAMTIMEOUT": "3"}
    with place.stalled(), side.client(place.base, environment=quick) as client:
        assert [client.ask(*question).outcome for question in asked] == answer[: len(asked)]


@answers(plain={"root": True, "davs": False}, ours={"root": True, "davs": True})
def test_read_only(side: Side, answer: dict[str, bool], new_place: Places, scheme: Protocol) -> None:
    """Row 9: whether the message says what is the matter; by ``davs://`` gfal2 keeps what the server says to itself."""
    place = new_place("xrd-readonly", scheme)
    put = side.ask(place.base, "put", side.file("small", "content"), "a.txt")
    assert put.error
    assert bool(re.search("read.only", put.said, re.IGNORECASE)) is answer[scheme], put.said
    assert place.files() == {}
