"""Errors that cross the border of a sandbox."""

from __future__ import annotations

import pickle

import pytest

from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.failures import failure_of
from analysis.engine.errors import OutputError, RecipeCycleError
from analysis.engine.sandboxes.base import Crossing, InsideError
from analysis.engine.sandboxes.crossing import raised
from analysis.engine.storage.base import DeniedError


class ForeignError(Exception):
    """Not known outside."""


def crossed(error: Exception) -> BaseException:
    return raised(Crossing(failure_of(error).to_json(), str(error), "trace"), "docker::image")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a `b` 'c'\n{d}"),
        OutputError("gone"),
        RecipeCycleError(["A", "B", "A"]),
        DeniedError("read", "root://host//file", "permission denied"),
        MemoryError("unable to allocate 1 TB"),
        OSError("no such thing"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_type_and_text_are_kept(error: Exception) -> None:
    found = crossed(error)
    assert isinstance(found, type(error))
    assert (type(found).__name__, str(found)) == (type(error).__name__, str(error))
    assert found.__notes__ == ["in the sandbox docker::image:\ntrace"]


def test_an_error_of_a_store_is_one_line_of_a_workflow() -> None:
    """Of such errors, the engine tells the reason once for all branches."""
    found = crossed(DeniedError("read", "root://host//file", "permission denied"))
    assert isinstance(found, DeniedError)
    assert str(found) == found.reason


def test_its_report_is_that_of_the_inside() -> None:
    error = ForeignError("odd")
    error.__cause__ = DeniedError("read", "root://host//file", "permission denied")
    assert failure_of(crossed(error)) == failure_of(error)
    assert failure_of(error).kind is FailureClass.CREDENTIAL


def test_it_crosses_the_border_of_a_process_as_well() -> None:
    """As luigi's errors of worker processes do."""
    error = OutputError("gone")
    again = pickle.loads(pickle.dumps(crossed(error)))
    assert isinstance(again, OutputError)
    assert str(again) == "gone"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ForeignError("odd"), "ForeignError: odd"),
        (KeyError("x"), "KeyError: 'x'"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff"),
        (SystemExit(3), "SystemExit: 3"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_others_are_named(error: Exception, text: str) -> None:
    found = crossed(error)
    assert type(found) is InsideError
    assert str(found).startswith(text)
