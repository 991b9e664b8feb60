"""What the page about storage shows happens, command by command, on real servers."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tests.chain import REPOSITORY, Law
from tests.docs.session import Step, agrees, run, same, steps
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
    repository = tmp_path / "repository"
    law = Law(repository / "data" / "store", repository / ".law")
    for folder in (law.store, law.home, tmp_path / "bin"):
        folder.mkdir(parents=True)
    for name in ("analysis", "sandboxes", "profiles", "law.cfg"):
        (repository / name).symlink_to(REPOSITORY / name)
    for command in ("analysis", "law"):
        launcher = tmp_path / "bin" / command
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m {command} "$@"\n')
        launcher.chmod(0o755)
    for server in ("xrd-open", "xrd-auth"):
        shutil.rmtree(storage.folder(server) / "jane", ignore_errors=True)
    environment = {
        **law.environment(),
        **storage.environment(),
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{law.environment()['PATH']}",
    }
    run("law index", environment, repository)
    for step in steps(here(PAGE.read_text(), storage)):
        if variables := exported(step):
            environment |= variables
            continue
        printed = [line.replace(str(repository), "...") for line in run(step.command, environment, repository)]
        assert agrees(step.printed, printed), "\n".join([step.command, *map(same, printed)])
