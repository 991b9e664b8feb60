from __future__ import annotations

from collections.abc import Callable

import pytest

from analysis.engine.errors import ParameterError
from analysis.engine.policy import expensive_hours, stale_is_used, stale_policy

Stale = Callable[..., None]


@pytest.mark.parametrize("policy", ["rerun", "warn", "error"])
def test_policy_of_a_family_is_above_the_default(stale: Stale, policy: str) -> None:
    stale(default="error" if policy == "warn" else "warn", Sum=policy)
    assert stale_policy("Sum") == policy
    assert stale_policy("Count") != policy or policy == "error"
    stale(default=policy)
    assert stale_policy("Count") == policy


def test_without_a_word_stale_outputs_are_made_again(stale: Stale) -> None:
    assert stale_policy("Sum") == "rerun"
    assert not stale_is_used()
    stale(default="rerun")
    assert stale_policy("Sum") == "rerun"


@pytest.mark.parametrize("value", ["ignore", "", "Warn", "True"])
def test_wrong_policy_is_one_sentence(stale: Stale, value: str) -> None:
    stale(Sum=value)
    with pytest.raises(
        ParameterError, match=rf"^law\.cfg, section stale: .*{value}.* for Sum is not one of rerun, warn, error$"
    ):
        stale_policy("Sum")
    assert stale_policy("Count") == "rerun"


def test_whether_stale_outputs_are_used(stale: Stale) -> None:
    stale(default="error", Sum="rerun")
    assert not stale_is_used()
    stale(Sum="warn")
    assert stale_is_used()


def test_hours(stale: Stale) -> None:
    assert expensive_hours() == 1
    stale(expensive_cpu_hours="2.5")
    assert expensive_hours() == 2.5
    stale(expensive_cpu_hours="0")
    assert expensive_hours() == 0


@pytest.mark.parametrize("value", ["many", "", "1 h", "nan", "-1"])
def test_wrong_hours_are_one_sentence(stale: Stale, value: str) -> None:
    stale(expensive_cpu_hours=value)
    with pytest.raises(ParameterError, match=r"^law\.cfg, section stale: expensive_cpu_hours is .*must be a number of"):
        expensive_hours()
