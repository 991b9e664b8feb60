"""The targets of our stores on real servers; what plain law does instead is in ``test_storage_plain_law``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.law_targets import CHECKS
from tests.integration.storage_fixtures import Place, new_place, place, scheme, storage
from tests.testbed import CHECKOUT
from tests.testbed.storage import Protocol

__all__ = ["new_place", "place", "scheme", "storage"]

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("check", CHECKS)
def test_targets(check: str, place: Place, tmp_path: Path) -> None:
    other: Protocol = "davs" if place.scheme == "root" else "root"
    bases = {
        "one": place.base,
        "two": place.storage.url(place.server, other, place.name),
        "lost": "root://127.0.0.1:9//store" if place.scheme == "root" else "davs://127.0.0.1:9/store",
    }
    options = "timeout: 5s\npatience: 1s\nretry_delay: 1s\n"
    sections = (f"[{name}]\nbase: {base}\n{options}" for name, base in bases.items())
    (tmp_path / "law.cfg").write_text("\n".join(sections))
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("X509_", "BEARER_", "LAW_"))}
    environment = {
        **usual,
        **place.storage.environment(),
        "PYTHONPATH": f"{place.storage.bindings}{os.pathsep}{CHECKOUT}",
        "LAW_HOME": str(tmp_path / "law"),
        "LAW_CONFIG_FILE": str(tmp_path / "law.cfg"),
    }
    command = [sys.executable, "-m", "tests.integration.law_targets", check]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path for path in place.files() if path.endswith(".part")] == []
