"""A campaign file of a user, which names files of three data sets, for whole chains that take a third of the demo's."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from analysis.generator import write_nanoaod
from tests.chain import Law
from tests.integration.conftest import write_campaign
from tests.testbed import Testbed
from tests.testbed.storage import DAVS, Storage

NAME = "own.yaml"
FILES = {"ttbar": (2, 12000), "single_top_tW": (1, 8000), "wjets": (2, 12000)}
"""Number of files by data set, and of events in each."""
REPORT = "v1/own/Report#None"
"""Key of the last manifest."""


@dataclass(frozen=True)
class Own:
    """The campaign, and what a run on this machine makes of it.

    Args:
        text: of the campaign file.
        store: with a finished ``Report``.
    """

    text: str
    store: Path

    def write(self, folder: Path) -> str:
        """Have the file in the directory from which a run is started; returns its name there."""
        (folder / NAME).write_text(self.text)
        return NAME


def write_files(folder: Path) -> dict[str, list[Path]]:
    """Generate all files; returns them by data set."""
    made: dict[str, list[Path]] = {}
    for dataset, (number, events) in FILES.items():
        for i in range(number):
            path = folder / f"{dataset}_{i}.root"
            write_nanoaod(path, dataset, events, seed=3, first_event=events * i)
            made.setdefault(dataset, []).append(path)
    return made


def own(folder: Path, files: dict[str, list[str]], **variables: str) -> Own:
    """Run all of it here.

    Args:
        folder: an empty one.
        files: paths or URLs by data set.
        **variables: more of the environment.
    """
    text = write_campaign(folder / NAME, files, name="own").read_text()
    (folder / "law_home").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        Law(folder / "store", folder / "law_home").succeed("Report", "--campaign", NAME, "--workers", "2")
    return Own(text, folder / "store")


@pytest.fixture(scope="session")
def own_files(testbed: Testbed) -> Iterator[dict[str, list[Path]]]:
    """On a disk that every user and machine sees."""
    folder = testbed.scratch(f"own_{secrets.token_hex(4)}")
    yield write_files(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def own_on_disk(own_files: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Own:
    """A campaign of files on a disk."""
    files = {dataset: list(map(str, paths)) for dataset, paths in own_files.items()}
    return own(tmp_path_factory.mktemp("own"), files)


@pytest.fixture(scope="session")
def own_on_server(
    own_files: dict[str, list[Path]], storage: Storage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Own]:
    """A campaign of the same files on a server."""
    name = f"own_{secrets.token_hex(4)}"
    disk = storage.scratch("xrd-open", name)
    files: dict[str, list[str]] = {}
    for dataset, paths in own_files.items():
        for path in paths:
            shutil.copy(path, disk)
            files.setdefault(dataset, []).append(storage.url("xrd-open", DAVS.protocol, f"{name}/{path.name}"))
    yield own(tmp_path_factory.mktemp("own"), files, **storage.variables)
    shutil.rmtree(disk)
