"""Outputs are opened before the manifest says that they are there: a file that cannot be read back never counts."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from analysis.engine.errors import OutputError

EVERYWHERE = "*"
_PNG_BEGIN = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_TAIL = 1024  # readers of PDF look for its end in that many bytes


class VerificationError(OutputError):
    """An output was written, but is not what it has to be."""


@dataclass(frozen=True)
class Expectation:
    """What an output has to be, beyond readable.

    Args:
        entries: rows of a parquet file, entries of a ROOT tree; ``None`` for any number.
        columns: columns or branches that have to be there; ``"Jet.pt"`` is a field of nested records.
        finite: parquet columns without NaN and infinity, at any depth (missing values are allowed);
            ``("*",)`` for JSON, where no number may be NaN or infinite.
        tree: name of the tree (or RNTuple) in a ROOT file; looked for if anything is expected of it.
    """

    entries: int | None = None
    columns: tuple[str, ...] = ()
    finite: tuple[str, ...] = ()
    tree: str = "Events"


_NOTHING = Expectation()


def verify(path: Path, name: str, expectation: Expectation = _NOTHING) -> None:
    """Open an output and compare it with what is expected.

    Args:
        path: where it was staged.
        name: its final name; the suffix tells what kind of file it is.
        expectation: what it has to be.

    Raises:
        VerificationError: if the file is absent, empty, damaged or not as expected.
        ValueError: if this kind of file cannot be checked for what is expected.
    """
    kind = _KINDS.get(Path(name).suffix.lower(), _OTHER)
    _check_possible(name, expectation, kind)
    cause = None
    problem = _absent(path, name)
    if not problem:
        try:
            problem = kind.check(path, name, expectation)
        except MemoryError:
            raise
        # a damaged file makes its reader fail in any way there is: wrong keys, lengths, magic numbers, decompression
        except Exception as error:
            cause = error
            reason = " ".join(str(error).replace(str(path), name).split())[:200] or type(error).__name__
            problem = f"{name} cannot be read: {reason}"
    if problem:
        raise VerificationError(problem) from cause


def _check_possible(name: str, expectation: Expectation, kind: _Kind) -> None:
    if expectation == _NOTHING:
        return
    asked = {field.name for field in fields(expectation) if getattr(expectation, field.name) != field.default}
    if EVERYWHERE in expectation.finite:
        asked = asked - {"finite"} | {EVERYWHERE}
    if asked - kind.possible:
        what = ", ".join("finite everywhere" if a == EVERYWHERE else a for a in sorted(asked - kind.possible))
        msg = f"{name} cannot be checked for this: {what}; take it out of the expectation"
        raise ValueError(msg)


def _absent(path: Path, name: str) -> str | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return f"{name} was not written"
    if not stat.S_ISREG(status.st_mode):
        return f"{name} is not a file"
    return None if status.st_size else f"{name} has zero bytes"


# --- one function per kind of file: what is wrong with it, in one sentence, or None ---


def _anything(path: Path, name: str, expectation: Expectation) -> None:  # noqa: ARG001
    return None


def _text(path: Path, name: str, expectation: Expectation) -> str | None:  # noqa: ARG001
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError as error:
        return _not_text(name, error)
    return None


def _json(path: Path, name: str, expectation: Expectation) -> str | None:
    try:
        content = json.loads(path.read_bytes().decode())
    except UnicodeDecodeError as error:
        return _not_text(name, error)
    except (json.JSONDecodeError, RecursionError) as error:
        return f"{name} is not valid JSON: {error}"
    bad = list(_non_finite(content)) if expectation.finite else []
    return f"{name} has {_count(len(bad))}, the first at {bad[0] or 'its root'}" if bad else None


def _parquet(path: Path, name: str, expectation: Expectation) -> str | None:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        rows = file.metadata.num_rows
        if expectation.entries not in {None, rows}:
            return f"{name} has {rows} rows, {expectation.entries} were expected"
        if not (expectation.columns or expectation.finite):
            return None
        leaves = _leaves(file)
        missing = _missing((*expectation.columns, *expectation.finite), leaves)
        if missing:
            return f"{name} has no column {missing}"
        for column in expectation.finite:
            batches = file.iter_batches(columns=leaves[column], use_threads=False)
            bad = sum(_non_finite_values(values) for batch in batches for values in batch.columns)
            if bad:
                return f"column {column} of {name} has {_count(bad)}"
    return None


def _root(path: Path, name: str, expectation: Expectation) -> str | None:
    import uproot

    with uproot.open({str(path): None}) as file:  # as a mapping, or a colon in the path would be taken for an object
        size, end = path.stat().st_size, int(file.file.fEND)
        if size < end:
            return f"{name} is truncated, it has {size} of {end} bytes"
        keys = file.keys(cycle=False, recursive=False)
        if not keys:
            return f"{name} holds nothing"
        if expectation == _NOTHING:
            return None
        if expectation.tree not in file:
            return f"{name} holds no {expectation.tree}, but {_shorten(keys)}"
        return _tree(file[expectation.tree], name, expectation)


def _tree(tree: Any, name: str, expectation: Expectation) -> str | None:
    if not hasattr(tree, "num_entries"):
        return f"{expectation.tree} of {name} is not a tree"
    if expectation.entries not in {None, tree.num_entries}:
        return f"{name} has {tree.num_entries} entries in {expectation.tree}, {expectation.entries} were expected"
    missing = _missing(expectation.columns, set(tree.keys()))
    return f"{expectation.tree} of {name} has no branch {missing}" if missing else None


def _pdf(path: Path, name: str, expectation: Expectation) -> str | None:  # noqa: ARG001
    begin, end = _ends(path)
    if not begin.startswith(b"%PDF-"):
        return f"{name} is not a PDF: it does not begin with %PDF-"
    return None if end.rstrip().endswith(b"%%EOF") else f"{name} is truncated: it does not end with %%EOF"


def _png(path: Path, name: str, expectation: Expectation) -> str | None:  # noqa: ARG001
    begin, end = _ends(path)
    if not begin.startswith(_PNG_BEGIN):
        return f"{name} is not a PNG: it does not begin with the signature of one"
    return None if end.endswith(_PNG_END) else f"{name} is truncated: it does not end with an IEND chunk"


def _html(path: Path, name: str, expectation: Expectation) -> str | None:  # noqa: ARG001
    begin, end = _ends(path)
    # a page ends with </html>; a table that is to be pasted into one ends as it begins
    element = re.match(rb"\s*<([a-z][a-z0-9-]*)", begin.lower())
    tags = {b"html", element[1] if element else b"html"}
    if end.rstrip().lower().endswith(tuple(b"</%b>" % tag for tag in tags)):
        return None
    return f"{name} is truncated: it does not end with {' or '.join(f'</{tag.decode()}>' for tag in sorted(tags))}"


def _npy(path: Path, name: str, expectation: Expectation) -> str | None:  # noqa: ARG001
    import numpy as np

    if not _ends(path)[0].startswith(b"\x93NUMPY"):
        return f"{name} is not an array of numpy: it does not begin with the magic string of one"
    np.load(path, mmap_mode="r", allow_pickle=False)  # compares the size of the file with the shape
    return None


def _npz(path: Path, name: str, expectation: Expectation) -> str | None:  # noqa: ARG001
    import zipfile

    with zipfile.ZipFile(path) as file:
        return None if file.namelist() else f"{name} holds nothing"


class _Kind(NamedTuple):
    check: Callable[[Path, str, Expectation], str | None]
    possible: frozenset[str] = frozenset()


_TEXT = _Kind(_text)
_OTHER = _Kind(_anything)
_KINDS = {
    ".csv": _TEXT,
    ".html": _Kind(_html),
    ".json": _Kind(_json, frozenset({EVERYWHERE})),
    ".md": _TEXT,
    ".npy": _Kind(_npy),
    ".npz": _Kind(_npz),
    ".parquet": _Kind(_parquet, frozenset({"entries", "columns", "finite"})),
    ".pdf": _Kind(_pdf),
    ".png": _Kind(_png),
    ".root": _Kind(_root, frozenset({"entries", "columns", "tree"})),
    ".tex": _TEXT,
    ".txt": _TEXT,
    ".yaml": _TEXT,
}


def _ends(path: Path) -> tuple[bytes, bytes]:
    with path.open("rb") as file:
        begin = file.read(_TAIL)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        return begin, file.read()


def _leaves(file: Any) -> dict[str, list[str]]:
    """Paths of the parquet columns below each name, ``Jet`` and ``Jet.pt``; levels of lists have no name of ours."""
    leaves: dict[str, list[str]] = {}
    for number in range(len(file.schema)):
        path = file.schema.column(number).path
        parts = re.sub(r"\.list\.(item|element)(?=\.|$)", "", path).split(".")
        for depth in range(1, len(parts) + 1):
            leaves.setdefault(".".join(parts[:depth]), []).append(path)
    return leaves


def _non_finite_values(values: Any) -> int:
    """Number of NaN and infinities in an arrow array, at any depth."""
    import numpy as np
    import pyarrow as pa

    if isinstance(values, pa.ExtensionArray):
        return _non_finite_values(values.storage)
    if isinstance(values, pa.StructArray):
        return sum(_non_finite_values(field) for field in values.flatten())
    if pa.types.is_nested(values.type):
        return _non_finite_values(values.flatten())
    if not pa.types.is_floating(values.type):
        return 0
    return int(np.count_nonzero(~np.isfinite(values.drop_null().to_numpy(zero_copy_only=False))))


def _non_finite(content: Any) -> Iterator[str]:
    """Where JSON holds a number that is not finite: ``.fit[3].error``."""
    if isinstance(content, float):
        if not math.isfinite(content):
            yield ""
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from (f".{key}{below}" for below in _non_finite(value))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from (f"[{number}]{below}" for below in _non_finite(value))


def _missing(wanted: Iterable[str], present: Iterable[str]) -> str:
    return _shorten([column for column in dict.fromkeys(wanted) if column not in present])


def _shorten(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _count(number: int) -> str:
    return "1 value that is not finite" if number == 1 else f"{number} values that are not finite"


def _not_text(name: str, error: UnicodeDecodeError) -> str:
    return f"{name} is not UTF-8: byte {error.object[error.start]:#04x} at position {error.start}"
