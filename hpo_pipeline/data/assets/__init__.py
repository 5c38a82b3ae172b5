"""Models and data by name, fetched once into a cache folder and checked by hash.

The step before `prepare`: it turns `minilm` or `tweets` into a folder of files. What the files
mean is not known here.
"""

from hpo_pipeline.data.assets.cache import cache_folder, fetch, is_fetched, prepared_folder, verify
from hpo_pipeline.data.assets.catalogue import (
    ASSETS,
    RATED_SENTENCES,
    SENTENCES_BY_SOURCE,
    SOURCES,
    Asset,
    Member,
)
from hpo_pipeline.data.assets.download import download_artefact

__all__ = [
    "ASSETS",
    "RATED_SENTENCES",
    "SENTENCES_BY_SOURCE",
    "SOURCES",
    "Asset",
    "Member",
    "cache_folder",
    "download_artefact",
    "fetch",
    "is_fetched",
    "prepared_folder",
    "verify",
]
