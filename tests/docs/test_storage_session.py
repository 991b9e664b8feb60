"""What the page about storage shows happens, command by command, on real servers."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from tests.chain import REPOSITORY
from tests.docs.session import Copy, Step, agrees, run, same, steps
from tests.testbed.fixtures import storage
from tests.testbed.storage import Storage

__all__ = ["storage"]

PAGE = REPOSITORY / "docs" / "storage.md"
DIRECTORY = "/opt/analysis-testbed"
SERVERS = {"12094": ("xrd-open", "root"), "12099": ("xrd-auth", "https")}
"""Ports on the page."""


def here(text: str, storage: Storage) -> str:
    """The page with the ports and the directory of this testbed."""
    for port, (server, protocol) in SERVERS.items():
        text = text.replace(f":{port}/", f":{storage.port(server, protocol)}/")  # type: ignore[arg-type]
    return text.replace(f"{DIRECTORY}/storage", str(storage.directory))


def exported(step: Step) -> dict[str, str]:
    """Variables that a command sets for all that follow."""
    words = shlex.split(step.command)
    return dict(word.split("=", 1) for word in words[1:]) if words[:1] == ["export"] else {}


def test_page_shows_a_session() -> None:
    found = list(steps(PAGE.read_text()))
    assert sum(bool(step.printed) for step in found) >= 10
    assert {"LAW__outputs__default", "LAW__wlcg_fs__base", "X509_USER_PROXY"} <= {
        name for step in found for name in exported(step)
    }


@pytest.mark.integration
def test_session_of_the_page(storage: Storage, tmp_path: Path) -> None:
    copy = Copy.make(tmp_path, "analysis", "law")
    for server in ("xrd-open", "xrd-auth"):
        shutil.rmtree(storage.folder(server) / "jane", ignore_errors=True)
    environment = {**copy.variables, **storage.environment()}
    run("law index", environment, copy.path)
    for step in steps(here(PAGE.read_text(), storage)):
        if variables := exported(step):
            environment |= variables
            continue
        printed = [line.replace(str(copy.path), "...") for line in run(step.command, environment, copy.path)]
        assert agrees(step.printed, printed), "\n".join([step.command, *map(same, printed)])
