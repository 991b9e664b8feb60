"""The whole chain, with every stage in a sandbox of each kind: what comes out is what a run without one makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.chain import Law
from tests.engine.sandboxes.runs import until
from tests.integration.own_campaign import REPORT, Own, own_files, own_on_disk
from tests.integration.results import check_clean, check_same, check_same_content
from tests.integration.sandbox_fixtures import Containers, containers, kind
from tests.integration.test_concurrent import done, manifests
from tests.testbed.fixtures import sandboxes, testbed

__all__ = ["containers", "kind", "own_files", "own_on_disk", "sandboxes", "testbed"]

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class SandboxedLaw(Law):
    """Runs ``law`` with images at hand.

    Args:
        variables: that say where they are.
    """

    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "ANALYSIS_PROFILE": "local", **self.variables}


@pytest.mark.exhaustive
def test_demo(tmp_path: Path, demo_store: Path, containers: Containers, kind: str) -> None:
    check(tmp_path, containers, kind, demo_store, "v1/demo/Report#None", at_least=500)


def test_own_campaign(
    tmp_path: Path, own_on_disk: Own, containers: Containers, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file and the files that it names are outside of the repository."""
    monkeypatch.chdir(tmp_path)
    options = ("--campaign", own_on_disk.write(tmp_path))
    check(tmp_path, containers, kind, own_on_disk.store, REPORT, *options, at_least=200)


def check(
    folder: Path, containers: Containers, kind: str, expected: Path, last: str, *options: str, at_least: int
) -> None:
    """Run the chain into an empty store."""
    home = folder / "law_home"
    home.mkdir()
    law = SandboxedLaw(folder / "store", home, containers.variables)
    said = law.succeed("Report", *options, "--workers", "2", "--sandbox", kind)
    assert str(law.store) in said.stdout.splitlines()[-1]  # the page with the result
    made = manifests(law.store)
    assert last in made
    assert check_same(made, manifests(expected)) > at_least
    check_same_content(made, law.store, expected)
    check_clean(law.store)
    ran_in = {key.split("/")[2].partition("#")[0]: made[key].provenance["sandbox"] for key in made}
    assert set(ran_in.values()) == {f"{kind}::{containers.name(kind, name)}" for name in ("columnar", "ml", "stats")}
    assert ran_in["TrainModel"] == f"{kind}::{containers.name(kind, 'ml')}"
    # and nothing is to be done without a sandbox, or in another one
    for other in ("none", "venv"):
        assert done(law.succeed("Report", *options, "--sandbox", other).stderr) == []
    assert until(lambda: not containers.running())  # docker's daemon removes them after they have ended
