"""The notebook runs from top to bottom."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOK = REPOSITORY / "docs" / "analysis.ipynb"


def read() -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.reads(NOTEBOOK.read_text(), as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def outputs(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def test_notebook_has_no_outputs() -> None:
    for cell in read().cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.integration
def test_notebook_runs(demo_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "ANALYSIS_BASE": REPOSITORY,
        "ANALYSIS_STORE": demo_store,
        "LAW_CONFIG_FILE": REPOSITORY / "law.cfg",
        "LAW_HOME": tmp_path,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        "IPYTHONDIR": tmp_path / "ipython",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    notebook = read()
    client = NotebookClient(notebook, kernel_name="python3", timeout=600, resources={"metadata": {"path": tmp_path}})
    client.execute()

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert outputs(code[0]).splitlines()[-1].startswith("ttbar_norm = 0.")
    assert "Jet energy scale" in outputs(code[1])
    assert "region 4j2b" in outputs(code[2])
    images = [output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(images) == 3  # two regions after the fit, one stack
    assert "v1/demo/FitModel/fit.json" in outputs(code[-1])
