from __future__ import annotations

import logging

import pytest
from luigi.parameter import MissingParameterException

from analysis.engine.errors import StoreError
from analysis.engine.log import OneSentence


def record(error: Exception, message: str = "failed %s", *arguments: object) -> logging.LogRecord:
    info = (type(error), error, None)
    made = logging.LogRecord("luigi-interface", logging.ERROR, "file", 1, message, arguments or ("Task",), info)
    assert OneSentence().filter(made)
    return made


@pytest.mark.parametrize(
    "error", [StoreError("the disk is full: free some space"), MissingParameterException("give it")]
)
def test_error_of_the_user_is_one_sentence(error: Exception) -> None:
    made = record(error)
    assert made.getMessage() == f"{type(error).__name__}: {error}"
    assert made.exc_info is None


def test_bug_keeps_its_traceback() -> None:
    made = record(ValueError("a bug"))
    assert made.exc_info is not None
    assert made.getMessage() == "failed Task"


def scheduling(last_line: str) -> str:
    text = (
        "Will not run SelectEvents(dataset=ttbar, branch=1) or any dependencies due to error in deps() method:\n"
        f"Traceback (most recent call last):\n  File x, line 1, in f\n    g()\n{last_line}\n"
    )
    made = logging.LogRecord("luigi-interface", logging.WARNING, "file", 1, text, (), None)
    assert OneSentence().filter(made)
    return made.getMessage()


def test_error_while_scheduling_is_one_sentence() -> None:
    said = scheduling("analysis.engine.errors.StoreError: the disk is full: free some space")
    assert said == "SelectEvents: StoreError: the disk is full: free some space"


def test_bug_while_scheduling_keeps_its_traceback() -> None:
    assert "Traceback" in scheduling("ValueError: a bug")
