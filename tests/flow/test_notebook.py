"""The notebook of the documentation, executed in a real kernel."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs/notebooks/first-search.ipynb"


# The kernel's own client warns about event loops and sockets that it leaves to the collector.
@pytest.mark.filterwarnings("default")
def test_the_notebook_runs_and_shows_its_trials_in_place(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    (cell,) = (c for c in notebook.cells if c.source == "run = hpo.run(experiment)")
    tables = [o for o in cell.outputs if "text/html" in o.get("data", {})]
    assert len(tables) == 1  # one output, drawn anew
    shown = tables[0].data["text/html"]
    assert "4 of 4 trials done" in shown
    assert "digits-notebook-0003" in shown
    assert all(cell.get("outputs") is not None for cell in notebook.cells if "outputs" in cell)
