"""The table of storage faults, and the tests that provoke them, name each other."""

from __future__ import annotations

import re

from tests.chain import REPOSITORY

TABLE = REPOSITORY / "docs" / "storage-faults.md"
FILES = [REPOSITORY / "tests" / "integration" / f"test_storage_faults{name}.py" for name in ("", "_data", "_rights")]
CHECKS = {"test_good_credential"}
"""They show that it is the fault that makes the difference."""


def test_table_of_storage_faults() -> None:
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    named = [match[1] for row in rows if (match := re.search(r"`(test_\w+)` \|$", row))]
    tests = {name for file in FILES for name in re.findall(r"(?m)^def (test_\w+)", file.read_text())}
    assert len(named) == len(set(named)) == len(rows) == 30
    assert set(named) == tests - CHECKS
    assert all(row.count(" | ") == 3 for row in rows)
