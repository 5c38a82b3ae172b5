"""The notebook of the documentation, executed in a real kernel."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests import nursery

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs/notebooks/first-search.ipynb"


# The kernel's own client warns about event loops and sockets that it leaves to the collector.
@pytest.mark.filterwarnings("default")
def test_the_notebook_runs_and_shows_its_trials_in_place(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    argv = [*nursery.python(), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = tmp_path / "kernels" / "forked" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": argv, "display_name": "forked", "language": "python"}))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(notebook, timeout=240, kernel_name="forked", resources=place)
    client.execute()
    (cell,) = (c for c in notebook.cells if c.source == "run = hpo.run(experiment)")
    tables = [o for o in cell.outputs if "text/html" in o.get("data", {})]
    assert len(tables) == 1  # one output, drawn anew
    shown = tables[0].data["text/html"]
    assert "4 of 4 trials done" in shown
    assert "digits-notebook-0003" in shown
    assert all(cell.get("outputs") is not None for cell in notebook.cells if "outputs" in cell)
