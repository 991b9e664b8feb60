"""``law run Report --plan`` is quick because it computes nothing, loads nothing heavy and touches nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.chain import Law

pytestmark = pytest.mark.integration

HEAVY = {
    "awkward",
    "boost_histogram",
    "cabinetry",
    "coffea",
    "correctionlib",
    "hist",
    "iminuit",
    "matplotlib",
    "mplhep",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "pyhf",
    "scipy",
    "sklearn",
    "uproot",
    "vector",
    "xgboost",
}
_PLAN = """
import atexit, json, pathlib, sys
report = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: report.write_text(json.dumps(sorted({name.partition(".")[0] for name in sys.modules}))))
from law.cli.cli import run
run()
"""


def plan(law: Law, *arguments: str) -> tuple[str, set[str]]:
    """Standard output of ``law run Report``, and the packages that the process had loaded when it ended."""
    report = law.home / "modules.json"
    command = [sys.executable, "-c", _PLAN, str(report), *law.command("Report", *arguments)[3:]]
    finished = subprocess.run(command, env=law.environment(), capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, set(json.loads(report.read_text()))


@pytest.mark.parametrize("campaign", ["demo", "agc_2015"])
def test_plan_loads_nothing_heavy_and_touches_nothing(law: Law, campaign: str) -> None:
    out, packages = plan(law, "--campaign", campaign, "--plan")
    assert {"law", "luigi", "analysis"} <= packages
    assert packages & HEAVY == set()
    assert not law.store.exists()
    assert re.search(r"^\d+ to run; CPU time unknown$", out, re.MULTILINE)
    rows = [line.split() for line in out.splitlines() if re.match(r"[A-Z]\w+ ", line)]
    assert {"IndexFiles", "FillHistograms", "FitModel", "Report"} <= {row[0] for row in rows}


@pytest.mark.parametrize(("campaign", "files", "at_least"), [("demo", 19, 100), ("agc_2015", 787, 5570)])
def test_plan_for_machines_has_the_same_total(law: Law, campaign: str, files: int, at_least: int) -> None:
    """Of the AGC's 787 files all chunks under all shifts are planned; what is added to the analysis comes on top."""
    table, _ = plan(law, "--campaign", campaign, "--plan")
    content, packages = plan(law, "--campaign", campaign, "--plan", "json")
    assert packages & HEAVY == set()
    rows = json.loads(content)
    total = sum(row["missing"] for row in rows)
    assert f"\n{total} to run;" in table
    assert total >= at_least
    assert sum(row["missing"] for row in rows if row["task"].startswith("IndexFiles ")) == files
    assert {row["missing"] - row["branches"] for row in rows} == {0}
    assert not law.store.exists()
