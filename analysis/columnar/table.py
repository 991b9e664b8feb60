"""A lazy table of events: columns are read or computed when they are asked for, once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from analysis.columnar import functions  # noqa: F401  (registers the column functions)
from analysis.columnar.column import ColumnFunction, depends_on, leaves, producer, selection_of
from analysis.columnar.errors import ColumnError

if TYPE_CHECKING:
    import awkward as ak

    from analysis.config.types import Shift


class Source(Protocol):
    """Where the columns of a table come from."""

    @property
    def available(self) -> Collection[str]:
        """Names of the columns that can be read."""

    @property
    def where(self) -> str:
        """Place, for messages."""

    def __len__(self) -> int:
        """Number of events."""

    def read(self, columns: Iterable[str]) -> Mapping[str, ak.Array]:
        """Read columns."""


class Table:
    """Events as columns. Indexing by name reads or computes a column and keeps it.

    A table can be narrowed to some rows (:meth:`filter`) or seen under a kinematic shift (:meth:`shifted`); both share
    everything with the table they come from that they need not compute anew.

    Args:
        source: where columns come from.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._length = len(source)
        self._parent: Table | None = None
        self._rows: ak.Array | None = None
        self._replaced: dict[str, str] = {}
        self._cache: dict[str, ak.Array] = {}

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, column: str) -> ak.Array:
        if column not in self._cache:
            self._cache.update(self._resolve(column))
        return self._cache[column]

    def has(self, column: str) -> bool:
        """Whether a column can be read from the source."""
        return column in self._source.available

    def filter(self, mask: ak.Array) -> Table:
        """Table of the rows for which a mask, shape ``(events,)``, is true."""
        import awkward as ak

        child = self._child()
        child._rows = mask
        child._length = int(ak.sum(mask))
        return child

    def shifted(self, shift: Shift) -> Table:
        """Table under a kinematic shift; the table itself for any other shift."""
        if not shift.replaces:
            return self
        child = self._child()
        child._replaced = dict(shift.replaces)
        return child

    def prefetch(self, columns: Iterable[str]) -> None:
        """Read all columns that are needed to compute the given ones, in one call to the source."""
        root = self
        while root._parent is not None:
            root = root._parent
        available = set(root._source.available)
        wanted = leaves(columns, available) - root._cache.keys()
        if wanted:
            root._cache.update(root._source.read(sorted(wanted)))

    def records(self, columns: Iterable[str]) -> ak.Array:
        """Events with the given columns as fields, those of one collection zipped to records (``events.Jet.pt``).

        Collections with ``pt``, ``eta``, ``phi`` and ``mass`` behave as four-vectors (scikit-hep's ``vector``).
        """
        import awkward as ak
        import vector

        vector.register_awkward()
        self.prefetch(column for column in columns if column not in self._cache)
        fields: dict[str, ak.Array] = {}
        collections: dict[str, dict[str, ak.Array]] = {}
        for column in sorted(columns):
            collection, _, field = column.partition(".")
            if field:
                collections.setdefault(collection, {})[field] = self[column]
            else:
                fields[column] = self[column]
        for collection, members in collections.items():
            is_vector = {"pt", "eta", "phi", "mass"} <= members.keys()
            fields[collection] = ak.zip(members, with_name="Momentum4D" if is_vector else None)
        return ak.zip(fields, depth_limit=1)

    def _apply(self, function: ColumnFunction) -> Mapping[str, ak.Array]:
        try:
            return function.columns(self.records(function.uses))
        except AttributeError as error:  # awkward's way to say that there is no such field
            if "no field named" not in str(error):
                raise
            msg = (
                f"column function {function.name} reads a column that its uses does not declare ({error}): "
                f"declared are {', '.join(sorted(function.uses))}"
            )
            raise ColumnError(msg) from error

    def _child(self) -> Table:
        child = Table.__new__(Table)
        child._source, child._length, child._parent = self._source, self._length, self
        child._rows, child._replaced, child._cache = None, {}, {}
        return child

    def _is_given(self, column: str) -> bool:
        """Whether a column is read or replaced, not computed by a column function."""
        if self._parent is None:
            return column in self._source.available
        return column in self._replaced or self._parent._is_given(column)

    def _inherits(self, column: str) -> bool:
        """Whether a column is taken from the parent, as it is or narrowed to the rows."""
        if self._parent is None or column in self._replaced:
            return False
        if self._is_given(column):
            return True
        if self._rows is not None:
            return column in self._parent._cache
        return not depends_on(column, self._replaced)

    def _resolve(self, column: str) -> Mapping[str, ak.Array]:
        if self._parent is not None:
            if self._inherits(column):
                value = self._parent[column]
                return {column: value if self._rows is None else value[self._rows]}
            if column in self._replaced:
                return {column: self._parent[self._replaced[column]]}
        elif self._is_given(column):
            return self._source.read([column])
        function = producer(column)
        if function is not None:
            leaves([column], self._source.available)  # a circle is named before it is entered
            return self._apply(function)
        selected = selection_of(column)
        if selected is not None:
            selection, source_column = selected
            return {column: self[source_column][self[selection.name]]}
        return self._source.read([column])  # raises, with the name of the file
