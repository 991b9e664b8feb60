"""Folders of a workflow with many branches: no directory has more entries than a storage can list quickly."""

from __future__ import annotations

import re

SHARD = 1000
"""Branches per folder."""

_NAME = re.compile(r"(\d+)-(\d+)")


def shard_of(branch: int | None) -> str:
    """Subfolder of what belongs to a branch; empty for the first ones, and for a task without branches.

    It depends on the number of the branch alone: a workflow that grows moves nothing.

    Examples:
        >>> shard_of(999), shard_of(1000), shard_of(12345), shard_of(None)
        ('', '1000-1999', '12000-12999', '')
    """
    if branch is None or branch < SHARD:
        return ""
    first = branch - branch % SHARD
    return f"{first}-{first + SHARD - 1}"


def is_shard(name: str) -> bool:
    """Whether this is the name of such a subfolder.

    Examples:
        >>> is_shard("1000-1999"), is_shard("1000-2999"), is_shard("manifests")
        (True, False, False)
    """
    found = _NAME.fullmatch(name)
    return found is not None and name == shard_of(int(found[1]))
