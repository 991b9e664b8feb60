"""The registry of column functions: who provides which column, from what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.columnar.errors import ColumnError

if TYPE_CHECKING:
    import awkward as ak

    Columns = Callable[[ak.Array], Any]


@dataclass(frozen=True)
class ColumnFunction:
    """A pure function ``events -> columns`` that says what it uses and what it produces.

    Args:
        function: takes events with the used columns as fields (``events.Jet.pt``). Returns the array of the one
            column it produces, or a mapping from names to arrays. Row ``i`` of the result belongs to event ``i``.
        uses: columns it reads.
        produces: columns it makes.
    """

    function: Columns
    uses: frozenset[str]
    produces: tuple[str, ...]

    def __call__(self, events: ak.Array) -> Any:
        """Apply the function; any awkward array with the right fields will do, coffea's ``NanoEvents`` included."""
        return self.function(events)

    @property
    def name(self) -> str:
        """Module and name of the function."""
        return _place(self.function)

    def columns(self, events: ak.Array) -> dict[str, ak.Array]:
        """Produced columns by name."""
        result = self.function(events)
        return dict(result) if isinstance(result, Mapping) else {self.produces[0]: result}


@dataclass(frozen=True)
class ObjectSelection:
    """A collection that consists of the objects of another one for which a mask is true."""

    name: str
    of: str
    mask: ColumnFunction


_FUNCTIONS: dict[str, ColumnFunction] = {}
_SELECTIONS: dict[str, ObjectSelection] = {}


def column_function(uses: Collection[str], produces: Collection[str]) -> Callable[[Columns], ColumnFunction]:
    """Register a column function.

    Args:
        uses: columns the function reads; they may be produced by other column functions.
        produces: columns it makes.

    Returns:
        Decorator.

    Raises:
        ColumnError: if another function produces one of the columns already.

    Examples:
        >>> @column_function(uses={"Jet.pt"}, produces={"doc_leading_pt"})
        ... def leading_pt(events):
        ...     "Largest transverse momentum."
        ...     return events.Jet.pt[:, 0]
        >>> sorted(leading_pt.uses)
        ['Jet.pt']
    """

    def register(function: Columns) -> ColumnFunction:
        column = ColumnFunction(function, frozenset(uses), tuple(produces))
        for name in column.produces:
            existing = _FUNCTIONS.get(name)
            if existing is not None and _place(existing.function) != _place(function):
                msg = (
                    f"column {name!r} is produced by {_place(existing.function)} and by {_place(function)}: rename one"
                )
                raise ColumnError(msg)
            _FUNCTIONS[name] = column
        return column

    return register


def object_selection(name: str, of: str, uses: Collection[str]) -> Callable[[Columns], ColumnFunction]:
    """Register a collection of selected objects; afterwards ``name.pt`` is ``of.pt`` where the mask is true.

    Args:
        name: the new collection.
        of: the collection it is selected from.
        uses: columns the mask reads.

    Returns:
        Decorator for a function that returns the mask, shape ``(events, var)``.
    """

    def register(function: Columns) -> ColumnFunction:
        mask = column_function(uses, {name})(function)
        _SELECTIONS[name] = ObjectSelection(name, of, mask)
        return mask

    return register


def producer(column: str) -> ColumnFunction | None:
    """Function that makes a column; ``None`` if it has to come from the events."""
    return _FUNCTIONS.get(column)


def selection_of(column: str) -> tuple[ObjectSelection, str] | None:
    """Object selection and source column behind a column such as ``SelectedJet.pt``; ``None`` for other columns."""
    collection, _, field = column.partition(".")
    selection = _SELECTIONS.get(collection)
    return (selection, f"{selection.of}.{field}") if selection and field else None


def parents(column: str) -> frozenset[str]:
    """Columns that a column is made of, directly; empty if it has to come from the events."""
    function = producer(column)
    if function is not None:
        return function.uses
    selected = selection_of(column)
    return frozenset({selected[0].name, selected[1]}) if selected else frozenset()


def leaves(columns: Iterable[str], available: Collection[str] = ()) -> set[str]:
    """Columns to be read in order to compute others: the transitive closure of ``uses``, down to the events.

    Args:
        columns: columns that are wanted.
        available: columns that are there and need not be computed.

    Returns:
        The columns to read.

    Raises:
        ColumnError: if columns use each other in a circle.
    """
    found: set[str] = set()

    def visit(column: str, path: tuple[str, ...]) -> None:
        if column in path:
            msg = f"columns use each other in a circle: {' -> '.join((*path, column))}"
            raise ColumnError(msg)
        needed = frozenset() if column in available else parents(column)
        if not needed:
            found.add(column)
        for other in needed:
            visit(other, (*path, column))

    for column in columns:
        visit(column, ())
    return found


def modules_behind(columns: Iterable[str], available: Collection[str] = ()) -> set[str]:
    """Modules whose functions, masks of selected objects included, compute columns from others.

    Args:
        columns: columns that are wanted, of registered column functions.
        available: columns that are there and need not be computed.

    Returns:
        Names of the modules of these functions; what they import in turn is not among them.
    """
    found: set[str] = set()
    seen, ahead = set(available), list(columns)
    while ahead:
        column = ahead.pop()
        if column in seen:
            continue
        seen.add(column)
        function = producer(column)
        if function is not None:
            found.add(function.function.__module__)
        ahead += parents(column)
    return found


def depends_on(column: str, others: Collection[str]) -> bool:
    """Whether a column is, or is made of, one of the others."""
    return not leaves([column], available=others).isdisjoint(others)


def _place(function: Columns) -> str:
    return f"{function.__module__}.{function.__qualname__}"
