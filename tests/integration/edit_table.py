"""What makes what stale. ``python -m tests.integration.edit_table`` prints the tables of docs/what-makes-stale.md."""

from __future__ import annotations

from tests.integration.edits_of_code import CODE, NO_CHANGE, PACKAGES
from tests.integration.edits_of_inputs import CONFIGURATION, FILES, STORE

TABLES = {
    "Nothing that counts": NO_CHANGE,
    "Code": CODE,
    "Configuration": CONFIGURATION,
    "Packages": PACKAGES,
    "Store and parameters": STORE,
    "Input files": FILES,
}


def documentation() -> str:
    """The tables of the docs."""
    return "\n\n".join(
        f"## {title}\n\n| edit | stale | remark |\n|---|---|---|\n" + "\n".join(edit.markdown for edit in edits)
        for title, edits in TABLES.items()
    )


if __name__ == "__main__":
    print(documentation())
