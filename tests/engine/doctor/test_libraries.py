from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.engine.doctor import libraries
from analysis.engine.doctor.finding import Finding, Level
from analysis.engine.storage.interfaces import GfalInterface, XrootdInterface
from tests.engine.storage.test_settings import Configure, configure

__all__ = ["configure"]


def test_xrootd() -> None:
    (found,) = libraries.xrootd()
    assert (found.level, found.found.partition(" ")[0]) == (Level.GREEN, "XRootD")


def test_gfal2_where_it_is() -> None:
    if GfalInterface.problem():
        pytest.skip("gfal2 is not installed")
    (found,) = libraries.gfal2()
    assert found.level == Level.GREEN
    assert found.found.startswith("gfal2 ")


def test_one_that_is_missing(monkeypatch: pytest.MonkeyPatch, configure: Configure) -> None:
    monkeypatch.setattr(GfalInterface, "problem", classmethod(lambda _: "gfal2 is missing for Python 3.11: install it"))
    configure("outputs", default="wlcg, grid")
    configure("grid", base="root://a//x")
    advice = "only if a store needs it, install it (docs/storage.md)"
    assert list(libraries.gfal2()) == [Finding("gfal2", Level.GREY, "gfal2 is missing for Python 3.11", advice)]
    configure("grid", base="root://a//x", interface="gfal2")
    (found,) = libraries.gfal2()
    assert (found.level, found.advice) == (Level.RED, "install it")
    assert found.found.endswith(", and section grid of law.cfg asks for it")


def test_one_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gfal2.py").write_text("raise ImportError('libgfal2.so.2: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = libraries.gfal2()
    assert (found.level, found.found) == (
        Level.GREY,
        "gfal2 cannot be loaded (libgfal2.so.2: cannot open shared object file)",
    )
    assert found.advice == "only if a store needs it, install python3-gfal2 again (docs/storage.md)"


def test_gfal2_is_not_loaded_into_this_process() -> None:
    look = "from analysis.engine.doctor import libraries; list(libraries.gfal2())"
    code = f"import sys; {look}; print('gfal2' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


def test_a_configuration_that_makes_no_sense_is_said_elsewhere(
    monkeypatch: pytest.MonkeyPatch, configure: Configure
) -> None:
    configure("outputs", default="wlcg")
    monkeypatch.setattr(XrootdInterface, "problem", classmethod(lambda _: "XRootD is missing: pip install xrootd"))
    (found,) = libraries.xrootd()
    assert (found.level, found.found) == (Level.GREY, "XRootD is missing")
