from __future__ import annotations

import os

import pytest

from analysis.engine.backends import registry
from analysis.engine.errors import ParameterError
from tests.engine.backends.fake import configure

pytestmark = pytest.mark.usefixtures("no_configuration")


@pytest.fixture(autouse=True)
def nothing_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_made", {})


@pytest.mark.parametrize("name", ["htcondor", "slurm"])
def test_one_object_per_process(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = registry.backend(name)
    assert first.name == name
    assert registry.backend(name) is first
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert registry.backend(name) is not first


def test_settings_of_the_site_arrive() -> None:
    configure("htcondor", max_jobs="17")
    assert registry.backend("htcondor").max_jobs == 17


def test_wrong_setting_is_one_sentence() -> None:
    configure("slurm", max_jobs="many")
    configure("htcondor", max_jobs="many")
    with pytest.raises(ParameterError, match=r"section htcondor, max_jobs: 'many' is not a number"):
        registry.backend("htcondor")


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match="there is no batch system local"):
        registry.backend("local")
