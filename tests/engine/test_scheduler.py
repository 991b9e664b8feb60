from __future__ import annotations

from collections.abc import Iterator

import luigi
import pytest

from analysis.engine.scheduler import prefer_named_scheduler


@pytest.fixture(autouse=True)
def configuration() -> Iterator[None]:
    config = luigi.configuration.get_config()
    before = config.get("core", "local_scheduler", "True")
    config.set("core", "local_scheduler", "True")
    yield
    config.set("core", "local_scheduler", before)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["law", "run", "Report"], False),
        (["law", "run", "Report", "--scheduler-host", "localhost"], True),
        (["law", "run", "Report", "--scheduler-port=8082"], True),
        (["law", "run", "Report", "--scheduler-port=8082", "--local-scheduler", "True"], False),
    ],
)
def test_named_scheduler_is_used(arguments: list[str], named: bool) -> None:
    assert prefer_named_scheduler(arguments) is named
    assert luigi.configuration.get_config().getboolean("core", "local_scheduler") is not named
