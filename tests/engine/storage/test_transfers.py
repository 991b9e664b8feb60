"""Content that arrives in pieces."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.storage.base import OutageError
from analysis.engine.storage.interfaces.common import ahead
from analysis.engine.storage.interfaces.saving import save


@pytest.mark.parametrize("pieces", [[], [b""], [b"a"], [b"Wiki", b"", b"pedia"]])
def test_what_arrives_is_saved_with_its_checksum(pieces: list[bytes], tmp_path: Path) -> None:
    found = save(iter(pieces), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)
    assert found == f"{zlib.adler32(b''.join(pieces)):08x}"
    assert len(pieces) != 3 or found == "11e60398"  # that of "Wikipedia", by hand


def test_there_is_no_file_if_nothing_arrives(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        operation, url = "download", "root://host//file"
        raise OutageError(operation, url, "no answer")
        yield b""

    with pytest.raises(OutageError):
        save(broken(), tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 30), st.integers(1, 5))
def test_results_come_in_order(items: int, limit: int) -> None:
    assert list(ahead(str, range(items), limit)) == [str(item) for item in range(items)]


def test_the_next_ones_are_on_their_way_but_not_more() -> None:
    meeting, begun = threading.Barrier(3), []

    def work(item: int) -> int:
        begun.append(item)
        if item < 3:
            meeting.wait(30)  # ends only if three are there
        return item

    with closing(ahead(work, range(100), 3)) as results:
        assert next(results) == 0
    assert sorted(begun) == list(range(len(begun)))
    assert 3 <= len(begun) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("storage")]


def test_an_error_comes_at_its_place_and_ends_it() -> None:
    def work(item: int) -> int:
        if item >= 5:
            msg = f"no {item}"
            raise OSError(msg)
        return item

    found: list[int] = []
    with pytest.raises(OSError, match="no 5"):
        found.extend(ahead(work, range(20), 3))
    results = ahead(work, range(20), 3)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="no 5"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("storage")]
