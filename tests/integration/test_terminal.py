"""What a run shows on a terminal."""

from __future__ import annotations

from pathlib import Path

import pexpect
import pytest

from tests.chain import Law
from tests.integration.conftest import write_campaign

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("workers", ["1", "2"])
def test_bars_count_the_branches(law: Law, small_files: dict[str, list[str]], tmp_path: Path, workers: str) -> None:
    campaign = write_campaign(tmp_path / "small.yaml", small_files)
    command, *arguments = law.command(
        "SelectEvents", "--campaign", campaign, "--dataset", "ttbar", "--workers", workers
    )
    environment = {**law.environment(), "TERM": "xterm", "COLUMNS": "100"}
    terminal = pexpect.spawn(command, arguments, env=environment, encoding="utf-8", timeout=120, dimensions=(30, 100))
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert terminal.before is not None
    last = terminal.before[terminal.before.rindex("IndexFiles") :]
    assert "SelectEvents" in last
    assert last.count("3/3") == 2
    assert "done in" not in terminal.before
