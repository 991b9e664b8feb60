"""Who a container runs as; the rest is tried with the real daemon."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from analysis.engine.sandboxes.docker import user_of


@pytest.mark.parametrize(
    ("info", "user"),
    [
        ({"SecurityOptions": ["name=seccomp,profile=builtin"]}, "1002:1003"),
        ({"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}, "0:0"),
        ({"SecurityOptions": ["name=seccomp,profile=default"], "Rootless": True}, "0:0"),
        ({}, "1002:1003"),
    ],
    ids=["docker", "docker without rights", "podman without rights", "unknown"],
)
def test_user(info: dict[str, Any], user: str) -> None:
    """Daemons without rights, which map who started them to root, are not in the testbed."""
    client: Any = SimpleNamespace(info=lambda: info)
    found = user_of(client, (1002, 1003))
    assert found["user"] == user
    assert ("group_add" in found) is (user != "0:0")
