"""Where columns come from: NanoAOD files, parquet files of this project, arrays in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.columnar.errors import ColumnError, InputFileError, MissingColumnError, NonFiniteColumnError

if TYPE_CHECKING:
    import awkward as ak

TREE = "Events"

Opener = Callable[[str], Any]
"""Opens a ROOT file by its path or URL, as ``uproot.open`` does; whoever gives it closes the file."""


class FileSummary(NamedTuple):
    """What the index records of an input file.

    Args:
        entries: number of events.
        sum_of_weights: sum of ``genWeight``; the number of events if there is no such column.
        uuid: identifier that ROOT wrote into the file.
        columns: names of the columns as NanoAOD has them.
    """

    entries: int
    sum_of_weights: float
    uuid: str
    columns: tuple[str, ...]


class NanoAODSource:
    """Events ``start`` to ``stop`` of a NanoAOD file, TTree or RNTuple, local or remote.

    Args:
        path: path or URL.
        start: first event.
        stop: one past the last event; ``None`` for the end of the file.
        opener: opens the file; default: uproot.

    Raises:
        InputFileError: if the file cannot be read.
    """

    def __init__(self, path: str, start: int = 0, stop: int | None = None, opener: Opener | None = None) -> None:
        self.where = path
        with _open_tree(path, opener) as tree:
            self._tree = tree
            self._start = start
            self._stop = int(tree.num_entries) if stop is None else stop
            self._names: dict[str, str] = {_column_name(branch): branch for branch in tree.keys()}  # noqa: SIM118

    @property
    def available(self) -> Collection[str]:
        """Columns of the file."""
        return self._names.keys()

    def __len__(self) -> int:
        return self._stop - self._start

    def read(self, columns: Iterable[str]) -> Mapping[str, ak.Array]:
        """Read columns.

        Raises:
            MissingColumnError: if the file has no such column.
            NonFiniteColumnError: if a column holds NaN or infinity.
            InputFileError: if the file is damaged.
        """
        wanted = list(columns)
        if not wanted:
            return {}
        branches = [self._branch(column) for column in wanted]
        with _reading(self.where):
            arrays = self._tree.arrays(branches, entry_start=self._start, entry_stop=self._stop, how=dict)
        for branch in branches:
            _check_finite(arrays[branch], self.where, branch, self._start)
        return {column: arrays[branch] for column, branch in zip(wanted, branches, strict=True)}

    def _branch(self, column: str) -> str:
        if column in self._names:
            return self._names[column]
        branch = column.replace(".", "_")
        close = get_close_matches(branch, self._names.values(), n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        msg = (
            f"{self.where} has no column {branch}{hint}, which this step uses: "
            "take the file out of the campaign or use NanoAOD that has the column"
        )
        raise MissingColumnError(msg)


class ParquetSource:
    """Columns of several parquet files side by side, the rows of all of them aligned.

    Args:
        paths: the files; a column that several of them have is taken from the first.

    Raises:
        ColumnError: if the files have different numbers of rows.
    """

    def __init__(self, *paths: Path) -> None:
        import pyarrow.parquet as pq

        self.where = ", ".join(str(path) for path in paths)
        self._file_of: dict[str, Path] = {}
        lengths = {}
        for path in paths:
            with _reading(str(path)):
                metadata = pq.ParquetFile(path)
            lengths[path] = metadata.metadata.num_rows
            for name in _parquet_columns(metadata.schema_arrow):
                self._file_of.setdefault(name, path)
        if len(set(lengths.values())) > 1:
            msg = (
                f"rows are not aligned: {', '.join(f'{p} has {n}' for p, n in lengths.items())}. Remove and rerun them"
            )
            raise ColumnError(msg)
        self._length = int(next(iter(lengths.values())))

    @property
    def available(self) -> Collection[str]:
        """Columns of all files."""
        return self._file_of.keys()

    def __len__(self) -> int:
        return self._length

    def read(self, columns: Iterable[str]) -> Mapping[str, ak.Array]:
        """Read columns.

        Raises:
            ColumnError: if no file has a column.
        """
        import awkward as ak

        result: dict[str, ak.Array] = {}
        by_file: dict[Path, list[str]] = {}
        for column in columns:
            if column not in self._file_of:
                msg = f"{self.where} has no column {column!r}, and no column function makes it"
                raise ColumnError(msg)
            by_file.setdefault(self._file_of[column], []).append(column)
        for path, names in by_file.items():
            with _reading(str(path)):
                array = ak.from_parquet(path, columns=names)
            for column in names:
                result[column] = functools.reduce(lambda a, field: a[field], column.split("."), array)
        return result


class ArraySource:
    """Columns that are in memory already."""

    def __init__(self, columns: Mapping[str, Any], where: str = "memory") -> None:
        import awkward as ak

        self.where = where
        self._columns = {name: ak.Array(values) for name, values in columns.items()}

    @property
    def available(self) -> Collection[str]:
        """Names of the columns."""
        return self._columns.keys()

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def read(self, columns: Iterable[str]) -> Mapping[str, ak.Array]:
        """Return columns.

        Raises:
            ColumnError: if there is no such column.
        """
        missing = set(columns) - self._columns.keys()
        if missing:
            msg = f"{self.where} has no column {', '.join(sorted(missing))}, and no column function makes it"
            raise ColumnError(msg)
        return {column: self._columns[column] for column in columns}


def write_parquet(array: ak.Array, path: Path) -> None:
    """Write an array of records as parquet."""
    import awkward as ak

    # readers that do not know awkward see plain lists and structs; single precision stays single
    ak.to_parquet(array, path, compression="zstd", compression_level=1, extensionarray=False)


def summarize_file(path: str, opener: Opener | None = None) -> FileSummary:
    """Look into an input file.

    Args:
        path: path or URL of a NanoAOD file.
        opener: opens it; default: uproot.

    Returns:
        Its summary.

    Raises:
        InputFileError: if the file cannot be read or has no events.
    """
    import numpy as np

    with _open_tree(path, opener) as tree:
        entries = int(tree.num_entries)
        columns = tuple(sorted(tree.keys()))
        uuid = str(tree.file.uuid)
        weights = tree["genWeight"].array(library="np") if "genWeight" in columns else None
    if not entries:
        msg = f"{path} has no events: take it out of the campaign"
        raise InputFileError(msg)
    if weights is not None:
        _check_finite(weights, path, "genWeight", 0)
    sum_of_weights = float(entries) if weights is None else float(np.sum(weights, dtype=np.float64))
    return FileSummary(entries, sum_of_weights, uuid, columns)


@contextmanager
def _open_tree(path: str, opener: Opener | None) -> Iterator[Any]:
    """Open the event tree; problems of the file become an :class:`InputFileError`."""
    import uproot

    if "://" not in path and not Path(path).is_file():
        msg = f"{path} does not exist: correct the path in the campaign or restore the file"
        raise InputFileError(msg)
    with _reading(path):
        file = (opener or uproot.open)(path)
        if TREE not in file:
            found = ", ".join(file.keys(cycle=False)) or "nothing"
            msg = f"{path} holds no {TREE} tree (it holds {found}): take it out of the campaign, it is not NanoAOD"
            raise InputFileError(msg)
        end = int(file.file.fEND)
        size = Path(path).stat().st_size if "://" not in path else end
        if size < end:
            msg = f"{path} is truncated, it has {size} of {end} bytes: restore the file, then rerun"
            raise InputFileError(msg)
        yield file[TREE]


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except (InputFileError, ColumnError, MemoryError):
        raise
    # a damaged file makes the reader fail in any way there is: wrong keys, lengths, magic numbers, decompression
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        advice = "check the network, the server and the path" if "://" in path else "restore the file"
        damage = "" if "://" in path else ", it is damaged, truncated or not ROOT"
        msg = f"{path} cannot be read{damage} ({reason}): {advice}, then rerun"
        raise InputFileError(msg) from error


def _check_finite(array: ak.Array, where: str, branch: str, offset: int) -> None:
    import awkward as ak
    import numpy as np

    flat = ak.to_numpy(ak.flatten(array, axis=None))
    if not np.issubdtype(flat.dtype, np.floating) or np.isfinite(flat).all():
        return
    bad = ~np.isfinite(array)
    events = ak.any(bad, axis=1) if array.ndim > 1 else bad
    first = offset + int(np.flatnonzero(ak.to_numpy(events))[0])
    msg = (
        f"{where}: column {branch} holds {int(ak.sum(bad, axis=None))} values that are not finite, the first in entry "
        f"{first}: take the file out of the campaign or repair it"
    )
    raise NonFiniteColumnError(msg)


def _column_name(branch: str) -> str:
    collection, underscore, field = branch.partition("_")
    return f"{collection}.{field}" if underscore else branch


def _parquet_columns(schema: Any) -> Iterator[str]:
    import pyarrow as pa

    for field in schema:
        kind = field.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            kind = kind.value_type
        if pa.types.is_struct(kind):
            yield from (f"{field.name}.{member.name}" for member in kind)
        else:
            yield field.name
