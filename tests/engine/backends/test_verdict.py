from __future__ import annotations

from itertools import count

import pytest

from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.records import CANCELLED, DONE, FAILED, RETRY, Attempt
from analysis.engine.backends.resources import Resources
from analysis.engine.backends.settings import BatchSettings
from analysis.engine.backends.verdict import FINAL, delay, grown, is_tried_again, tries

CODE, MEMORY, WALLTIME = FailureClass.CODE, FailureClass.MEMORY, FailureClass.WALLTIME
NODE, STORAGE = FailureClass.NODE, FailureClass.STORAGE
GB = 10**9
BASE = Resources(memory=3 * GB, runtime=3600)
SETTINGS = BatchSettings(max_memory=16 * GB, max_runtime=4 * 3600)
PASSING = [kind for kind in FailureClass if kind not in FINAL | {MEMORY, WALLTIME}]


def attempts(*results: tuple[str | None, FailureClass | None]) -> list[Attempt]:
    return [Attempt(0, "d", n, result, kind, float(n)) for n, (result, kind) in enumerate(results)]


def test_tries_are_the_series_that_goes_on() -> None:
    assert tries([]) == []
    assert tries(attempts((RETRY, NODE), (RETRY, MEMORY))) == [MEMORY, NODE]
    assert tries(attempts((RETRY, NODE), (None, None))) == [NODE]
    assert tries(attempts((RETRY, None))) == [NODE]


@pytest.mark.parametrize("end", [FAILED, DONE, CANCELLED])
def test_end_of_a_series_starts_anew(end: str) -> None:
    assert tries(attempts((RETRY, NODE), (end, NODE))) == []
    assert tries(attempts((RETRY, NODE), (end, NODE), (RETRY, MEMORY))) == [MEMORY]


@pytest.mark.parametrize("kind", sorted(FINAL))
def test_what_fails_again_is_final(kind: FailureClass) -> None:
    assert not is_tried_again(kind, [], BASE, SETTINGS, retries=99)


def test_classes_are_complete() -> None:
    assert set(PASSING) == {NODE, STORAGE, FailureClass.ENVIRONMENT}


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize("retries", [0, 1, 5])
def test_what_may_pass_is_tried_so_often(kind: FailureClass, retries: int) -> None:
    assert series(kind, retries=retries) == retries + 1


def series(kind: FailureClass, base: Resources = BASE, settings: BatchSettings = SETTINGS, retries: int = 0) -> int:
    """Attempts of a branch that always fails for one reason."""
    before: list[FailureClass] = []
    for number in count(1):
        if not is_tried_again(kind, before, base, settings, retries):
            return number
        before.insert(0, kind)
    raise AssertionError


def test_memory_and_time_are_limited_by_the_caps_alone() -> None:
    assert series(MEMORY) == 4  # 3, 6, 12, 16 GB
    assert series(WALLTIME) == 3  # 1, 2, 4 h
    assert series(MEMORY, Resources()) == 4  # unknown, 4, 8, 16 GB
    assert series(MEMORY, Resources(memory=16 * GB)) == series(MEMORY, Resources(memory=20 * GB)) == 1


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.0])
def test_growth_that_is_none_ends(factor: float) -> None:
    settings = BatchSettings(memory_growth=factor, runtime_growth=factor)
    assert series(MEMORY, settings=settings) == series(WALLTIME, settings=settings) == 1


def test_failures_for_want_of_memory_use_up_no_retries() -> None:
    assert is_tried_again(NODE, [MEMORY, WALLTIME, MEMORY], BASE, SETTINGS, retries=1)
    assert not is_tried_again(NODE, [MEMORY, NODE], BASE, SETTINGS, retries=1)
    assert is_tried_again(MEMORY, [NODE] * 9, BASE, SETTINGS, retries=1)


def test_only_what_was_short_grows() -> None:
    assert grown(BASE, [], SETTINGS) == grown(BASE, [NODE, STORAGE], SETTINGS) == BASE
    assert grown(BASE, [MEMORY, NODE, MEMORY], SETTINGS) == Resources(memory=12 * GB, runtime=3600)
    assert grown(BASE, [WALLTIME], SETTINGS) == Resources(memory=3 * GB, runtime=7200)
    assert grown(BASE, [WALLTIME, MEMORY], SETTINGS) == Resources(memory=6 * GB, runtime=7200)


def test_unknown_sizes_start_somewhere() -> None:
    assert grown(Resources(), [MEMORY, WALLTIME], SETTINGS) == Resources(memory=4 * GB, runtime=7200)


def test_caps_take_nothing_away() -> None:
    large = Resources(memory=20 * GB, runtime=86400)
    assert grown(large, [MEMORY, WALLTIME], SETTINGS) == large


def test_delay_doubles_up_to_an_hour() -> None:
    settings = BatchSettings(retry_delay=30)
    assert [delay([NODE] * n, settings) for n in (0, 1, 2, 3, 8, 500)] == [0, 30, 60, 120, 3600, 3600]
    assert delay([MEMORY, NODE], settings) == delay([WALLTIME], settings) == 0
    assert delay([NODE, MEMORY], settings) == 60
