"""What README and docs/ show is right: experiments load, Python compiles, links lead somewhere.

A YAML block with a `name` is a whole experiment; another one replaces sections of a base
experiment. A Python block with the info string `python run` is run, too.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hpo_pipeline.experiment.loading import load

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    if path.is_file()
)
BLOCK = re.compile(r"^```(\w+)?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BASE = {
    "name": "base",
    "task": {"kind": "text-classification", "model": "minilm", "data": "tweets"},
    "objective": {"metric": "f1", "goal": "maximize"},
    "space": {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3}},
    "budget": {"trials": 4},
}


def blocks(language: str) -> list[tuple[str, str, str]]:
    """Return page, rest of the info string and text of all blocks in a language."""
    return [
        (page.name, info.strip(), text)
        for page in PAGES
        for found, info, text in BLOCK.findall(page.read_text("utf-8"))
        if found == language
    ]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page."""
    prose = BLOCK.sub("", page.read_text("utf-8"))
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def broken_links(page: Path) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    prose = BLOCK.sub("", page.read_text("utf-8"))
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


def test_there_are_blocks_to_check():
    assert len(blocks("yaml")) >= 4
    assert len(blocks("python")) >= 3


@pytest.mark.parametrize(("page", "info", "text"), blocks("yaml"))
def test_yaml_is_an_experiment_or_a_part_of_one(page, info, text, tmp_path):
    content = yaml.safe_load(text)
    whole = content if "name" in content else {**BASE, **content}
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    (tmp_path / "my-model-folder").mkdir()
    (tmp_path / "reviews.csv").write_text("review,stars\ngood,5\nbad,1\n")
    assert load(file).name == whole["name"]


def test_the_experiment_of_the_readme_is_that_of_its_file():
    shown = [yaml.safe_load(text) for page, _, text in blocks("yaml") if page == "README.md"]
    (whole,) = [content for content in shown if "name" in content]
    file = ROOT / "experiments" / f"{whole['name']}.yaml"
    assert whole == yaml.safe_load(file.read_text("utf-8"))


@pytest.mark.parametrize(("page", "info", "text"), blocks("python"))
def test_python_compiles_and_runs_where_it_is_cheap(page, info, text, monkeypatch):
    code = compile(text, page, "exec")
    if info == "run":
        monkeypatch.chdir(ROOT)
        exec(code, {"__name__": "example"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](#one-two) [b](#three) [c](none.md) [d](page.md#one-two)\n")
    assert broken_links(page) == ["#three", "none.md"]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_the_reference_is_what_the_code_says():
    done = subprocess.run(
        [sys.executable, ROOT / "docs/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_page_is_in_the_navigation():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    named = set(re.findall(r"[\w/-]+\.md", str(config["nav"])))
    docs = ROOT / "docs"
    assert named == {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
