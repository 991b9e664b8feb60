"""The whole chain, with every stage in a sandbox of each kind: what comes out is what a run without one makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.chain import Law
from tests.engine.sandboxes.runs import until
from tests.integration.results import check_clean, check_same, check_same_content
from tests.integration.sandbox_fixtures import Containers, containers, kind
from tests.integration.test_concurrent import done, manifests
from tests.testbed.fixtures import sandboxes

__all__ = ["containers", "kind", "sandboxes"]

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


def test_chain(tmp_path: Path, demo_store: Path, containers: Containers, kind: str) -> None:
    home = tmp_path / "law_home"
    home.mkdir()
    law = SandboxedLaw(tmp_path / "store", home, containers.variables)
    said = law.succeed("Report", "--workers", "2", "--sandbox", kind)
    assert str(law.store) in said.stdout.splitlines()[-1]  # the page with the result
    made = manifests(law.store)
    assert "v1/demo/Report#None" in made
    assert check_same(made, manifests(demo_store)) > 500
    check_same_content(made, law.store, demo_store)
    check_clean(law.store)
    ran_in = {key.split("/")[2].partition("#")[0]: made[key].provenance["sandbox"] for key in made}
    assert set(ran_in.values()) == {f"{kind}::{containers.name(kind, name)}" for name in ("columnar", "ml", "stats")}
    assert ran_in["TrainModel"] == f"{kind}::{containers.name(kind, 'ml')}"
    # and nothing is to be done without a sandbox, or in another one
    for other in ("none", "venv"):
        assert done(law.succeed("Report", "--sandbox", other).stderr) == []
    assert until(lambda: not containers.running())  # docker's daemon removes them after they have ended
