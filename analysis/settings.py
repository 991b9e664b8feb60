"""Which values of the configuration a stage reads: declared by its task, and recorded while it runs.

A task declares its settings (:func:`settings`), and they enter the recipe of its outputs; what its ``run`` really reads
is recorded (:func:`recorded_reads`), so that none can be forgotten.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from analysis.errors import AnalysisError

P = ParamSpec("P")
R = TypeVar("R")

# a global, not a context variable: what threads started by run() read belongs to run() as well
_reads: set[str] | None = None
_declared: Collection[str] | None = None
# a context variable, not a global: a selector that runs in one thread must not hide what another thread reads
_paused: ContextVar[bool] = ContextVar("_paused", default=False)


class UndeclaredSettingError(AnalysisError):
    """A value of the configuration is read that was not declared.

    Args:
        key: which one.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is read, but not declared")
        self.key = key


class Settings:
    """Base of the frozen dataclasses of the configuration: reads of their fields are recorded.

    A read is known by class, identity and field, as in ``Variable ht.bins``. The identity is the value of one field,
    named by :attr:`identity_field`; it says which object is meant and is itself not recorded, nor are comparison, hash,
    ``repr`` and pickling.
    """

    identity_field: ClassVar[str] = "name"

    def __init_subclass__(cls) -> None:
        # a dataclass keeps the methods that the class has; those it would make read all fields
        for method in ("__eq__", "__hash__", "__repr__"):
            if method not in vars(cls):
                setattr(cls, method, getattr(Settings, method))

    if not TYPE_CHECKING:  # or any name would pass as an attribute

        def __getattribute__(self, name: str) -> Any:
            if _reads is not None:
                values = object.__getattribute__(self, "__dict__")
                if name in values and name != type(self).identity_field and not _paused.get():
                    _record(_key(self, name))
            return object.__getattribute__(self, name)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


@contextmanager
def recorded_reads(declared: Collection[str] | None = None) -> Iterator[set[str]]:
    """Record which fields of the configuration are read, in all threads.

    Args:
        declared: keys that may be read; ``None`` for all.

    Yields:
        Keys of what was read, growing; those of a recording within another one reach the outer one at its end.

    Raises:
        UndeclaredSettingError: from the place where anything else is read.

    Examples:
        >>> from analysis.config import VARIABLES
        >>> with recorded_reads() as keys:
        ...     _ = VARIABLES["ht"].bins
        >>> keys
        {'Variable ht.bins'}
    """
    global _reads, _declared
    outer, inner, outer_declared = _reads, set[str](), _declared
    _reads, _declared = inner, declared
    try:
        yield inner
    finally:
        _reads, _declared = outer, outer_declared
        if outer is not None:
            outer |= inner


@contextmanager
def unrecorded_reads() -> Iterator[None]:
    """Record nothing for a while: what is read here matters by its result only."""
    token = _paused.set(True)
    try:
        yield
    finally:
        _paused.reset(token)


def _record(key: str) -> None:
    if _reads is not None:
        _reads.add(key)
    if _declared is not None and key not in _declared:
        raise UndeclaredSettingError(key)


def untracked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a selector: what it reads is not recorded, as its result is all that matters.

    Args:
        function: returns its result whole: a generator would read after it has returned.

    Returns:
        The function.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        token = _paused.set(True)
        try:
            return function(*args, **kwargs)
        finally:
            _paused.reset(token)

    return call


def settings(objects: Settings | Iterable[Settings], *fields: str) -> dict[str, Any]:
    """Values of the configuration by the keys under which their reads are recorded.

    Args:
        objects: one or several objects. Which they are, in which order, is a value as well, under the name of their
            class; merging the results for two collections of one class keeps that of the last one only.
        fields: names of the fields; none for all but the identity, and for those of the objects they consist of.

    Returns:
        Values, ready for JSON. Where a value consists of other objects, it has their identities.

    Raises:
        AttributeError: if an object has no such field.
        ValueError: if two objects that differ have one identity.

    Examples:
        >>> from analysis.config import VARIABLES
        >>> settings(VARIABLES["ht"], "bins", "start")
        {'Variable ht.bins': 25, 'Variable ht.start': 50}
        >>> settings([VARIABLES["ht"], VARIABLES["n_jets"]], "region")
        {'Variable': ['ht', 'n_jets'], 'Variable ht.region': '4j1b', 'Variable n_jets.region': '4j2b'}
    """
    found: dict[str, Any] = {}
    items = [objects] if isinstance(objects, Settings) else list(objects)
    if not isinstance(objects, Settings):
        for item in items:
            found.setdefault(type(item).__name__, []).append(_identity(item))
    for item in items:
        _collect(item, fields, found)
    return found


def _collect(item: Settings, fields: Iterable[str], found: dict[str, Any]) -> None:
    values = vars(item)
    for field in fields or [name for name in values if name != item.identity_field]:
        if field not in values:
            msg = f"{type(item).__name__} has no field {field!r}: its fields are {', '.join(values)}"
            raise AttributeError(msg)
        key, value = _key(item, field), _plain(values[field])
        if found.setdefault(key, value) != value:
            msg = f"{key} is both {found[key]!r} and {value!r}: give the two objects different names"
            raise ValueError(msg)
        for other in () if fields else _objects_in(values[field]):
            _collect(other, (), found)


def _key(item: Settings, field: str) -> str:
    return f"{type(item).__name__} {_identity(item)}.{field}"


def _identity(item: Settings) -> str:
    return str(vars(item)[item.identity_field])


def _objects_in(value: Any) -> Iterator[Settings]:
    """The objects that a value consists of."""
    if isinstance(value, Settings):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _objects_in(part)
    elif isinstance(value, (tuple, list, set, frozenset)):
        for part in value:
            yield from _objects_in(part)


def _plain(value: Any) -> Any:
    """A value as JSON has it, objects by their identities."""
    if isinstance(value, Settings):
        return _identity(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(part) for part in value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    msg = f"a setting is of type {type(value).__name__}, which JSON does not know: use numbers, texts and their tuples"
    raise TypeError(msg)
