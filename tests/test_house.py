"""What holds for the repository as a whole: imports, the README's map, generated files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hpo_pipeline
from hpo_pipeline.errors import HpoError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "transformers", "datasets", "optuna", "pandas", "pydantic", "plotly", "rich"}


def loaded_by(code: str) -> set[str]:
    """Return the top-level packages that a piece of code loads in a new interpreter."""
    script = f"{code}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    printed = subprocess.check_output([sys.executable, "-c", script], text=True)
    return set(printed.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_by("import hpo_pipeline") & HEAVY


def test_the_help_loads_nothing_heavy():
    code = "from hpo_pipeline.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert not loaded_by(code) & HEAVY


def test_the_process_that_follows_a_search_loads_no_torch():
    modules = "hpo_pipeline.flow.launch, hpo_pipeline.cli.output, hpo_pipeline.reports.terminal"
    assert not loaded_by(f"import {modules}") & {"torch", "transformers", "datasets", "pandas"}


def test_the_services_load_only_what_their_images_have():
    dockerfile = (ROOT / "images/katib/Dockerfile").read_text("utf-8")
    unused = set(re.search(r'UNUSED="(.*)"', dockerfile)[1].replace("-", "_").split())
    services = "hpo_pipeline.engines.katib.services"
    assert not loaded_by(f"import {services}.suggestion") & {*unused, "torch"}
    missing = set(re.search(r"uninstall --yes (.*) \${UNUSED}", dockerfile)[1].split())
    assert missing == {"scipy", "cmaes"}
    assert not loaded_by(f"import {services}.stopping") & {*unused, *missing, "torch"}


def test_importing_is_quick():
    code = "import time; t = time.perf_counter(); import hpo_pipeline; print(time.perf_counter()-t)"
    runs = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3)]
    assert min(runs) < 0.15


def test_public_names_are_there_and_no_others():
    assert all(hasattr(hpo_pipeline, name) for name in hpo_pipeline.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        hpo_pipeline.nonsense  # noqa: B018


def test_every_error_is_in_the_tree_of_the_docstring():
    from hpo_pipeline import errors

    found = [n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, HpoError)]
    assert all(re.search(rf"\b{name}\b", errors.__doc__) for name in found)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda p: p.stem
)
def test_the_experiments_of_the_repository_are_right(path):
    assert load(path).name == path.stem


def test_the_schema_file_is_what_the_code_says():
    schema = json.loads((ROOT / "experiments/schema.json").read_text("utf-8"))
    assert schema == Experiment.model_json_schema(by_alias=True), (
        "hpo schema > experiments/schema.json"
    )


def test_the_file_map_of_the_readme_names_what_is_there():
    text = (ROOT / "README.md").read_text("utf-8").split("## File map")[1].split("```")[1]
    section = text.split("hpo_pipeline/\n")[1].split("tests/")[0]
    named = set(re.findall(r"(?:^| )([\w]+\.py|[\w]+/)(?= )", section, re.MULTILINE))
    there = {
        path.name + ("/" if path.is_dir() else "")
        for path in (ROOT / "hpo_pipeline").iterdir()
        if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__")
    }
    assert named == there - {"__init__.py"}


def test_files_are_short():
    long = {
        p.name: n
        for p in (ROOT / "hpo_pipeline").rglob("*.py")
        if (n := len(p.read_text("utf-8").splitlines())) > 350 and "_pb2" not in p.name
    }
    assert long == {}
