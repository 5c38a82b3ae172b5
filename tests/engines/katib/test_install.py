"""Our entries in Katib's configuration: added, replaced, and taken out to the byte."""

from pathlib import Path

import pytest
import yaml

from hpo_pipeline.engines.katib import install
from hpo_pipeline.errors import BackendError
from hpo_pipeline.experiment.stopping import RULES

ROOT = Path(__file__).parents[3]
STOCK = """---
apiVersion: config.kubeflow.org/v1beta1
kind: KatibConfig
init:
  controller:
    webhookPort: 8443   # a comment that must stay
runtime:
  suggestions:
    - algorithmName: random
      image: ghcr.io/kubeflow/katib/suggestion-hyperopt:v0.19.0
  earlyStoppings:
    - algorithmName: medianstop
      image: ghcr.io/kubeflow/katib/earlystopping-medianstop:v0.19.0
"""


def test_taking_out_gives_back_what_was_there():
    assert install.removed(install.merged(STOCK)) == STOCK


def test_ours_stand_beside_theirs():
    searches, rules = install.known_algorithms(install.merged(STOCK))
    assert {"random", "hpo-random", "hpo-gp"} <= searches
    assert {"medianstop", "hpo-median", "hpo-none"} <= rules


def test_installing_again_replaces_and_doubles_nothing():
    once = install.merged(STOCK, {"suggestion": "old:1"})
    twice = install.merged(once)
    assert twice == install.merged(STOCK)


def test_a_configuration_without_early_stopping_gets_a_section():
    text = STOCK[: STOCK.index("  earlyStoppings:")]
    assert "hpo-asha" in install.known_algorithms(install.merged(text))[1]
    assert install.removed(install.merged(text)) == text


def test_only_gp_has_the_large_image():
    found = install.entries()["suggestions"]
    large = [e["algorithmName"] for e in found if e["image"] == "hpo-suggestion-gp:dev"]
    assert large == ["hpo-gp"]


@pytest.mark.parametrize("name", [*install.SEARCHES, *RULES])
def test_names_fit_into_those_of_services(name):
    assert len(f"hpo-{name}") <= 22


def test_a_configuration_of_an_old_katib_is_refused():
    with pytest.raises(BackendError, match="of a Katib before"):
        install.merged("apiVersion: v1\nsuggestion: {}\n")


def test_the_entries_for_gitops_are_those_that_install_adds():
    text = (ROOT / "manifests" / "katib" / "entries.yaml").read_text("utf-8")
    assert yaml.safe_load(text) == install.entries()
