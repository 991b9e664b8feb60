"""Identities of files: against uproot, byte by byte, and for what is no file of ROOT."""

from __future__ import annotations

import shutil
import struct
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest
import uproot

from analysis.columnar.errors import InputFileError
from analysis.columnar.identity import file_identity
from analysis.generator import write_nanoaod

SOME_UUID = UUID("01234567-89ab-cdef-0123-456789abcdef")


def header(version: int, uuid: UUID) -> bytes:
    """The record at the start of a ROOT file, member by member as its documentation lists them."""
    large = version >= 1_000_000
    position = ">q" if large else ">i"
    members = [
        b"root",
        struct.pack(">i", version),
        struct.pack(">i", 100),  # fBEGIN
        struct.pack(position, 5000),  # fEND
        struct.pack(position, 4900),  # fSeekFree
        struct.pack(">i", 60),  # fNbytesFree
        struct.pack(">i", 1),  # nfree
        struct.pack(">i", 58),  # fNbytesName
        struct.pack(">B", 8 if large else 4),  # fUnits
        struct.pack(">i", 101),  # fCompress
        struct.pack(position, 4000),  # fSeekInfo
        struct.pack(">i", 900),  # fNbytesInfo
        struct.pack(">H", 1),  # version of TUUID
        uuid.bytes,
    ]
    return b"".join(members)


@pytest.mark.parametrize(("version", "size"), [(62400, 63), (999_999, 63), (1_000_000, 75), (1_062_400, 75)])
def test_uuid_of_small_and_large_files(tmp_path: Path, version: int, size: int) -> None:
    content = header(version, SOME_UUID)
    assert len(content) == size
    (tmp_path / "x.root").write_bytes(content + bytes(100))
    assert file_identity(str(tmp_path / "x.root")) == f"{size + 100}:{SOME_UUID}"


def test_real_files(test_data: Path) -> None:
    files = sorted((test_data / "nanoaod").glob("*.root"))
    assert files
    for path in files:
        with uproot.open(path) as file:
            assert file_identity(str(path)) == f"{path.stat().st_size}:{file.file.uuid}"


def test_generated_files(tmp_path: Path) -> None:
    path = tmp_path / "ttbar.root"
    write_nanoaod(path, "ttbar", 20, seed=1)
    with uproot.open(path) as file:
        assert file_identity(str(path)) == f"{path.stat().st_size}:{file.file.uuid}"
    first = file_identity(str(path))
    assert file_identity(f"file://{path}") == first
    shutil.copy(path, tmp_path / "copy.root")
    assert file_identity(str(tmp_path / "copy.root")) == first
    write_nanoaod(path, "ttbar", 20, seed=2)
    assert file_identity(str(path)) != first


@pytest.mark.parametrize(
    "content", [b"", b"root", b"root" + bytes(60), b"PAR1 and so on", header(62400, UUID(int=0)) + bytes(99)]
)
def test_what_carries_no_uuid_is_known_by_its_content(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert file_identity(str(tmp_path / "x")) == f"{len(content)}:{sha256(content).hexdigest()}"


@pytest.mark.parametrize("size", [2**20, 2**20 + 1, 2**21 - 1, 2**21])
def test_every_byte_counts_in_a_file_of_up_to_two_mib(tmp_path: Path, size: int) -> None:
    content = bytearray(b"x" * size)
    path = tmp_path / "x"
    path.write_bytes(content)
    assert file_identity(str(path)) == f"{size}:{sha256(content).hexdigest()}"
    for place in (0, size // 2, size - 1):
        changed = content.copy()
        changed[place] = 0
        path.write_bytes(changed)
        assert file_identity(str(path)) == f"{size}:{sha256(changed).hexdigest()}"


def test_both_ends_of_a_large_file_count(tmp_path: Path) -> None:
    path, content = tmp_path / "x", bytearray(3 * 2**20)
    path.write_bytes(content)
    assert file_identity(str(path)) == f"{3 * 2**20}:{sha256(content[: 2**21]).hexdigest()}"
    content[-1] = 1
    path.write_bytes(content)
    assert file_identity(str(path)) == f"{3 * 2**20}:{sha256(content[2**20 :]).hexdigest()}"


@pytest.mark.parametrize("url", ["root://eos.cern.ch//x.root", "https://example.org/x.root"])
def test_a_url_is_its_own_identity(url: str) -> None:
    assert file_identity(url) == url


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert file_identity(str(tmp_path / "x.root")) is None
    assert file_identity(f"file://{tmp_path}/x.root") is None
    assert file_identity(str(tmp_path)) is None
    assert file_identity("") is None


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.root").touch()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputFileError, match=r"x\.root cannot be read \(Permission denied\): check its permissions"):
        file_identity(str(tmp_path / "x.root"))
