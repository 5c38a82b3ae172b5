"""Coming from another tool: what `hpo import` makes of the files before is the file after."""

from pathlib import Path

import pytest
import yaml

from hpo_pipeline.experiment.loading import load
from hpo_pipeline.spaces.files import import_file
from tests.test_docs import BLOCK, ROOT

PAGES = sorted((ROOT / "docs/migrating").glob("*.md"))
TINY = {"num_train_epochs": 1}


def blocks_of(page: Path, language: str) -> list[str]:
    """Return the blocks of a page in a language."""
    return [t for found, _, t in BLOCK.findall(page.read_text("utf-8")) if found == language]


@pytest.mark.parametrize("name", ["katib", "wandb"])
def test_the_file_before_is_imported_as_the_file_after(name, tmp_path):
    page = ROOT / f"docs/migrating/{name}.md"
    (before,), (after,) = blocks_of(page, "yml"), blocks_of(page, "yaml")
    file = tmp_path / "before.yaml"
    file.write_text(before)
    assert yaml.safe_load(import_file(str(file)).text()) == yaml.safe_load(after)


def test_the_space_of_the_page_on_ray_is_the_imported_one():
    from hpo_pipeline.spaces import from_ray_tune
    from tests.spaces.standins import tune

    page = ROOT / "docs/migrating/ray-tune.md"
    code = blocks_of(page, "python")[0].split("param_space = ")[1].split("\n}\n")[0] + "\n}"
    # A lambda of `eval` has no source, so the draw is given as what the page says of it.
    drawn = "tune.sample_from(lambda _: 2 ** np.random.randint(2, 6))"
    assert drawn in code
    space = eval(code.replace(drawn, "tune.choice([4, 8, 16, 32])"), {"tune": tune})
    after = yaml.safe_load(blocks_of(page, "yaml")[0])
    assert from_ray_tune(space).space == after["space"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trainer", "ray-tune", "optuna"])
def test_the_file_after_runs(name, tmp_path, tiny_bert, sentences, monkeypatch):
    """Run it on a tiny model and small data, with two trials."""
    from hpo_pipeline import run

    content = yaml.safe_load(blocks_of(ROOT / f"docs/migrating/{name}.md", "yaml")[0])
    content["task"] |= {
        "model": str(tiny_bert),
        "data": str(sentences),
        "training": TINY,
        "max_length": 12,
    }
    content["task"].pop("columns", None)
    content["budget"] = {"trials": 2, "parallel": 2}
    file = tmp_path / "after.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    assert run(load(file), quiet=True).state == "succeeded"


def test_every_page_shows_before_and_after():
    for page in PAGES:
        if page.name != "index.md":
            text = page.read_text("utf-8")
            assert "Before:" in text
            assert "After" in text
