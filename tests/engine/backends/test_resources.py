from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.backends.resources import Resources, parse_size, parse_time
from analysis.engine.errors import ParameterError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("17", 17),
        ("2GB", 2 * 10**9),
        ("2000 MB", 2 * 10**9),
        (" 1.5GiB ", 1_610_612_736),
        ("3k", 3000),
        ("1tb", 10**12),
        ("5B", 5),
    ],
)
def test_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-2GB", "2 light years", "2GBps", "1e3", "nan", "1,5GB", "2GB 3MB"])
def test_no_size(text: str) -> None:
    with pytest.raises(ParameterError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("90s", 90),
        ("90 min", 5400),
        ("2h", 7200),
        ("1.5H", 5400),
        ("1d", 86400),
        ("01:30:00", 5400),
        ("2-01:30:05", 178205),
        ("100:00:00", 360000),
    ],
)
def test_time(text: str, seconds: int) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-2h", "2 years", "1:30", "1:2:3", "inf"])
def test_no_time(text: str) -> None:
    with pytest.raises(ParameterError, match="is not a time"):
        parse_time(text)


@given(st.integers(0, 10**6), st.sampled_from(["MB", "GiB", "", "kB"]))
def test_size_does_not_depend_on_case_and_spaces(value: int, unit: str) -> None:
    assert (
        parse_size(f"{value}{unit}") == parse_size(f" {value}  {unit.lower()}") == parse_size(f"{value}{unit.upper()}")
    )


def test_override_takes_what_is_given() -> None:
    base = Resources(cores=2, memory=5, queue="short", extra={"a": "1", "b": "2"})
    new = base.override(cores=0, memory=7, queue="", gpus=1, extra={"b": "3"})
    assert new == Resources(cores=2, memory=7, gpus=1, queue="short", extra={"a": "1", "b": "3"})
    assert base.override(extra={}) == base


def test_equal_resources_share_a_submission() -> None:
    one, two = Resources(memory=5, extra={"a": "1"}), Resources(memory=5, extra={"a": "1"})
    assert hash(one) == hash(two)
    assert len({one, two, Resources(memory=5, extra={"a": "2"}), Resources(memory=5)}) == 3
