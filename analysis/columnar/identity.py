"""Which file is it? Identities of input files, told without reading their events."""

from __future__ import annotations

import os
import struct
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from analysis.columnar.errors import InputFileError

# from byte 8 to the end of the UUID: positions are of 4 bytes each, in files with a version of at least a million of 8
_SMALL = struct.Struct(">iiiiiiBiiiH16s")
_LARGE = struct.Struct(">iqqiiiBiqiH16s")
_LARGE_VERSION = 1_000_000
_BLOCK = 2**20


def file_identity(path: str) -> str | None:
    """Identity of a file: as long as it stays the same, so do the events.

    Args:
        path: path or URL.

    Returns:
        For a local ROOT file its size and the UUID that ROOT wrote into it; for any other local file its size and
        the SHA-256 of its first and its last MiB; ``None`` if there is no such file; for a URL the URL.

    Raises:
        InputFileError: if the file is there but cannot be read.

    Source:
        ROOT, class ``TFile``, section "ROOT file data format specification": the record at the start of the file.
    """
    if "://" in path and not path.startswith("file://"):
        return path
    local = Path(path.removeprefix("file://"))
    if not local.is_file():
        return None
    try:
        with local.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return f"{size}:{_root_uuid(file.read(8 + _LARGE.size)) or _digest(file, size)}"
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}): check its permissions or restore it, then rerun"
        raise InputFileError(msg) from error


def _root_uuid(header: bytes) -> UUID | None:
    """UUID of a ROOT file; ``None`` for other files and those of a writer that left it empty."""
    if not header.startswith(b"root") or len(header) < 8 + _LARGE.size:
        return None
    version = int.from_bytes(header[4:8], "big")
    layout = _LARGE if version >= _LARGE_VERSION else _SMALL
    uuid = layout.unpack_from(header, 8)[-1]
    return UUID(bytes=uuid) if any(uuid) else None


def _digest(file: BinaryIO, size: int) -> str:
    file.seek(0)
    digest = sha256(file.read(_BLOCK))
    file.seek(max(_BLOCK, size - _BLOCK))
    digest.update(file.read(_BLOCK))
    return digest.hexdigest()
