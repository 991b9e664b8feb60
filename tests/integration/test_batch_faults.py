"""The table of faults, and the tests that provoke them, name each other."""

from __future__ import annotations

import re

from tests.chain import REPOSITORY

TABLE = REPOSITORY / "docs" / "batch-faults.md"
FILES = [
    REPOSITORY / "tests" / "integration" / f"test_batch_{name}.py"
    for name in ("outcomes", "meddling", "controller", "scheduler")
]
CHECKS = {"test_submissions", "test_results", "test_memory_is_doubled", "test_log", "test_reasons"}
"""They look at other sides of the same runs."""


def test_table_of_faults() -> None:
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    named = {match[1] for row in rows if (match := re.search(r"`(test_\w+)` \|$", row))}
    tests = {name for file in FILES for name in re.findall(r"(?m)^def (test_\w+)", file.read_text())}
    assert len(rows) == 27
    assert all(re.search(r"`test_\w+` \|$", row) for row in rows)
    assert named == tests - CHECKS
